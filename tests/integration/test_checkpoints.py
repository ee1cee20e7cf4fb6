"""Checkpoints and leases on a real PostgreSQL: who may write, and what a loser sees."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from cdc_tail.errors import CheckpointMoved
from checkpoints.model import SegmentProgress
from checkpoints.postgres import PostgresCheckpoints, install
from parsers.position import Position

NODE = "node-1"
STORE = PostgresCheckpoints()


def at(segment_id: int, offset: int, *, finished: bool = False) -> list[SegmentProgress]:
    return [SegmentProgress(segment_id, offset, finished)]


@pytest.fixture
def dsn(database: str) -> str:
    with psycopg.connect(database) as conn:
        install(conn)
    return database


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn) as connection:
        yield connection


@pytest.fixture
def other(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn) as connection:
        yield connection


def test_an_unknown_node_has_no_checkpoint(conn: psycopg.Connection) -> None:
    assert STORE.read(conn, NODE) is None


def test_a_fresh_lease_has_no_position(conn: psycopg.Connection) -> None:
    lease = STORE.acquire(conn, NODE, "a", 30)
    found = STORE.read(conn, NODE)
    assert found is not None
    assert lease.fencing_token == 1
    assert (found.position, found.mutations, found.lease_holder) == (None, 0, "a")


def test_position_and_counter_move_together(conn: psycopg.Connection) -> None:
    lease = STORE.acquire(conn, NODE, "a", 30)
    STORE.write(conn, lease, at(7, 100), mutations=3)
    STORE.write(conn, lease, at(7, 250, finished=True), mutations=4)
    found = STORE.read(conn, NODE)
    assert found is not None
    assert (found.position, found.mutations) == (Position(7, 250), 7)
    assert STORE.read_segments(conn, NODE) == {7: SegmentProgress(7, 250, finished=True)}


def test_a_segment_that_came_late_does_not_move_the_position_back(
    conn: psycopg.Connection,
) -> None:
    lease = STORE.acquire(conn, NODE, "a", 30)
    STORE.write(conn, lease, at(9, 50))
    STORE.write(conn, lease, [SegmentProgress(8, 70), SegmentProgress(4, 500, finished=True)])
    found = STORE.read(conn, NODE)
    assert found is not None
    assert found.position == Position(9, 50)
    segments = STORE.read_segments(conn, NODE)
    assert {key: one.offset for key, one in segments.items()} == {4: 500, 8: 70, 9: 50}
    STORE.forget_segments(conn, lease, [4])
    assert sorted(STORE.read_segments(conn, NODE)) == [8, 9]
    assert STORE.read_segments(conn, "node-2") == {}


def test_that_a_segment_holds_changes_is_not_forgotten(conn: psycopg.Connection) -> None:
    lease = STORE.acquire(conn, NODE, "a", 30)
    STORE.write(conn, lease, [SegmentProgress(1, 5, holds_changes=True)])
    STORE.write(conn, lease, [SegmentProgress(1, 9)])
    assert STORE.read_segments(conn, NODE) == {1: SegmentProgress(1, 9, holds_changes=True)}


def test_a_former_holder_cannot_make_the_present_one_forget(conn: psycopg.Connection) -> None:
    old = STORE.acquire(conn, NODE, "a", 30)
    new = STORE.acquire(conn, NODE, "b", 30)
    STORE.write(conn, new, at(1, 5))
    STORE.forget_segments(conn, old, [1])
    assert sorted(STORE.read_segments(conn, NODE)) == [1]


def test_a_rolled_back_batch_leaves_no_checkpoint(conn: psycopg.Connection) -> None:
    lease = STORE.acquire(conn, NODE, "a", 30)
    conn.commit()
    STORE.write(conn, lease, at(7, 100), mutations=3)
    conn.rollback()
    found = STORE.read(conn, NODE)
    assert found is not None
    assert (found.position, found.mutations) == (None, 0)


def test_a_second_process_is_refused_and_told_who_holds(
    conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    STORE.acquire(conn, NODE, "host:1", 30)
    conn.commit()
    with pytest.raises(CheckpointMoved, match="host:1 holds it until"):
        STORE.acquire(other, NODE, "host:2", 30)


def test_another_node_is_free(conn: psycopg.Connection, other: psycopg.Connection) -> None:
    STORE.acquire(conn, NODE, "a", 30)
    conn.commit()
    assert STORE.acquire(other, "node-2", "b", 30).fencing_token == 1


def test_a_former_holder_is_fenced_off(conn: psycopg.Connection, other: psycopg.Connection) -> None:
    old = STORE.acquire(conn, NODE, "a", 0.05)
    STORE.write(conn, old, at(7, 100), mutations=1)
    conn.commit()
    time.sleep(0.1)
    new = STORE.acquire(other, NODE, "b", 30)
    other.commit()
    assert new.fencing_token == old.fencing_token + 1
    with pytest.raises(CheckpointMoved):
        STORE.write(conn, old, at(7, 200), mutations=1)
    conn.rollback()
    with pytest.raises(CheckpointMoved):
        STORE.renew(conn, old)
    conn.rollback()
    STORE.release(conn, old)  # too late, and must not take the lease from the new holder
    conn.commit()
    STORE.write(other, new, at(7, 300), mutations=1)
    other.commit()
    found = STORE.read(conn, NODE)
    assert found is not None
    assert (found.position, found.mutations) == (Position(7, 300), 2)


def test_a_takeover_waits_for_the_commit_in_flight_and_sees_it(
    conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    old = STORE.acquire(conn, NODE, "a", 0.05)
    conn.commit()
    time.sleep(0.1)
    # The late commit extends the lease, so the taker that waited for it must be refused.
    STORE.write(conn, old, at(7, 100), mutations=1)
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(STORE.acquire, other, NODE, "b", 30)
        time.sleep(0.2)
        assert not taken.done()
        time.sleep(0.1)
        conn.commit()
        assert taken.result(5).fencing_token == 2
    found = STORE.read(other, NODE)
    assert found is not None
    assert found.position == Position(7, 100)


def test_a_commit_extends_the_lease(conn: psycopg.Connection, other: psycopg.Connection) -> None:
    lease = STORE.acquire(conn, NODE, "a", 1)
    conn.commit()
    time.sleep(0.6)
    STORE.write(conn, lease, at(7, 100))
    conn.commit()
    time.sleep(0.6)
    with pytest.raises(CheckpointMoved):
        STORE.acquire(other, NODE, "b", 1)


def test_a_released_lease_is_free_at_once(
    conn: psycopg.Connection, other: psycopg.Connection
) -> None:
    lease = STORE.acquire(conn, NODE, "a", 3600)
    STORE.release(conn, lease)
    conn.commit()
    assert STORE.acquire(other, NODE, "b", 3600).fencing_token == 2
    with pytest.raises(CheckpointMoved):
        STORE.write(conn, lease, at(1, 1))


def test_a_released_lease_cannot_be_written_by_its_former_holder(
    conn: psycopg.Connection,
) -> None:
    lease = STORE.acquire(conn, NODE, "a", 3600)
    STORE.release(conn, lease)
    conn.commit()
    with pytest.raises(CheckpointMoved, match="nobody holds it now"):
        STORE.write(conn, lease, at(1, 1))


def test_a_reconnect_keeps_the_token(dsn: str, other: psycopg.Connection) -> None:
    with psycopg.connect(dsn) as first:
        lease = STORE.acquire(first, NODE, "a", 3600)
    with psycopg.connect(dsn) as second:
        STORE.renew(second, lease)
        second.commit()
        with pytest.raises(CheckpointMoved):  # the renewed lease is bound to the new session
            STORE.acquire(other, NODE, "b", 3600)
        other.rollback()
        STORE.write(second, lease, at(1, 1))


_HOLD = """
import sys, psycopg, time
from checkpoints.model import SegmentProgress
from checkpoints.postgres import PostgresCheckpoints
conn = psycopg.connect(sys.argv[1])
PostgresCheckpoints().acquire(conn, "node-1", "victim", 3600)
conn.commit()
print("held", flush=True)
time.sleep(600)
"""


def test_the_lease_of_a_killed_process_is_free_long_before_it_expires(
    dsn: str, conn: psycopg.Connection
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, dsn], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CheckpointMoved):
            STORE.acquire(conn, NODE, "next", 30)
        conn.rollback()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    deadline = time.monotonic() + 10
    while True:
        try:
            lease = STORE.acquire(conn, NODE, "next", 30)
            break
        except CheckpointMoved:
            conn.rollback()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert lease.fencing_token == 2


def test_of_many_that_want_it_one_gets_it(dsn: str) -> None:
    start = threading.Barrier(8)

    def want(index: int) -> int | None:
        with psycopg.connect(dsn) as connection:
            start.wait()
            try:
                token = STORE.acquire(connection, NODE, f"p{index}", 3600).fencing_token
                connection.commit()
            except CheckpointMoved:
                connection.rollback()  # a refusal holds the row's lock until then
                token = None
            start.wait()  # keep the session, and with it the lease, until all have tried
            return token

    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(want, range(8)))
    assert sorted(token for token in tokens if token) == [1]


def test_autocommit_is_refused(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as loose:
        lease = STORE.acquire(loose, NODE, "a", 30)
        with pytest.raises(ValueError, match="inside a transaction"):
            STORE.write(loose, lease, at(1, 1))
        with loose.transaction():
            STORE.write(loose, lease, at(1, 1))


def test_many_sidecars_install_at_once(database: str) -> None:
    def run(_: int) -> None:
        with psycopg.connect(database) as connection:
            install(connection)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
