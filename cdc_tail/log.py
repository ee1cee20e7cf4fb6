"""Structured logging for the whole process, as lines for people or as JSON; chooses no events."""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

import structlog

from cdc_tail.errors import CdcTailError
from cdc_tail.settings import LogSettings

# Libraries that tell on INFO what only their authors want to know.
_QUIET = ("uvicorn.error", "uvicorn.access", "watchdog")
# The driver warns of every protocol version that it tries, and of hosts that it then raises for.
# That traces are not taken, we tell ourselves, once.
_SILENT = ("cassandra", "opentelemetry.exporter")


def configure(settings: LogSettings, stream: IO[str] | None = None) -> None:
    """Send our events and those of libraries to `stream` (stderr) in one format and level."""
    stream = stream or sys.stderr
    as_json = settings.format == "json" or (settings.format == "auto" and not stream.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # A console shows tracebacks by itself; JSON needs them as a string.
    last: list[structlog.typing.Processor]
    if as_json:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(root.level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def error_fields(error: BaseException) -> dict[str, Any]:
    """The fields that place an error in a log line: type, message, where, hint."""
    fields: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
    if isinstance(error, CdcTailError):
        fields["message"] = error.message
        places = (("segment", error.segment), ("position", error.position), ("table", error.table))
        fields |= {name: value for name, value in places if value is not None}
        if error.hint:
            fields["hint"] = error.hint
    return fields
