"""Compressed sections: what each compressor stores, logical positions, bounds."""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cramjam
import pytest

from cdc_tail.errors import SegmentCorrupt
from parsers.codecs import section_codec
from parsers.descriptor import read_header
from parsers.segment import ReadResult, SegmentReader, damaged_bytes, skip_damage
from tests.support.segments import SEGMENT_ID, encoded_segment, entry, header

INCOMPLETE, CORRUPT, END = ReadResult.INCOMPLETE, ReadResult.CORRUPT, ReadResult.END


def lz4(raw: bytes) -> bytes:
    return struct.pack("<i", len(raw)) + bytes(cramjam.lz4.compress_block(raw, store_size=False))


STORE: dict[str, Callable[[bytes], bytes]] = {
    "LZ4Compressor": lz4,
    "SnappyCompressor": lambda raw: bytes(cramjam.snappy.compress_raw(raw)),
    "DeflateCompressor": zlib.compress,
    "ZstdCompressor": lambda raw: bytes(cramjam.zstd.compress(raw, 3)),
    "NoopCompressor": lambda raw: raw,
}
BATCHES = [[b"a" * 50, b"b" * 500], [], [os.urandom(300), b"c" * 30000], [b"d" * 12]]
BODIES = [b"".join(entry(mutation) for mutation in batch) for batch in BATCHES]
SMALL = [[b"a" * 20, b"b" * 31], [b"d" * 12]]
SMALL_BODIES = [b"".join(entry(mutation) for mutation in batch) for batch in SMALL]
MUTATIONS = list(itertools.chain.from_iterable(BATCHES))


def params(name: str) -> dict[str, object]:
    return {"compressionClass": name, "compressionParameters": None}


def compressed(name: str, bodies: list[bytes] = BODIES) -> bytes:
    store = STORE[name]
    return encoded_segment([(len(body), store(body)) for body in bodies], params=params(name))


def logical_ends(name: str) -> list[int]:
    position, ends = len(header(params=params(name))), []
    for batch in BATCHES:
        position += 8
        for mutation in batch:
            position += len(mutation) + 12
            ends.append(position)
    return ends


def write(folder: Path, data: bytes | bytearray) -> Path:
    path = folder / f"CommitLog-7-{SEGMENT_ID}.log"
    path.write_bytes(data)
    return path


def read_all(reader: SegmentReader) -> tuple[list[tuple[int, bytes]], int]:
    entries: list[tuple[int, bytes]] = []
    while True:
        result, end, mutation = reader.read()
        if mutation is None:
            return entries, result
        entries.append((end, mutation))


@pytest.mark.parametrize("name", STORE)
def test_entries_at_logical_positions(tmp_path: Path, name: str) -> None:
    ends = logical_ends(name)
    with SegmentReader(write(tmp_path, compressed(name))) as reader:
        reader.set_completed()
        assert read_all(reader) == (list(zip(ends, MUTATIONS, strict=True)), END)
        assert reader.position == reader.durable_end == ends[-1]


@pytest.mark.parametrize("name", STORE)
def test_resume_after_every_entry(tmp_path: Path, name: str) -> None:
    whole = list(zip(logical_ends(name), MUTATIONS, strict=True))
    path = write(tmp_path, compressed(name))
    for end, _ in whole:
        with SegmentReader(path) as reader:
            reader.seek(end)
            assert read_all(reader) == ([e for e in whole if e[0] > end], INCOMPLETE)
    with SegmentReader(path) as reader:
        reader.seek(whole[1][0] - 1)
        assert read_all(reader) == ([], CORRUPT)


@pytest.mark.parametrize("name", STORE)
def test_growing_file_gives_whole_sections_only(tmp_path: Path, name: str) -> None:
    data = compressed(name)
    path = write(tmp_path, b"")
    seen: list[bytes] = []
    with SegmentReader(path) as reader, path.open("r+b", buffering=0) as file:
        for start in range(0, len(data), 97):
            file.write(data[start : start + 97])
            entries, result = read_all(reader)
            assert result == INCOMPLETE, reader.reason
            seen += [mutation for _, mutation in entries]
        reader.set_completed()
        assert read_all(reader) == ([], END)
    assert seen == MUTATIONS


@pytest.mark.parametrize("name", STORE)
def test_synced_offset_is_logical(tmp_path: Path, name: str) -> None:
    ends = logical_ends(name)
    with SegmentReader(write(tmp_path, compressed(name)), mode="synced") as reader:
        reader.set_synced_offset(ends[1])
        assert [end for end, _ in read_all(reader)[0]] == ends[:2]
        reader.set_synced_offset(ends[3])
        assert [end for end, _ in read_all(reader)[0]] == ends[2:4]


