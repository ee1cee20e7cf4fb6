"""The entries of a section: size, CRC, mutation, CRC."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.reference.cursor import Cursor
from tests.reference.sections import Section

_OVERHEAD = 12
_MIN_MUTATION = 10


@dataclass(frozen=True)
class Entry:
    """One entry: `end` is the logical offset behind it, by which Cassandra names it; `mutation` its
    bytes.
    """

    end: int
    mutation: bytes


@dataclass(frozen=True)
class Damage:
    """Bytes that are no entry, at the logical offset `at`, for this reason."""

    at: int
    reason: str
    ends_section: bool


def read_entries(section: Section) -> Iterator[Entry | Damage]:
    """Entries in log order; a broken payload is skipped, a broken length ends the section."""
    cursor = Cursor(section.body)
    while cursor.remaining >= 4:
        start = cursor.position
        at = section.logical_start + start
        size = cursor.i32()
        if size == 0:
            if any(section.body[start:]):
                yield Damage(at, "zero size with data behind it", ends_section=True)
            return
        if size < _MIN_MUTATION or size > cursor.remaining - (_OVERHEAD - 4):
            yield Damage(at, f"impossible size {size}", ends_section=True)
            return
        crc = zlib.crc32(section.body[start : start + 4])
        if cursor.u32() != crc:
            yield Damage(at, "the size's CRC does not hold", ends_section=True)
            return
        mutation = cursor.take(size)
        if cursor.u32() != zlib.crc32(
            mutation, crc
        ):  # the same running CRC goes on, it does not start again
            yield Damage(at, "the mutation's CRC does not hold", ends_section=False)
            continue
        yield Entry(section.logical_start + cursor.position, mutation)
