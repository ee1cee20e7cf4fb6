"""The one loop: watch, read, decode, batch, apply, checkpoint, discard.

It decides retry, stop or skip, and tells status and metrics; the work itself is done elsewhere.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from cdc_tail.archive import Archive
from cdc_tail.batch import BatchClock
from cdc_tail.chores import Chores
from cdc_tail.database import Database
from cdc_tail.discard import Discarder
from cdc_tail.errors import (
    CdcTailError,
    CheckpointMoved,
    SinkConflict,
    SinkError,
    SinkUnavailable,
    SourceUnavailable,
)
from cdc_tail.failpoints import point
from cdc_tail.flow import Committed, Flow
from cdc_tail.intake import Intake, Question
from cdc_tail.keys import read_keys
from cdc_tail.log import error_fields
from cdc_tail.mirrors import Mirrors
from cdc_tail.overflow import Overflow
from cdc_tail.reload import Reloader
from cdc_tail.report import Reporter
from cdc_tail.schema_guide import SchemaGuide
from cdc_tail.segments import Segments
from cdc_tail.settings import Settings
from cdc_tail.tracing import Tracing
from cdc_tail.watch import Hints, Pace, SegmentFile, list_segments
from cdc_tail.writer import Writer
from parsers.position import Position
from parsers.schema_log import SchemaLog
from parsers.segment import SegmentReader

if TYPE_CHECKING:
    from cdc_tail.parquet import ParquetFeed

log = structlog.get_logger()

LISTING_SECONDS: Final = 1.0
# A TRUNCATE is recorded some time after the position from which on writes outlive it: what was
# logged between the two is read again, and has to be there still.
KEPT_SECONDS: Final = 5.0
# A log that moves without changes of ours moves the checkpoint no more often.
POSITION_SECONDS: Final = 1.0
BACK_OFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

_T = TypeVar("_T")


class Stopped(Exception):
    """The process was asked to stop while it waited for PostgreSQL."""


class Pipeline:
    """Tails one node until `stop` is called; every exception ends it and is shown by status."""

    def __init__(
        self,
        settings: Settings,
        reporter: Reporter,
        database: Database | None = None,
        *,
        accept_gap: bool = False,
        tracing: Tracing | None = None,
        reloader: Reloader | None = None,
    ) -> None:
        """`accept_gap`: what is found missing at the start is told, and does not end it."""
        self._settings = settings
        self._accept_gap = accept_gap
        self._report = reporter
        self._tracing = tracing or Tracing()
        self._reloader = reloader
        self._stopping = False
        self._hints = Hints(settings.cassandra.cdc_raw)
        self._pace = Pace(settings.watch.poll_min_ms / 1000, settings.watch.poll_max_ms / 1000)
        self._limits = settings.batch
        self._clock = BatchClock(settings.batch)
        self._database = database or Database(settings)
        self._discarder = Discarder(keep=settings.watch.keep_segments)
        self._overflow = Overflow(
            settings.archive, _archive_of(settings), self._discarder, reporter.error
        )
        schema = SchemaLog()
        self._mirrors = Mirrors(schema, settings.mirror, settings.node)
        self._writer = Writer(
            self._database,
            settings.node,
            self._mirrors,
            max_idle_seconds=settings.lease.ttl_seconds,
        )
        self._guide = SchemaGuide(schema, settings.cassandra)
        self._keys = read_keys(settings)
        self._feed = self._make_feed()
        self._listed_at = 0.0
        self._committed_at = 0.0
        self._chores = Chores(settings, self._writer, reporter, self._insist)
        self._segments: Segments | None = None

    def stop(self) -> None:
        """Ask for the end, from any thread or a signal handler: the open batch is applied first."""
        self._stopping = True
        self._hints.wake()

    def run(self) -> None:
        """Tail until stopped. Raises what it can't settle; nothing that was read is lost."""
        try:
            self._run()
        except Stopped:
            log.warning("stopped while waiting; the position is kept")
        except CdcTailError as error:
            self._report.failed(error)
            raise
        finally:
            self._close()
        self._report.state("stopped")

    def _run(self) -> None:
        # Fails at once where cdc_raw is not what it should be, before anybody waits for a lease.
        list_segments(self._settings.cassandra.cdc_raw)
        self._overflow.load()
        flow = self._start()
        with self._hints:
            while not self._stopping:
                self._turn(flow)
            self._report.state("stopping")
            self._flush(flow)
            self._archive(flow, final=True)

    def _start(self) -> Flow:
        self._insist(self._writer.connect)
        self._insist(self._writer.install)
        point("start.installed")
        self._acquire_lease()
        point("start.leased")
        self._insist(lambda: self._guide.seed(self._writer))
        point("start.seeded")
        self._insist(self._writer.update_mirrors)
        point("start.mirrored")
        if self._feed is not None:
            self._insist(self._feed.start)
        segments = Segments(self._insist(self._writer.read_segments), self._open_reader)
        batch = self._settings.batch
        intake = Intake(
            segments,
            self._mirrors.catalog,
            max_events=batch.max_rows,
            max_bytes=batch.max_bytes,
            skip_corrupt=self._settings.watch.skip_corrupt,
        )
        flow = Flow(
            intake,
            self._mirrors,
            self._writer,
            learn=self._learn,
            insist=self._insist,
            on_commit=self._committed,
            tracing=self._tracing,
        )
        self._segments = segments
        flow.retry_parked()
        self._report.set_aside(self._insist(self._writer.count_set_aside))
        self._report.started(self._mirrors.names, self._writer)
        return flow

    def _acquire_lease(self) -> None:
        lease = self._settings.lease
        holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
        began = time.monotonic()
        told = False
        while True:
            try:
                self._insist(lambda: self._writer.acquire_lease(holder, lease.ttl_seconds))
                return
            except CheckpointMoved as error:
                if time.monotonic() - began >= lease.wait_seconds:
                    raise
                if not told:
                    self._report.state("waiting_for_lease")
                    log.warning("waiting for the lease", **error_fields(error))
                    told = True
                self._sleep(0.5, began, is_away=False)

    def _turn(self, flow: Flow) -> None:
        """Look at the folder when it is time to, read what is there, apply what is due."""
        intake = flow.intake
        self._reload()
        intake.limit(max_events=self._limits.max_rows, max_bytes=self._limits.max_bytes)
        now = time.monotonic()
        if now - self._listed_at >= LISTING_SECONDS:
            self._list(intake.segments)
        read_before = intake.batch.mutations + intake.batch.skipped
        flow.read()
        if intake.has_work:
            self._clock.note_mutation(time.monotonic())
        if intake.batch.mutations + intake.batch.skipped != read_before:
            self._pace.moved()
        now = time.monotonic()
        caught_up = intake.caught_up
        is_due = self._clock.should_close(now, full=intake.is_full, caught_up=caught_up)
        if is_due or (not intake.has_work and self._is_position_due(now, intake.segments)):
            self._flush(flow)
        self._report.progress(intake.segments, self._clock.opened_at, caught_up=caught_up)
        self._archive(flow)
        self._chores.do(now)
        self._insist(self._writer.renew_lease_if_due)
        if not self._guide.has_asked_node and self._guide.ask_node():
            flow.adopt_schema(Position(0, 0))
        if caught_up:
            intake.give_back_memory()
            self._rest(intake.segments)

    def _reload(self) -> None:
        """Take over changed settings where somebody asks for that."""
        if self._reloader is None or (settings := self._reloader.take()) is None:
            return
        self._limits = settings.batch
        self._clock.adopt(settings.batch)
        self._database.adopt(settings)
        self._guide.adopt(settings.cassandra)
        self._chores.adopt(settings)

    def _is_position_due(self, now: float, segments: Segments) -> bool:
        """Whether to commit how far we read, although nothing of it was ours."""
        return now - self._committed_at >= POSITION_SECONDS and bool(segments.to_commit())

    def _rest(self, segments: Segments) -> None:
        """Sleep until something may have been written, or is due.

        With nothing open or to be done the log is only glanced at, not read, until the next
        listing: 40 turns a second took 1.1 % of a core, 40 glances take 0.3 %.
        """
        while True:
            pause = self._pace.pause_seconds()
            now = time.monotonic()
            linger = self._clock.seconds_left(now)
            if self._hints.wait(pause if linger is None else min(pause, linger)):
                self._listed_at = 0.0
                return
            is_busy = self._chores.has_more or (self._feed and self._feed.lag_segments)
            if linger is not None or is_busy or now - self._listed_at >= LISTING_SECONDS:
                return
            if not segments.is_quiet():
                return

    def _flush(self, flow: Flow) -> None:
        flow.flush()
        self._discard(flow.intake.segments)

    def _make_feed(self) -> ParquetFeed | None:
        settings = self._settings
        if settings.parquet.location is None:
            return None
        from cdc_tail.parquet import ParquetFeed  # pyarrow's 30 MB, where they are needed

        return ParquetFeed(
            settings.parquet,
            settings.mirror,
            settings.node,
            self._open_reader,
            self._writer.under_lease,
        )

    def _archive(self, flow: Flow, *, final: bool = False) -> None:
        """Let the change files follow what is committed. Their trouble does not hold up tailing."""
        feed = self._feed
        if feed is None:
            return
        feed.note(flow.intake.segments)
        schema = self._mirrors.log.schema
        try:
            while True:
                files = feed.advance(schema, final=final)
                self._report.files_written(files)
                if not final or not feed.lag_segments:
                    break
        except SinkUnavailable as error:
            self._report.error(error)
            log.warning("change files wait", **error_fields(error))

    def _committed(self, committed: Committed) -> None:
        waited = time.monotonic() - (self._clock.opened_at or time.monotonic())
        self._clock.reset()
        self._committed_at = time.monotonic()
        self._report.committed(committed, waited, self._writer)
        if committed.changes_set_aside:
            self._report.set_aside(self._insist(self._writer.count_set_aside))

    def _list(self, segments: Segments, away_seconds: float = 0.0) -> None:
        """Look at cdc_raw; `away_seconds` is how long PostgreSQL has not answered."""
        listing = list_segments(self._settings.cassandra.cdc_raw, segments.completed_indexes())
        space_bytes = self._guide.cdc_total_space_bytes
        self._listed_at = time.monotonic()
        segments.update(self._overflow.complete(listing, segments))
        left = self._overflow.relieve(
            listing, segments.waits, space_bytes=space_bytes, away_seconds=away_seconds
        )
        if left is not listing:
            segments.update(self._overflow.complete(left, segments))
        self._settle_lost(segments)
        self._report.listed(left, segments, space_bytes)
        self._report.archived(self._overflow.pending_segments, self._overflow.archived_total)
        self._discard(segments)

    def _list_unread(self, away_seconds: float) -> None:
        """Look at cdc_raw while PostgreSQL, which knows what is applied, was never there."""
        listing = list_segments(self._settings.cassandra.cdc_raw)
        self._listed_at = time.monotonic()
        self._overflow.relieve(
            listing,
            lambda _: True,
            space_bytes=self._guide.cdc_total_space_bytes,
            away_seconds=away_seconds,
        )
        self._report.archived(self._overflow.pending_segments, self._overflow.archived_total)

    def _settle_lost(self, segments: Segments) -> None:
        """Stop at a gap in the log, or go on where that is wanted."""
        accepted, self._accept_gap = self._accept_gap, False
        for lost in segments.take_lost():
            self._report.lost_segment(lost)
            if self._settings.watch.on_lost_segment == "stop" and not accepted:
                raise lost
            log.error("segment lost, going on", **error_fields(lost))
        if accepted:
            gone = segments.take_forgotten()
            self._insist(lambda: self._writer.forget_segments(gone))

    def _discard(self, segments: Segments) -> None:
        """Delete the files of segments that are committed to their end."""
        if self._settings.watch.keep_segments:
            return
        for file in segments.discardable(KEPT_SECONDS):
            if self._feed is not None and not self._feed.is_safe(file.segment_id):
                continue
            if not self._overflow.settle(file):
                return
            if not file.archived:
                if not self._discarder.discard(file.path):
                    continue
                self._report.discarded(self._discarder.discarded)
                log.debug("segment discarded", segment=file.path.name)
            segments.discarded(file.segment_id)
            if self._feed is not None:
                self._feed.discarded(file.segment_id)

    def _open_reader(self, file: SegmentFile) -> SegmentReader:
        if file.archived:
            return self._overflow.open(file, self._make_reader)
        return self._make_reader(file)

    def _make_reader(self, file: SegmentFile) -> SegmentReader:
        return SegmentReader(file.path, mode=self._settings.watch.read, keys=self._keys)

    def _learn(self, question: Question) -> bool:
        """Ask history, then the node, what an unknown table or column is."""
        try:
            return self._insist(lambda: self._guide.learn(question, self._writer))
        except SourceUnavailable as error:
            self._report.error(error)
            log.warning("mutation parked, the node can't be asked", **error_fields(error))
            return False

    def _insist(self, act: Callable[[], _T]) -> _T:
        """Do `act`, reconnecting and waiting while PostgreSQL is away; Stopped if asked to stop."""
        began = time.monotonic()
        tries = 0
        while True:
            self._reload()  # a new password may be what is missing
            try:
                if not self._writer.is_connected:
                    self._writer.connect()
                    self._report.postgres(up=True)
                return act()
            except SinkError as error:
                if not error.retryable:
                    raise
                self._report.error(error)
                self._report.postgres(up=isinstance(error, SinkConflict))
                self._tracing.stumbled(error)
                pause = BACK_OFF_SECONDS[min(tries, len(BACK_OFF_SECONDS) - 1)]
                if tries == 0:
                    log.warning("waiting for PostgreSQL", **error_fields(error))
                tries += 1
                self._sleep(pause, began)

    def _sleep(self, seconds: float, waiting_since: float, *, is_away: bool = True) -> None:
        """Wait, with an eye on the folder; Stopped if asked to stop meanwhile.

        `is_away`: for PostgreSQL, so that segments may have to leave cdc_raw.

        Nothing is read meanwhile: what is in the log may be as old as `waiting_since`.
        """
        deadline = time.monotonic() + seconds
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._hints.wait(min(left, LISTING_SECONDS))
            if time.monotonic() - self._listed_at < LISTING_SECONDS:
                continue
            away_seconds = time.monotonic() - waiting_since if is_away else 0.0
            if self._segments is None:
                if is_away:
                    self._list_unread(away_seconds)
                continue
            self._list(self._segments, away_seconds)
            opened_at = self._clock.opened_at or waiting_since
            self._report.progress(self._segments, opened_at, caught_up=False, waiting=True)
        if self._stopping:
            raise Stopped

    def _close(self) -> None:
        """Give the lease back where possible, so that the next process need not wait for it."""
        self._chores.stop()
        try:
            self._writer.release_lease()
        except SinkError as error:
            log.warning("the lease was not given back", **error_fields(error))
        self._writer.close()
        if self._segments is not None:
            self._segments.close()
        self._overflow.close()
        self._tracing.close()


def _archive_of(settings: Settings) -> Archive | None:
    """None where nothing may leave cdc_raw."""
    if settings.archive.url is None or settings.watch.keep_segments:
        return None
    return Archive(settings.archive.url, settings.node)
