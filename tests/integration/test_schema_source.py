"""The schema of real nodes: read by the driver, described in CQL, and what each version adds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from cdc_tail.errors import SourceUnavailable
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.schema_source import read_schema, refresh_schema
from parsers.cql_file import parse_cql
from parsers.schema import Table
from parsers.schema_log import SchemaLog
from parsers.system_tables import SKIPPED_TABLE_IDS, SYSTEM_TABLES
from tests.support.keyspace import Keyspace

KeyspaceFactory = Callable[[CassandraNode], Keyspace]

EVERY_KIND = [
    "CREATE TYPE u (a int, b text)",
    "CREATE TYPE v (us list<frozen<u>>)",
    (
        'CREATE TABLE t (k1 int, k2 uuid, c text, "Üb" timeuuid, s int static, l list<frozen<v>>,'
        ' x int, "Quoted ""name""" u, m map<text, frozen<tuple<int, u>>>,'
        ' PRIMARY KEY ((k1, k2), c, "Üb"))'
        " WITH CLUSTERING ORDER BY (c DESC) AND cdc = true AND gc_grace_seconds = 77"
        " AND default_time_to_live = 5"
    ),
    "ALTER TABLE t DROP x",
    "ALTER TABLE t ADD x int",
    "ALTER TABLE t DROP s",
    "ALTER TYPE u ADD c frozen<set<int>>",
    "ALTER TABLE t RENAME c TO cc",
    "CREATE TABLE n (k int PRIMARY KEY, n counter)",
]


@pytest.fixture(params=["4.0", "4.1", "5.0"])
def node(request: pytest.FixtureRequest, cassandra_node: Any) -> CassandraNode:
    started: CassandraNode = cassandra_node(request.param)
    return started


def to_milliseconds(tables: dict[str, Table]) -> dict[str, Table]:
    """With the times of drops as system_schema keeps them; DESCRIBE has what the node remembers."""
    return {
        name: replace(
            table,
            dropped={
                key: replace(one, dropped_time_us=one.dropped_time_us // 1000 * 1000)
                for key, one in table.dropped.items()
            },
        )
        for name, table in tables.items()
    }


def test_it_is_what_describe_says(node: CassandraNode, keyspace: KeyspaceFactory) -> None:
    own = keyspace(node)
    for statement in EVERY_KIND:
        own.session.execute(statement)
    log = SchemaLog()
    changed = refresh_schema(own.session, log)
    assert {(own.name, "t"), (own.name, "n")} <= changed
    assert not log.problems
    described = "\n".join(
        row.create_statement
        for row in own.session.execute(f"DESCRIBE KEYSPACE {own.name} WITH INTERNALS")
    )
    read = {table.name: table for table in log.schema if table.keyspace == own.name}
    told = {table.name: table for table in parse_cql(described)}
    assert to_milliseconds(read) == to_milliseconds(told)
    assert set(read) == {"t", "n"}
    assert refresh_schema(own.session, log) == set(), "nothing changed meanwhile"


def test_what_is_dropped_meanwhile(node: CassandraNode, keyspace: KeyspaceFactory) -> None:
    own = keyspace(node)
    own.session.execute("CREATE TABLE t (k int PRIMARY KEY, v int, w int)")
    own.session.execute("CREATE TABLE gone (k int PRIMARY KEY)")
    log = SchemaLog()
    refresh_schema(own.session, log)
    gone = log.schema.by_name(own.name, "gone")
    own.session.execute("DROP TABLE gone")
    own.session.execute("ALTER TABLE t DROP v")
    # As a process finds it that was away for long.
    assert log.refresh(read_schema(own.session), until_us=2**62) == {
        (own.name, "gone"),
        (own.name, "t"),
    }
    assert isinstance(gone, Table)
    assert log.schema.is_dropped(gone.id)
    table = log.schema.by_name(own.name, "t")
    assert table is not None
    assert [column.name for column in table.columns] == ["k", "w"]
    assert set(table.dropped) == {b"v"}


def test_every_system_table_is_known(node: CassandraNode, keyspace: KeyspaceFactory) -> None:
    session = keyspace(node).session
    known = SKIPPED_TABLE_IDS | {table.id for table in SYSTEM_TABLES}
    rows = session.execute("SELECT keyspace_name, table_name, id FROM system_schema.tables")
    system = [row for row in rows if row.keyspace_name.startswith("system")]
    assert system
    assert [row for row in system if row.id not in known] == []


def test_columns_of_the_tables_read_in_band(node: CassandraNode, keyspace: KeyspaceFactory) -> None:
    session = keyspace(node).session
    tables = {(table.keyspace, table.name): table for table in SYSTEM_TABLES}
    compared = 0
    for row in session.execute("SELECT * FROM system_schema.columns"):
        table = tables.get((row.keyspace_name, row.table_name))
        if table is not None:
            column = table.column(row.column_name)
            assert column is not None, f"{table} has a column {row.column_name}"
            assert (column.kind, str(column.type)) == (row.kind, row.type)
            compared += 1
    assert compared > 100


def test_a_node_that_is_away(new_cassandra_node: Any) -> None:
    node = new_cassandra_node("5.0")
    session = node.session()
    os.kill(node.pid, signal.SIGKILL)  # Node.kill would end the session, too
    with pytest.raises(SourceUnavailable, match="system_schema can't be read"):
        read_schema(session)
