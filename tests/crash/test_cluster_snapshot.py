"""Three nodes, RF=3: tables are copied at ALL and at LOCAL_QUORUM while all of them are written to.

CDC_TAIL_TEST_SEED chooses what is written.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cassandra import ConsistencyLevel

from cdc_tail.local.cassandra_cluster import CassandraCluster
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer
from tests.support.cluster_traffic import Traffic, cluster_session
from tests.support.live import assert_mirror_equals_select
from tests.support.sidecar import Sidecar

SEED = int(os.environ.get("CDC_TAIL_TEST_SEED", random.randrange(1 << 32)))
LEVELS = ("ALL", "LOCAL_QUORUM")
PARTITIONS = 150
ROWS = 3_000  # of each table, before the log is read
SETTLE_SECONDS = 180


def statements(chance: random.Random) -> Iterator[str]:
    """Writes of every kind to all of the tables, without end; no list and no timestamp of ours.

    See docs/snapshot.md for what a copy can't know of these.
    """
    while True:
        table = f"by_{chance.choice(LEVELS).lower()}"
        p, c, value = chance.randrange(PARTITIONS), chance.randrange(60), chance.randrange(1000)
        where = f"WHERE p = {p} AND c = {c}"
        yield chance.choice(
            (
                f"INSERT INTO {table} (p, c, a, b, s) VALUES ({p}, {c}, {value}, 'b', {{{c}}})",
                f"INSERT INTO {table} (p, c, m) VALUES ({p}, {c}, {{'x': {value}, 'y': 0}})",
                f"INSERT INTO {table} (p, c, a) VALUES ({p}, {c}, {value})",
                f"INSERT INTO {table} (p, st) VALUES ({p}, 'st{value}')",
                f"UPDATE {table} SET a = {value}, s = s + {{{value % 7}}} {where}",
                f"UPDATE {table} SET m['y'] = {value}, s = s - {{{c}}} {where}",
                f"UPDATE {table} SET b = null, m = {{'z': 1}} {where}",
                f"DELETE a FROM {table} {where}",
                f"DELETE FROM {table} {where}",
                f"DELETE FROM {table} WHERE p = {p} AND c > {40 + value % 20}",
            )
        )


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_copy_of_three_nodes_while_they_are_written_to(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    options = NodeOptions(commitlog_segment_size_mib=1, heap_mib=448)
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer())
        cluster = stack.enter_context(CassandraCluster(options=options))
        session = stack.enter_context(cluster_session(cluster))
        session.execute(
            "CREATE KEYSPACE copied WITH replication ="
            " {'class': 'SimpleStrategy', 'replication_factor': 3}"
        )
        session.set_keyspace("copied")
        for level in LEVELS:
            session.execute(
                f"CREATE TABLE by_{level.lower()} (p int, c int, a int, b text, s set<int>,"
                " m map<text, int>, st text static, PRIMARY KEY (p, c))"
            )
        write = statements(chance)
        for _ in range(ROWS * len(LEVELS) // 100):
            for future in [session.execute_async(next(write)) for _ in range(100)]:
                future.result()
        settings = {"mirror.include": "copied.*", "snapshot.tables": "never"}
        sidecars = [
            Sidecar(node, server.dsn, tmp_path, name=f"node{number}", settings=settings)
            for number, node in enumerate(cluster)
        ]
        for sidecar in sidecars:
            stack.enter_context(sidecar)
        for sidecar in sidecars:
            sidecar.wait_live()
        # From here on all is in the logs, and nothing before.
        for level in LEVELS:
            session.execute(f"ALTER TABLE by_{level.lower()} WITH cdc = true")
        traffic = Traffic(session, write)
        with traffic.going_on():
            traffic.wait_for(100)
            for sidecar, level in zip(sidecars, LEVELS, strict=False):
                sidecar.settings |= {"snapshot.consistency": level, "snapshot.page_rows": 50}
                done = sidecar.command(
                    "snapshot", "--json", "--table", f"copied.by_{level.lower()}"
                )
                assert done.returncode == 0, done.stderr
                told = json.loads(done.stdout)
                print(f"{level}: {told['rows']} rows, {traffic.acknowledged} writes so far")
                assert told["is_finished"] and told["rows"] > ROWS // 10
            traffic.wait_for(100)
        assert traffic.failed == 0
        rows = assert_mirror_equals_select(
            cluster.nodes[0],
            "copied",
            server.dsn,
            settle_seconds=SETTLE_SECONDS,
            consistency=ConsistencyLevel.ALL,
        )
        assert all(count > ROWS // 10 for count in rows.values())
        for sidecar in sidecars:
            status = sidecar.status()
            assert status["dead_letters"] == status["parked"] == status["lost_segments"] == 0
            assert sidecar.stop() == 0, sidecar
