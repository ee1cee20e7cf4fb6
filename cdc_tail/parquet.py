"""Feeds the Parquet archive: what a commit has put into the mirror goes into change files, too.

It reads committed parts of segments a second time. A segment's file must stay until `is_safe`;
after a crash the part that is in no file yet is read again from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

import structlog

from cdc_tail.errors import SegmentCorrupt, SinkUnavailable, UnknownTable
from cdc_tail.segments import Segments
from cdc_tail.settings import MirrorSettings, ParquetSettings
from cdc_tail.watch import SegmentFile
from parsers.decoder import Catalog, CompiledTable, build_catalog, view_mutation
from parsers.masking import Mask
from parsers.position import Position
from parsers.schema import Schema, Table
from parsers.segment import ReadResult, SegmentReader, corrupt_error
from sinks.parquet.archive import ParquetArchive, Transact
from sinks.parquet.files import open_store
from sinks.parquet.manifest import ChangeFile
from sinks.postgres.masks import plain_masks

log = structlog.get_logger()

RETRY_SECONDS: Final = 5.0


class ParquetFeed:
    """The change files of one node's log."""

    def __init__(
        self,
        settings: ParquetSettings,
        mirror: MirrorSettings,
        node: str,
        open_reader: Callable[[SegmentFile], SegmentReader],
        transact: Transact[Any],
    ) -> None:
        """`transact` runs what it is given in a transaction under the node's lease."""
        assert settings.location is not None
        self._settings = settings
        self._mirror = mirror
        self._archive = ParquetArchive(open_store(settings.location), node, self._masks_of)
        self._open_reader = open_reader
        self._transact = transact
        self._offsets: dict[int, int] = {}  # read into the buffer, or further
        self._safe: dict[int, int] = {}  # in committed files
        self._ended: set[int] = set()
        self._behind: dict[int, tuple[SegmentFile, int, bool]] = {}
        self._forgotten: list[int] = []
        self._catalog: tuple[Schema, Catalog] | None = None
        self._wanted: set[UUID] = set()
        self._since: float | None = None  # the oldest buffered change
        self._retry_at = 0.0

    @property
    def lag_segments(self) -> int:
        """Segments of which committed parts are not even buffered."""
        return len(self._behind)

    def start(self) -> None:
        """Remove what a crash left, and find out where the files end."""
        self._safe = dict(self._archive.recover(self._transact))
        self._offsets = dict(self._safe)

    def note(self, segments: Segments) -> None:
        """Take note of everything that is committed, to be read by `advance`."""
        for file in segments.discardable():
            self._note(file, file.size_bytes, True)
        for one in segments:
            self._note(one.file, one.committed, False)

    def _note(self, file: SegmentFile, until: int, ended: bool) -> None:
        segment_id = file.segment_id
        if segment_id in self._ended or (not ended and until <= self._offsets.get(segment_id, 0)):
            return
        self._behind[segment_id] = (file, until, ended)

    def advance(self, schema: Schema, *, final: bool = False) -> list[ChangeFile]:
        """Read what was noted, roll when it is time; returns the files that were committed.

        Reads no more than fills a file. A store that fails is tried again later, and nothing more
        is read until then. Raises what the database raises.
        """
        for segment_id in sorted(self._behind):
            if self._is_full:
                break
            self._read(*self._behind[segment_id], schema)
        now = time.monotonic()
        is_old = self._since is not None and now - self._since >= self._settings.roll_seconds
        if not (self._is_full or is_old or (final and self._archive.buffered)):
            return []
        if now < self._retry_at and not final:
            return []
        try:
            files = self._archive.roll(self._transact, dict(self._offsets), self._forgotten)
        except OSError as error:
            self._retry_at = now + RETRY_SECONDS
            raise SinkUnavailable(
                f"the change files can't be written: {error}",
                hint="look at parquet.location: space, rights, credentials",
            ) from error
        self._safe = dict(self._offsets)
        self._forgotten = []
        self._since = None
        log.info("change files written", files=len(files), changes=sum(f.changes for f in files))
        return files

    def is_safe(self, segment_id: int) -> bool:
        """Whether every change of a segment that is done stands in a committed file."""
        if segment_id not in self._ended:
            return False
        return self._since is None or self._safe.get(segment_id) == self._offsets[segment_id]

    def discarded(self, segment_id: int) -> None:
        """The segment's file is gone."""
        self._ended.discard(segment_id)
        self._offsets.pop(segment_id, None)
        if self._safe.pop(segment_id, None) is not None:
            self._forgotten.append(segment_id)

    @property
    def _is_full(self) -> bool:
        return self._archive.buffered_bytes >= self._settings.roll_bytes

    def _read(self, file: SegmentFile, until: int, ended: bool, schema: Schema) -> None:
        """Buffer a segment's changes up to `until` (or to its end), or until the buffer is full."""
        segment_id = file.segment_id
        catalog = self._compile(schema)
        with self._open_reader(file) as reader:
            reader.seek(self._offsets.get(segment_id, 0))
            if ended:
                reader.set_completed()
            while not self._is_full:
                if not ended and reader.position >= until:
                    del self._behind[segment_id]
                    return
                result, end, raw = reader.read()
                if raw is None:
                    self._offsets[segment_id] = reader.position
                    if result == ReadResult.CORRUPT and ended:
                        raise corrupt_error(reader)
                    if ended:
                        self._ended.add(segment_id)
                    del self._behind[segment_id]
                    return
                self._add(Position(reader.segment_id, end), raw, catalog, reader.version)
                self._offsets[segment_id] = end

    def _add(self, position: Position, raw: bytes, catalog: Catalog, log_version: int) -> None:
        try:
            views = view_mutation(raw, catalog, log_version)
        except (UnknownTable, SegmentCorrupt) as error:
            # It is parked or a dead letter: docs/parquet.md says that the files lack it.
            log.warning("mutation not archived", position=str(position), reason=str(error))
            return
        wanted = [one for one in views if one.table.id in self._wanted]
        if self._archive.add(position, wanted, len(raw)) and self._since is None:
            self._since = time.monotonic()

    def _masks_of(self, table: Table) -> Mapping[str, Mask]:
        return plain_masks(self._mirror.column_types(), self._mirror.mask_bytes(), table)

    def _compile(self, schema: Schema) -> Catalog:
        """A catalog in which also dropped tables are decoded: their last changes may be waiting."""
        if self._catalog is None or self._catalog[0] is not schema:
            tables = schema.all_by_id().values()
            mirrored = [
                one
                for one in tables
                if one.cdc and not one.is_view and self._mirror.wants(one.keyspace, one.name)
            ]
            self._wanted = {one.id for one in mirrored}
            compiled = [CompiledTable(one, "mirror", masks=self._masks_of(one)) for one in mirrored]
            self._catalog = (schema, build_catalog(compiled, tables))
        return self._catalog[1]
