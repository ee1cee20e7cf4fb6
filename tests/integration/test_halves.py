"""How many tries it takes to find the rows that PostgreSQL refuses."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import psycopg
import pytest

from benchmarks import workload
from parsers.cql_file import parse_cql
from parsers.decoder import Batch, CompiledTable, build_catalog, decode_kept
from parsers.position import Position
from sinks.base import Applied
from sinks.postgres.refusal import apply_by_halves

ROWS = 4_096


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE seen (key bytea CHECK (key NOT LIKE '%00000007'))")
        yield connection


@pytest.fixture
def batch() -> Batch:
    (table,) = parse_cql(workload.SCHEMA_CQL)
    batch = Batch(build_catalog([CompiledTable(table, "mirror")]))
    chooser = random.Random(1)
    for number in range(ROWS):
        mutation = workload.mutation("insert", 4 * number, 1_700_000_000_000_000, chooser)
        decode_kept(mutation, batch, log_version=7, position=Position(1, number))
    return batch


def test_few_tries_find_a_row_and_each_other_is_applied_once(
    connection: psycopg.Connection, batch: Batch
) -> None:
    tries = []

    def apply(part: Batch) -> Applied:
        tries.append(len(part))
        keys = [[key] for _, key in part.touched_keys()]
        with (
            connection.cursor() as cursor,
            cursor.copy("COPY seen FROM STDIN (FORMAT BINARY)") as copy,
        ):
            copy.set_types(["bytea"])
            for key in keys:
                copy.write_row(key)
        return Applied(inserted=len(keys))

    applied, refusals = apply_by_halves(connection, batch, apply)
    (refusal,) = refusals
    ((compiled, key),) = refusal.part.touched_keys()
    assert compiled.table.name == "orders" and key == b"customer-00000007"
    assert refusal.sqlstate == "23514" and "seen_key_check" in (refusal.detail or "")
    assert applied.inserted == ROWS - 1
    found = connection.execute("SELECT count(*), count(DISTINCT key) FROM seen").fetchone()
    assert found == (ROWS - 1, ROWS - 1)
    assert len(tries) == 2 * math.log2(ROWS) + 1


def test_what_is_not_about_a_row_is_raised(connection: psycopg.Connection, batch: Batch) -> None:
    def apply(_: Batch) -> Applied:
        connection.execute("SELECT FROM nothing")
        raise AssertionError

    with pytest.raises(psycopg.errors.UndefinedTable):
        apply_by_halves(connection, batch, apply)
