"""Random histories on a real node: the mirror of its log is what its SELECT gives.

A seed makes tables and statements; a failure names it. Tombstones, TTLs, ties and stale writes of
every kind collide on few keys.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random
from typing import Any

import psycopg
import pytest
from cassandra import InvalidRequest

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.schema_source import read_schema
from sinks.postgres import pages
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.mirrored import differing
from tests.support.node_log import Logged, Node, mutations_of
from tests.support.oracle import raw_session, read_table
from tests.support.random_cql import TYPES, RandomTable, random_statements, random_tables

TABLES = 8
STATEMENTS = 500
TINY = 7
LONGEST_SHORT_TTL_SECONDS = 2
SEEDS = [int(seed) for seed in os.environ.get("CDC_TAIL_TEST_SEEDS", "1 2").split()]
SERIES = os.environ.get("CDC_TAIL_TEST_SERIES", "5.0").split()


class History:
    """A keyspace under random writes, and what its SELECT gives."""

    def __init__(self, keyspace: Keyspace, tables: list[RandomTable]) -> None:
        self.keyspace = keyspace
        self.tables = tables
        for statement in (*TYPES, *(table.cql for table in tables)):
            keyspace.session.execute(statement)

    def write(self, count: int) -> None:
        for statement in random_statements(self.tables, count):
            try:
                self.keyspace.session.execute(statement)
            except InvalidRequest as error:
                raise AssertionError(statement) from error

    def truncate(self, table: RandomTable) -> None:
        self.keyspace.session.execute(f"TRUNCATE {table.name}")

    @property
    def log(self) -> list[Logged]:
        """What stands in cdc_raw now."""
        return mutations_of(sorted(self.keyspace.node.cdc_raw.glob("*.log")), live=True)

    def selected(self) -> tuple[int, dict[str, Any]]:
        """The second and the tables, once the short TTLs are over."""
        time.sleep(LONGEST_SHORT_TTL_SECONDS + 1)
        raw = raw_session(self.keyspace.node)
        found = {}
        for table in self.tables:
            id_row = self.keyspace.session.execute(
                "SELECT id FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s",
                (self.keyspace.name, table.name),
            ).one()
            read = read_table(raw, self.keyspace.name, table.name)
            found[table.name] = read | {"id": str(id_row.id)}
        return int(time.time()), found


@pytest.fixture(params=SERIES)
def node(request: pytest.FixtureRequest, cassandra_node: NodeFactory) -> CassandraNode:
    return cassandra_node(request.param)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_mirror_is_what_select_gives(
    seed: int,
    node: CassandraNode,
    keyspace: Callable[[CassandraNode], Keyspace],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "ROWS_AT_ONCE", 3)
    tables = random_tables(seed, TABLES)
    # A log that is read later than another keeps what the future wrote before a TRUNCATE.
    truncated = tables[::2]
    for table in truncated:
        table.writetimes_us = table.writetimes_us[:-1]
    history = History(keyspace(node), tables)
    history.write(STATEMENTS)
    now_s, expected = history.selected()
    mutations = history.log
    only = {history.keyspace.name}
    with Node(database, now_s, max_events=TINY, keyspaces=only) as in_order:
        in_order.learn_cluster(read_schema(history.keyspace.session))
        in_order.take(mutations)
        assert_equal(database, expected, in_order)
    for table in truncated:
        history.truncate(table)
    history.write(STATEMENTS // 5)
    now_s, expected = history.selected()
    mutations = history.log
    with Node(database, now_s, max_events=TINY, keyspaces=only) as shuffled:
        shuffled.learn_cluster(read_schema(history.keyspace.session))
        shuffled.take(Random(seed).sample(mutations, len(mutations)))
        assert_equal(database, expected, shuffled)


def assert_equal(dsn: str, expected: dict[str, Any], node: Node) -> None:
    assert not node.rejections
    with psycopg.connect(dsn) as connection:
        assert differing(connection, expected) == {}
