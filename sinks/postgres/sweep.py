"""What time does to the mirror: TTLs take effect at their second, tombstones go after gc_grace.

Any number of sidecars may sweep the same database: whoever comes second finds nothing to change.
"""

from __future__ import annotations

import time
from typing import Final

import psycopg
from psycopg import sql

from parsers.decoder import Batch, Catalog, CompiledTable
from sinks.base import Applied
from sinks.postgres.applier import PostgresSink, translated
from sinks.postgres.catalog import Connection

ROWS_AT_ONCE: Final = 5_000

# Rows of tables that this process does not mirror are left to those that do. Nothing is locked: the
# buckets come first, here as everywhere.
_DUE: Final = """
SELECT mirror_id, pk, ck FROM cdc_tail.expiry
 WHERE due_at <= %s AND mirror_id = ANY (%s)
 ORDER BY due_at
 LIMIT %s
"""

# What was scheduled anew meanwhile is due later.
_DONE: Final = """
DELETE FROM cdc_tail.expiry AS e
 USING unnest(%s::int[], %s::bytea[], %s::bytea[]) AS done (mirror_id, pk, ck)
 WHERE (e.mirror_id, e.pk, e.ck) = (done.mirror_id, done.pk, done.ck) AND e.due_at <= %s
"""

_PURGED: Final = ("dead_row", "partition_tombstone")
_PURGE: Final = sql.SQL("""
DELETE FROM cdc_tail.{table}
 WHERE ctid = ANY (ARRAY(
       SELECT ctid FROM cdc_tail.{table} WHERE purge_at < now()
        LIMIT %(limit)s FOR UPDATE SKIP LOCKED))
""")


class Sweeper:
    """Applies expiries and purges tombstones through a sink's connection."""

    def __init__(self, sink: PostgresSink) -> None:
        self._sink = sink

    def expire(self, catalog: Catalog, *, now_s: int | None = None) -> Applied:
        """Bring up to `now_s` (epoch seconds) the rows of which something has expired.

        At most ROWS_AT_ONCE of them: call again while `Applied.rows` says that there were some.
        Raises what PostgresSink.apply raises; nothing is taken then.
        """
        now = int(time.time()) if now_s is None else now_s
        owners: dict[int, tuple[CompiledTable, bool]] = self._sink.owners()
        connection = self._sink.connection
        try:
            with connection.transaction():
                due = connection.execute(_DUE, (now, list(owners), ROWS_AT_ONCE)).fetchall()
        except psycopg.Error as error:
            raise translated(error) from error
        if not due:
            return Applied()
        batch = Batch(catalog)
        for mirror_id, partition_key, clustering in due:
            compiled, static = owners[mirror_id]
            batch.touch(compiled, partition_key, clustering, static)
        columns = [list(column) for column in zip(*due, strict=True)]
        return self._sink.apply(batch, lambda conn: _forget(conn, columns, now), now_s=now)

    def purge(self) -> int:
        """Delete tombstones whose gc_grace has passed, some thousands at most; returns how many."""
        connection = self._sink.connection
        try:
            with connection.transaction():
                return sum(
                    connection.execute(
                        _PURGE.format(table=sql.Identifier(table)), {"limit": ROWS_AT_ONCE}
                    ).rowcount
                    for table in _PURGED
                )
        except psycopg.Error as error:
            raise translated(error) from error


def _forget(connection: Connection, due: list[list[object]], now_s: int) -> None:
    connection.execute(_DONE, (*due, now_s))