@pytest.mark.parametrize("name", STORE)
def test_every_cut_of_a_final_file(tmp_path: Path, name: str) -> None:
    data = compressed(name, SMALL_BODIES)
    mutations = SMALL[0] + SMALL[1]
    for length in range(len(data)):
        with SegmentReader(write(tmp_path, data[:length])) as reader:
            reader.set_completed()
            entries, _ = read_all(reader)
            assert [m for _, m in entries] == mutations[: len(entries)]
            assert len(entries) < len(mutations)


@pytest.mark.parametrize("name", STORE)
def test_every_flipped_bit_is_an_error_or_a_prefix(tmp_path: Path, name: str) -> None:
    data = compressed(name, SMALL_BODIES)
    mutations = SMALL[0] + SMALL[1]
    for bit in range(8 * len(header(params=params(name))), 8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with SegmentReader(write(tmp_path, damaged), max_section_bytes=1 << 20) as reader:
            reader.set_completed()
            entries, result = read_all(reader)
            found = [m for _, m in entries]
            assert found == mutations[: len(found)], bit
            assert result == CORRUPT or found == mutations, bit


@pytest.mark.parametrize("name", STORE)
def test_broken_section_can_be_skipped(tmp_path: Path, name: str) -> None:
    data = bytearray(compressed(name))
    at = data.index(STORE[name](BODIES[2])) + 100
    data[at : at + 50] = os.urandom(50)
    ends = logical_ends(name)
    with SegmentReader(write(tmp_path, data)) as reader:
        reader.set_completed()
        found = []
        while (got := reader.read())[0] != END:
            if got[0] == CORRUPT:
                assert damaged_bytes(reader)
                assert skip_damage(reader)
            else:
                found.append(got[1])
        assert found[:2] == ends[:2]
        assert found[-1] == ends[-1]
        assert reader.damage_skipped >= 1


def test_bound_on_a_section_holds_before_memory_is_taken(tmp_path: Path) -> None:
    stored = encoded_segment([(2**31 - 1, b"x")], params=params("LZ4Compressor"))
    with SegmentReader(write(tmp_path, stored)) as reader:
        assert read_all(reader) == ([], CORRUPT)
        assert "max_section_bytes" in reader.reason
        assert not skip_damage(reader)
    with SegmentReader(write(tmp_path, compressed("NoopCompressor")), max_section_bytes=100) as r:
        assert read_all(r) == ([], CORRUPT)


@pytest.mark.parametrize("name", STORE)
@pytest.mark.parametrize("off_by", [-1, 1])
def test_length_that_does_not_fit_the_content(name: str, off_by: int) -> None:
    read = read_header(header(params=params(name)))
    assert read is not None
    codec = section_codec(read, None, "")
    assert codec is not None
    stored = STORE[name](BODIES[0])
    assert codec.decode(memoryview(stored), len(BODIES[0])) == BODIES[0]
    with pytest.raises(SegmentCorrupt):
        codec.decode(memoryview(stored), len(BODIES[0]) + off_by)


@pytest.mark.parametrize("name", STORE)
def test_section_of_no_content(name: str) -> None:
    """Deflate writes zero bytes for an empty section, LZ4 five."""
    read = read_header(header(params=params(name)))
    assert read is not None
    codec = section_codec(read, None, "")
    assert codec is not None
    for stored in (b"", b"\0", bytes(5)):
        with pytest.raises(SegmentCorrupt):
            codec.decode(memoryview(stored), 10)


def test_zstandard_frame_that_asks_for_a_huge_window() -> None:
    read = read_header(header(params=params("ZstdCompressor")))
    assert read is not None
    codec = section_codec(read, None, "")
    assert codec is not None
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([17 << 3]) + b"\x01\x00\x00"
    with pytest.raises(SegmentCorrupt, match="window"):
        codec.decode(memoryview(frame), 100)


def test_decoded_sections_are_given_back(tmp_path: Path) -> None:
    body = b"".join(entry(os.urandom(1000)) for _ in range(100))
    data = encoded_segment([(len(body), lz4(body))] * 20, params=params("LZ4Compressor"))
    with SegmentReader(write(tmp_path, data)) as reader:
        while reader.read()[0] == ReadResult.ENTRY:
            assert reader.kept_bytes == len(body)
        reader.release_sections()
        assert reader.kept_bytes == 0
