"""Reads segments into the open batch until it is full or something must be settled first.

What can't be decoded it sets aside with position and reason. It knows no database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from cdc_tail.errors import SegmentError
from cdc_tail.forgotten import forgotten_by
from cdc_tail.memory import trim
from cdc_tail.segments import Segment, Segments
from parsers.decoder import Batch, Catalog, Outcome, SegmentDecoder, decode_kept
from parsers.position import Position
from parsers.segment import (
    ReadResult,
    SegmentReader,
    corrupt_error,
    damaged_bytes,
    skip_damage,
)
from parsers.view import Rejected
from sinks.postgres.forgotten import Forgotten
from sinks.postgres.set_aside import DeadLetter, Parked, letter_ordinal


@dataclass(frozen=True, slots=True)
class Question:
    """A mutation that must be settled before reading goes on: DDL, or one of an unknown table."""

    outcome: Outcome
    position: Position
    log_version: int

    @property
    def table_id(self) -> UUID | None:
        """The table that the mutation is of, as far as that is known."""
        table = self.outcome.table
        return table.id if table is not None else self.outcome.table_id


class Intake:
    """The open batch and what is set aside with it; `segments` says what to read."""

    def __init__(
        self,
        segments: Segments,
        catalog: Catalog,
        *,
        max_events: int,
        max_bytes: int,
        skip_corrupt: bool = False,
    ) -> None:
        self.segments = segments
        self.batch = Batch(catalog)
        self.letters: list[DeadLetter] = []
        self.parked: list[Parked] = []
        self.is_full = False
        self.caught_up = False
        self._was_full = False
        self.damage: SegmentError | None = None
        self.skipped_bytes = 0
        self.forgotten: list[Forgotten] = []
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._skip_corrupt = skip_corrupt
        self._decoders: dict[SegmentReader, SegmentDecoder] = {}
        self._truncated: dict[UUID, Position] = {}

    @property
    def has_work(self) -> bool:
        """Whether there is anything to apply."""
        return self.batch.mutations > 0 or bool(self.letters or self.parked)

    def limit(self, *, max_events: int, max_bytes: int) -> None:
        """These bounds hold from now on, for the open batch too."""
        self._max_events = max_events
        self._max_bytes = max_bytes

    def read(self) -> Question | None:
        """Read on. Returns what must be settled first, or None: then see the fields.

        `is_full`: apply the batch. `caught_up`: there is nothing more for now. `damage`: apply the
        batch, then raise it; nothing behind the damage was read.
        """
        self.caught_up = False
        kept_bytes = 0
        before = self.batch.skipped
        for segment in self.segments.readable():
            question = self._read_segment(segment)
            if segment.reader is not None:
                kept_bytes += segment.reader.kept_bytes
            if kept_bytes >= self._max_bytes:
                # Sections of compressed segments stay in memory until the batch is applied.
                self.is_full = self.has_work
                self._release()
            if question is not None or self.is_full or self.damage is not None:
                return question
        self.caught_up = True
        if self.batch.skipped != before:
            self._release()
        return None

    def _release(self) -> None:
        """Free what no batch refers to: what was read since the last one was of other tables."""
        if not self.has_work:
            for segment in self.segments:
                if segment.reader is not None:
                    segment.reader.release_sections()

    def add(self, mutation: Parked) -> bool:
        """Take a mutation that was kept into the batch; False if its table is still not known."""
        refused = decode_kept(
            mutation.raw,
            self.batch,
            log_version=mutation.log_version,
            position=mutation.position,
        )
        if refused is None:
            return True
        if refused.kind != "malformed":
            return False
        self.letters.append(
            DeadLetter(
                mutation.position,
                refused.reason,
                mutation.raw,
                mutation.log_version,
                refused.table,
            )
        )
        return True

    def pass_over(self, table_id: UUID, until: Position) -> None:
        """Take nothing of a table that stands up to a position: a TRUNCATE has deleted it."""
        if until > self._truncated.get(table_id, Position(0, 0)):
            self._truncated[table_id] = until
            self.batch.pass_over(table_id, until.segment_id, until.offset)

    def read_again(self, catalog: Catalog, after: Position, until: Position) -> Iterator[Batch]:
        """Batches of what `catalog` mirrors between two positions, both excluded.

        Each is to be applied before the next one is asked for.
        """
        batch = Batch(catalog)
        for position, raw, version in self.segments.read_between(after, until):
            decode_kept(raw, batch, log_version=version, position=position)
            if batch.events >= self._max_events or batch.bytes >= self._max_bytes:
                yield batch
                batch = Batch(catalog)
        yield batch

    def set_aside(self, question: Question) -> None:
        """Nobody knows the table (or column): keep the mutation until somebody does."""
        assert question.table_id is not None
        self.parked.append(
            Parked(question.position, question.table_id, question.outcome.raw, question.log_version)
        )

    def reject(self, question: Question, reason: str, detail: str | None = None) -> None:
        """The mutation can't be applied: it becomes a dead letter."""
        outcome = question.outcome
        self.letters.append(
            DeadLetter(
                question.position,
                reason,
                outcome.raw,
                question.log_version,
                outcome.table,
                detail=detail,
            )
        )

    def all_letters(self) -> list[DeadLetter]:
        """What was set aside, and the rows that the batch refused: one letter per partition."""
        return self.letters + rejected_letters(self.batch)

    def check_intact(self) -> None:
        """Raise SegmentCorrupt if a file was cut under the batch after its entries were checked."""
        for segment in self.segments:
            if segment.reader is not None:
                segment.reader.check_intact()

    def start_batch(self, catalog: Catalog) -> None:
        """The batch was applied: begin the next one."""
        if catalog is self.batch.catalog:
            self.batch.clear()
        else:
            self._replace_batch(catalog)
        self.letters = []
        self.parked = []
        self.skipped_bytes = 0
        self.forgotten = []
        self._was_full |= self.is_full
        self.is_full = False
        self._decoders.clear()

    def give_back_memory(self) -> None:
        """Once the log is read to its end, give the system what full batches had taken."""
        if self._was_full and self.caught_up and not self.has_work:
            self._was_full = False
            self._replace_batch(self.batch.catalog)
            trim()

    def _replace_batch(self, catalog: Catalog) -> None:
        self.batch = Batch(catalog)
        for table_id, until in self._truncated.items():
            self.batch.pass_over(table_id, until.segment_id, until.offset)

    def _read_segment(self, segment: Segment) -> Question | None:
        reader = segment.reader
        assert reader is not None  # as `readable` gives it
        if reader.header is None:
            self._read_headless(segment, reader)
            return None
        while True:
            before = (self.batch.mutations, self.batch.skipped)
            outcome = self._decoder(reader).fill(
                self.batch, max_events=self._max_events, max_bytes=self._max_bytes
            )
            segment.offset = reader.position
            if self.batch.mutations > before[0]:
                segment.holds_changes = True
            if (self.batch.mutations, self.batch.skipped) != before or outcome.raw:
                self.segments.leave_behind(segment)
            match outcome.kind:
                case "incomplete" | "end" | "full":
                    segment.ended = outcome.kind == "end"
                    if segment.ended and reader.position > reader.durable_end:
                        self.forgotten += forgotten_by(reader, self.batch.catalog)
                    self.is_full = outcome.kind == "full"
                    return None
                case "corrupt":
                    if not self._pass_damage(segment, reader):
                        return None
                case "malformed":
                    segment.holds_changes = True
                    self.reject(self._question(outcome, reader), outcome.reason)
                case kind:
                    segment.holds_changes |= kind != "diverted"
                    return self._question(outcome, reader)

    def _read_headless(self, segment: Segment, reader: SegmentReader) -> None:
        """A segment whose header is not written yet, or never will be."""
        if segment.file.is_final:
            if reader.read()[0] == ReadResult.END:
                segment.ended = True
            else:
                self.damage = corrupt_error(reader)
        segment.close()

    def _decoder(self, reader: SegmentReader) -> SegmentDecoder:
        if reader not in self._decoders:
            self._decoders[reader] = SegmentDecoder(reader)
        return self._decoders[reader]

    def _question(self, outcome: Outcome, reader: SegmentReader) -> Question:
        return Question(outcome, Position(reader.segment_id, reader.position), reader.version)

    def _pass_damage(self, segment: Segment, reader: SegmentReader) -> bool:
        """Set the damaged bytes aside and step over them, if that is wanted and possible."""
        error = corrupt_error(reader)
        if self._skip_corrupt:
            position = Position(reader.segment_id, reader.error_offset)
            raw = damaged_bytes(reader)
            if skip_damage(reader):  # may move error_end
                size = reader.error_end - reader.error_offset
                detail = f"{size} bytes were passed over"
                self.letters.append(
                    DeadLetter(position, error.message, raw, reader.version, detail=detail)
                )
                segment.holds_changes = True
                segment.offset = reader.position
                self.skipped_bytes += size
                return True
        self.damage = error
        return False


def rejected_letters(batch: Batch) -> list[DeadLetter]:
    """A letter for every mutation and partition with rows that the batch refused."""
    rows: dict[tuple[Position, int], list[Rejected]] = {}
    for one in batch.rejections:
        name = (one.position, letter_ordinal(one.table, one.partition_key))
        rows.setdefault(name, []).append(one)
    return [_letter_of_rows(ordinal, rejected) for (_, ordinal), rejected in rows.items()]


def _letter_of_rows(ordinal: int, rejected: list[Rejected]) -> DeadLetter:
    """The letter of rows of one partition that a mutation writes and PostgreSQL can't hold."""
    first = rejected[0]
    more = f", and {len(rejected) - 1} more rows" if len(rejected) > 1 else ""
    return DeadLetter(
        first.position,
        first.reason,
        first.raw,
        first.log_version,
        first.table,
        first.partition_key,
        f"column {first.column}{more}",
        ordinal,
    )
