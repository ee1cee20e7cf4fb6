"""TRUNCATE: what the mirror holds goes, and what was logged before it does not come back.

Cassandra truncates by position in each node's log, whatever the writetimes: a row that is loaded
again with its old timestamps lives. So a log that is past its own record of the TRUNCATE is applied
as it is; what stands before that record is passed over (`Batch.pass_over`); and logs of other nodes
that have not come to their record yet say nothing that is older than the TRUNCATE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg import errors, sql

from parsers._rowkey import row_key
from parsers.decoder import Batch, Catalog, Truncation
from parsers.position import Position
from sinks.postgres import pages
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import Connection, Mirror
from sinks.postgres.ddl import lock_buckets

# One TRUNCATE reaches the replicas within its timeout (truncate_request_timeout: 60 s).
_ONE_TRUNCATE_US: Final = 60_000_000

# Up to this age of a TRUNCATE nothing in the mirror can be newer than it, but what other logs that
# are past it have written; an older one may meet rows that were copied since.
_FRESH_US: Final = 300_000_000

_JOIN: Final = """
SELECT applied_us FROM cdc_tail.truncation AS held
 WHERE table_id = %(table_id)s AND abs(applied_us - %(at_us)s) <= %(within_us)s
   AND NOT EXISTS (
       SELECT FROM cdc_tail.truncation AS own
        WHERE own.table_id = held.table_id AND own.applied_us = held.applied_us
          AND own.log = %(log)s)
 ORDER BY applied_us LIMIT 1
"""

_RECORD: Final = """
INSERT INTO cdc_tail.truncation (table_id, segment_id, "offset", truncated_ms, log, applied_us)
VALUES (%s, %s, %s, %s, %s, %s)
"""


@dataclass(frozen=True, slots=True)
class Past:
    """The last TRUNCATE of a table that a log is past: its place in the log, its common time."""

    position: Position
    applied_us: int


def truncations_of(connection: Connection, log: str) -> dict[UUID, Past]:
    """By table id: the last TRUNCATE that stands in that log, as far as it was applied."""
    rows = connection.execute(
        """
        SELECT DISTINCT ON (table_id) table_id, segment_id, "offset", applied_us
          FROM cdc_tail.truncation WHERE log = %s
         ORDER BY table_id, segment_id DESC, "offset" DESC
        """,
        (log,),
    )
    return {
        table_id: Past(Position(segment_id, offset), applied_us)
        for table_id, segment_id, offset, applied_us in rows
    }


def truncations_seen(connection: Connection) -> dict[UUID, int]:
    """By table id: the time (microseconds) of the last TRUNCATE, whichever log told it.

    What SELECT gives from now on is past it.
    """
    rows = connection.execute(
        "SELECT table_id, max(applied_us) FROM cdc_tail.truncation GROUP BY table_id"
    )
    return dict(rows.fetchall())


def truncate(
    sink: PostgresSink,
    mirrors: Sequence[Mirror],
    truncation: Truncation,
    log: str,
    catalog: Catalog,
    *,
    keep_newer: bool,
) -> tuple[Past, bool]:
    """Apply a TRUNCATE met in `log` to a table's mirrors, in the caller's transaction.

    Everything goes, or with `keep_newer` what is not newer than the TRUNCATE: for logs that are
    read later than others that are past it. Returns it and whether it was not met before. Then
    what the log holds between its position and its record has to be applied (again), in the same
    transaction.
    """
    connection = sink.connection
    lock_buckets(connection, mirrors)
    found = connection.execute(
        """
        SELECT applied_us FROM cdc_tail.truncation
         WHERE table_id = %s AND segment_id = %s AND "offset" = %s AND truncated_ms = %s
        """,
        _place(truncation),
    ).fetchone()
    if found is not None:
        return Past(truncation.position, found[0]), False
    at_us = truncation.truncated_at_ms * 1000 + 999
    asked = {
        "table_id": truncation.table_id,
        "at_us": at_us,
        "within_us": _ONE_TRUNCATE_US,
        "log": log,
    }
    joined = connection.execute(_JOIN, asked).fetchone()
    applied_us = at_us if joined is None else joined[0]
    connection.execute(_RECORD, (*_place(truncation), log, applied_us))
    if joined is None:
        if keep_newer or not _is_fresh(connection, applied_us):
            for mirror in mirrors:
                _delete_older(sink, mirror, applied_us, catalog)
        else:
            for mirror in mirrors:
                _empty(connection, mirror)
        connection.execute(
            """
            UPDATE cdc_tail.bucket SET truncated_us = greatest(truncated_us, %s)
            WHERE mirror_id = ANY (%s)
            """,
            (applied_us, [mirror.mirror_id for mirror in mirrors]),
        )
    return Past(truncation.position, applied_us), True


def _place(truncation: Truncation) -> tuple[object, ...]:
    position = truncation.position
    return (
        truncation.table_id,
        position.segment_id,
        position.offset,
        truncation.truncated_at_ms,
    )


def _is_fresh(connection: Connection, applied_us: int) -> bool:
    row = connection.execute(
        "SELECT extract(epoch FROM clock_timestamp()) * 1000000 - %s < %s", (applied_us, _FRESH_US)
    ).fetchone()
    assert row is not None
    return bool(row[0])


def _empty(connection: Connection, mirror: Mirror) -> None:
    """Delete all that is held, at once, or row by row where others read it or refer to it."""
    for table in ("dead_row", "partition_tombstone", "expiry"):
        statement = sql.SQL("DELETE FROM {} WHERE mirror_id = %s")
        connection.execute(statement.format(sql.Identifier("cdc_tail", table)), (mirror.mirror_id,))
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '1s'")
            connection.execute(sql.SQL("TRUNCATE ONLY {}").format(mirror.identifier))
            connection.execute("SET LOCAL lock_timeout = DEFAULT")
    except (
        errors.LockNotAvailable,
        errors.InsufficientPrivilege,
        errors.FeatureNotSupported,  # a foreign key refers to it
    ):
        connection.execute(sql.SQL("DELETE FROM ONLY {}").format(mirror.identifier))


def _delete_older(sink: PostgresSink, mirror: Mirror, applied_us: int, catalog: Catalog) -> None:
    """Delete what was written up to that time, some thousand rows at a time.

    Of the tombstones those that were made until then, whatever their timestamps.
    """
    for table in ("dead_row", "partition_tombstone"):
        statement = sql.SQL("DELETE FROM {} WHERE mirror_id = %s AND purge_at <= to_timestamp(%s)")
        sink.connection.execute(
            statement.format(sql.Identifier("cdc_tail", table)),
            (mirror.mirror_id, applied_us // 1_000_000 + mirror.gc_grace_seconds),
        )
    compiled, target = sink.targets()[mirror.mirror_id]
    after: list[bytes] | None = None
    while True:
        rows = pages.read_keys(sink.connection, target, after)
        batch = Batch(catalog)
        for *fields, state in rows:
            key = row_key(target.relation, state, fields)
            batch.touch(compiled, *key, target.relation.static)
        sink.apply(batch, lambda _: None, stored_until_us=applied_us)
        if len(rows) < pages.ROWS_AT_ONCE:
            return
        after = rows[-1][:-1]
