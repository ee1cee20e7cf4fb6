"""Three nodes, RF=3, three sidecars into one database: nodes and sidecars fall and come back.

CDC_TAIL_ROUNDS (4) says how often, CDC_TAIL_TEST_SEED what is written and what falls.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cassandra import ConsistencyLevel

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_cluster import CassandraCluster
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer
from tests.support.cluster_traffic import Traffic, cluster_session
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.random_cql import TYPES, random_statements, random_tables
from tests.support.sidecar import Sidecar
from tests.tools.repair import repair

ROUNDS = int(os.environ.get("CDC_TAIL_ROUNDS", "4"))
SEED = int(os.environ.get("CDC_TAIL_TEST_SEED", random.randrange(1 << 32)))
TABLES = 8
SETTLE_SECONDS = 180
SHORT_TTL_SECONDS = 3


class Faults:
    """What befalls a cluster and its sidecars while it is written to."""

    def __init__(
        self, cluster: CassandraCluster, sidecars: list[Sidecar], traffic: Traffic, keyspace: str
    ) -> None:
        self._cluster = cluster
        self._sidecars = sidecars
        self._traffic = traffic
        self._keyspace = keyspace

    def node_killed(self, number: int) -> None:
        self._down(self._cluster.nodes[number], CassandraNode.kill)

    def node_stopped(self, number: int) -> None:
        self._down(self._cluster.nodes[number], CassandraNode.stop)

    def _down(self, node: CassandraNode, end: Any) -> None:
        end(node)
        self._traffic.wait_for(200)  # the others keep hints for it
        node.start(timeout_seconds=300)
        self._cluster.wait_until_joined()

    def sidecar_killed(self, number: int) -> None:
        self._sidecars[number].kill()
        self._traffic.wait_for(300)
        self._sidecars[number].start()

    def repaired(self, number: int) -> None:
        assert "COMPLETED" in repair(self._cluster.nodes[number], self._keyspace)


@pytest.mark.long
@pytest.mark.timeout(900 + 180 * ROUNDS)
def test_three_nodes_and_three_sidecars(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    options = NodeOptions(
        commitlog_segment_size_mib=1,
        heap_mib=448,
        # A node that was away hears of it within seconds, not minutes.
        yaml={"hints_flush_period": "1s", "cdc_total_space": "512MiB"},
    )
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer())
        cluster = stack.enter_context(CassandraCluster(options=options))
        session = cluster.nodes[0].session(idle_heartbeat_timeout=120)
        session.execute(
            "CREATE KEYSPACE shared WITH replication ="
            " {'class': 'SimpleStrategy', 'replication_factor': 3}"
        )
        # What one node alone has and forgets when it is killed is in no SELECT: see `read`.
        settings = {"mirror.include": "shared.*", "watch.read": "marked"}
        sidecars = [
            Sidecar(node, server.dsn, tmp_path, name=f"node{number}", settings=settings)
            for number, node in enumerate(cluster)
        ]
        for sidecar in sidecars:
            stack.enter_context(sidecar)
        session.set_keyspace("shared")
        tables = random_tables(SEED, TABLES)
        for statement in (*TYPES, *(table.cql for table in tables)):
            session.execute(statement)
        writing = stack.enter_context(cluster_session(cluster))
        writing.set_keyspace("shared")
        traffic = Traffic(writing, random_statements(tables, 1 << 30))
        faults = Faults(cluster, sidecars, traffic, "shared")
        kinds = [faults.node_killed, faults.node_stopped, faults.sidecar_killed, faults.repaired]
        with traffic.going_on():
            traffic.wait_for(200)
            for number in range(ROUNDS):
                fault = kinds[number % len(kinds)]
                which = chance.randrange(3)
                began = time.monotonic()
                fault(which)
                print(f"{fault.__name__} {which}: {time.monotonic() - began:.0f} s")
                traffic.wait_for(100)
        time.sleep(SHORT_TTL_SECONDS)
        print(f"{traffic.acknowledged} writes, {traffic.failed} failed")
        rows = assert_mirror_equals_select(
            cluster.nodes[0],
            "shared",
            server.dsn,
            settle_seconds=SETTLE_SECONDS,
            consistency=ConsistencyLevel.ALL,
        )
        assert len(rows) == TABLES and sum(rows.values()) > 0
        for sidecar in sidecars:
            sidecar.wait_live()
            status = sidecar.status()
            assert status["dead_letters"] == status["parked"] == status["lost_segments"] == 0
            assert status["forgotten_mutations"] == 0
        deadlocks = "SELECT sum(deadlocks)::int FROM pg_stat_database"
        assert one_value(server.dsn, deadlocks) == 0
        for sidecar in sidecars:
            assert sidecar.stop() == 0, sidecar
