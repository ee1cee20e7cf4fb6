"""Log lines: one format for our events and those of libraries."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from cdc_tail.errors import SegmentCorrupt
from cdc_tail.log import configure, error_fields
from cdc_tail.settings import LogSettings

pytestmark = pytest.mark.usefixtures("logging_restored")


def test_json_lines_of_ours_and_of_libraries() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)
    structlog.get_logger().info("batch applied", position="7:100", rows=3)
    logging.getLogger("some.library").warning("odd %s", "thing")
    ours, theirs = (json.loads(line) for line in stream.getvalue().splitlines())
    assert ours.items() >= {"event": "batch applied", "position": "7:100", "rows": 3}.items()
    assert theirs.items() >= {"event": "odd thing", "level": "warning"}.items()
    assert ours["timestamp"].endswith("Z")


def test_a_pipe_gets_json_unless_asked_otherwise() -> None:
    stream = io.StringIO()
    configure(LogSettings(), stream)
    structlog.get_logger().info("x")
    json.loads(stream.getvalue())
    stream = io.StringIO()
    configure(LogSettings(format="console"), stream)
    structlog.get_logger().info("plain", a=1)
    assert "plain" in stream.getvalue()
    assert "{" not in stream.getvalue()


def test_the_level_holds() -> None:
    stream = io.StringIO()
    configure(LogSettings(level="error", format="json"), stream)
    structlog.get_logger().warning("no")
    logging.getLogger("lib").warning("no")
    logging.getLogger("some.library").error("yes")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["yes"]


def test_an_error_is_logged_with_place_and_next_step() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)
    error = SegmentCorrupt("bad marker", position="7:100", hint="look", table="ks.t")
    structlog.get_logger().error("stopped", **error_fields(error))
    assert (
        json.loads(stream.getvalue()).items()
        >= {
            "error": "SegmentCorrupt",
            "message": "bad marker",
            "position": "7:100",
            "table": "ks.t",
            "hint": "look",
        }.items()
    )


def test_a_traceback_is_one_json_line() -> None:
    stream = io.StringIO()
    configure(LogSettings(format="json"), stream)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        structlog.get_logger().exception("crashed")
    (line,) = stream.getvalue().splitlines()
    assert "RuntimeError: boom" in json.loads(line)["exception"]
