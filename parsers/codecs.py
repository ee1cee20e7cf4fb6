"""The ways a segment stores its sections: compressed or encrypted bytes back to entries.

Knows no markers and no entries. Sections 3.2 and 3.3 of the commit-log format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from parsers.descriptor import SegmentHeader


class SectionCodec(Protocol):
    """Turns the stored body of one section (without its length field) into the entries."""

    def decode(self, stored: memoryview, length: int) -> bytearray:
        """Exactly `length` bytes. SegmentCorrupt if `stored` does not hold that many.

        `stored` is valid during the call only.
        """


def section_codec(
    header: SegmentHeader, keys: Mapping[str, bytes] | None, segment: str
) -> SectionCodec | None:
    """The codec that a header asks for; None if sections hold their entries as they are."""
    return None
