"""A place in a node's commit log: segment id and logical offset; knows nothing of files."""

from __future__ import annotations

import re
from dataclasses import dataclass

_POSITION = re.compile(r"([0-9]{1,19}):([0-9]{1,19})")
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, order=True, slots=True)
class Position:
    """The end of an entry (or of a section) in the commit log of one node.

    `segment_id` is Cassandra's id: ids ascend in the order of creation. `offset` counts bytes of
    the *uncompressed* segment, header and sync markers included, as `CommitLogPosition` does. It
    equals the file offset only where the segment is neither compressed nor encrypted.
    """

    segment_id: int
    offset: int

    def __post_init__(self) -> None:
        if not (0 <= self.segment_id <= _INT64_MAX and 0 <= self.offset <= _INT64_MAX):
            raise ValueError(f"not a position in a commit log: {self.segment_id}:{self.offset}")

    def __str__(self) -> str:
        return f"{self.segment_id}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that prints as `text`; ValueError for anything else."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise ValueError(f'not a position: {text!r}; it is written "segment_id:offset"')
        return cls(int(match[1]), int(match[2]))
