"""The process killed at every named place of the way from segment to discard, and started again.

Each time the mirror equals Cassandra afterwards, and every mutation was counted once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from cdc_tail.failpoints import FAILPOINTS
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.ports import free_ports
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.segments import REMEMBERED
from sinks.postgres.writes import PIPELINED_ROWS
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

SEED = int(os.environ.get("CDC_TAIL_TEST_SEED", random.randrange(1 << 32)))
DIES_WITHIN_SECONDS = 120
PADDING = "x" * 30_000
# Places that every batch passes: killed there at one of the first visits. Others at the first.
OFTEN = (
    "batch.",
    "sink.locked",
    "sink.read",
    "sink.inserted",
    "checkpoint.",
    "commit.b",
    "commit.af",
)


class Writes:
    """Random writes of a keyspace's one table, counted as mutations."""

    def __init__(self, space: Keyspace) -> None:
        self.space = space
        self.mutations = 0
        self._random = random.Random(SEED)
        self._columns = 0
        self._partitions = 0
        self._turn = threading.Lock()
        space.session.execute(
            "CREATE TABLE t (k int, c int, v text, s int static, m map<int, int>,"
            " PRIMARY KEY (k, c)) WITH cdc = true"
        )

    def write(self, cql: str) -> None:
        with self._turn:
            self.space.session.execute(cql)
            self.mutations += 1

    def any(self) -> None:
        k, c, n = (self._random.randrange(size) for size in (8, 20, 1000))
        self.write(
            self._random.choices(
                (
                    f"INSERT INTO t (k, c, v) VALUES ({k}, {c}, 'v{n}')",
                    f"UPDATE t SET m[{n % 5}] = {n}, s = {n} WHERE k = {k} AND c = {c}",
                    f"INSERT INTO t (k, c, v) VALUES ({k}, {c}, 'soon') USING TTL 1",
                    f"DELETE FROM t WHERE k = {k} AND c = {c}",
                    f"DELETE FROM t WHERE k = {k} AND c > {c}",
                    f"DELETE FROM t WHERE k = {k}",
                ),
                (8, 6, 2, 2, 1, 1),
            )[0]
        )

    def fill(self) -> None:
        """Complete the segment that is written to."""
        for n in range(40):
            self.write(f"INSERT INTO t (k, c, v) VALUES (100, {n}, '{PADDING}')")

    def many(self) -> None:
        """New rows in one mutation, and so in one batch, that go by COPY."""
        self._partitions += 1
        k = 1000 + self._partitions
        rows = (f"INSERT INTO t (k, c) VALUES ({k}, {c});" for c in range(2 * PIPELINED_ROWS))
        self.write(f"BEGIN UNLOGGED BATCH {' '.join(rows)} APPLY BATCH")

    def refused(self) -> None:
        """A value that PostgreSQL can't hold, and then one that it can."""
        self.write("INSERT INTO t (k, c, v) VALUES (200, 1, 'nothing\0')")
        self.write("INSERT INTO t (k, c, v) VALUES (200, 1, 'something')")

    def truncate(self) -> None:
        # Cassandra truncates by position, the mirror by writetime: no write in the same moment.
        with self._turn:
            time.sleep(0.01)
            self.space.session.execute("TRUNCATE t")
            time.sleep(0.01)

    def alter(self) -> None:
        self._columns += 1
        self.space.session.execute(f"ALTER TABLE t ADD a{self._columns} int")

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Random writes in a thread while the block runs."""
        done = threading.Event()

        def run() -> None:
            while not done.wait(0.005):
                self.any()

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run)
            try:
                yield
            finally:
                done.set()
                running.result()


Provoke = Callable[[Writes, Sidecar], None]
PROVOKED: Final[dict[str, Provoke]] = {
    "sink.copying": lambda writes, _: writes.many(),
    "sink.copied": lambda writes, _: writes.many(),
    "discard.before": lambda writes, _: writes.fill(),
    "discard.log": lambda writes, _: writes.fill(),
    "discard.after": lambda writes, _: writes.fill(),
    "commit.dead_letters": lambda writes, _: writes.refused(),
    "commit.truncated": lambda writes, _: writes.truncate(),
    "commit.schema": lambda writes, _: writes.alter(),
    "lease.released": lambda _, sidecar: os.kill(sidecar.pid, signal.SIGTERM),
}
# They come about while nothing is written, or by their own test below.
QUIET: Final = {"lease.renewed"}
PARKING: Final = ("commit.parked", "commit.unparked")


@contextmanager
def node_of_small_segments() -> Iterator[Writes]:
    options = NodeOptions(commitlog_segment_size_mib=1, heap_mib=640)
    with CassandraNode("5.0", options=options) as node:
        yield Writes(Keyspace.create(node, "failpoints"))


@pytest.fixture(scope="module")
def writes() -> Iterator[Writes]:
    with node_of_small_segments() as found:
        yield found


@pytest.fixture
def writes_of_its_own() -> Iterator[Writes]:
    """For a test that lets another sidecar delete segments, which the others would miss."""
    with node_of_small_segments() as found:
        yield found


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as started:
        yield started


@pytest.fixture(scope="module")
def sidecar(
    writes: Writes, server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Sidecar:
    settings = {"mirror.include": "failpoints.*", "lease.ttl_seconds": 6}
    folder = tmp_path_factory.mktemp("sidecar")
    return Sidecar(writes.space.node, server.dsn, folder, settings=settings)


def dies(sidecar: Sidecar) -> None:
    """It ends, by SIGKILL."""
    assert sidecar.wait(DIES_WITHIN_SECONDS) == -signal.SIGKILL, sidecar


def remember_too_many(dsn: str, node: str) -> None:
    """More finished segments than are remembered: the next commit forgets the oldest."""
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO cdc_tail.segment SELECT %s, n, 0, true, true"
            " FROM generate_series(1, %s) AS n ON CONFLICT DO NOTHING",
            (node, REMEMBERED + 100),
        )


def is_live_or_gone(sidecar: Sidecar) -> bool:
    """It has read all there was; or it met its end on the way."""
    if not sidecar.is_running:
        return True
    code, body = sidecar.get("/status")
    return code == 200 and json.loads(body)["state"] == "live"


def check(writes: Writes, dsn: str, sidecar: Sidecar) -> None:
    """Started again, the mirror equals SELECT, all is counted once, and it ends in order."""
    with sidecar:
        sidecar.wait_live()
        assert_mirror_equals_select(writes.space.node, "failpoints", dsn)
        counted = "SELECT mutations FROM cdc_tail.checkpoint"
        wait_until(lambda: one_value(dsn, counted) >= writes.mutations, sidecar)
        assert one_value(dsn, counted) == writes.mutations, sidecar
        assert one_value(dsn, "SELECT coalesce(max(seen), 1) FROM cdc_tail.dead_letter") == 1
        assert one_value(dsn, "SELECT count(*) FROM cdc_tail.parked") == 0
        status = sidecar.status()
        assert status["lost_segments"] == 0 and status["error"] is None, sidecar
        assert sidecar.stop() == 0, sidecar


@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", dict.fromkeys(name.split(".")[0] for name in FAILPOINTS))
def test_killed_at_every_place(
    step: str, writes: Writes, server: PostgresServer, sidecar: Sidecar
) -> None:
    chance = random.Random(SEED)
    places = [name for name in FAILPOINTS if name.startswith(f"{step}.") and name not in PARKING]
    for place in places:
        visit = chance.randint(1, 4) if place.startswith(OFTEN) else 1
        print(f"seed {SEED}: {place}@{visit}")
        if place == "commit.forgotten":
            remember_too_many(server.dsn, sidecar.name)
        sidecar.start(f"{place}@{visit}")
        if place in QUIET:
            dies(sidecar)
            continue
        with writes.going_on():
            if place in PROVOKED:
                wait_until(lambda: is_live_or_gone(sidecar), sidecar)
                PROVOKED[place](writes, sidecar)
            dies(sidecar)
    check(writes, server.dsn, sidecar)


@pytest.mark.timeout(150)
def test_killed_while_mutations_are_parked_and_taken_up_again(
    writes_of_its_own: Writes, server: PostgresServer, tmp_path: Path
) -> None:
    writes = writes_of_its_own
    dsn = server.create_database("parking")
    space = Keyspace.create(writes.space.node, "parking")
    space.session.execute("CREATE TABLE u (k int PRIMARY KEY, v int) WITH cdc = true")
    row = space.session.execute(
        "SELECT id FROM system_schema.tables WHERE keyspace_name = 'parking' AND table_name = 'u'"
    ).one()

    def parked() -> int:
        asked = "SELECT count(*) FROM cdc_tail.parked WHERE table_id = %s"
        return int(one_value(dsn, asked, row.id))

    settings: dict[str, Any] = {"mirror.include": "parking.*"}
    knowing = Sidecar(space.node, dsn, tmp_path, settings=settings)
    unreachable = settings | {"cassandra.port": free_ports(1)[0]}
    unknowing = Sidecar(space.node, dsn, tmp_path, settings=unreachable)
    # The log that tells of the table goes, so that only the node knows it.
    other = server.create_database("before_parking")
    writes.fill()
    with Sidecar(space.node, other, tmp_path, settings=settings | {"node": "before"}) as before:
        before.wait_live()
        writes.fill()
        wait_until(lambda: before.status()["segments_discarded"] > 0, before)
        assert before.stop() == 0
    for k in range(20):
        space.session.execute(f"INSERT INTO u (k, v) VALUES ({k}, 1)")
    unknowing.start("commit.parked")
    dies(unknowing)
    assert one_value(dsn, "SELECT count(*) FROM cdc_tail.parked") == 0
    with unknowing:
        wait_until(lambda: parked() == 20, unknowing)
        assert unknowing.stop() == 0
    knowing.start("commit.unparked")
    dies(knowing)
    assert parked() == 20
    with knowing:
        knowing.wait_live()
        assert_mirror_equals_select(space.node, "parking", dsn)
        assert one_value(dsn, "SELECT count(*) FROM cdc_tail.parked") == 0
        assert one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") == 20
        assert knowing.stop() == 0


def test_what_is_provoked_is_a_place() -> None:
    assert set(PROVOKED) | QUIET | set(PARKING) <= set(FAILPOINTS)
