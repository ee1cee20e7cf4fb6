"""The same loop over recorded segments: offline, in segment order, once.

It takes no lease and keeps no checkpoint: running it again applies everything again, which changes
nothing. The schema comes from the segments themselves, a file of CQL, and earlier runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog

from cdc_tail.database import Database
from cdc_tail.errors import CdcTailError, RowRejected, SegmentCorrupt, UnknownTable
from cdc_tail.flow import Committed, Flow
from cdc_tail.intake import Intake
from cdc_tail.keys import read_keys
from cdc_tail.mirrors import Mirrors
from cdc_tail.recorded import recorded_segments
from cdc_tail.schema_file import seed_from_file
from cdc_tail.schema_guide import SchemaGuide
from cdc_tail.segments import Segments
from cdc_tail.settings import Settings
from cdc_tail.watch import Listing, SegmentFile
from cdc_tail.writer import Writer
from parsers.binding import SAMPLES, Survey
from parsers.decoder import Truncation, find_truncations
from parsers.descriptor import CdcIndex
from parsers.position import Position
from parsers.schema_log import SchemaLog
from parsers.segment import SegmentReader
from sinks.base import Applied
from sinks.postgres.set_aside import parked_table_ids, read_parked

log = structlog.get_logger()

_T = TypeVar("_T")


@dataclass(slots=True)
class Outcome:
    """What a replay came to; everything in it is in the database."""

    segments: int = 0
    size_bytes: int = 0
    mutations: int = 0
    applied: Applied = field(default_factory=Applied)
    dead_letters: int = 0
    parked: int = 0
    skipped_bytes: int = 0
    unknown_tables: list[str] = field(default_factory=list)
    tables: tuple[str, ...] = ()

    def shortfall(self) -> CdcTailError | None:
        """Why not everything is applied, None if it is."""
        if self.parked:
            return UnknownTable(
                f"{self.parked} mutations are parked: nothing tells the tables "
                + ", ".join(self.unknown_tables),
                hint="give their definitions with --schema (WITH ID = ...) and run again",
            )
        if self.dead_letters:
            return RowRejected(
                f"{self.dead_letters} mutations or rows could not be applied",
                hint="`cdc-tail dlq list` with --node of the replay tells which and why",
            )
        if self.skipped_bytes:
            return SegmentCorrupt(f"{self.skipped_bytes} damaged bytes were passed over")
        return None

    def as_dict(self) -> dict[str, object]:
        """The documented JSON form."""
        return dataclasses.asdict(self)


class Replay:
    """Applies recorded segments to the database that `settings` names."""

    def __init__(
        self,
        settings: Settings,
        paths: Iterable[Path],
        schema_file: Path | None = None,
        on_progress: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        """`on_progress` is told after every commit. Raises ConfigError for a wrong path or file."""
        self._settings = settings
        self._files = [_as_final(one) for one in recorded_segments(paths)]
        self._on_progress = on_progress
        self._keys = read_keys(settings)
        self._schema = SchemaLog()
        named: frozenset[UUID] = frozenset()
        if schema_file is not None:
            named = seed_from_file(self._schema, schema_file)
        self._mirrors = Mirrors(self._schema, settings.mirror, settings.node, named)
        self._guide = SchemaGuide(self._schema, None)
        self.outcome = Outcome()

    @property
    def total_bytes(self) -> int:
        """Size of all segments found."""
        return sum(one.size_bytes for one in self._files)

    def run(self) -> Outcome:
        """Apply everything; what could not be applied is in the outcome.

        Raises SegmentCorrupt at a damage, after everything before it is applied.
        """
        writer = Writer(Database(self._settings), self._settings.node, self._mirrors)
        try:
            self._guide.bring_up(writer)
            for folder, files in _logs(self._files).items():
                writer.follow_log(f"{self._settings.node}:{folder}")
                self._replay(files, writer)
            self._note_what_waits(writer)
        finally:
            writer.close()
        self.outcome.tables = self._mirrors.names
        return self.outcome

    def _replay(self, files: list[SegmentFile], writer: Writer) -> None:
        segments = Segments({}, lambda file: SegmentReader(file.path, keys=self._keys))
        segments.update(Listing(tuple(files), 0))
        intake = Intake(
            segments,
            self._mirrors.catalog,
            max_events=self._settings.batch.max_rows,
            max_bytes=self._settings.batch.max_bytes,
            skip_corrupt=self._settings.watch.skip_corrupt,
        )

        def committed(one: Committed) -> None:
            outcome = self.outcome
            outcome.mutations += one.mutations
            outcome.applied += one.applied
            outcome.skipped_bytes += one.skipped_bytes
            done = segments.discardable()
            for file in done:
                segments.discarded(file.segment_id)
            outcome.segments += len(done)
            outcome.size_bytes += sum(file.size_bytes for file in done)
            self._on_progress(outcome)

        flow = Flow(
            intake,
            self._mirrors,
            writer,
            learn=lambda question: self._guide.learn(question, writer),
            # A replay that loses its database ends: to run it again is safe.
            insist=writer.despite_conflicts,
            on_commit=committed,
        )
        flow.expect(self._truncations(files))
        try:
            while not intake.caught_up:
                flow.read()
                flow.flush()
            self._bind_unbound(flow, writer)
            flow.retry_parked()
        finally:
            segments.close()

    def _truncations(self, files: list[SegmentFile]) -> list[Truncation]:
        found: list[Truncation] = []
        for file in files:
            with SegmentReader(file.path, keys=self._keys) as reader:
                reader.set_completed()
                found += find_truncations(reader)
        return found

    def _bind_unbound(self, flow: Flow, writer: Writer) -> None:
        """Find the ids of tables that the schema file gives without them, where there is no doubt.

        What stayed parked, because its table id is not known, tells by how it decodes.
        """
        if not self._schema.unbound:
            return
        survey = Survey(self._schema)
        samples = writer.query(
            lambda conn: [
                one
                for table_id in parked_table_ids(conn, writer.node)
                for one in read_parked(conn, writer.node, [table_id], SAMPLES, self._mirrors.seal)
            ]
        )
        for one in samples:
            survey.offer(one.raw, one.log_version)
        found = survey.bindings()
        for (keyspace, name), table_id in found.items():
            self._schema.bind((keyspace, name), table_id)
            log.info("table found by its mutations", table=f"{keyspace}.{name}", id=str(table_id))
        if found:
            flow.adopt_schema(Position(0, 0))

    def _note_what_waits(self, writer: Writer) -> None:
        self.outcome.dead_letters, self.outcome.parked = writer.count_set_aside()
        self.outcome.unknown_tables = writer.tables_waited_for()


def _as_final(file: SegmentFile) -> SegmentFile:
    """A recorded segment grows no more, whatever its index said when it was copied."""
    return dataclasses.replace(file, index=CdcIndex(offset=0, completed=True))


def _logs(files: list[SegmentFile]) -> dict[Path, list[SegmentFile]]:
    """One log per folder: segment ids and positions of two nodes say nothing of each other."""
    logs: dict[Path, list[SegmentFile]] = {}
    for file in files:
        logs.setdefault(file.path.resolve().parent, []).append(file)
    return logs
