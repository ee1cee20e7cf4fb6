"""Builds small commit-log segments byte by byte, so that a test can place any damage anywhere.

Follows sections 2 to 4 of the format. Never used to judge what Cassandra writes: the golden
segments do that.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

SEGMENT_ID = 0x000001A2082A0DBD


def header(version: int = 7, segment_id: int = SEGMENT_ID, params: object = None) -> bytes:
    raw = json.dumps({} if params is None else params, separators=(",", ":")).encode()
    low, high = segment_id & 0xFFFFFFFF, segment_id >> 32
    crc = zlib.crc32(raw, zlib.crc32(struct.pack(">iIII", version, low, high, len(raw))))
    return struct.pack(">iqH", version, segment_id, len(raw)) + raw + struct.pack(">I", crc)


def marker(offset: int, next_offset: int, segment_id: int = SEGMENT_ID) -> bytes:
    low, high = segment_id & 0xFFFFFFFF, segment_id >> 32
    return struct.pack(">iI", next_offset, zlib.crc32(struct.pack(">III", low, high, offset)))


def entry(mutation: bytes) -> bytes:
    size = struct.pack(">i", len(mutation))
    size_crc = zlib.crc32(size)
    return size + struct.pack(">I", size_crc) + mutation + struct.pack(
        ">I", zlib.crc32(mutation, size_crc)
    )  # fmt: skip


@dataclass
class Segment:
    """An uncompressed segment under construction; `data` is the file so far."""

    version: int = 7
    segment_id: int = SEGMENT_ID
    params: object = None
    data: bytearray = field(default_factory=bytearray)
    ends: list[int] = field(default_factory=list)  # end offset of each entry
    starts: list[int] = field(default_factory=list)  # offset of each entry's size
    mutations: list[bytes] = field(default_factory=list)
    markers: list[int] = field(default_factory=list)  # offset of each marker, the open one last

    def __post_init__(self) -> None:
        self.data += header(self.version, self.segment_id, self.params)
        self.markers.append(len(self.data))
        self.data += bytes(8)

    def add(self, mutation: bytes) -> int:
        """Append an entry to the open section and give its end offset."""
        self.starts.append(len(self.data))
        self.data += entry(mutation)
        self.ends.append(len(self.data))
        self.mutations.append(mutation)
        return self.ends[-1]

    def close_section(self) -> None:
        """Write the open section's marker and leave room for the next one."""
        self.write_marker()
        self.markers.append(len(self.data))
        self.data += bytes(8)

    def write_marker(self) -> None:
        at = self.markers[-1]
        self.data[at : at + 8] = marker(at, len(self.data), self.segment_id)

    def finish(self, size: int = 0) -> bytes:
        """Close the last section at the end of the data, zero-fill to `size` bytes."""
        self.write_marker()
        return self.padded(size)

    def padded(self, size: int) -> bytes:
        """The file as it is now, as preallocated with `size` bytes."""
        return bytes(self.data) + bytes(max(0, size - len(self.data)))


def segment_of(
    sections: Iterable[Iterable[bytes]], *, version: int = 7, segment_id: int = SEGMENT_ID
) -> Segment:
    """A segment with these mutations in closed sections, and an open empty one after them."""
    built = Segment(version, segment_id)
    for mutations in sections:
        for mutation in mutations:
            built.add(mutation)
        built.close_section()
    return built


def encoded_segment(
    sections: Iterable[tuple[int, bytes]],
    *,
    params: object,
    version: int = 7,
    segment_id: int = SEGMENT_ID,
) -> bytes:
    """A compressed or encrypted segment from (decoded length, stored bytes) of its sections."""
    data = bytearray(header(version, segment_id, params))
    for length, stored in sections:
        at = len(data)
        data += bytes(8) + struct.pack(">i", length) + stored
        data[at : at + 8] = marker(at, len(data), segment_id)
    return bytes(data)
