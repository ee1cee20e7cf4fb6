"""Makes new inputs of old ones without losing what a random byte would lose: lengths and checksums.

Without it nearly every input would end at a checksum or at the length of a piece.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from random import Random
from typing import Final

from tests.fuzz.target import FIRST, SECOND, SEGMENT, joined, pieces_of

Vary = Callable[[bytes, int], bytes]
"""One small random change, to at most so many bytes."""

_HEADER_BYTES: Final = 18
_LEAST_ENTRY_BYTES: Final = 12


class Mutator:
    """`vary` is the fuzzer's own mutation; `table_ids` are those that a mutation may name."""

    def __init__(self, vary: Vary, table_ids: list[bytes]) -> None:
        self._vary = vary
        self._table_ids = table_ids

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """A new input."""
        choose = Random(seed)
        if len(data) < 3 or choose.random() < 0.1:
            return self._vary(data, max_size)
        if data[0] & SEGMENT:
            return data[:2] + self._segment(data[2:], max_size - 2, choose)
        return data[:2] + self._pieces(pieces_of(data[2:]), max_size - 2, choose)

    def _segment(self, file: bytes, room: int, choose: Random) -> bytes:
        spans = list(entries_of(file))
        if spans and choose.random() < 0.6:
            # A mutation changes its length, and all offsets behind it: move the markers along.
            start, end = choose.choice(spans)
            mutation = self._vary(file[start:end], max(1, room - len(file) + end - start))
            return with_entry(file, start, end, mutation)
        varied = self._vary(file, room)
        return repaired(varied) if choose.random() < 0.75 else varied

    def _pieces(self, pieces: list[tuple[int, bytes]], room: int, choose: Random) -> bytes:
        if not pieces:
            return self._vary(b"", room)
        at = choose.randrange(len(pieces))
        kind, piece = pieces[at]
        draw = choose.random()
        if draw < 0.7:
            left = max(1, min(room - len(joined(pieces)) + len(piece), (1 << 16) - 1))
            pieces[at] = kind, self._vary(piece, left)
        elif draw < 0.75:
            pieces.insert(choose.randrange(len(pieces) + 1), (choose.randrange(5), piece))
        elif draw < 0.8 and len(pieces) > 1:
            del pieces[at]
        elif draw < 0.85:
            pieces[at] = choose.randrange(5), piece
        elif draw < 0.9:
            choose.shuffle(pieces)
        elif draw < 0.95:
            pieces[at] = kind, self._of_another_table(kind, piece, choose)
        else:
            other = choose.choice(pieces)[1]
            cut, joint = choose.randrange(len(piece) + 1), choose.randrange(len(other) + 1)
            pieces[at] = kind, piece[:cut] + other[joint:]
        return joined(pieces)[:room]

    def _of_another_table(self, kind: int, piece: bytes, choose: Random) -> bytes:
        if kind not in (FIRST, SECOND):
            return piece
        for table_id in self._table_ids:
            if table_id in piece:
                return piece.replace(table_id, choose.choice(self._table_ids))
        return piece


def _header_end(file: bytes) -> int:
    if len(file) < _HEADER_BYTES:
        return -1
    end = _HEADER_BYTES + int.from_bytes(file[12:14])
    return end if end + 8 <= len(file) else -1


def entries_of(file: bytes) -> list[tuple[int, int]]:
    """(start, end) of the mutations that an uncompressed segment's sizes lead to."""
    found: list[tuple[int, int]] = []
    at = _header_end(file)
    while 0 < at <= len(file) - 8:
        end = int.from_bytes(file[at : at + 4])
        if not at + 8 <= end <= len(file):
            end = len(file)
        place = at + 8
        while place + _LEAST_ENTRY_BYTES <= end:
            size = int.from_bytes(file[place : place + 4])
            if size > end - place - _LEAST_ENTRY_BYTES:
                break
            found.append((place + 8, place + 8 + size))
            place += size + _LEAST_ENTRY_BYTES
        at = end
    return found


def with_entry(file: bytes, start: int, end: int, mutation: bytes) -> bytes:
    """The segment with another mutation in place of [start, end), and all checksums right."""
    moved = len(mutation) - (end - start)
    out = bytearray(file)
    at = _header_end(file)
    while 0 < at <= len(file) - 8:
        following = int.from_bytes(file[at : at + 4])
        if not at + 8 <= following <= len(file):
            break
        if following > start:
            out[at : at + 4] = struct.pack(">I", max(0, following + moved))
        at = following
    out[start:end] = mutation
    out[start - 8 : start - 4] = struct.pack(">I", len(mutation))
    return repaired(bytes(out))


def repaired(file: bytes) -> bytes:
    """The segment with its checksums made right, as far as its lengths lead."""
    at = _header_end(file)
    if at < 0:
        return file
    out = bytearray(file)
    high_low = file[8:12] + file[4:8]
    params = file[14 : at - 4]
    header = file[:4] + high_low + struct.pack(">I", len(params)) + params
    out[at - 4 : at] = struct.pack(">I", zlib.crc32(header))
    markers = [at]
    while 0 < at <= len(file) - 8:
        out[at + 4 : at + 8] = struct.pack(">I", zlib.crc32(high_low + struct.pack(">I", at)))
        following = int.from_bytes(out[at : at + 4])
        if not at + 8 <= following <= len(file):
            break
        at = following
        markers.append(at)
    for start, end in entries_of(bytes(out)):
        size_crc = zlib.crc32(out[start - 8 : start - 4])
        out[start - 4 : start] = struct.pack(">I", size_crc)
        out[end : end + 4] = struct.pack(">I", zlib.crc32(out[start:end], size_crc))
    return bytes(out)
