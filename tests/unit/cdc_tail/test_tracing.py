"""Traces of transactions: spans as a receiver decodes them, and what happens without one."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from cdc_tail.errors import ConfigError, SinkUnavailable
from cdc_tail.log import configure
from cdc_tail.metrics import Metrics
from cdc_tail.otlp import OtlpTracing
from cdc_tail.settings import LogSettings, TracingSettings
from cdc_tail.tracing import Tracing
from parsers.position import Position
from tests.support.certificates import Authority
from tests.support.otlp_receiver import OtlpReceiver, attributes

STAGES = ["capture", "decode", "merge", "commit"]


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def tracing_to(url: str, metrics: Metrics | None = None, **settings: object) -> OtlpTracing:
    given = {"url": url, "sample_ratio": 1, "timeout_seconds": 1} | settings
    return OtlpTracing(TracingSettings.model_validate(given), "n1", metrics or Metrics())


def carry(tracing: Tracing, offset: int = 100) -> None:
    """A transaction through its stages, in the order of the pipeline."""
    tracing.read(tracing.stages.looked_ns, found=False)
    began_ns = tracing.stages.looked_ns
    tracing.read(began_ns, found=True)
    with tracing.transaction([Position(6, 1), Position(7, offset)]) as traced:
        stages = tracing.stages
        stages.merging_ns, stages.merged_ns = stages.decoded_ns + 10, stages.decoded_ns + 20
        structlog.get_logger().info("row refused")
        traced.committed(stages, mutations=3, rows=2)


def sent(metrics: Metrics, result: str) -> float:
    value = metrics.registry.get_sample_value("cdc_trace_spans_total", {"result": result})
    return value or 0.0


def test_a_transaction_is_one_trace_of_its_stages() -> None:
    metrics = Metrics()
    with OtlpReceiver() as receiver:
        tracing = tracing_to(receiver.url, metrics, headers="x-token=abc")
        carry(tracing)
        tracing.close()
    (root,) = receiver.named("transaction")
    stages = [receiver.named(name)[0] for name in STAGES]
    assert {one.trace_id for one in stages} == {root.trace_id}
    assert {one.parent_span_id for one in stages} == {root.span_id}
    # They follow each other, and the transaction spans them all.
    times = [(one.start_time_unix_nano, one.end_time_unix_nano) for one in stages]
    assert all(began <= ended for began, ended in times)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
    assert root.start_time_unix_nano == times[0][0]
    assert root.end_time_unix_nano >= times[-1][1]
    assert attributes(root) == {
        "cdc.positions": ["6:1", "7:100"],
        "cdc.mutations": 3,
        "cdc.rows": 2,
    }
    assert receiver.resources[0]["service.name"] == "cdc-tail"
    assert receiver.resources[0]["service.instance.id"] == "n1"
    assert receiver.headers[0]["x-token"] == "abc"
    assert sent(metrics, "sent") == 5


def test_each_transaction_is_linked_to_the_one_before_it() -> None:
    with OtlpReceiver() as receiver:
        tracing = tracing_to(receiver.url)
        for offset in (100, 200, 300):
            carry(tracing, offset)
        tracing.close()
    first, second, third = receiver.named("transaction")
    assert not first.links
    assert [one.span_id for one in second.links] == [first.span_id]
    assert [one.trace_id for one in third.links] == [second.trace_id]
    assert len({one.trace_id for one in (first, second, third)}) == 3


def test_a_share_of_the_transactions_is_traced() -> None:
    with OtlpReceiver() as receiver:
        tracing = tracing_to(receiver.url, sample_ratio=0.25)
        for _ in range(400):
            carry(tracing)
        tracing.close()
    roots = receiver.named("transaction")
    assert 50 < len(roots) < 160  # 100 by chance: five standard deviations on either side
    assert len(receiver.spans) == 5 * len(roots)


def test_log_lines_carry_trace_and_position(log_lines: io.StringIO) -> None:
    with OtlpReceiver() as receiver:
        tracing = tracing_to(receiver.url)
        carry(tracing)
        structlog.get_logger().info("after")
        tracing.close()
    within, after = (json.loads(line) for line in log_lines.getvalue().splitlines())
    (root,) = receiver.named("transaction")
    assert within["trace_id"] == root.trace_id.hex()
    assert within["span_id"] == root.span_id.hex()
    assert within["position"] == "7:100"
    assert not {"trace_id", "position"} & after.keys()


def test_with_tracing_off_log_lines_carry_the_position(log_lines: io.StringIO) -> None:
    carry(Tracing())
    line = json.loads(log_lines.getvalue())
    assert line["position"] == "7:100"
    assert "trace_id" not in line


def test_a_failed_transaction_is_an_error_with_its_tries() -> None:
    with OtlpReceiver() as receiver:
        tracing = tracing_to(receiver.url)
        with contextlib.suppress(KeyError), tracing.transaction([Position(7, 1)]):
            tracing.stumbled(SinkUnavailable("password=secret"))
            raise KeyError("secret")
        carry(tracing)
        tracing.close()
    failed, good = receiver.named("transaction")
    assert (failed.status.code, failed.status.message) == (2, "KeyError")
    (event,) = failed.events
    assert attributes(event) == {"error.type": "SinkUnavailable"}
    assert not good.status.code
    # What is in messages of errors may be anything: none of it is sent.
    assert b"secret" not in failed.SerializeToString()


def test_a_receiver_that_never_answers_holds_up_nothing(log_lines: io.StringIO) -> None:
    """It takes the connection and says nothing; far more spans come than may wait."""
    metrics = Metrics()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing = tracing_to(f"http://127.0.0.1:{silent.getsockname()[1]}", metrics, queue_spans=16)
        for offset in range(2000):
            carry(tracing, offset)
        # That all of it was carried while nothing was sent is what shows that nobody waited.
        assert sent(metrics, "sent") == 0
        tracing.close()
    assert sent(metrics, "failed") > 0
    said = [json.loads(line) for line in log_lines.getvalue().splitlines()]
    told = [one for one in said if one["event"] == "traces are not taken"]
    assert len(told) == 1
    assert "timed out" in told[0]["reason"]
    assert not [one for one in threading.enumerate() if one.name.startswith("OtelBatch")]


def test_a_receiver_that_is_away_holds_up_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    metrics = Metrics()
    tracing = tracing_to(f"http://127.0.0.1:{port}", metrics)
    for offset in range(1000):
        carry(tracing, offset)
    tracing.close()
    assert (sent(metrics, "sent"), sent(metrics, "failed") > 0) == (0, True)


@pytest.mark.parametrize("kind", ["good", "expired", "other host", "unknown ca"])
def test_an_https_receiver_is_verified(tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path)
    pair = {
        "good": lambda: authority.issue("127.0.0.1"),
        "expired": lambda: authority.issue("127.0.0.1", is_expired=True),
        "other host": lambda: authority.issue("elsewhere.example"),
        "unknown ca": lambda: Authority(tmp_path, "unknown").issue("127.0.0.1"),
    }[kind]()
    metrics = Metrics()
    with OtlpReceiver(pair) as receiver:
        tracing = tracing_to(receiver.url, metrics, ca=authority.ca)
        carry(tracing)
        tracing.close()
    assert sent(metrics, "sent") == (5 if kind == "good" else 0)
    assert len(receiver.spans) == sent(metrics, "sent")


def test_a_receiver_may_ask_for_our_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("sidecar", name="client")
    pair = authority.issue("127.0.0.1")
    with OtlpReceiver(pair, client_ca=authority.ca) as receiver:
        shown: dict[str, Any] = {"certificate": own.certificate, "key": own.key}
        for settings in ({}, shown):
            tracing = tracing_to(receiver.url, ca=authority.ca, **settings)
            carry(tracing)
            tracing.close()
            assert len(receiver.spans) == (5 if settings else 0)


def test_what_can_not_be_used_is_an_error_of_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tracing\.ca: there is no file"):
        tracing_to("https://127.0.0.1:1", ca=tmp_path / "none.pem")
    with pytest.raises(ConfigError, match=r"tracing\.headers"):
        tracing_to("http://127.0.0.1:1", headers="token")


def test_nothing_of_opentelemetry_is_imported_while_it_is_off() -> None:
    code = (
        "import sys; import cdc_tail.cli.run as run; from cdc_tail.settings import Settings;"
        "run._tracing(Settings(), None);"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
