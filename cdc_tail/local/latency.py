"""How long an acknowledged write takes to be visible: writes looked up in the mirror until so."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from cdc_tail.local.traffic import Acknowledged

POLL_SECONDS = 0.001
# A lookup of every write would be load of its own; these are enough for percentiles.
SAMPLED_EVERY = 5


class LatencyProbe:
    """Looks up acknowledged writes over a connection of its own; a context manager.

    Latency runs from Cassandra's acknowledgement to the first lookup that sees the write, or a
    later one of the same row. Deletes are not looked up: a row may also be missing because it has
    not come yet.
    """

    def __init__(self, dsn: str, keyspace: str) -> None:
        self._dsn = dsn
        self._keyspace = keyspace
        self._waiting: deque[Acknowledged] = deque()
        self._stop = threading.Event()
        self._deleted: set[tuple[Any, ...]] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="latency")
        self.acknowledged = 0
        self.latencies_seconds: list[float] = []

    def note(self, write: Acknowledged) -> None:
        """A write was acknowledged; called on the driver's thread."""
        self.acknowledged += 1
        if write.write.kind == "delete":
            self._deleted.add(_key(write))
        elif self.acknowledged % SAMPLED_EVERY == 0:
            self._waiting.append(write)

    @property
    def never_seen(self) -> int:
        """Sampled writes that are not visible (yet)."""
        return len(self._waiting)

    def drain(self, seconds: float) -> None:
        """Wait until every sampled write was seen, at most so long; raises what kept us looking."""
        deadline = time.monotonic() + seconds
        while self._waiting and not self._looking.done() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if self._looking.done():
            self._looking.result()

    def _look(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            while not self._stop.is_set():
                for _ in range(len(self._waiting)):
                    write = self._waiting[0]
                    if self._is_visible(conn, write):
                        waited = time.time() - write.acknowledged_at_seconds
                        self.latencies_seconds.append(max(0.0, waited))
                    elif _key(write) not in self._deleted:
                        self._waiting.append(write)
                    self._waiting.popleft()
                time.sleep(POLL_SECONDS)

    def _is_visible(self, conn: psycopg.Connection[Any], write: Acknowledged) -> bool:
        """Whether the mirror's row is as new as the write."""
        key = write.write.key
        query = sql.SQL("SELECT max(revision) FROM {} WHERE {}").format(
            sql.Identifier(self._keyspace, write.write.table),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in key
            ),
        )
        try:
            row = conn.execute(query, list(key.values())).fetchone()
        except psycopg.errors.UndefinedTable:
            return False
        return row is not None and row[0] is not None and row[0] >= write.write.revision

    def __enter__(self) -> Self:
        self._looking = self._thread.submit(self._look)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.shutdown()


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _key(write: Acknowledged) -> tuple[Any, ...]:
    return (write.write.table, *write.write.key.values())
