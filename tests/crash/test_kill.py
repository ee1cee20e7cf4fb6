"""Kills during live traffic: of the sidecar, of PostgreSQL, of their connection.

However it goes, the mirror equals Cassandra at the end, and every mutation was counted once.
CDC_TAIL_KILLS (10) says how often, CDC_TAIL_TEST_SEED when.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pytest

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.local.shop import Shop
from cdc_tail.local.traffic import Acknowledged, run_traffic
from sinks.postgres.writes import PIPELINED_ROWS
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.proxy import Proxy
from tests.support.sidecar import Sidecar, wait_until

KILLS = int(os.environ.get("CDC_TAIL_KILLS", "10"))
SEED = int(os.environ.get("CDC_TAIL_TEST_SEED", random.randrange(1 << 32)))
WRITES_PER_SECOND = 300
DRAIN_SECONDS = 60


class Traffic:
    """The shop's random writes in a thread while the `with` block runs; a column is added soon."""

    def __init__(self, node: CassandraNode, keyspace: str) -> None:
        self._session = node.session()
        self.shop = Shop(self._session, keyspace, seed=SEED)
        self.shop.create()
        self.mutations = 0
        self.large = 0  # mutations, of our own
        self.writes = 0
        self._stop = threading.Event()
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def _note(self, done: Acknowledged) -> None:
        # A new order is a logged batch of two: the order and its lines.
        self.mutations += 2 if (done.write.table, done.write.kind) == ("orders", "insert") else 1
        self.writes += 1

    def _run(self) -> None:
        while not self._stop.is_set():
            report = run_traffic(
                self.shop,
                writes_per_second=WRITES_PER_SECOND,
                writes=WRITES_PER_SECOND,
                on_acknowledged=self._note,
                stop=self._stop,
            )
            assert not report.failures, report.failures

    def write_large(self) -> None:
        """One mutation whose rows are so many that they go by COPY."""
        order = uuid.UUID(int=self.large + 1)
        lines = (
            f"INSERT INTO {self.shop.keyspace}.order_lines (order_id, line, sku)"
            f" VALUES ({order}, {line}, 'sku {line}');"
            for line in range(3 * PIPELINED_ROWS)
        )
        self._session.execute(f"BEGIN UNLOGGED BATCH {' '.join(lines)} APPLY BATCH")
        self.large += 1

    def wait_for(self, writes: int) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted = self.writes + writes
        wait_until(lambda: self.writes >= wanted, "no traffic")

    def __enter__(self) -> Self:
        self._running = self._thread.submit(self._run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        assert self._running is not None
        self._running.result()
        self._thread.shutdown()


@pytest.fixture(scope="module")
def node() -> Iterator[CassandraNode]:
    """A node of this module alone: its segments are deleted as they are applied."""
    # A write that times out on a busy machine may have been made: then nobody knows the count.
    options = NodeOptions(
        commitlog_segment_size_mib=1, heap_mib=640, yaml={"write_request_timeout": "60s"}
    )
    with CassandraNode("5.0", options=options) as started:
        yield started


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as started:
        yield started


def check(node: CassandraNode, dsn: str, traffic: Traffic, sidecar: Sidecar) -> None:
    """The mirror equals SELECT, nothing was counted twice, and the process still ends in order."""
    sidecar.wait_live()
    rows = assert_mirror_equals_select(
        node, traffic.shop.keyspace, dsn, settle_seconds=DRAIN_SECONDS
    )
    assert len(rows) == 4 and sum(rows.values()) > 100
    counted = one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint")
    assert counted == traffic.mutations + traffic.large, f"seed {SEED}"
    assert one_value(dsn, "SELECT count(*) FROM cdc_tail.dead_letter") == 0
    assert one_value(dsn, "SELECT count(*) FROM cdc_tail.parked") == 0
    assert sidecar.status()["lost_segments"] == 0
    assert sidecar.stop() == 0


@pytest.mark.timeout(60 + 20 * KILLS)
def test_kill_9_of_the_sidecar(node: CassandraNode, server: PostgresServer, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}, {KILLS} kills")
    traffic = Traffic(node, "killed")
    sidecar = Sidecar(node, server.dsn, tmp_path, settings={"mirror.include": "killed.*"})
    with sidecar:
        with traffic:
            for _ in range(KILLS):
                # One in four while it starts, the others while it applies.
                if chance.random() < 0.75:
                    sidecar.wait_live()
                time.sleep(chance.uniform(0, 1.5))
                assert sidecar.is_running, sidecar
                sidecar.kill()
                traffic.wait_for(chance.randrange(1, WRITES_PER_SECOND // 2))
                sidecar.start()
            sidecar.wait_live()
        check(node, server.dsn, traffic, sidecar)
        assert one_value(server.dsn, "SELECT fencing_token FROM cdc_tail.checkpoint") > KILLS / 3


@pytest.mark.timeout(240)
def test_kill_of_postgres(node: CassandraNode, server: PostgresServer, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    traffic = Traffic(node, "no_database")
    sidecar = Sidecar(node, server.dsn, tmp_path, settings={"mirror.include": "no_database.*"})
    with sidecar:
        sidecar.wait_live()
        with traffic:
            for _ in range(3):
                traffic.wait_for(chance.randrange(WRITES_PER_SECOND, 2 * WRITES_PER_SECOND))
                server.kill()
                traffic.wait_for(chance.randrange(1, WRITES_PER_SECOND))
                server.start()
                wait_until(lambda: sidecar.get("/readyz")[0] == 200, sidecar)
        check(node, server.dsn, traffic, sidecar)


@pytest.fixture
def proxied(server: PostgresServer) -> Iterator[tuple[Proxy, str]]:
    """A proxy in front of the server, and the connection URI that goes through it."""
    with Proxy(server.address, server.port) as proxy:
        direct = urlsplit(server.dsn)
        through = direct.netloc.replace(f":{server.port}", f":{proxy.port}")
        yield proxy, direct._replace(netloc=through).geturl()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(lambda proxy, n: proxy.cut_after(b"COPY ", 120 + n), id="in-mid-copy"),
        pytest.param(lambda proxy, n: proxy.cut_after(b"COMMIT", 0), id="before-the-commit-ends"),
        pytest.param(lambda proxy, n: proxy.cut_answer_to(b"COMMIT"), id="commit-unanswered"),
    ],
)
def test_connection_cut(
    cut: Callable[[Proxy, int], None],
    node: CassandraNode,
    server: PostgresServer,
    proxied: tuple[Proxy, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    proxy, through = proxied
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    keyspace = f"cut_{request.node.callspec.id.replace('-', '_')}"
    traffic = Traffic(node, keyspace)
    sidecar = Sidecar(node, through, tmp_path, settings={"mirror.include": f"{keyspace}.*"})
    with sidecar:
        sidecar.wait_live()
        with traffic:
            for _ in range(5):
                traffic.wait_for(chance.randrange(50, WRITES_PER_SECOND))
                cut(proxy, chance.randrange(200))
                traffic.write_large()
                wait_until(lambda: not proxy.is_armed, sidecar)
                wait_until(lambda: sidecar.get("/readyz")[0] == 200, sidecar)
        assert proxy.cuts == 5
        check(node, server.dsn, traffic, sidecar)
