"""When segments leave cdc_raw for the archive, and when they leave the archive; stores nothing.

They go there while PostgreSQL is away for long, or while cdc_raw is fuller than it should be; with
`archive.keep`, every segment does. None is deleted from cdc_raw before it is in the archive.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Final

import structlog

from cdc_tail.archive import Archive
from cdc_tail.discard import Discarder
from cdc_tail.errors import ArchiveUnavailable
from cdc_tail.log import error_fields
from cdc_tail.segments import Segments
from cdc_tail.settings import ArchiveSettings
from cdc_tail.watch import Listing, SegmentFile
from parsers.segment import SegmentReader

log = structlog.get_logger()

# The log is not read meanwhile, nor PostgreSQL asked whether it is back.
BUDGET_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 5.0


class Overflow:
    """The archive of one pipeline; `archive` None: there is none, and nothing leaves cdc_raw."""

    def __init__(
        self,
        settings: ArchiveSettings,
        archive: Archive | None,
        discarder: Discarder,
        on_error: Callable[[ArchiveUnavailable], None],
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._discarder = discarder
        self._on_error = on_error
        self._failed_at = float("-inf")
        self.archived_total = 0

    @property
    def pending_segments(self) -> int:
        """Segments in the archive that are not applied to their end."""
        return 0 if self._archive is None else len(self._archive.pending)

    def load(self) -> None:
        """Find out what earlier processes left; raises ArchiveUnavailable."""
        if self._archive is not None:
            self._archive.load()

    def complete(self, listing: Listing, segments: Segments) -> Listing:
        """The listing with what is in the archive; a segment that is in both is read in cdc_raw."""
        if self._archive is None:
            return listing
        ids = {one.segment_id for one in listing.segments}
        if segments.unlisted(ids | {one.segment_id for one in self._archive.pending}):
            # Another process of this node may have moved them.
            self._try(self._archive.load)
        away = [one for one in self._archive.pending if one.segment_id not in ids]
        if not away:
            return listing
        both = sorted([*listing.segments, *away], key=lambda one: one.segment_id)
        return dataclasses.replace(listing, segments=tuple(both))

    def relieve(
        self,
        listing: Listing,
        waits: Callable[[int], bool],
        *,
        space_bytes: int | None,
        away_seconds: float,
    ) -> Listing:
        """Move completed segments to the archive if it is time to; returns what is left.

        `waits` says of a segment's id whether it is still to be applied. The newest go first: the
        oldest are about to be applied.
        """
        archive = self._archive
        if archive is None:
            return listing
        deadline = time.monotonic() + BUDGET_SECONDS
        raw = [one for one in listing.segments if one.is_final and waits(one.segment_id)]
        for file in sorted(raw, key=lambda one: -one.segment_id):
            if not self._is_due(listing, space_bytes, away_seconds):
                break
            if time.monotonic() > deadline or not self._put(archive, file):
                break
            if self._discarder.discard(file.path):
                self.archived_total += 1
                log.info("segment archived", segment=file.path.name)
                listing = Listing(
                    tuple(one for one in listing.segments if one is not file),
                    max(0, listing.total_bytes - file.size_bytes),
                )
        return listing

    def _put(self, archive: Archive, file: SegmentFile) -> bool:
        """Store a segment, or find that somebody else has taken it; whether the archive answers."""

        def act() -> None:
            try:
                archive.put(file)
            except FileNotFoundError:
                log.warning("segment gone before it was archived", segment=file.path.name)

        return self._try(act)

    def settle(self, file: SegmentFile) -> bool:
        """The segment is applied to its end: whether it may go from cdc_raw, or has gone."""
        archive = self._archive
        if archive is None:
            return True
        keep = self._settings.keep
        if keep and not file.archived and not self._put(archive, file):
            return False
        return self._try(lambda: archive.applied(file.segment_id, keep=keep))

    def open(
        self, file: SegmentFile, make: Callable[[SegmentFile], SegmentReader]
    ) -> SegmentReader:
        """A reader of an archived segment; its local copy goes when the reader does.

        Raises ArchiveUnavailable at once while the archive did not answer a moment ago.
        """
        if self._archive is None or time.monotonic() - self._failed_at < AGAIN_SECONDS:
            raise ArchiveUnavailable("the archive of segments did not answer a moment ago")
        try:
            copy = self._archive.fetch(file)
        except ArchiveUnavailable as error:
            self._failed(error)
            raise
        try:
            return make(dataclasses.replace(file, path=copy))
        finally:
            copy.unlink()  # its pages are the reader's

    def close(self) -> None:
        """Delete local copies."""
        if self._archive is not None:
            self._archive.close()

    def _is_due(self, listing: Listing, space_bytes: int | None, away_seconds: float) -> bool:
        if away_seconds >= self._settings.after_seconds:
            return True
        return (
            space_bytes is not None and listing.total_bytes >= self._settings.at_share * space_bytes
        )

    def _try(self, act: Callable[[], None]) -> bool:
        if time.monotonic() - self._failed_at < AGAIN_SECONDS:
            return False
        try:
            act()
        except ArchiveUnavailable as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: ArchiveUnavailable) -> None:
        self._failed_at = time.monotonic()
        self._on_error(error)
        log.error("the archive does not answer", **error_fields(error))
