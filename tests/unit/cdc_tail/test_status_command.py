"""`cdc-tail status` of several processes, once and again: real HTTP servers, the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cdc_tail.metrics import Metrics
from cdc_tail.server import StatusServer
from cdc_tail.settings import HttpSettings
from cdc_tail.status import Status, StatusBoard

COMMAND = [sys.executable, "-m", "cdc_tail", "status"]


@pytest.fixture
def boards() -> list[StatusBoard]:
    return [StatusBoard(Status(node=f"n{number}", state="live")) for number in (1, 2)]


@pytest.fixture
def urls(boards: list[StatusBoard]) -> Iterator[list[str]]:
    servers = [StatusServer(board, Metrics(), HttpSettings(port=0)) for board in boards]
    with servers[0], servers[1]:
        yield [server.url for server in servers]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDC_TAIL_")}
    return kept | {"COLUMNS": "150"}


def test_several_processes_are_told_line_by_line(urls: list[str]) -> None:
    asked = [*COMMAND, "--json"]
    for url in urls:
        asked += ["--url", url + "/"]
    done = subprocess.run(asked, env=environment(), capture_output=True, text=True, check=True)
    assert [json.loads(line)["node"] for line in done.stdout.splitlines()] == ["n1", "n2"]


def test_one_that_does_not_answer_is_shown_and_counts(urls: list[str]) -> None:
    asked = [*COMMAND, "--url", urls[0], "--url", "http://127.0.0.1:1"]
    done = subprocess.run(asked, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    heading, alive, away = done.stdout.splitlines()
    assert heading.split()[:2] == ["node", "state"]
    assert alive.split()[:2] == ["n1", "live"]
    assert away.split()[:2] == ["http://127.0.0.1:1", "no_answer"]


def test_watching_looks_again(boards: list[StatusBoard], urls: list[str]) -> None:
    asked = [*COMMAND, "--json", "--watch", "--url", urls[0]]
    with subprocess.Popen(asked, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["dead_letters"] == 0
        boards[0].update(dead_letters=3)
        while json.loads(process.stdout.readline())["dead_letters"] != 3:
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(60) in (130, -signal.SIGINT)
