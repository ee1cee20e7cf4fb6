"""The rows that tables have in Cassandra, copied into their mirrors while the log is tailed.

They are merged as what the log says is: each cell with its own writetime, so that it makes no
difference which comes first. What a SELECT does not tell stands in docs/snapshot.md.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

import structlog
from cassandra.cluster import Session

from cdc_tail.cluster import connect
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError
from cdc_tail.mirrors import Mirrors
from cdc_tail.own_mutations import add_mutation, refused
from cdc_tail.raw_rows import RawReader
from cdc_tail.schema_guide import SchemaGuide
from cdc_tail.selecting import (
    Chunk,
    TableReader,
    check_partitioner,
    estimated_bytes,
    token_ranges,
)
from cdc_tail.settings import Settings
from cdc_tail.verify import Verifier
from cdc_tail.writer import Writer
from parsers.decoder import Batch
from parsers.schema import Table
from parsers.schema_log import SchemaLog
from sinks.base import Applied
from sinks.postgres import snapshots
from sinks.postgres.catalog import Connection
from sinks.postgres.set_aside import write_dead_letters
from sinks.postgres.snapshots import Reason, TokenRange

log = structlog.get_logger()

# A range is small enough to be read again, and there are some for each worker.
RANGE_BYTES: Final = 32 << 20
MIN_RANGES, MAX_RANGES = 16, 8192
# Rows that Cassandra is asked about before they are settled in one transaction.
DOUBTS: Final = 100
WAIT_SECONDS: Final = 0.2


@dataclass(slots=True)
class Progress:
    """What the snapshot of one table came to so far; everything in it is in the database."""

    table: str
    ranges: int = 0
    ranges_done: int = 0
    rows: int = 0
    refused: int = 0
    repaired: int = 0  # counters, and what the mirror had and Cassandra has not
    is_resumed: bool = False
    is_finished: bool = False
    applied: Applied = field(default_factory=Applied)


class Stopped(Exception):
    """The snapshot was asked to stop; it goes on from there when it is started again."""


class Snapshots:
    """Copies tables, with connections of its own to both sides; a context manager."""

    def __init__(
        self,
        settings: Settings,
        on_progress: Callable[[Progress], None] = lambda _: None,
        stopping: threading.Event | None = None,
    ) -> None:
        self._settings = settings
        self._on_progress = on_progress
        self._stopping = stopping or threading.Event()
        self._schema = SchemaLog()
        self._mirrors = Mirrors(self._schema, settings.mirror, settings.node)
        self.writer = Writer(Database(settings), settings.node, self._mirrors)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with connect(self._settings.cassandra) as session:
            check_partitioner(session)
            yield session

    def __enter__(self) -> Self:
        """Connect, and bring the mirrors up to the cluster's schema.

        Raises SourceUnavailable, SinkUnavailable, SchemaMismatch.
        """
        try:
            SchemaGuide(self._schema, self._settings.cassandra).bring_up(self.writer)
            self.writer.follow_log(None)
        except BaseException:
            self.writer.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()

    def tables(self, names: Sequence[str] = ()) -> list[Table]:
        """The mirrored tables, or those named "keyspace.table". ConfigError for another name."""
        mirrored = self._mirrors.names
        for name in names:
            if name not in mirrored:
                raise ConfigError(
                    f"{name} is not mirrored", hint=f"mirrored: {', '.join(mirrored) or 'none'}"
                )
        return [one for one in self._schema.schema if str(one) in (names or mirrored)]

    def requested(self, reasons: Sequence[Reason]) -> list[Table]:
        """The tables whose snapshot was asked for and is not finished."""
        ids = self.writer.query(lambda conn: snapshots.requested(conn, reasons))
        found = [self._schema.schema.by_id(one) for one in ids]
        return [one for one in found if one is not None and self._mirrors.is_mirrored(one.id)]

    def copy(
        self, table: Table, reason: Reason = "command", *, remove_missing: bool = False
    ) -> Progress | None:
        """Copy one table, or the rest of it where a snapshot of it was interrupted.

        With `remove_missing` the mirror is then compared with Cassandra, and what it has beyond it
        goes: rows and values that were deleted while no log told. None where another process is
        copying the table. Raises Stopped, and what reading and applying
        raise: what was applied until then stays, and counts.
        """
        writer = self.writer
        if not writer.query(lambda conn: snapshots.try_lock(conn, table.id)):
            return None
        try:
            with self._session() as session:
                return self._copy(session, table, reason, remove_missing)
        finally:
            if writer.is_connected:
                writer.query(lambda conn: snapshots.unlock(conn, table.id))

    def settle_doubts(self) -> int:
        """Ask Cassandra about the rows that only it can tell of; returns how many they were."""
        doubted = self._doubted()
        asked = 0
        if not doubted:
            return asked
        with self._session() as session, Database(self._settings).connect() as conn:
            verifier = self._verifier(session, conn)
            mirrors = verifier.mirrors()
            while doubted and not self._stopping.is_set():
                settled = 0
                for mirror in mirrors:
                    rows = [(pk, ck) for one, pk, ck in doubted if one == mirror.mirror_id]
                    if rows:
                        settled += verifier.settle(mirror, rows)
                if not settled:
                    break  # they are being written, or their table was dropped: later, or never
                asked += settled
                doubted = self._doubted()
        return asked

    def _doubted(self) -> list[snapshots.DoubtedRow]:
        mine = list(self.writer.mirrored())
        return self.writer.query(lambda conn: snapshots.doubted_rows(conn, mine, DOUBTS))

    def _verifier(self, session: Session, conn: Connection) -> Verifier:
        return Verifier(
            session,
            conn,
            consistency=self._settings.snapshot.consistency,
            repair=True,
            mask_key=self._settings.mirror.mask_bytes(),
        )

    def _copy(
        self, session: Session, table: Table, reason: Reason, remove_missing: bool
    ) -> Progress:
        settings = self._settings.snapshot
        reader = TableReader(
            RawReader(session, settings.consistency), table, page_rows=settings.page_rows
        )
        wanted = estimated_bytes(session, table) // RANGE_BYTES
        count = min(MAX_RANGES, max(MIN_RANGES, wanted))
        fresh = [TokenRange(start, end, start) for start, end in token_ranges(count)]

        def begin(conn: Connection) -> snapshots.Snapshot:
            snapshots.request_snapshot(conn, table, reason)
            return snapshots.begin(conn, table.id, fresh)

        found = self.writer.query(begin)
        open_ranges = [one for one in found.ranges if not one.is_done]
        progress = Progress(
            str(table),
            ranges=len(found.ranges),
            ranges_done=len(found.ranges) - len(open_ranges),
            rows=found.rows,
            is_resumed=found.is_resumed,
        )
        self._on_progress(progress)
        if not table.is_counter:
            with _Readers(reader, open_ranges, settings.parallel, self._stopping) as readers:
                self._apply(table, readers, progress)
        if table.is_counter or remove_missing:
            self._compare(session, table, progress)
        self.writer.query(lambda conn: snapshots.finish(conn, table.id))
        progress.is_finished = True
        self._on_progress(progress)
        return progress

    def _compare(self, session: Session, table: Table, progress: Progress) -> None:
        """Make the mirror what SELECT gives, where it differs.

        Counters are copied so and in no other way: a SELECT gives their sum alone, of which the log
        may have brought parts already.
        """
        with Database(self._settings).connect() as conn:
            verifier = self._verifier(session, conn)
            for mirror in verifier.mirrors([str(table)]):
                result = verifier.verify(mirror)
                progress.repaired += result.repaired
                if table.is_counter:
                    progress.rows += result.rows
                    progress.ranges_done = progress.ranges
                if result.repaired < len(result.differences):
                    log.warning(
                        "rows are in flux and left to the log",
                        table=str(table),
                        rows=len(result.differences) - result.repaired,
                    )

    def _apply(self, table: Table, readers: _Readers, progress: Progress) -> None:
        rate = self._settings.snapshot.max_rows_per_second
        began = time.monotonic()
        before = progress.rows
        for token_range, chunk in readers:
            batch = Batch(self._mirrors.catalog)
            for mutation in chunk.mutations:
                add_mutation(batch, mutation, table)
            done = TokenRange(token_range.start, token_range.end, chunk.next)
            progress.applied += self._commit(batch, table.id, done, chunk.rows)
            progress.refused += len(batch.rejections)
            progress.rows += chunk.rows
            progress.ranges_done += done.is_done
            self._on_progress(progress)
            if rate:
                ahead = (progress.rows - before) / rate - (time.monotonic() - began)
                self._stopping.wait(max(0.0, ahead))

    def _commit(self, batch: Batch, table_id: UUID, done: TokenRange, rows: int) -> Applied:
        letters = refused(batch)

        def commit(conn: Connection) -> None:
            if letters:
                write_dead_letters(conn, self._settings.node, letters, self._mirrors.seal)
            snapshots.advance(conn, table_id, done, rows)

        return self.writer.despite_conflicts(lambda: self.writer.apply_rows(batch, commit))


class _Readers:
    """Threads that read ranges ahead of who applies them; a context manager and an iterator."""

    def __init__(
        self,
        reader: TableReader,
        ranges: Sequence[TokenRange],
        parallel: int,
        stopping: threading.Event,
    ) -> None:
        self._reader = reader
        self._todo: queue.SimpleQueue[TokenRange] = queue.SimpleQueue()
        for one in ranges:
            self._todo.put(one)
        self._left = len(ranges)
        self._stopping = stopping
        self._given_up = threading.Event()
        self._ready: queue.Queue[tuple[TokenRange, Chunk]] = queue.Queue(parallel)
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="snapshot")
        self._work_of: list[Future[None]] = []
        self._parallel = min(parallel, len(ranges))

    def __enter__(self) -> Self:
        self._work_of = [self._pool.submit(self._work) for _ in range(self._parallel)]
        return self

    def __exit__(self, *_: object) -> None:
        self._given_up.set()
        while not all(one.done() for one in self._work_of):
            self._take()
        self._pool.shutdown()

    def __iter__(self) -> Iterator[tuple[TokenRange, Chunk]]:
        """What is read, until all ranges are. Raises what a thread raised, and Stopped."""
        while self._left:
            if self._stopping.is_set():
                raise Stopped
            found = self._take()
            if found is None:
                for one in self._work_of:
                    if one.done():
                        one.result()
                continue
            token_range, chunk = found
            self._left -= chunk.next > token_range.end
            yield found

    def _take(self) -> tuple[TokenRange, Chunk] | None:
        """What is ready, or None after a while."""
        try:
            return self._ready.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            return None

    def _work(self) -> None:
        while not self._given_up.is_set():
            try:
                token_range = self._todo.get_nowait()
            except queue.Empty:
                return
            for chunk in self._reader.chunks(token_range.next, token_range.end):
                self._ready.put((token_range, chunk))
                if self._given_up.is_set():
                    return
