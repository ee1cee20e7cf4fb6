"""Reading a segment from Python: the reader, its results and its damage as an error."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

from cdc_tail.errors import SegmentCorrupt
from parsers._damage import damaged_bytes, skip_damage
from parsers._segment import SegmentReader
from parsers.position import Position

__all__ = [
    "ReadResult",
    "SegmentReader",
    "corrupt_error",
    "damaged_bytes",
    "iter_entries",
    "position_of",
    "skip_damage",
]


class ReadResult(IntEnum):
    """What a read of the next entry came to."""

    INCOMPLETE = 0
    ENTRY = 1
    CORRUPT = 2
    END = 3


def position_of(reader: SegmentReader) -> Position:
    """The logical end of what `reader` has given so far."""
    return Position(reader.segment_id, reader.position)


def corrupt_error(reader: SegmentReader) -> SegmentCorrupt:
    """The error for a reader whose last result was CORRUPT."""
    place = f"{reader.segment_id}:{reader.error_offset}"
    return SegmentCorrupt(reader.reason, segment=reader.path, position=place)


def iter_entries(reader: SegmentReader) -> Iterator[tuple[Position, bytes]]:
    """Every entry until the reader has no more, as its position and a copy of its mutation.

    Ends at INCOMPLETE and END alike; SegmentCorrupt at the first damage. For inspection and tests:
    the decoder reads slices without copying.
    """
    while True:
        result, end_offset, mutation = reader.read()
        if mutation is not None:
            yield Position(reader.segment_id, end_offset), mutation
        elif result == ReadResult.CORRUPT:
            raise corrupt_error(reader)
        else:
            return
