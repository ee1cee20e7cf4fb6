"""Hostile requests to the HTTP API: schemathesis makes them from the API's own description."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_tail import config
from cdc_tail.http_letters import letter_routes
from cdc_tail.metrics import Metrics
from cdc_tail.replay import Replay
from cdc_tail.server import StatusServer
from cdc_tail.status import Status, StatusBoard
from tests.support.golden import golden_cases

TOKEN = "a token of some length"
# Requests per operation; CDC_TAIL_TEST_REQUESTS asks for more.
REQUESTS = os.environ.get("CDC_TAIL_TEST_REQUESTS", "5")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


@pytest.fixture
def url(database: str, tmp_path: Path) -> Iterator[str]:
    """A server over a database whose parked mutations are records; its token is needed."""
    (case,) = golden_cases("scalars", "5.0")
    case.unpack(tmp_path)
    options = {"postgres.dsn": database, "node": "n1", "http.port": 0, "http.token": TOKEN}
    settings = config.load(environ={}, options=options)
    Replay(settings, [tmp_path]).run()
    # A clock that stands still: no pipeline reports here, which /healthz would tell after a minute.
    board = StatusBoard(Status(node="n1", state="live"), clock=lambda: 0.0)
    with StatusServer(board, Metrics(), settings.http, letter_routes(settings)) as server:
        yield server.url


@pytest.mark.parametrize("authorization", [f"Bearer {TOKEN}", "Bearer wrong"])
def test_every_answer_is_one_that_the_description_names(
    url: str, authorization: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json",
            "--checks", CHECKS, "--max-examples", REQUESTS, "--phases", "examples,coverage,fuzzing",
            "--header", f"Authorization: {authorization}", "--seed", "1", "--no-color",
        ],
        check=False, capture_output=True, text=True, timeout=280, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
