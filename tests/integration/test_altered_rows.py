"""What ALTER TYPE and ALTER TABLE ... DROP mean for rows that are mirrored already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest

from parsers.cql_types import CqlType
from parsers.decoder import Batch, CompiledTable, build_catalog, decode_kept
from parsers.position import Position
from parsers.schema import Table
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import Connection, install, mirrors_of
from sinks.postgres.ddl import ensure_mirrors
from sinks.postgres.fields import rewrite
from sinks.postgres.target import column_types
from sinks.postgres.typemap import Mapping
from tests.reference.model import Cell, Liveness, PartitionUpdate, Row
from tests.support.histories import LOG_VERSION, NOW, US, subject_of
from tests.support.tables import IDS, table

TYPES = (
    'CREATE TYPE ks.inner (a int, "B" decimal);'
    "CREATE TYPE ks.outer (i frozen<inner>, n text, l frozen<list<frozen<inner>>>);"
)
ALTERED = (
    TYPES + "ALTER TYPE ks.inner RENAME a TO x;"
    'ALTER TYPE ks.inner RENAME "B" TO a; ALTER TYPE ks.inner ADD "C d" uuid;'
)
DROPPED = "ALTER TABLE ks.t DROP v USING TIMESTAMP 1800000000000000;"


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        install(connection)
        yield connection


def ensure(connection: Connection, cql: str, mapping: Mapping | None = None) -> Table:
    with connection.transaction():
        ensure_mirrors(connection, table(cql), mapping)
    return table(cql)


@pytest.mark.parametrize(
    ("cql_type", "pg_type", "before", "after"),
    [
        (
            "frozen<inner>",
            "jsonb",
            '{"a": 1, "\\"B\\"": 1.50}',
            '{"x": 1, "a": 1.50, "\\"C d\\"": null}',
        ),
        ("frozen<inner>", "jsonb", '{"a": null}', '{"x": null, "a": null, "\\"C d\\"": null}'),
        ("frozen<inner>", "bytea", "\\x0001", "\\x0001"),
        ("inner", "text", '{"a": 1}', '{"x": 1, "a": null, "\\"C d\\"": null}'),
        (
            "outer",
            "jsonb",
            '{"i": null, "n": "a\\"é", "l": [null, {"a": 2, "\\"B\\"": null}]}',
            '{"i": null, "n": "a\\"é", "l": [null, {"x": 2, "a": null, "\\"C d\\"": null}]}',
        ),
        ("list<frozen<inner>>", "jsonb", "[]", "[]"),
        (
            "list<frozen<inner>>",
            "jsonb[]",
            '{"{\\"a\\": 1}"}',
            '{"{\\"a\\": null, \\"x\\": 1, \\"\\\\\\"C d\\\\\\"\\": null}"}',
        ),
        (
            "map<frozen<inner>, frozen<tuple<text, inner>>>",
            "jsonb",
            '{"{\\"a\\": 1, \\"\\\\\\"B\\\\\\"\\": 1E+3}": ["a", {"a": 1, "\\"B\\"": 2}]}',
            (
                '{"{\\"x\\": 1, \\"a\\": 1E+3, \\"\\\\\\"C d\\\\\\"\\": null}": '
                '["a", {"x": 1, "a": 2, "\\"C d\\"": null}]}'
            ),
        ),
        ("map<text, int>", "jsonb", '{"a": 1}', '{"a": 1}'),
    ],
)
def test_values_get_the_fields_of_their_type(
    connection: Connection, cql_type: str, pg_type: str, before: str, after: str
) -> None:
    def column_type(types: str) -> CqlType:
        column = table(f"{types} CREATE TABLE ks.t (k int PRIMARY KEY, v {cql_type})").column("v")
        assert column is not None
        return column.type

    connection.execute(f'CREATE TABLE v (k int PRIMARY KEY, "V v" {pg_type})')
    connection.execute(f"INSERT INTO v VALUES (1, NULL), (2, %s::{pg_type})", (before,))
    columns = [("V v", pg_type, column_type(TYPES), column_type(ALTERED))]
    rewrite(connection, psycopg.sql.Identifier("v"), columns)
    rows = connection.execute(
        f'SELECT "V v" IS NULL, "V v"::text = %s::{pg_type}::text FROM v ORDER BY k', (after,)
    )
    assert rows.fetchall() == [(True, None), (False, True)]


def test_keys_get_them_too_and_the_view_still_joins(connection: Connection) -> None:
    text = (
        "CREATE TABLE ks.t (k frozen<inner>, c frozen<inner>, s int static, v inner,"
        f" PRIMARY KEY (k, c)) WITH ID = {IDS[0]};"
    )
    ensure(connection, TYPES + text)
    old = '{"a": 1, "\\"B\\"": 2}'
    connection.execute("INSERT INTO ks.t (k, c, v) VALUES (%s, %s, %s)", (old, old, old))
    connection.execute("INSERT INTO ks.t__static (k, s) VALUES (%s, 7)", (old,))
    ensure(connection, ALTERED + text)
    new = {"x": 1, "a": 2, '"C d"': None}
    rows = connection.execute("SELECT k, c, v, s FROM ks.t__joined").fetchall()
    assert rows == [(new, new, new, 7)]


class Writing:
    """A process that knows one definition of a table."""

    def __init__(self, connection: Connection, known: Table) -> None:
        self.connection = connection
        self.subject = subject_of(known)
        self.sink = PostgresSink(connection)
        mirrors = mirrors_of(connection, known)
        self.compiled = CompiledTable(known, "mirror", column_types(known, mirrors))
        self.catalog = build_catalog([self.compiled])
        self.attach()

    def attach(self) -> None:
        mirrors = mirrors_of(self.connection, self.compiled.table)
        with self.connection.transaction():
            self.sink.attach(self.compiled, mirrors)

    def write(self, key: bytes, rows: Iterable[Row] = (), static: Row | None = None) -> None:
        known = self.subject.table
        update = PartitionUpdate(
            known.id,
            "",
            key,
            unfiltereds=tuple(rows),
            static_row=static,
            static_columns=tuple(c.name for c in known.statics) if static else (),
            regular_columns=tuple(c.name for c in known.regulars),
        )
        batch = Batch(self.catalog)
        raw = self.subject.encoded(update)
        assert decode_kept(raw, batch, log_version=LOG_VERSION, position=Position(1, 1)) is None
        self.sink.apply(batch, lambda _: None, now_s=NOW)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def row(clustering: int, *cells: Cell, inserted: bool = False) -> Row:
    liveness = Liveness(US) if inserted else None
    return Row((number(clustering),), liveness=liveness, cells=cells)


def cell(column: str, value: int) -> Cell:
    return Cell(column, US, value=number(value))


TABLE = (
    "CREATE TABLE ks.t (k int, c int, s int static, v int, w int, PRIMARY KEY (k, c))"
    f" WITH ID = {IDS[0]};"
)


def select(connection: Connection, relation: str) -> list[tuple[Any, ...]]:
    return connection.execute(f"SELECT k, c, w FROM ks.{relation} ORDER BY 1, 2").fetchall()


def test_rows_that_lived_by_a_dropped_column_alone_go(connection: Connection) -> None:
    before = Writing(connection, ensure(connection, TABLE))
    rows = [
        row(1, cell("v", 1)),
        row(2, cell("v", 1), cell("w", 2)),
        row(3, cell("v", 1), inserted=True),
    ]
    before.write(number(1), rows)
    ensure(connection, TABLE + DROPPED)
    assert select(connection, "t") == [(1, 2, 2), (1, 3, None)]
    # One that is behind, and was about to write when the column was dropped.
    before.attach()
    before.write(number(1), [row(4, cell("v", 1)), row(5, cell("w", 5))])
    assert select(connection, "t") == [(1, 2, 2), (1, 3, None), (1, 5, 5)]


def test_partitions_that_lived_by_the_last_static_column_go(connection: Connection) -> None:
    before = Writing(connection, ensure(connection, TABLE))
    for key in (1, 2):
        before.write(number(key), static=Row(static=True, cells=(cell("s", 7),)))
    before.write(number(2), [row(1, cell("w", 1))])
    assert select(connection, "t__joined") == [(1, None, None), (2, 1, 1)]
    ensure(connection, TABLE + DROPPED.replace("DROP v", "DROP s"))
    assert select(connection, "t__joined") == [(2, 1, 1)]
    assert connection.execute("SELECT count(*) FROM ks.t__static").fetchone() == (0,)


def test_one_that_is_behind_writes_fields_as_the_mirror_has_them(connection: Connection) -> None:
    text = f"CREATE TABLE ks.t (k int PRIMARY KEY, v frozen<inner>) WITH ID = {IDS[0]};"
    before = Writing(connection, ensure(connection, TYPES + text))
    ensure(connection, ALTERED + text)
    before.attach()
    value = number(4) + number(1) + b"\xff\xff\xff\xff"
    before.write(number(1), [Row((), cells=(Cell("v", US, value=value),))])
    rows = connection.execute("SELECT v FROM ks.t").fetchall()
    assert rows == [({"x": 1, "a": None, '"C d"': None},)]
