"""Definitions of tables kept in PostgreSQL: what a process knows again after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest

from parsers.position import Position
from parsers.schema import Schema
from parsers.schema_log import SchemaLog
from parsers.schema_rows import make_row
from parsers.schema_state import Update
from sinks.postgres.catalog import Connection, install
from sinks.postgres.history import definitions, record, seed
from tests.support.tables import IDS, create, drop, table

FIRST = (
    "CREATE TYPE ks.u (a int, b text);"
    f"CREATE TABLE ks.t (k int PRIMARY KEY, v map<int, frozen<u>>) WITH ID = {IDS[0]}"
)
SECOND = f"CREATE TABLE ks.t (k text PRIMARY KEY) WITH ID = {IDS[1]}"
ADDED = Update(
    table="columns",
    pk=b"ks",
    rows=[make_row("columns", ("t", "x"), 20, {"kind": "regular", "position": -1, "type": "int"})],
)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database) as connection:
        install(connection)
        yield connection


def apply(connection: Connection, log: SchemaLog, offset: int, *updates: Update) -> int:
    before = log.schema
    log.apply(*updates)
    return record(connection, "node1", Position(7, offset), before, log)


def restarted(connection: Connection) -> SchemaLog:
    log = SchemaLog()
    seed(log, definitions(connection))
    return log


def test_what_was_known_is_known_after_a_restart(connection: Connection) -> None:
    log = SchemaLog()
    assert apply(connection, log, 10, *create(FIRST, 10)) == 1
    assert apply(connection, log, 20, *create(FIRST, 10)) == 0, "nothing new"
    assert apply(connection, log, 30, ADDED) == 1
    again = restarted(connection)
    assert again.schema == log.schema
    assert not again.unbound
    assert not again.problems
    # What the log tells again, or tells next, merges with it.
    again.apply(*create(FIRST, 10))
    again.apply(ADDED)
    assert again.schema == log.schema
    again.apply(*drop("ks", "t", ["k", "v", "x"], 30))
    assert list(again.schema) == []


def test_dropped_and_replaced_tables_are_known_by_their_ids(connection: Connection) -> None:
    log = SchemaLog()
    apply(connection, log, 10, *create(FIRST, 10))
    apply(connection, log, 20, *drop("ks", "t", ["k", "v"], 20))
    apply(connection, log, 30, *create(SECOND, 30))
    again = restarted(connection)
    assert again.schema.by_name("ks", "t") == table(SECOND)
    assert again.schema.by_id(UUID(IDS[0])) == table(FIRST)
    assert again.schema.is_dropped(UUID(IDS[0]))
    assert again.schema == log.schema


def test_the_schema_of_its_time(connection: Connection) -> None:
    log = SchemaLog()
    apply(connection, log, 10, *create(FIRST, 10))
    first = log.schema
    apply(connection, log, 20, ADDED)
    second = log.schema
    for offset, expected in ((9, Schema()), (10, first), (19, first), (20, second), (99, second)):
        known = definitions(connection, "node1", Position(7, offset))
        assert Schema(definition.table for definition in known) == expected
    assert definitions(connection, "node2", Position(7, 99)) == []


def test_recording_twice_is_recording_once(connection: Connection) -> None:
    for _ in range(2):
        apply(connection, SchemaLog(), 10, *create(FIRST, 10))
    (count,) = connection.execute("SELECT count(*) FROM cdc_tail.schema_history").fetchone() or (0,)
    assert count == 1
