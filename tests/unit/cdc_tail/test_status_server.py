"""Status and HTTP: one snapshot, the probes, and the page, over a real socket."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from starlette.routing import Route

from cdc_tail import config
from cdc_tail.errors import ConfigError
from cdc_tail.http_letters import letter_routes
from cdc_tail.metrics import Metrics
from cdc_tail.server import StatusServer, application
from cdc_tail.settings import HttpSettings
from cdc_tail.status import (
    ErrorStatus,
    Status,
    StatusBoard,
    not_healthy_because,
    not_ready_because,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board(clock: Clock) -> StatusBoard:
    return StatusBoard(Status(node="n1"), clock)


@pytest.fixture
def server(board: StatusBoard) -> Iterator[StatusServer]:
    with StatusServer(board, Metrics(), HttpSettings(port=0)) as running:
        yield running


def get(url: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_a_silent_pipeline_is_not_healthy(board: StatusBoard, clock: Clock) -> None:
    assert not_healthy_because(board, max_silence_seconds=60) is None
    clock.now += 61
    assert (
        not_healthy_because(board, max_silence_seconds=60) == "the pipeline has not moved for 61 s"
    )
    board.update(state="live")
    assert not_healthy_because(board, max_silence_seconds=60) is None


def test_ready_means_live_and_fresh(board: StatusBoard) -> None:
    assert not_ready_because(board, max_age_seconds=10) == "state is starting"
    board.update(state="catching_up", oldest_unapplied_age_seconds=11.0)
    assert not_ready_because(board, max_age_seconds=10) == (
        "the oldest unapplied change is 11 s old (limit 10 s)"
    )
    board.update(state="live", oldest_unapplied_age_seconds=0.0)
    assert not_ready_because(board, max_age_seconds=10) is None
    board.update(state="waiting_for_postgres")
    assert not_ready_because(board, max_age_seconds=10) == "state is waiting_for_postgres"


def test_status_is_the_snapshot_as_json(board: StatusBoard, server: StatusServer) -> None:
    error = ErrorStatus("SegmentCorrupt", "bad", "look", datetime(2026, 1, 2, tzinfo=UTC))
    board.update(state="failed", position="7:100", tables=("ks.t",), error=error)
    code, kind, body = get(server.url + "/status")
    assert (code, kind) == (200, "application/json")
    assert json.loads(body) == board.snapshot().as_dict()
    assert json.loads(body)["error"]["at"] == "2026-01-02T00:00:00+00:00"
    assert json.loads(body)["tables"] == ["ks.t"]


def test_probes_follow_the_state(board: StatusBoard, server: StatusServer) -> None:
    assert get(server.url + "/healthz")[::2] == (200, "ok")
    assert get(server.url + "/readyz")[0] == 503
    board.update(state="live")
    assert get(server.url + "/readyz")[::2] == (200, "ok")
    board.update(state="failed")
    assert get(server.url + "/healthz")[::2] == (503, "failed")
    assert get(server.url + "/readyz")[::2] == (503, "failed")


def test_metrics_are_exposed(server: StatusServer) -> None:
    code, kind, body = get(server.url + "/metrics")
    assert code == 200
    assert kind.startswith("text/plain")
    assert "cdc_events_processed_total 0.0" in body


def test_the_page_stands_alone(server: StatusServer) -> None:
    code, kind, body = get(server.url + "/")
    assert (code, kind) == (200, "text/html; charset=utf-8")
    assert "/dlq/records${path}" in body
    assert "http://" not in body
    assert "https://" not in body
    for name in ("mutations_total", "oldest_unapplied_age_seconds", "cdc_raw_full_in_seconds"):
        assert f"s.{name}" in body
        assert name in Status.__dataclass_fields__


def test_unknown_paths_and_methods_are_refused(server: StatusServer) -> None:
    assert get(server.url + "/nope")[0] == 404
    request = urllib.request.Request(server.url + "/status", data=b"x")
    with pytest.raises(urllib.error.HTTPError, match="405") as raised:
        urllib.request.urlopen(request, timeout=5)
    raised.value.close()


def test_a_taken_port_is_an_error_of_the_start(board: StatusBoard, server: StatusServer) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"can't listen at 127.0.0.1:{port}") as raised:
        StatusServer(board, Metrics(), HttpSettings(port=port))
    assert "http.port" in raised.value.hint


def test_the_description_has_every_route_and_what_status_answers(
    board: StatusBoard, server: StatusServer
) -> None:
    document = json.loads(get(server.url + "/openapi.json")[2])
    own = application(board, Metrics(), HttpSettings(), letter_routes(config.load(environ={})))
    described = {
        (path, method.upper())
        for path, operations in document["paths"].items()
        for method in operations
        if method in ("get", "post")
    }
    served = {
        (route.path, method)
        for route in own.routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert described == {one for one in served if one[1] != "HEAD"}
    status = document["components"]["schemas"]["Status"]
    assert set(status["required"]) == json.loads(get(server.url + "/status")[2]).keys()
