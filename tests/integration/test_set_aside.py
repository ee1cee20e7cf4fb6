"""Dead letters and parked mutations on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID, uuid4

import psycopg
import pytest

from cdc_tail.errors import ConfigError
from parsers.cql_types import Native
from parsers.position import Position
from parsers.schema import Column, Table
from sinks.postgres import catalog
from sinks.postgres.seal import Seal
from sinks.postgres.set_aside import (
    DeadLetter,
    Parked,
    counts,
    park,
    parked_table_ids,
    read_parked,
    read_refused,
    unpark,
    write_dead_letters,
)

OPEN = Seal()  # stored as they are
TABLE = Table("ks", "t", uuid4(), (Column("k", b"k", "partition_key", 0, Native("int")),), cdc=True)


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database) as connection:
        catalog.install(connection)
        yield connection


def parked(segment_id: int, offset: int, table_id: UUID = TABLE.id) -> Parked:
    return Parked(Position(segment_id, offset), table_id, b"raw %d" % offset, 7)


def test_a_dead_letter_keeps_all_that_a_retry_needs(conn: psycopg.Connection) -> None:
    raw = bytes(range(256))
    letter = DeadLetter(
        Position(7, 100), "date out of range", raw, 7, TABLE, b"\0\0\0\1", 'column "d\0"', 3
    )
    write_dead_letters(conn, "n1", [letter], OPEN)
    row = conn.execute(
        'SELECT segment_id, "offset", ordinal, keyspace_name, table_name, table_id, key, reason,'
        " detail, raw, log_version, seen, state FROM cdc_tail.dead_letter"
    ).fetchone()
    assert row == (
        7, 100, 3, "ks", "t", TABLE.id, b"\0\0\0\1", "date out of range", 'column "d\\u0000"',
        raw, 7, 1, "open",
    )  # fmt: skip


def test_the_same_letter_again_is_counted_not_repeated(conn: psycopg.Connection) -> None:
    letter = DeadLetter(Position(7, 100), "bad", b"x", 7)
    write_dead_letters(conn, "n1", [letter], OPEN)
    write_dead_letters(conn, "n1", [letter], OPEN)
    write_dead_letters(conn, "n2", [letter], OPEN)
    seen = conn.execute("SELECT node, seen FROM cdc_tail.dead_letter ORDER BY node").fetchall()
    assert seen == [("n1", 2), ("n2", 1)]
    assert counts(conn, "n1") == (1, 0)


def test_two_rows_of_one_mutation_are_two_letters(conn: psycopg.Connection) -> None:
    at = Position(7, 100)
    write_dead_letters(
        conn, "n1", [DeadLetter(at, "a", b"x", 7), DeadLetter(at, "b", b"x", 7, ordinal=1)], OPEN
    )
    assert counts(conn, "n1") == (2, 0)


def test_parked_mutations_come_back_in_log_order(conn: psycopg.Connection) -> None:
    other = uuid4()
    park(conn, "n1", [parked(9, 10), parked(8, 500), parked(8, 20), parked(8, 30, other)], OPEN)
    park(conn, "n1", [parked(8, 20)], OPEN)
    park(conn, "n2", [parked(1, 1)], OPEN)
    assert parked_table_ids(conn, "n1") == {TABLE.id, other}
    found = read_parked(conn, "n1", [TABLE.id], 10, OPEN)
    assert found == [parked(8, 20), parked(8, 500), parked(9, 10)]
    assert read_parked(conn, "n1", [TABLE.id], 2, OPEN) == found[:2]
    assert counts(conn, "n1") == (0, 4)
    unpark(conn, "n1", [one.position for one in found])
    assert read_parked(conn, "n1", [TABLE.id], 10, OPEN) == []
    assert counts(conn, "n1") == (0, 1)
    assert counts(conn, "n2") == (0, 1)


def test_nothing_stays_of_a_batch_that_was_rolled_back(conn: psycopg.Connection) -> None:
    conn.commit()
    park(conn, "n1", [parked(9, 10)], OPEN)
    write_dead_letters(conn, "n1", [DeadLetter(Position(7, 100), "bad", b"x", 7)], OPEN)
    conn.rollback()
    assert counts(conn, "n1") == (0, 0)


def test_sealed_ones_are_read_with_the_same_key_alone(conn: psycopg.Connection) -> None:
    seal = Seal(b"a key of sixteen bytes")
    letter = DeadLetter(Position(7, 100), "refused", b"somebody's name", 7, sqlstate="23514")
    write_dead_letters(conn, "n1", [letter], seal)
    park(conn, "n1", [parked(8, 20)], seal)
    for table in ("dead_letter", "parked"):
        ((raw,),) = conn.execute(f"SELECT raw FROM cdc_tail.{table}").fetchall()
        assert b"name" not in raw and b"raw" not in raw
    assert read_parked(conn, "n1", [TABLE.id], 9, seal) == [parked(8, 20)]
    (found,) = read_refused(conn, "n1", seal, limit=9, max_bytes=1 << 20)
    assert found.raw == letter.raw
    for other in (OPEN, Seal(b"another key of sixteen")):
        with pytest.raises(ConfigError, match="encrypted"):
            read_parked(conn, "n1", [TABLE.id], 9, other)
