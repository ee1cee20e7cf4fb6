"""What one transaction does beside applying the rows of a batch; how, its writer knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from checkpoints.model import SegmentProgress
from parsers.decoder import Batch, Truncation
from parsers.position import Position
from sinks.postgres.forgotten import Forgotten
from sinks.postgres.set_aside import DeadLetter, Parked


@dataclass(frozen=True, slots=True)
class Truncated:
    """A TRUNCATE, and what to apply again of what was written while it was under way."""

    truncation: Truncation
    since: Callable[[], Iterable[Batch]] | None = None  # None: a log that is read later than others


@dataclass(slots=True)
class Work:
    """What goes into one transaction beside the rows of the batch."""

    segments: list[SegmentProgress] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    unparked: list[Position] = field(default_factory=list)
    truncated: list[Truncated] = field(default_factory=list)
    schema_changed_at: Position | None = None
    forgotten_writes: list[Forgotten] = field(default_factory=list)
    # What of the batch is not new: mutations of dead letters, counted when they first came.
    retried: list[DeadLetter] = field(default_factory=list)
    # Given by `Writer.apply`: letters of the rows that PostgreSQL refused.
    refused: list[DeadLetter] = field(default_factory=list)
    # Given, too: when the try that succeeded began, and when its rows were written (nanoseconds).
    merging_ns: int = 0
    merged_ns: int = 0

    def __bool__(self) -> bool:
        return bool(
            self.segments
            or self.letters
            or self.parked
            or self.unparked
            or self.truncated
            or self.schema_changed_at is not None
        )
