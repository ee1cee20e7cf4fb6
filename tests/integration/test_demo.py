"""`cdc-tail demo` as a person starts it: small, interrupted at bad moments, kept, offline."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc_tail.status_source import ask_process

END_SECONDS = 120
TABLES = {f'"shop"."{name}"' for name in ("customers", "orders", "order_lines", "inventory")}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for everything temporary, which another user may enter as well."""
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def start(temporary: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cdc_tail", "demo", "--json", *options],
        env=os.environ | {"TMPDIR": str(temporary), "KEEP": "0"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A terminal's Ctrl-C would reach the whole group: so does ours.
        start_new_session=True,
    )


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def processes_of(folder: Path) -> list[int]:
    """Running processes that name the folder in their arguments or their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # ended meanwhile
                said = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if os.fsencode(folder) in said:
                    found.append(int(entry.name))
    return found


def gone(folder: Path) -> bool:
    """Whether no process is left; watchers need a moment to notice."""
    deadline = time.monotonic() + 5
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not processes_of(folder)


def test_the_mirror_equals_cassandra_and_nothing_is_left(temporary: Path) -> None:
    found = finished(start(temporary, "--writes", "1000", "--rate", "250"))
    assert found["equal"]
    assert not found["recorded"]
    assert {table["relation"] for table in found["tables"]} == TABLES
    assert all(table["rows"] > 0 and not table["differing"] for table in found["tables"])
    assert found["writes"] == 1000
    assert found["failures"] == 0
    assert found["events"] >= 1000
    visible = found["write_to_visible_seconds"]
    assert visible["looked_up"] > 100
    assert visible["never_seen"] == 0
    assert 0 < visible["p50"] <= visible["p99"] <= visible["max"]
    assert gone(temporary)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    "last_step", ["Starting PostgreSQL", "Creating the shop's tables", "Starting cdc-tail"]
)
def test_an_interrupt_leaves_nothing_behind(temporary: Path, last_step: str) -> None:
    process = start(temporary, "--writes", "100000", KEEP="1")
    assert process.stderr is not None
    for line in process.stderr:
        if last_step in line:
            break
    # Into the midst of the next step: a server starts, traffic runs.
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    # A second one, of an impatient person.
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=END_SECONDS)
    # Or by the signal itself, where the second one comes when all is removed: 130 to a shell, too.
    assert process.returncode in (130, -signal.SIGINT), said
    assert gone(temporary)
    assert not list(temporary.iterdir())


def test_kept_running_it_can_be_looked_at_and_stopped(temporary: Path) -> None:
    # As by a shell's `make setup-local &`: what it starts ignores Ctrl-C, too.
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(temporary, "--writes", "500", "--rate", "250", "--keep")
    finally:
        signal.signal(signal.SIGINT, former)
    found = finished(process)
    url = found["where"]["status page"].rstrip("/")
    assert (ask_process(url) or {})["state"] == "live"
    with psycopg.connect(found["where"]["psql"].removeprefix("psql ")) as conn:
        row = conn.execute("SELECT count(*) FROM shop.customers").fetchone()
    rows = {table["relation"]: table["rows"] for table in found["tables"]}
    assert row == (rows['"shop"."customers"'],)
    subprocess.run(found["stop"].split(), check=True, timeout=END_SECONDS)
    assert ask_process(url) is None
    assert gone(temporary)
    assert not list(temporary.iterdir())


def test_without_a_network_recorded_segments_take_the_place(
    temporary: Path, tmp_path: Path
) -> None:
    nowhere = "http://127.0.0.1:1"
    process = start(
        temporary, CDC_TAIL_CACHE=str(tmp_path), HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere
    )
    found = finished(process)
    assert found["recorded"]
    assert found["equal"]
    assert {table["relation"] for table in found["tables"]} == TABLES
    assert found["events"] >= found["writes"]
    assert gone(temporary)
