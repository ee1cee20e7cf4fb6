"""Traces as OpenTelemetry spans, sent over OTLP/HTTP by a thread of its own; imported when on.

The way of the data only puts spans into a bounded queue. A receiver that is away costs spans.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

import cdc_tail
from cdc_tail.errors import ConfigError
from cdc_tail.metrics import Metrics
from cdc_tail.settings import TracingSettings
from cdc_tail.tracing import Stages, Traced, Tracing
from parsers.position import Position

log = structlog.get_logger()

_PATH: Final = "/v1/traces"  # where OTLP/HTTP takes them, unless the address says otherwise
_CLOSE_SECONDS: Final = 3.0
_MOST_AT_ONCE: Final = 512


class OtlpTracing(Tracing):
    """One trace per transaction, of as many as the settings say.

    Each is linked to the one before it that was taken, so that the log can be walked back.
    """

    def __init__(self, settings: TracingSettings, node: str, metrics: Metrics) -> None:
        """Raises ConfigError where a file of the settings can't be used."""
        super().__init__()
        self._exporter = _Told(settings, metrics)
        self._provider = TracerProvider(
            sampler=TraceIdRatioBased(settings.sample_ratio),
            resource=Resource.create(
                {
                    "service.name": "cdc-tail",
                    "service.version": cdc_tail.__version__,
                    "service.instance.id": node,
                }
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                self._exporter,
                max_queue_size=settings.queue_spans,
                max_export_batch_size=min(_MOST_AT_ONCE, settings.queue_spans),
                schedule_delay_millis=1000,
            )
        )
        self._tracer = self._provider.get_tracer("cdc_tail", cdc_tail.__version__)
        self._before: trace.Link | None = None
        self._now: trace.Span | None = None

    def stumbled(self, error: Exception) -> None:
        if self._now is not None:
            self._now.add_event("tried again", {"error.type": type(error).__name__})

    def close(self) -> None:
        # A receiver that was away just now is not waited for, a slow one not for long.
        grace = threading.Timer(0 if self._exporter.is_away else _CLOSE_SECONDS, self._exporter.end)
        grace.start()
        self._provider.shutdown()
        grace.cancel()

    @contextmanager
    def _traced(self, positions: list[Position]) -> Iterator[Traced]:
        span = self._tracer.start_span(
            "transaction",
            kind=trace.SpanKind.CONSUMER,
            start_time=self.stages.looked_ns,
            links=[self._before] if self._before else [],
            attributes={"cdc.positions": [str(one) for one in positions]},
        )
        if not span.is_recording():
            yield Traced()
            return
        self._now = span
        context = span.get_span_context()
        try:
            with structlog.contextvars.bound_contextvars(
                trace_id=trace.format_trace_id(context.trace_id),
                span_id=trace.format_span_id(context.span_id),
            ):
                yield _Spans(self._tracer, span)
        except BaseException as error:
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            self._now = None
            span.end()
        self._before = trace.Link(context)


class _Spans(Traced):
    """The spans of one transaction, made once it is known when its stages were."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    def committed(self, stages: Stages, **counted: int) -> None:
        self._span.set_attributes({f"cdc.{name}": value for name, value in counted.items()})
        found_ns = stages.found_ns or stages.merging_ns
        decoded_ns = stages.decoded_ns or stages.merging_ns
        self._stage("capture", stages.looked_ns, found_ns)
        busy = {"cdc.busy_seconds": stages.decoding_ns / 1e9}
        self._stage("decode", found_ns, decoded_ns, busy)
        database = {"db.system.name": "postgresql"}
        self._stage("merge", stages.merging_ns, stages.merged_ns, database)
        self._stage("commit", stages.merged_ns, None, database)

    def _stage(
        self,
        name: str,
        began_ns: int,
        ended_ns: int | None,
        attributes: Mapping[str, str | float] | None = None,
    ) -> None:
        inside = trace.set_span_in_context(self._span)
        span = self._tracer.start_span(
            name, inside, start_time=began_ns, attributes=dict(attributes or {})
        )
        span.end(ended_ns)


class _Told(SpanExporter):
    """An exporter that counts what became of spans, and logs when that changes."""

    def __init__(self, settings: TracingSettings, metrics: Metrics) -> None:
        self.is_away = False
        self._session = _Session()
        self._inner: SpanExporter = _exporter(settings, self._session)
        self._url = settings.url
        self._count = metrics.counter("cdc_trace_spans_total")
        self._ending = threading.Lock()
        self._has_ended = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE if self._has_ended else self._inner.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        self._count.labels(result="failed" if is_away else "sent").inc(len(spans))
        if is_away and not self.is_away:
            log.warning("traces are not taken", url=self._url, reason=self._session.said)
        elif self.is_away and not is_away:
            log.info("traces are taken again", url=self._url)
        self.is_away = is_away
        return result

    def end(self) -> None:
        """Send nothing more; what is being sent is given up."""
        with self._ending:
            if not self._has_ended:
                self._has_ended = True
                self._inner.shutdown()

    def shutdown(self) -> None:
        self.end()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class _Session(requests.Session):
    """Remembers what the receiver said last: the exporter tells whether it took spans, not why."""

    def __init__(self) -> None:
        super().__init__()
        # The receiver is in our network: a proxy for the internet can't reach it.
        self.trust_env = False
        self.said = ""

    def request(self, *args: Any, **options: Any) -> requests.Response:
        try:
            answer = super().request(*args, **options)
        except requests.RequestException as error:
            self.said = str(error)
            raise
        self.said = f"HTTP {answer.status_code} {answer.reason}"
        return answer


def _exporter(settings: TracingSettings, session: requests.Session) -> OTLPSpanExporter:
    url = urlsplit(settings.url or "")
    for key in ("ca", "certificate", "key"):
        file = getattr(settings, key)
        if file is not None and not file.is_file():
            raise ConfigError(f"tracing.{key}: there is no file {file}", hint="name a PEM file")
    return OTLPSpanExporter(
        endpoint=url._replace(path=_PATH).geturl() if url.path in ("", "/") else url.geturl(),
        certificate_file=str(settings.ca) if settings.ca else None,
        client_certificate_file=str(settings.certificate) if settings.certificate else None,
        client_key_file=str(settings.key) if settings.key else None,
        headers=_headers(settings),
        timeout=settings.timeout_seconds,
        session=session,
    )


def _headers(settings: TracingSettings) -> dict[str, str]:
    if settings.headers is None:
        return {}
    pairs = [one.partition("=") for one in settings.headers.get_secret_value().split(",")]
    if not all(name.strip() and is_pair for name, is_pair, _ in pairs):
        raise ConfigError(
            "tracing.headers can't be read", hint="write name=value, separated by commas"
        )
    return {name.strip(): value.strip() for name, _, value in pairs}
