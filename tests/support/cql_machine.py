"""A Hypothesis state machine: whatever is said to a table in CQL, its mirror is what SELECT gives.

Rules write, alter, truncate and drop on a real node. In the end the node's log is applied in one of
the ways of history_run.py, and what differs is an error that Hypothesis makes as short as it can.
"""

from __future__ import annotations

import time
from itertools import count
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import PostgresServer
from tests.support import history_run
from tests.support.history_run import WAYS, Bundle, Way
from tests.support.kept_log import KeptLog
from tests.support.oracle import raw_session
from tests.support.random_cql import TYPES, execute
from tests.support.random_history import LivingTable

STEPS = 25
_RANDOM = st.randoms(use_true_random=False)
_numbers = count(1)


class Servers:
    """The node and the database server of all examples, with sessions of the node."""

    def __init__(self, node: CassandraNode, postgres: PostgresServer) -> None:
        self.log = KeptLog(node)
        self.postgres = postgres
        self.session = node.session(schema_metadata_enabled=False, token_metadata_enabled=False)
        self.raw = raw_session(node)

    def close(self) -> None:
        """Close the sessions."""
        for session in (self.session, self.raw):
            session.cluster.shutdown()


class Mirroring(RuleBasedStateMachine):
    """One keyspace with one or two tables, and perhaps one that counts."""

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self.servers = servers
        self.keyspace = f"machine_{next(_numbers)}"
        self.statements: list[str] = []
        self.tables: list[LivingTable] = []
        self.fields = 0
        self.before = servers.log.end()
        history_run.make_keyspace(servers.session, self.keyspace)

    @initialize(
        rng=_RANDOM,
        tables=st.integers(1, 2),
        counts=st.booleans(),
        short_ttls=st.booleans(),
        way=st.sampled_from(WAYS),
        seed=st.integers(0, 1 << 16),
    )
    def create(
        self, rng: Random, tables: int, counts: bool, short_ttls: bool, way: Way, seed: int
    ) -> None:
        self.way = way
        self.seed = seed
        self.short_ttls = short_ttls
        for statement in TYPES:
            self._execute(statement)
        for number in range(tables):
            self._create(rng, f"t{number}")
        if counts:
            self._create(rng, "counts", counter=True)

    @rule(rng=_RANDOM, number=st.integers(0, 2), writes=st.integers(1, 4))
    def write(self, rng: Random, number: int, writes: int) -> None:
        table = self._table(rng, number)
        for _ in range(writes):
            self._execute(table.statement())

    @rule(rng=_RANDOM)
    def write_to_all(self, rng: Random) -> None:
        plain = [table for table in self.tables if not table.counter]
        for table in plain:
            table.rng = rng
        writes = [table.write() for table in plain]
        self._execute(f"BEGIN BATCH {'; '.join(writes)}; APPLY BATCH")

    @rule(rng=_RANDOM, number=st.integers(0, 2))
    def change(self, rng: Random, number: int) -> None:
        self._execute(self._table(rng, number).change())

    @rule()
    def add_field(self) -> None:
        if self._execute(f"ALTER TYPE point ADD f{self.fields + 1} int"):
            self.fields += 1

    @precondition(lambda self: self.fields)
    @rule()
    def rename_field(self) -> None:
        if self._execute(f"ALTER TYPE point RENAME f{self.fields} TO f{self.fields + 1}"):
            self.fields += 1

    @rule(rng=_RANDOM)
    def create_again(self, rng: Random) -> None:
        dropped = self.tables.pop(0)
        self._execute(f"DROP TABLE {dropped.name}")
        self._create(rng, dropped.name, counter=dropped.counter)

    def teardown(self) -> None:
        """Apply the log and compare."""
        servers = self.servers
        if any(f" TTL {s}" in one for one in self.statements for s in (1, 2)) or any(
            "default_time_to_live = 2" in one for one in self.statements
        ):
            time.sleep(history_run.SHORT_TTL_SECONDS + 1)
        tables = history_run.select_all(servers.session, servers.raw, self.keyspace)
        bundle = Bundle(
            [self],
            now_s=int(time.time()),
            tables=tables,
            log=servers.log.after(self.before),
        )
        servers.session.execute(f"DROP KEYSPACE {self.keyspace}")
        found = history_run.differences(bundle, servers.postgres, self.way, self.seed)
        assert not found, "\n".join([*found, *(f"{one};" for one in self.statements)])

    def _table(self, rng: Random, number: int) -> LivingTable:
        table = self.tables[number % len(self.tables)]
        table.rng = rng
        return table

    def _create(self, rng: Random, name: str, *, counter: bool = False) -> None:
        table = LivingTable(rng, name, counter=counter, short_ttls=self.short_ttls)
        self.tables.append(table)
        self._execute(table.cql)

    def _execute(self, statement: str) -> bool:
        self.statements.append(statement)
        is_done = execute(self.servers.session, statement)
        self.servers.log.keep()
        return is_done


def machine_settings(examples: int, **more: Any) -> settings:
    """Settings for so many examples; each takes a second or more, whatever the machine."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
