"""The rows that tables have in Cassandra, copied into their mirrors while the log is tailed.

They are merged as what the log says is: each cell with its own writetime, so that it makes no
difference which comes first. What a SELECT does not tell stands in docs/snapshot.md.
"""

from __future__ import annotations

import hashlib
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
from cdc_tail.errors import ConfigError, SchemaMismatch
from cdc_tail.mirrors import Mirrors
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
from cdc_tail.writer import Writer
from parsers.decoder import Batch, decode_kept
from parsers.encode import ENCODED_LOG_VERSION
from parsers.position import Position
from parsers.schema import Table
from parsers.schema_log import SchemaLog
from sinks.base import Applied
from sinks.postgres import snapshots
from sinks.postgres.catalog import Connection
from sinks.postgres.set_aside import DeadLetter, write_dead_letters
from sinks.postgres.snapshots import Reason, TokenRange

log = structlog.get_logger()

# A range is small enough to be read again, and there are some for each worker.
RANGE_BYTES: Final = 32 << 20
MIN_RANGES, MAX_RANGES = 16, 8192
WAIT_SECONDS: Final = 0.2


@dataclass(slots=True)
class Progress:
    """What the snapshot of one table came to so far; everything in it is in the database."""

    table: str
    ranges: int = 0
    ranges_done: int = 0
    rows: int = 0
    refused: int = 0
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
        self.writer = Writer(settings.postgres_conninfo(), settings.node, self._mirrors)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with connect(self._settings.cassandra) as session:
            check_partitioner(session)
            yield session

    def __enter__(self) -> Self:
        """Connect, and bring the mirrors up to the cluster's schema.

        Raises SourceUnavailable, SinkUnavailable, SchemaMismatch.
        """
        self.writer.connect()
        self.writer.install()
        SchemaGuide(self._schema, self._settings.cassandra).seed(self.writer)
        self.writer.update_mirrors()
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

    def copy(self, table: Table, reason: Reason = "command") -> Progress | None:
        """Copy one table, or the rest of it where a snapshot of it was interrupted.

        None where another process is copying it. Raises Stopped, and what reading and applying
        raise: what was applied until then stays, and counts.
        """
        writer = self.writer
        if not writer.query(lambda conn: snapshots.try_lock(conn, table.id)):
            return None
        try:
            with self._session() as session:
                return self._copy(session, table, reason)
        finally:
            if writer.is_connected:
                writer.query(lambda conn: snapshots.unlock(conn, table.id))

    def _copy(self, session: Session, table: Table, reason: Reason) -> Progress:
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
        with _Readers(reader, open_ranges, settings.parallel, self._stopping) as readers:
            self._apply(table, readers, progress)
        self.writer.query(lambda conn: snapshots.finish(conn, table.id))
        progress.is_finished = True
        self._on_progress(progress)
        return progress

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
                write_dead_letters(conn, self._settings.node, letters)
            snapshots.advance(conn, table_id, done, rows)

        return self.writer.apply_rows(batch, commit)


def add_mutation(batch: Batch, mutation: bytes, table: Table) -> None:
    """Decode a mutation of ours into the batch. SchemaMismatch where the table has changed."""
    outcome = decode_kept(
        mutation, batch, log_version=ENCODED_LOG_VERSION, position=_position(mutation)
    )
    if outcome is not None:
        raise SchemaMismatch(
            f"rows of the snapshot can't be decoded: {outcome.kind} {outcome.reason}".rstrip(),
            hint="the table was altered a moment ago; run the snapshot again",
            table=str(table),
        )


def refused(batch: Batch) -> list[DeadLetter]:
    """The rows of the batch that PostgreSQL's types can't hold, as dead letters."""
    return [
        DeadLetter(
            position=one.position,
            reason=one.reason,
            raw=one.raw,
            log_version=one.log_version,
            table=one.table,
            key=one.partition_key,
            detail=one.column,
            ordinal=number,
        )
        for number, one in enumerate(batch.rejections)
    ]


def _position(mutation: bytes) -> Position:
    """Where no log has it: segment 0, and a number that the same rows have again."""
    digest = hashlib.blake2b(mutation, digest_size=8).digest()
    return Position(0, int.from_bytes(digest) >> 1)


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
