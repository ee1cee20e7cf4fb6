"""Both ways of the CRC agree with zlib at every length and alignment."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers._crc32 import crc32


@pytest.mark.parametrize("portable", [False, True])
def test_every_length_around_the_folding_blocks(portable: bool) -> None:
    data = bytes((i * 167 + 13) % 256 for i in range(700))
    for start in range(9):
        for length in (*range(300), 511, 512, 513, 640):
            part = data[start : start + length]
            assert crc32(part, portable=portable) == zlib.crc32(part), (start, length)


@given(st.lists(st.binary(max_size=200), max_size=6), st.integers(0, 2**32 - 1))
def test_running_checksum_continues(parts: list[bytes], seed: int) -> None:
    folded = portable = seed
    for part in parts:
        folded = crc32(part, folded)
        portable = crc32(part, portable, portable=True)
    assert folded == portable == zlib.crc32(b"".join(parts), seed)
