"""Which segment to read next, from where, and when one is done; decodes nothing, deletes nothing.

Segments are read in id order, but none waits for another: a segment whose end is not known yet is
left as soon as a later one has entries, and is taken up again when its file changes. Reconciliation
makes the order of mutations irrelevant, so this costs nothing and blocks nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cdc_tail.errors import ArchiveUnavailable, CheckpointGap
from cdc_tail.failpoints import point
from cdc_tail.watch import Listing, SegmentFile
from checkpoints.model import SegmentProgress
from parsers.descriptor import CdcIndex
from parsers.position import Position
from parsers.segment import ReadResult, SegmentReader, skip_damage

# Of archived segments so many have a local copy at a time, whatever waits.
MAX_FETCHED: Final = 4
# A node that was killed shows segments again that it had not flushed: those of its commit log, 256
# by Cassandra's defaults. What was applied to its end is known for so many segments.
REMEMBERED: Final = 4096


@dataclass(slots=True)
class Segment:
    """One segment on its way: `file` as last listed, `offset` read up to, `committed` applied."""

    file: SegmentFile
    committed: int = 0
    offset: int = 0
    reader: SegmentReader | None = None
    holds_changes: bool = False  # mutations of mirrored tables were read from it
    ended: bool = False  # read to its end, not yet committed
    dormant: bool = False  # nothing more to read until the file changes
    gone: bool = False  # no longer in the folder; an open reader still holds it

    @property
    def segment_id(self) -> int:
        """Cassandra's id of the segment."""
        return self.file.segment_id

    @property
    def is_untouched(self) -> bool:
        """Whether nothing has been read from it yet."""
        reader = self.reader
        return reader is None or reader.header is None or reader.position <= reader.header.length

    def progress(self) -> SegmentProgress:
        """What a checkpoint says of it once everything read is applied."""
        return SegmentProgress(
            self.segment_id, self.offset, finished=self.ended, holds_changes=self.holds_changes
        )

    def close(self) -> None:
        """Unmap the file; nothing may refer to its bytes any more."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None


class Segments:
    """All segments of one cdc_raw (or of the files of a replay) between listing and discard."""

    def __init__(
        self,
        progress: Mapping[int, SegmentProgress],
        open_reader: Callable[[SegmentFile], SegmentReader],
    ) -> None:
        """`progress` is what the database knows; `open_reader` opens a segment's file."""
        self._known = dict(progress)
        self._open_reader = open_reader
        self._segments: dict[int, Segment] = {}
        self._done: dict[int, SegmentFile] = {}  # committed to the end, file still there
        self._done_at: dict[int, float] = {}  # time.monotonic() of that commit, where it was ours
        self._finished: set[int] = set()  # committed to the end, file gone
        self._look_at_all = True
        self._lost: list[Position] = []
        self._forgotten: list[int] = []

    def __iter__(self) -> Iterator[Segment]:
        """Every segment that is not done, by id."""
        return iter([self._segments[key] for key in sorted(self._segments)])

    def update(self, listing: Listing) -> None:
        """Take note of what appeared, changed or went since the last listing."""
        self._look_at_all = True
        listed = {file.segment_id: file for file in listing.segments}
        for segment_id, file in listed.items():
            if segment_id in self._done:
                continue
            segment = self._segments.get(segment_id)
            if segment is None:
                self._appeared(file)
            elif segment.file != file:
                segment.file = file
                segment.dormant = False
                if segment.reader is not None:
                    _tell_reader(segment.reader, file)
        for segment_id in self._segments.keys() - listed.keys():
            self._vanished(self._segments[segment_id])
        for segment_id in self._done.keys() - listed.keys():
            self.discarded(segment_id)
        for known in self._known.values():
            if known.finished:
                self._remember(known.segment_id)
                continue
            if known.holds_changes:
                self._lost.append(Position(known.segment_id, known.offset))
            self._forgotten.append(known.segment_id)
        self._known.clear()

    def _appeared(self, file: SegmentFile) -> None:
        known = self._known.pop(file.segment_id, None) or SegmentProgress(file.segment_id, 0)
        if known.finished or file.segment_id in self._finished:
            self._finished.discard(file.segment_id)
            self._done[file.segment_id] = file
        else:
            self._segments[file.segment_id] = Segment(
                file, known.offset, known.offset, holds_changes=known.holds_changes
            )

    def _vanished(self, segment: Segment) -> None:
        if segment.reader is not None and not segment.ended:
            # Its pages are still ours: whatever was written can be read to the end.
            segment.gone = True
            segment.dormant = False
            segment.reader.set_completed()
            return
        if segment.ended:  # waits for its commit
            segment.gone = True
            return
        has_changes = segment.holds_changes or segment.file.index is not None
        if has_changes:
            self._lost.append(Position(segment.segment_id, segment.committed))
        del self._segments[segment.segment_id]
        self._forgotten.append(segment.segment_id)

    def readable(self) -> Iterator[Segment]:
        """The segments worth a look, by id, each with its reader open at the right place.

        Cassandra makes segments before it needs them: nothing can stand behind one that has no
        entry yet, so the look ends there, but for the first after a listing. A segment that
        vanishes at this very moment is passed over; the next listing tells.
        """
        look_at_all, self._look_at_all = self._look_at_all, False
        for segment in self:
            if segment.ended or segment.dormant:
                continue
            if segment.reader is None:
                if segment.file.archived and self._fetched() >= MAX_FETCHED:
                    continue
                try:
                    segment.reader = self._open_reader(segment.file)
                except (FileNotFoundError, ArchiveUnavailable):
                    continue
                segment.reader.seek(segment.offset)
                point("segment.opened")
                _tell_reader(segment.reader, segment.file)
            yield segment
            if not look_at_all and not segment.ended and segment.is_untouched:
                return

    def is_quiet(self) -> bool:
        """Whether `readable` would give nothing that has moved since it was last read through."""
        if self._look_at_all:
            return False
        for segment in self:
            if segment.ended or segment.dormant:
                continue
            if segment.reader is None or not segment.reader.is_quiet():
                return False
            if segment.is_untouched:
                return True
        return True

    def _fetched(self) -> int:
        return sum(one.file.archived and one.reader is not None for one in self)

    def waits(self, segment_id: int) -> bool:
        """Whether something of the segment is still to be applied."""
        return segment_id in self._segments

    def unlisted(self, ids: Container[int]) -> bool:
        """Whether something is to be applied of a segment that is not among these."""
        return any(
            segment_id not in ids
            for segment_id in (
                *self._segments,
                *(one.segment_id for one in self._known.values() if not one.finished),
            )
        )

    def leave_behind(self, current: Segment) -> None:
        """`current` has entries: those before it that have none sleep until their file changes."""
        for segment in self:
            if segment.segment_id >= current.segment_id:
                return
            if not segment.ended and not segment.file.is_final:
                segment.dormant = True

    def read_again(self, segment: Segment) -> Iterator[tuple[Position, bytes, int]]:
        """Every mutation that was read from a segment since its last commit.

        As (position, mutation, log version); damage that was passed over is passed over again.
        Raises CheckpointGap where somebody deleted the file meanwhile.
        """
        try:
            reader = self._open_reader(segment.file)
        except FileNotFoundError as error:
            raise CheckpointGap(
                "a segment was deleted while a row of it had to be looked at again",
                segment=segment.segment_id,
            ) from error
        with reader:
            reader.seek(segment.committed)
            _tell_reader(reader, segment.file)
            yield from _read_once_more(reader, segment.offset)

    def to_commit(self) -> list[Segment]:
        """Segments that were read further than committed, or to their end, by id."""
        return [
            one for one in self if one.ended or (one.holds_changes and one.offset > one.committed)
        ]

    def committed(self, segments: list[Segment]) -> None:
        """Note that `segments` are in the database as far as they were read.

        Unmaps what is not read on; no batch may refer to its bytes any more.
        """
        for segment in segments:
            segment.committed = segment.offset
        for segment in self:
            if segment.ended or segment.dormant:
                segment.close()
            elif segment.reader is not None:
                segment.reader.release_sections()
            if segment.ended:
                del self._segments[segment.segment_id]
                if segment.gone:
                    self._remember(segment.segment_id)
                else:
                    self._done[segment.segment_id] = segment.file
                    self._done_at[segment.segment_id] = time.monotonic()

    def discardable(self, seconds_ago: float = 0.0) -> list[SegmentFile]:
        """Files of segments that were committed to their end that long ago, by id."""
        latest = time.monotonic() - seconds_ago
        return [
            self._done[key]
            for key in sorted(self._done)
            if self._done_at.get(key, latest) <= latest
        ]

    def read_between(
        self, after: Position, until: Position
    ) -> Iterator[tuple[Position, bytes, int]]:
        """Every mutation between two positions that were read, of files that are still there.

        As `read_again`; both ends are excluded.
        """
        files = {one.segment_id: one.file for one in self} | self._done
        for segment_id in sorted(files):
            if not after.segment_id <= segment_id <= until.segment_id:
                continue
            try:
                reader = self._open_reader(files[segment_id])
            except (FileNotFoundError, ArchiveUnavailable):
                continue
            with reader:
                _tell_reader(reader, files[segment_id])
                for position, mutation, version in _read_once_more(reader):
                    if position >= until:
                        break
                    if position > after:
                        yield position, mutation, version

    def discarded(self, segment_id: int) -> None:
        """The segment's files are gone."""
        del self._done[segment_id]
        self._done_at.pop(segment_id, None)
        self._remember(segment_id)

    def _remember(self, segment_id: int) -> None:
        """It is applied to its end and gone: shown again, it is not read again."""
        self._finished.add(segment_id)
        if len(self._finished) > REMEMBERED:
            oldest = min(self._finished)
            self._finished.remove(oldest)
            self._forgotten.append(oldest)

    def completed_indexes(self) -> dict[int, CdcIndex]:
        """Indexes that say COMPLETED, by segment id: they need not be read again."""
        files = [one.file for one in self._segments.values()] + list(self._done.values())
        return {
            file.segment_id: file.index for file in files if file.index and file.index.completed
        }

    def take_forgotten(self) -> list[int]:
        """Ids whose progress need not be kept any more; each is given once."""
        forgotten, self._forgotten = self._forgotten, []
        return forgotten

    def take_lost(self) -> list[CheckpointGap]:
        """An error for each segment that went with unread changes in it; each is given once."""
        lost, self._lost = self._lost, []
        return [
            CheckpointGap(
                "a segment with changes that were not applied has been deleted; all behind this"
                " position is missing",
                segment=position.segment_id,
                position=position,
                hint="let nothing but cdc-tail delete from cdc_raw (cdc_block_writes: true); start"
                " once with `cdc-tail run --accept-gap`, and beside it run `cdc-tail snapshot` for"
                " every table",
            )
            for position in sorted(lost)
        ]

    def backlog(self) -> tuple[int, int]:
        """Final segments that are not applied to their end: how many, and their bytes left."""
        waiting = [one for one in self if one.file.is_final and not one.gone]
        return len(waiting), sum(max(0, one.file.size_bytes - one.committed) for one in waiting)

    def oldest_waiting_since(self) -> float | None:
        """When the oldest segment that is final but not read to its end was last written.

        Epoch seconds; None if there is none. Its mutations are at least as old.
        """
        times = [one.file.modified_at for one in self if one.file.is_final and not one.ended]
        return min(times, default=None)

    def close(self) -> None:
        """Unmap everything."""
        for segment in self:
            segment.close()


def _read_once_more(
    reader: SegmentReader, until: int | None = None
) -> Iterator[tuple[Position, bytes, int]]:
    """Mutations to an offset or the end; damage that was passed over is passed over again."""
    while until is None or reader.position < until:
        result, end_offset, mutation = reader.read()
        if mutation is not None:
            yield Position(reader.segment_id, end_offset), mutation, reader.version
        elif result != ReadResult.CORRUPT or not skip_damage(reader):
            return


def _tell_reader(reader: SegmentReader, file: SegmentFile) -> None:
    if file.is_final:
        reader.set_completed()
    elif file.index is not None:
        reader.set_synced_offset(file.index.offset)
