"""Writes to a cluster at QUORUM that go on while its nodes fall and come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from cassandra import ConsistencyLevel, DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
from cassandra.policies import ConstantReconnectionPolicy, RoundRobinPolicy

from cdc_tail.local.cassandra_cluster import CassandraCluster
from tests.support.sidecar import wait_until

PAUSE_SECONDS = 0.005


class Traffic:
    """Statements by whichever nodes are up; those that fail may have been made."""

    def __init__(self, session: Any, statements: Iterator[str]) -> None:
        """`statements` never end."""
        self.acknowledged = 0
        self.failed = 0
        self._session = session
        self._statements = statements

    @contextmanager
    def going_on(self) -> Iterator[None]:
        done = threading.Event()

        def run() -> None:
            for statement in self._statements:
                if done.wait(PAUSE_SECONDS):
                    return
                try:
                    self._session.execute(statement)
                    self.acknowledged += 1
                except (DriverException, NoHostAvailable):
                    self.failed += 1

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run)
            try:
                yield
            finally:
                done.set()
                running.result()

    def wait_for(self, writes: int) -> None:
        wanted = self.acknowledged + writes
        wait_until(lambda: self.acknowledged >= wanted, f"{self.failed} writes failed", 120)


@contextmanager
def cluster_session(cluster: CassandraCluster) -> Iterator[Any]:
    """A session that outlives its nodes, writing at QUORUM by any that is up."""
    profile = ExecutionProfile(
        load_balancing_policy=RoundRobinPolicy(),
        consistency_level=ConsistencyLevel.QUORUM,
        request_timeout=20,
    )
    driver = Cluster(
        [node.address for node in cluster],
        port=cluster.nodes[0].native_port,
        protocol_version=5,
        connect_timeout=30,
        control_connection_timeout=30,
        idle_heartbeat_timeout=60,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(1, None),
    )
    try:
        yield driver.connect()
    finally:
        driver.shutdown()
