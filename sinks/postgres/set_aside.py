"""Mutations that can't be applied (dead letters) or not yet (parked), kept with their raw bytes.

Written in the transaction of the batch they came with, so that none is skipped without a trace.
Never commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID
from zlib import crc32

from psycopg.rows import tuple_row

from parsers.position import Position
from parsers.schema import Table
from sinks.postgres.catalog import Connection
from sinks.postgres.seal import Seal

_STATEMENT_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A mutation, rows of one, or a damaged section that can't be applied as it is.

    `raw` is the whole mutation (or the damaged bytes), `ordinal` tells several letters of one
    position apart. `sqlstate` is set where PostgreSQL refused the rows; all others could not be
    decoded, or hold what no PostgreSQL can.
    """

    position: Position
    reason: str
    raw: bytes
    log_version: int
    table: Table | None = None
    key: bytes | None = None
    detail: str | None = None
    ordinal: int = 0
    sqlstate: str | None = None

    @property
    def name(self) -> tuple[Position, int]:
        """What tells it from all other letters of its node."""
        return self.position, self.ordinal


@dataclass(frozen=True, slots=True)
class Parked:
    """A mutation that waits for the definition of a table (or of a column of it)."""

    position: Position
    table_id: UUID
    raw: bytes
    log_version: int


# A letter that comes again after it was retried is open again; what somebody discarded stays so.
_DEAD_LETTERS = """
INSERT INTO cdc_tail.dead_letter AS known
       (node, segment_id, "offset", ordinal, keyspace_name, table_name, table_id, key, reason,
        detail, raw, log_version, sqlstate, is_sealed)
SELECT %s, *, %s FROM unnest(
       %s::bigint[], %s::bigint[], %s::int[], %s::text[], %s::text[], %s::uuid[], %s::bytea[],
       %s::text[], %s::text[], %s::bytea[], %s::int[], %s::text[])
    ON CONFLICT (node, segment_id, "offset", ordinal) DO UPDATE
   SET last_seen = now(), seen = known.seen + 1, reason = excluded.reason,
       detail = excluded.detail, sqlstate = excluded.sqlstate,
       state = CASE known.state WHEN 'discarded' THEN known.state ELSE 'open' END
"""

_RETRIED = """
UPDATE cdc_tail.dead_letter AS letter
   SET state = 'retried', settled_at = now()
  FROM unnest(%s::bigint[], %s::bigint[], %s::int[]) AS done (segment_id, "offset", ordinal)
 WHERE letter.node = %s AND letter.state = 'open'
   AND (letter.segment_id, letter."offset", letter.ordinal)
       = (done.segment_id, done."offset", done.ordinal)
"""

_REFUSED = """
SELECT segment_id, "offset", ordinal, reason, raw, log_version, sqlstate, is_sealed
  FROM (SELECT *, sum(length(raw)) OVER (ORDER BY id DESC) AS total_bytes
          FROM (SELECT * FROM cdc_tail.dead_letter
                 WHERE node = %s AND state = 'open' AND sqlstate IS NOT NULL
                 ORDER BY id DESC LIMIT %s) AS newest) AS summed
 WHERE total_bytes <= %s
 ORDER BY id
"""

_PARK = """
INSERT INTO cdc_tail.parked (node, segment_id, "offset", table_id, raw, log_version, is_sealed)
VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (node, segment_id, "offset") DO NOTHING
"""

# In log order, so that a schema change among them is met before what depends on it.
_PARKED = """
SELECT segment_id, "offset", table_id, raw, log_version, is_sealed
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
SELECT coalesce((SELECT open FROM cdc_tail.dead_letter_count WHERE node = %(node)s), 0),
       (SELECT count(*) FROM cdc_tail.parked WHERE node = %(node)s)
"""


def letter_ordinal(table: Table, key: bytes) -> int:
    """The ordinal of the one letter that a mutation has about a partition of a table."""
    return crc32(table.id.bytes + key) & 0x7FFF_FFFF


def write_dead_letters(
    conn: Connection, node: str, letters: Iterable[DeadLetter], seal: Seal
) -> None:
    """Keep letters of a node; one that is known already is only counted again."""
    named = list({one.name: one for one in letters}.values())
    for some in _pieces(named):
        conn.execute(
            _DEAD_LETTERS,
            (
                node,
                seal.is_used,
                [one.position.segment_id for one in some],
                [one.position.offset for one in some],
                [one.ordinal for one in some],
                [one.table and one.table.keyspace for one in some],
                [one.table and one.table.name for one in some],
                [one.table and one.table.id for one in some],
                [one.key for one in some],
                [_storable(one.reason) for one in some],
                [_storable(one.detail) for one in some],
                [seal.close(one.raw) for one in some],
                [one.log_version for one in some],
                [one.sqlstate for one in some],
            ),
        )


def _pieces(letters: list[DeadLetter]) -> Iterator[list[DeadLetter]]:
    """Lists whose raw bytes fit well into one statement."""
    piece: list[DeadLetter] = []
    size_bytes = 0
    for one in letters:
        if piece and size_bytes + len(one.raw) > _STATEMENT_BYTES:
            yield piece
            piece, size_bytes = [], 0
        piece.append(one)
        size_bytes += len(one.raw)
    if piece:
        yield piece


def mark_retried(conn: Connection, node: str, letters: Sequence[DeadLetter]) -> None:
    """Note that the transaction applies the mutations of open letters once more."""
    conn.execute(
        _RETRIED,
        (
            [one.position.segment_id for one in letters],
            [one.position.offset for one in letters],
            [one.ordinal for one in letters],
            node,
        ),
    )


def read_refused(
    conn: Connection, node: str, seal: Seal, *, limit: int, max_bytes: int
) -> list[DeadLetter]:
    """The newest open letters of rows that PostgreSQL refused, oldest first, without tables."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_REFUSED, (node, limit, max_bytes)).fetchall()
    return [
        DeadLetter(
            Position(segment_id, offset),
            reason,
            seal.open(raw, is_sealed=is_sealed),
            log_version,
            ordinal=ordinal,
            sqlstate=sqlstate,
        )
        for segment_id, offset, ordinal, reason, raw, log_version, sqlstate, is_sealed in rows
    ]


def park(conn: Connection, node: str, mutations: Sequence[Parked], seal: Seal) -> None:
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
                    seal.close(one.raw),
                    one.log_version,
                    seal.is_used,
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


def read_parked(
    conn: Connection, node: str, table_ids: Sequence[UUID], limit: int, seal: Seal
) -> list[Parked]:
    """The first `limit` parked mutations of these tables, in log order."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_PARKED, (node, list(table_ids), limit)).fetchall()
    return [
        Parked(
            Position(segment_id, offset),
            table_id,
            seal.open(raw, is_sealed=is_sealed),
            log_version,
        )
        for segment_id, offset, table_id, raw, log_version, is_sealed in rows
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
