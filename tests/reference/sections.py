"""The chain of sections of a segment: sync markers, then bodies made plain (decrypted or
decompressed).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from tests.reference.compression import decompress
from tests.reference.cursor import Cursor
from tests.reference.descriptor import Descriptor
from tests.reference.encryption import decrypt_section
from tests.reference.errors import DecodeError


class End(Enum):
    """Why the chain ended."""

    FILE = "end of file"
    DATA = "end of data"
    BAD_MARKER = "bad marker"
    TRUNCATED = "the last section goes beyond the end of the file"


@dataclass(frozen=True)
class Section:
    """One section. Offsets of the file for the marker and its `next`; of the uncompressed stream
    for the body.
    """

    marker_at: int
    next_at: int
    logical_start: int
    body: bytes

    @property
    def logical_end(self) -> int:
        """What `_cdc.idx` says once this section is on disk."""
        return self.logical_start + len(self.body)


def _marker_crc(segment_id: int, marker_at: int) -> int:
    low, high = segment_id & 0xFFFFFFFF, (segment_id >> 32) & 0xFFFFFFFF
    return zlib.crc32(b"".join(word.to_bytes(4, "big") for word in (low, high, marker_at)))


def _plain(descriptor: Descriptor, keys: Mapping[str, bytes], body: bytes) -> bytes:
    if descriptor.encryption is None and descriptor.compressor is None:
        return body
    cursor = Cursor(body)
    length = cursor.i32()
    if length < 0:
        raise DecodeError(f"negative section length {length}")
    payload = cursor.take(cursor.remaining)
    if descriptor.encryption is not None:
        key = keys.get(descriptor.encryption.key_alias)
        if key is None:
            raise DecodeError(f"no key for the alias {descriptor.encryption.key_alias}")
        return decrypt_section(descriptor.encryption, key, payload, length)
    assert descriptor.compressor is not None
    return decompress(descriptor.compressor, payload, length)


def read_sections(
    data: bytes, descriptor: Descriptor, keys: Mapping[str, bytes]
) -> Iterator[Section | End]:
    """Every section in order, then the End that says why there is no further one."""
    marker_at = logical = descriptor.length
    while True:
        if marker_at > len(data) - 8:
            yield End.FILE
            return
        cursor = Cursor(data, marker_at)
        next_at, crc = cursor.u32(), cursor.u32()
        if crc != _marker_crc(descriptor.segment_id, marker_at):
            yield End.DATA if next_at == crc == 0 else End.BAD_MARKER
            return
        if next_at < cursor.position:
            yield End.BAD_MARKER
            return
        if next_at > len(data):
            yield End.TRUNCATED
            return
        section = Section(
            marker_at, next_at, logical + 8, _plain(descriptor, keys, data[marker_at + 8 : next_at])
        )
        yield section
        marker_at, logical = next_at, section.logical_end
