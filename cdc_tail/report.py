"""Tells status and metrics what the pipeline does; measures rates, decides nothing."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cdc_tail.errors import CdcTailError
from cdc_tail.flow import Committed
from cdc_tail.metrics import Metrics
from cdc_tail.segments import Segments
from cdc_tail.status import ErrorStatus, State, StatusBoard
from cdc_tail.watch import Listing
from cdc_tail.writer import Writer
from sinks.base import Applied

if TYPE_CHECKING:
    from sinks.parquet.manifest import ChangeFile

# The pipeline turns a thousand times a second; its readers look far less often.
PROGRESS_SECONDS: Final = 0.1
RATE_WINDOW_SECONDS: Final = 10.0
# A flood shows in the short window; a slow stream, of which a whole segment appears only every few
# minutes, in the long one.
GROWTH_WINDOWS_SECONDS: Final = (60.0, 900.0)
# A few bytes of an index more are no growth: beyond this, the folder does not fill up.
HORIZON_SECONDS: Final = 30 * 86_400.0


class Reporter:
    """One process's status board and metrics."""

    def __init__(self, board: StatusBoard, metrics: Metrics) -> None:
        self._board = board
        self._metrics = metrics
        self._mutations = 0
        self._committed: deque[tuple[float, int]] = deque()
        self._sizes: deque[tuple[float, int]] = deque()
        self._progress_at = 0.0
        self._lost = 0
        self._archived = 0
        self._forgotten = 0
        self._letters = 0
        self._parked = 0

    def state(self, state: State) -> None:
        """What the process is doing from now on."""
        self._board.update(state=state)

    def started(self, tables: tuple[str, ...], writer: Writer) -> None:
        """The lease is ours and the mirrors stand."""
        self._metrics.gauge("cdc_lease_held").set(1)
        lease = writer.lease
        if lease is not None:
            self._metrics.gauge("cdc_lease_fencing_token").set(lease.fencing_token)
        self._board.update(
            state="catching_up",
            started_at=datetime.now(UTC),
            tables=tables,
            lease_holder=lease and lease.holder,
            fencing_token=lease and lease.fencing_token,
            mutations_total=writer.mutations_total,
        )
        self.postgres(up=True)

    def postgres(self, *, up: bool) -> None:
        """Whether PostgreSQL answers."""
        self._metrics.gauge("cdc_postgres_up").set(up)
        if up:
            self._board.update(postgres_up=True)
        else:
            self._board.update(postgres_up=False, state="waiting_for_postgres")

    def error(self, error: CdcTailError) -> None:
        """An error was met; the process may well go on."""
        self._metrics.count_error(error)
        shown = ErrorStatus(type(error).__name__, str(error), error.hint, datetime.now(UTC))
        self._board.update(error=shown)

    def failed(self, error: CdcTailError) -> None:
        """The process ends with this error."""
        self.error(error)
        self._metrics.gauge("cdc_lease_held").set(0)
        self._board.update(state="failed")

    def set_aside(self, found: tuple[int, int]) -> None:
        """How many dead letters and parked mutations the database holds."""
        self._letters, self._parked = found
        self._metrics.gauge("cdc_dead_letters").set(self._letters)
        self._metrics.gauge("cdc_parked").set(self._parked)
        self._board.update(dead_letters=self._letters, parked=self._parked)

    def committed(self, committed: Committed, waited_seconds: float, writer: Writer) -> None:
        """A transaction is in the database, `waited_seconds` after its first mutation was read."""
        metrics = self._metrics
        self._mutations += committed.mutations
        self._committed.append((time.monotonic(), committed.mutations))
        metrics.counter("cdc_events_processed_total").inc(committed.mutations)
        if committed.mutations:
            metrics.histogram("cdc_processing_latency_seconds").observe(waited_seconds)
            metrics.histogram("cdc_batch_rows").observe(committed.applied.rows)
            metrics.histogram("cdc_batch_bytes").observe(committed.size_bytes)
            metrics.histogram("cdc_apply_seconds").observe(committed.apply_seconds)
        for table, rows in committed.applied.by_table.items():
            metrics.count_rows(table, rows)
        for position in committed.positions[-1:]:
            metrics.gauge("cdc_position_segment_id").set(position.segment_id)
            metrics.gauge("cdc_position_offset_bytes").set(position.offset)
            self._board.update(position=str(position))
        if committed.forgotten:
            metrics.counter("cdc_forgotten_mutations_total").inc(committed.forgotten)
            self._forgotten += committed.forgotten
            self._board.update(forgotten_mutations=self._forgotten)
        if committed.skipped_bytes:
            metrics.counter("cdc_skipped_bytes_total").inc(committed.skipped_bytes)
        self._board.update(
            mutations_total=writer.mutations_total,
            mutations_since_start=self._mutations,
            postgres_up=True,
            tables=writer.mirrors.names,
        )

    def listed(self, listing: Listing, segments: Segments, space_bytes: int | None) -> None:
        """The folder was looked at."""
        now = time.monotonic()
        waiting, waiting_bytes = segments.backlog()
        left = self._seconds_left(now, listing.total_bytes, space_bytes)
        self._metrics.gauge("cdc_backlog_depth").set(waiting)
        self._metrics.gauge("cdc_backlog_bytes").set(waiting_bytes)
        self._metrics.gauge("cdc_raw_bytes").set(listing.total_bytes)
        self._metrics.gauge("cdc_raw_space_bytes").set(space_bytes or 0)
        self._metrics.gauge("cdc_raw_full_in_seconds").set(left)
        self._board.update(
            backlog_segments=waiting,
            backlog_bytes=waiting_bytes,
            cdc_raw_bytes=listing.total_bytes,
            cdc_raw_space_bytes=space_bytes,
            cdc_raw_full_in_seconds=left if math.isfinite(left) else None,
        )

    def progress(
        self, segments: Segments, opened_at: float | None, *, caught_up: bool, waiting: bool = False
    ) -> None:
        """Where reading stands. `opened_at` is when the open batch began (monotonic seconds)."""
        now = time.monotonic()
        if now - self._progress_at < PROGRESS_SECONDS:
            return
        self._progress_at = now
        age = 0.0 if opened_at is None else now - opened_at
        written_at = segments.oldest_waiting_since()
        if written_at is not None:
            age = max(age, time.time() - written_at)
        self._metrics.gauge("cdc_oldest_unapplied_age_seconds").set(age)
        # Cassandra makes the next segment ahead of time: nothing is in it yet.
        begun = [one.file.path.name for one in segments if not one.is_untouched]
        changes: dict[str, object] = {}
        if not waiting and not caught_up:
            changes["state"] = "catching_up"
        elif not waiting and opened_at is None:  # read to the end, and all of it applied
            changes["state"] = "live"
        self._board.update(
            oldest_unapplied_age_seconds=round(age, 3),
            segment=begun[-1] if begun else None,
            mutations_per_second=self._rate(now),
            **changes,
        )

    def discarded(self, total: int) -> None:
        """A segment's files were deleted; `total` so far."""
        self._metrics.counter("cdc_segments_discarded_total").inc()
        self._board.update(segments_discarded=total)

    def archived(self, pending: int, total: int) -> None:
        """Segments that wait in the archive, and how many were moved there so far."""
        self._metrics.gauge("cdc_archive_segments").set(pending)
        self._metrics.counter("cdc_archived_segments_total").inc(total - self._archived)
        self._archived = total
        self._board.update(archive_segments=pending)

    def expired(self, applied: Applied) -> None:
        """TTLs took effect."""
        self._metrics.counter("cdc_expired_rows_total").inc(applied.updated + applied.deleted)

    def files_written(self, files: Sequence[ChangeFile]) -> None:
        """Change files were committed."""
        if files:
            self._metrics.counter("cdc_parquet_files_total").inc(len(files))
            self._metrics.counter("cdc_parquet_changes_total").inc(sum(f.changes for f in files))

    def purged(self, tombstones: int) -> None:
        """Tombstones were forgotten."""
        self._metrics.counter("cdc_purged_tombstones_total").inc(tombstones)

    def lost_segment(self, error: CdcTailError) -> None:
        """A segment with unread changes was deleted by somebody else."""
        self._lost += 1
        self._metrics.counter("cdc_lost_segments_total").inc()
        self.error(error)
        self._board.update(lost_segments=self._lost)

    def _rate(self, now: float) -> float:
        while self._committed and now - self._committed[0][0] > RATE_WINDOW_SECONDS:
            self._committed.popleft()
        return round(sum(count for _, count in self._committed) / RATE_WINDOW_SECONDS, 1)

    def _seconds_left(self, now: float, size_bytes: int, space_bytes: int | None) -> float:
        """Time until the folder is full at its present growth; infinity if it does not grow."""
        self._sizes.append((now, size_bytes))
        while now - self._sizes[0][0] > max(GROWTH_WINDOWS_SECONDS):
            self._sizes.popleft()
        if space_bytes is None:
            return math.inf
        if size_bytes >= space_bytes:
            return 0.0
        left = math.inf
        for window_seconds in GROWTH_WINDOWS_SECONDS:
            since, size_then = next(one for one in self._sizes if now - one[0] <= window_seconds)
            growth = (size_bytes - size_then) / (now - since) if now > since else 0.0
            if growth > 0:
                left = min(left, (space_bytes - size_bytes) / growth)
        return left if left < HORIZON_SECONDS else math.inf
