"""What time does to the mirror: TTLs take effect at their second, tombstones go after gc_grace.

Any number of sidecars may sweep the same database: whoever comes second finds nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import sql

from cdc_tail.failpoints import point
from parsers.decoder import Batch, Catalog, CompiledTable
from sinks.base import Applied
from sinks.postgres.applier import PostgresSink, translated
from sinks.postgres.catalog import Connection
from sinks.postgres.refusal import Refusal

ROWS_AT_ONCE: Final = 5_000
# A row that PostgreSQL does not let expire is tried again after this time.
REFUSED_AGAIN_SECONDS: Final = 60

# Rows of tables that this process does not mirror are left to those that do. Nothing is locked: the
# buckets come first, here as everywhere.
_DUE: Final = """
SELECT mirror_id, pk, ck, now_s
  FROM cdc_tail.expiry,
       (SELECT coalesce(%s, floor(extract(epoch FROM now()))::int8)) AS present (now_s)
 WHERE due_at BETWEEN 0 AND now_s AND mirror_id = ANY (%s)
 ORDER BY due_at
 LIMIT %s
"""

# What was scheduled anew meanwhile is due later; what is doubted (-1) is not a matter of time.
_DONE: Final = """
DELETE FROM cdc_tail.expiry AS e
 USING unnest(%s::int[], %s::bytea[], %s::bytea[]) AS done (mirror_id, pk, ck)
 WHERE (e.mirror_id, e.pk, e.ck) = (done.mirror_id, done.pk, done.ck)
   AND e.due_at BETWEEN 0 AND %s
"""

# Of a partition with a refused row: all of its rows, which costs another look at most.
_POSTPONE: Final = """
UPDATE cdc_tail.expiry AS e SET due_at = %s
  FROM unnest(%s::int[], %s::bytea[]) AS refused (mirror_id, pk)
 WHERE e.mirror_id = refused.mirror_id AND e.pk = refused.pk AND e.due_at <= %s
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

    def __init__(
        self, sink: PostgresSink, refused: Callable[[list[Refusal]], None] = lambda _: None
    ) -> None:
        """`refused` is told of the rows that PostgreSQL does not let expire."""
        self._sink = sink
        self._refused = refused

    def expire(self, catalog: Catalog, *, now_s: int | None = None) -> Applied:
        """Bring up to `now_s` (epoch seconds) the rows of which something has expired.

        PostgreSQL's present by default. At most ROWS_AT_ONCE of them: call again while
        `Applied.rows` says that there were some. Raises what PostgresSink.apply raises; nothing
        is taken then.
        """
        owners: dict[int, tuple[CompiledTable, bool]] = self._sink.owners()
        connection = self._sink.connection
        try:
            with connection.transaction():
                due = connection.execute(_DUE, (now_s, list(owners), ROWS_AT_ONCE)).fetchall()
        except psycopg.Error as error:
            raise translated(error) from error
        if not due:
            return Applied()
        batch = Batch(catalog)
        for mirror_id, partition_key, clustering, _ in due:
            compiled, static = owners[mirror_id]
            batch.touch(compiled, partition_key, clustering, static)
        *columns, present = (list(column) for column in zip(*due, strict=True))
        now = present[0]
        refused: list[tuple[CompiledTable, bytes]] = []

        def refuse(refusals: list[Refusal]) -> None:
            refused[:] = [key for one in refusals for key in one.part.touched_keys()]
            self._refused(refusals)

        def commit(connection: Connection) -> None:
            if refused:
                pairs = [
                    (mirror_id, key)
                    for compiled, key in refused
                    for mirror_id, (owner, _) in owners.items()
                    if owner is compiled
                ]
                mirror_ids, keys = zip(*pairs, strict=True)
                again_at = now + REFUSED_AGAIN_SECONDS
                connection.execute(_POSTPONE, (again_at, list(mirror_ids), list(keys), now))
            _forget(connection, columns, now)

        return self._sink.apply(batch, commit, now_s=now, refused=refuse)

    def purge(self) -> int:
        """Delete tombstones whose gc_grace has passed, some thousands at most; returns how many."""
        connection = self._sink.connection
        try:
            with connection.transaction():
                purged = sum(
                    connection.execute(
                        _PURGE.format(table=sql.Identifier(table)), {"limit": ROWS_AT_ONCE}
                    ).rowcount
                    for table in _PURGED
                )
                point("sweep.purged")
            return purged
        except psycopg.Error as error:
            raise translated(error) from error


def _forget(connection: Connection, due: list[list[object]], now_s: int) -> None:
    connection.execute(_DONE, (*due, now_s))
    point("sweep.expired")
