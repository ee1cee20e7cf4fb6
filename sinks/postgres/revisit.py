"""Every row of a mirror looked at again, some thousands at a time, where something befell them all.

TRUNCATE is one such thing: from its commit on it counts in every merge, and the rows that it
deletes go as they are revisited. Any number of sidecars may revisit a mirror; whoever comes second
finds nothing to change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from parsers._rowkey import row_key
from parsers.decoder import Batch, Catalog
from sinks.base import Applied
from sinks.postgres.applier import PostgresSink, translated
from sinks.postgres.binary import Binary
from sinks.postgres.catalog import Connection, Mirror
from sinks.postgres.ddl import lock_buckets
from sinks.postgres.refusal import Refusal
from sinks.postgres.target import Target

ROWS_AT_ONCE: Final = 5_000

_REQUESTED: Final = """
SELECT mirror_id, requests FROM cdc_tail.revisit WHERE mirror_id = ANY (%s) ORDER BY mirror_id
"""


def truncate(connection: Connection, mirrors: Sequence[Mirror], truncated_at_ms: int) -> None:
    """Delete what was written to a table up to that time, in the caller's transaction.

    Cassandra truncates by position in the log, which says nothing about other nodes' logs: here the
    writetime decides, so that the order in which logs are read does not matter. A write whose
    timestamp is later than the node's clock at the TRUNCATE stays.
    """
    lock_buckets(connection, mirrors)
    connection.execute(
        """
        UPDATE cdc_tail.bucket SET truncated_us = greatest(truncated_us, %s)
        WHERE mirror_id = ANY (%s)
        """,
        (truncated_at_ms * 1000 + 999, [mirror.mirror_id for mirror in mirrors]),
    )
    request_revisit(connection, mirrors)


def request_revisit(connection: Connection, mirrors: Iterable[Mirror]) -> None:
    """Have every row of the mirrors looked at again, in the caller's transaction."""
    for mirror in sorted(mirrors, key=lambda one: one.mirror_id):
        connection.execute(
            """
            INSERT INTO cdc_tail.revisit AS r (mirror_id) VALUES (%s)
            ON CONFLICT (mirror_id) DO UPDATE SET requests = r.requests + 1
            """,
            (mirror.mirror_id,),
        )


@dataclass(slots=True)
class _Progress:
    """How far a mirror was revisited: up to and with the key `after`, on behalf of `requests`."""

    requests: int
    after: list[bytes] | None = None


class Revisitor:
    """Revisits the mirrors of one sink. What it has done is forgotten when the process ends."""

    def __init__(
        self, sink: PostgresSink, refused: Callable[[list[Refusal]], None] = lambda _: None
    ) -> None:
        """`refused` is told of the rows that PostgreSQL does not let change; they stay."""
        self._sink = sink
        self._refused = refused
        self._progress: dict[int, _Progress] = {}

    def revisit(self, catalog: Catalog, *, now_s: int | None = None) -> Applied | None:
        """Look at the next rows of a mirror that waits for it; None where none does.

        Raises what PostgresSink.apply raises; the same rows come again then.
        """
        now = int(time.time()) if now_s is None else now_s
        targets = self._sink.targets()
        connection = self._sink.connection
        try:
            with connection.transaction():
                found = connection.execute(_REQUESTED, (list(targets),)).fetchone()
                if found is None:
                    self._progress.clear()
                    return None
                mirror_id, requests = found
                compiled, target = targets[mirror_id]
                progress = self._progress.setdefault(mirror_id, _Progress(requests))
                if progress.requests != requests:
                    progress = self._progress[mirror_id] = _Progress(requests)
                rows = read_keys(connection, target, progress.after)
        except psycopg.Error as error:
            raise translated(error) from error
        batch = Batch(catalog)
        for *fields, state in rows:
            key = row_key(target.relation, state, fields)
            batch.touch(compiled, *key, target.relation.static)
        is_last = len(rows) < ROWS_AT_ONCE

        def commit(connection: Connection) -> None:
            if is_last:
                connection.execute(
                    "DELETE FROM cdc_tail.revisit WHERE mirror_id = %s AND requests = %s",
                    (mirror_id, requests),
                )

        applied = self._sink.apply(batch, commit, now_s=now, refused=self._refused)
        if rows:
            progress.after = rows[-1][:-1]
        if is_last:
            del self._progress[mirror_id]
        return applied


def read_keys(
    connection: Connection, target: Target, after: list[bytes] | None
) -> list[list[bytes]]:
    """The next rows' key columns and state, as binary fields."""
    cursor = psycopg.RawCursor(connection)
    parameters = [ROWS_AT_ONCE, *map(Binary, after or ())]
    cursor.execute(target.read_keys(is_first=after is None), parameters, binary=True)
    result = cursor.pgresult
    assert result is not None
    return [
        [result.get_value(row, column) or b"" for column in range(result.nfields)]
        for row in range(result.ntuples)
    ]
