"""Mutations that can't be applied (dead letters) or not yet (parked), kept with their raw bytes.

Written in the transaction of the batch they came with, so that none is skipped without a trace.
Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import tuple_row

from parsers.position import Position
from parsers.schema import Table
from sinks.postgres.catalog import Connection


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A mutation, a row of one, or a damaged section that can't be applied as it is.

    `raw` is the whole mutation (or the damaged bytes), `ordinal` tells several letters of one
    position apart.
    """

    position: Position
    reason: str
    raw: bytes
    log_version: int
    table: Table | None = None
    key: bytes | None = None
    detail: str | None = None
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class Parked:
    """A mutation that waits for the definition of a table (or of a column of it)."""

    position: Position
    table_id: UUID
    raw: bytes
    log_version: int


_DEAD_LETTER = """
INSERT INTO cdc_tail.dead_letter AS known
       (node, segment_id, "offset", ordinal, keyspace_name, table_name, table_id, key, reason,
        detail, raw, log_version)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (node, segment_id, "offset", ordinal) DO UPDATE
   SET last_seen = now(), seen = known.seen + 1, reason = excluded.reason,
       detail = excluded.detail
"""

_PARK = """
INSERT INTO cdc_tail.parked (node, segment_id, "offset", table_id, raw, log_version)
VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (node, segment_id, "offset") DO NOTHING
"""

# In log order, so that a schema change among them is met before what depends on it.
_PARKED = """
SELECT segment_id, "offset", table_id, raw, log_version
  FROM cdc_tail.parked
 WHERE node = %s AND table_id = ANY (%s)
 ORDER BY segment_id, "offset"
 LIMIT %s
"""

_UNPARK = """
DELETE FROM cdc_tail.parked
 USING unnest(%s::bigint[], %s::bigint[]) AS done (segment_id, "offset")
 WHERE node = %s AND parked.segment_id = done.segment_id AND parked."offset" = done."offset"
"""

_COUNTS = """
SELECT (SELECT count(*) FROM cdc_tail.dead_letter WHERE node = %(node)s AND state = 'open'),
       (SELECT count(*) FROM cdc_tail.parked WHERE node = %(node)s)
"""


def write_dead_letters(conn: Connection, node: str, letters: Sequence[DeadLetter]) -> None:
    """Keep letters of a node; one that is known already is only counted again."""
    with conn.cursor() as cursor:
        cursor.executemany(
            _DEAD_LETTER,
            [
                (
                    node,
                    one.position.segment_id,
                    one.position.offset,
                    one.ordinal,
                    one.table and one.table.keyspace,
                    one.table and one.table.name,
                    one.table and one.table.id,
                    one.key,
                    _storable(one.reason),
                    _storable(one.detail),
                    one.raw,
                    one.log_version,
                )
                for one in letters
            ],
        )


def park(conn: Connection, node: str, mutations: Sequence[Parked]) -> None:
    """Keep mutations of a node until their table is known."""
    with conn.cursor() as cursor:
        cursor.executemany(
            _PARK,
            [
                (
                    node,
                    one.position.segment_id,
                    one.position.offset,
                    one.table_id,
                    one.raw,
                    one.log_version,
                )
                for one in mutations
            ],
        )


def parked_table_ids(conn: Connection, node: str) -> set[UUID]:
    """Ids of the tables that parked mutations of a node wait for."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(
            "SELECT DISTINCT table_id FROM cdc_tail.parked WHERE node = %s", (node,)
        ).fetchall()
    return {row[0] for row in rows}


def read_parked(conn: Connection, node: str, table_ids: Sequence[UUID], limit: int) -> list[Parked]:
    """The first `limit` parked mutations of these tables, in log order."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_PARKED, (node, list(table_ids), limit)).fetchall()
    return [
        Parked(Position(segment_id, offset), table_id, raw, log_version)
        for segment_id, offset, table_id, raw, log_version in rows
    ]


def unpark(conn: Connection, node: str, positions: Sequence[Position]) -> None:
    """Forget parked mutations that this transaction applies."""
    conn.execute(
        _UNPARK,
        ([one.segment_id for one in positions], [one.offset for one in positions], node),
    )


def counts(conn: Connection, node: str) -> tuple[int, int]:
    """How many open dead letters and parked mutations a node has."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(_COUNTS, {"node": node}).fetchone()
    assert row is not None  # a SELECT without FROM gives one row
    return row[0], row[1]


def _storable(text: str | None) -> str | None:
    """PostgreSQL's text holds no U+0000, and a reason may quote a value that does."""
    return None if text is None else text.replace("\0", "\\u0000")
