"""Three sidecars whose nodes hold the same changes, as replicas do, over one database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.shop import Shop
from cdc_tail.local.traffic import run_traffic
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

WRITES = 1500
SEED = 11


def test_all_write_the_same_rows_while_the_schema_changes(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    database: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    shop = Shop(space.session, space.name, seed=SEED)
    shop.create()
    settings = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    replicas = [
        Sidecar(space.node, database, tmp_path, name=f"replica{number}", settings=settings)
        for number in range(3)
    ]
    with ExitStack() as stack:
        for replica in replicas:
            stack.enter_context(replica)
        for replica in replicas:
            replica.wait_live()
        execute = space.session.execute
        # The traffic adds a column to `customers`; tables come and go besides, and values expire.
        done = threading.Event()

        def change_tables() -> None:
            number = 0
            while not done.is_set():
                execute(f"ALTER TABLE inventory ADD extra_{number} int")
                execute(f"CREATE TABLE t_{number} (k int PRIMARY KEY, v int) WITH cdc = true")
                execute(f"INSERT INTO t_{number} (k, v) VALUES (1, 1) USING TTL 1")
                execute(f"INSERT INTO t_{number} (k, v) VALUES (2, 2)")
                # In the same moment as traffic on other tables, whose locks it must not cross.
                if number % 4 == 0:
                    time.sleep(0.01)
                    execute(f"TRUNCATE t_{number}")
                if number % 2:
                    execute(f"DROP TABLE t_{number - 1}")
                number += 1
                done.wait(0.3)

        changing = threading.Thread(target=change_tables)
        changing.start()
        try:
            report = run_traffic(shop, writes_per_second=400, writes=WRITES)
        finally:
            done.set()
            changing.join()
        # A busy node lets some time out, which may be in its log all the same.
        assert report.acknowledged > WRITES // 2
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert len(rows) > 4
        for replica in replicas:
            assert_settled(replica)
        deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert one_value(database, deadlocks) == 0
        assert_mirror_equals_select(space.node, space.name, database)
        counted = "SELECT count(DISTINCT mutations) FROM cdc_tail.checkpoint"
        wait_until(lambda: one_value(database, counted) == 1, "\n".join(map(str, replicas)))


def assert_settled(sidecar: Sidecar) -> None:
    """It has seen the traffic, and nothing was in its way."""
    wait_until(lambda: sidecar.status()["mutations_since_start"] > WRITES // 2, sidecar)
    status = sidecar.status()
    assert status["state"] == "live" and status["error"] is None, sidecar
    assert status["dead_letters"] == 0, sidecar
