"""How far the snapshots of tables are, and which are asked for; commits nothing.

Progress is written in the transaction of the rows that it tells of, so that a snapshot that was
interrupted goes on where its last commit was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from parsers.schema import Table
from sinks.postgres.catalog import Connection

Reason = Literal["command", "altered", "found"]

# "cdcs" and a hash of the table: one process copies a table at a time.
_LOCK_CLASS: Final = 0x63646373


@dataclass(slots=True)
class TokenRange:
    """Tokens from `start` to `end`, both included; those before `next` are done."""

    start: int
    end: int
    next: int

    @property
    def is_done(self) -> bool:
        return self.next > self.end


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The snapshot of a table: its ranges, and the rows read so far."""

    ranges: list[TokenRange]
    rows: int
    is_resumed: bool


def request_snapshot(connection: Connection, table: Table, reason: Reason) -> bool:
    """Ask for a snapshot, unless one is asked for or under way; whether it is new."""
    asked = connection.execute(
        """
        INSERT INTO cdc_tail.snapshot AS known (table_id, keyspace_name, table_name, reason)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (table_id) DO UPDATE
           SET reason = excluded.reason, requested_at = now(), started_at = NULL,
               finished_at = NULL, rows = 0
         WHERE known.finished_at IS NOT NULL
        """,
        (table.id, table.keyspace, table.name, reason),
    )
    return asked.rowcount == 1


def requested(connection: Connection, reasons: Sequence[Reason]) -> list[UUID]:
    """Ids of the tables whose snapshot was asked for one of these reasons and is not finished."""
    found = connection.execute(
        """
        SELECT table_id FROM cdc_tail.snapshot
         WHERE finished_at IS NULL AND reason = ANY (%s) ORDER BY requested_at, table_id
        """,
        (list(reasons),),
    )
    return [table_id for (table_id,) in found]


_DOUBTED_ROWS: Final = """
SELECT mirror_id, pk, ck FROM cdc_tail.expiry JOIN cdc_tail.mirror USING (mirror_id)
 WHERE due_at = -1 AND mirror_id = ANY (%s) AND dropped_at IS NULL LIMIT %s
"""

DoubtedRow = tuple[int, bytes, bytes]
"""Mirror id, partition key and clustering of a row that only Cassandra can tell of."""


def doubted_rows(connection: Connection, mirror_ids: Sequence[int], limit: int) -> list[DoubtedRow]:
    """Rows that only Cassandra can tell of (see parsers.selected), of tables that it still has."""
    found = connection.execute(_DOUBTED_ROWS, (list(mirror_ids), limit))
    return [(mirror_id, bytes(pk), bytes(ck)) for mirror_id, pk, ck in found]


def try_lock(connection: Connection, table_id: UUID) -> bool:
    """Become the one process that copies the table, until `unlock` or the connection's end."""
    found = connection.execute(
        "SELECT pg_try_advisory_lock(%s, hashtext(%s))", (_LOCK_CLASS, str(table_id))
    ).fetchone()
    return bool(found and found[0])


def unlock(connection: Connection, table_id: UUID) -> None:
    """Let another process copy the table."""
    connection.execute("SELECT pg_advisory_unlock(%s, hashtext(%s))", (_LOCK_CLASS, str(table_id)))


def begin(connection: Connection, table_id: UUID, ranges: Sequence[TokenRange]) -> Snapshot:
    """Go on with the requested snapshot of a table, or start it with these ranges."""
    row = connection.execute(
        "SELECT started_at IS NOT NULL, rows FROM cdc_tail.snapshot WHERE table_id = %s FOR UPDATE",
        (table_id,),
    ).fetchone()
    assert row is not None  # it was requested
    is_resumed, rows = row
    if is_resumed:
        kept = connection.execute(
            """
            SELECT start_token, end_token, next_token::numeric FROM cdc_tail.snapshot_range
             WHERE table_id = %s ORDER BY start_token
            """,
            (table_id,),
        ).fetchall()
        return Snapshot([TokenRange(a, b, int(following)) for a, b, following in kept], rows, True)
    connection.execute("DELETE FROM cdc_tail.snapshot_range WHERE table_id = %s", (table_id,))
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO cdc_tail.snapshot_range (table_id, start_token, end_token, next_token)
            VALUES (%s, %s, %s, %s)
            """,
            [(table_id, one.start, one.end, one.next) for one in ranges],
        )
    connection.execute(
        "UPDATE cdc_tail.snapshot SET started_at = now() WHERE table_id = %s", (table_id,)
    )
    return Snapshot(list(ranges), 0, False)


def advance(connection: Connection, table_id: UUID, done: TokenRange, rows: int) -> None:
    """A range is done up to `done.next`; `rows` more were read."""
    connection.execute(
        """
        UPDATE cdc_tail.snapshot_range SET next_token = %s
         WHERE table_id = %s AND start_token = %s
        """,
        (done.next, table_id, done.start),
    )
    connection.execute(
        "UPDATE cdc_tail.snapshot SET rows = rows + %s WHERE table_id = %s", (rows, table_id)
    )


def finish(connection: Connection, table_id: UUID) -> None:
    """All ranges of the table's snapshot are done."""
    connection.execute("DELETE FROM cdc_tail.snapshot_range WHERE table_id = %s", (table_id,))
    connection.execute(
        "UPDATE cdc_tail.snapshot SET finished_at = now() WHERE table_id = %s", (table_id,)
    )
