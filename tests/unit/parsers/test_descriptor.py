"""File names, headers and the CDC index."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_tail.errors import SegmentCorrupt, UnsupportedFormat
from parsers.descriptor import (
    CdcIndex,
    Compression,
    Encryption,
    index_path,
    log_name_of_index,
    parse_log_name,
    read_header,
    read_index,
)
from tests.support.segments import SEGMENT_ID, header

# The first 20 bytes of a segment that Cassandra 5.0.9 wrote.
REAL_HEADER = bytes.fromhex("00000008000001a2082a0dbd00027b7de53fb94e")


def test_names() -> None:
    assert parse_log_name("CommitLog-7-1795433303485.log") == (7, 1795433303485)
    assert log_name_of_index("CommitLog-7-17_cdc.idx") == "CommitLog-7-17.log"
    assert index_path(Path("/cdc/CommitLog-7-17.log")) == Path("/cdc/CommitLog-7-17_cdc.idx")


@pytest.mark.parametrize(
    "name",
    ["CommitLog-17.log", "CommitLog-7-17.log.tmp", "CommitLog-7-17_cdc.idx", "xCommitLog-7-1.log"],
)
def test_other_names_are_no_segments(name: str) -> None:
    assert parse_log_name(name) is None


def test_header_that_cassandra_wrote() -> None:
    read = read_header(REAL_HEADER)
    assert read is not None
    assert (read.version, read.id, read.length) == (8, 0x000001A2082A0DBD, 20)
    assert (read.params, read.compression, read.encryption) == ({}, None, None)


def test_built_header_is_the_real_one() -> None:
    assert header(8, SEGMENT_ID) == REAL_HEADER


def test_every_flipped_bit_of_a_header_is_seen() -> None:
    raw = header(7, params={"compressionClass": "LZ4Compressor", "compressionParameters": None})
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SegmentCorrupt):
            read_header(bytes(damaged))


def test_header_that_is_not_written_yet_is_none() -> None:
    assert read_header(b"") is None
    assert read_header(bytes(7)) is None
    assert read_header(bytes(4096)) is None


@pytest.mark.parametrize("length", range(4, len(REAL_HEADER)))
def test_cut_header(length: int) -> None:
    with pytest.raises(SegmentCorrupt):
        read_header(REAL_HEADER[:length])


@pytest.mark.parametrize("version", [-1, 5, 10])
def test_unknown_version(version: int) -> None:
    with pytest.raises(UnsupportedFormat, match="log version"):
        read_header(header(version))


def test_compression_with_and_without_package() -> None:
    for name in ("ZstdCompressor", "org.apache.cassandra.io.compress.ZstdCompressor"):
        read = read_header(header(params={"compressionClass": name, "compressionParameters": None}))
        assert read is not None and read.compression == Compression("ZstdCompressor", {})
    read = read_header(
        header(params={"compressionClass": "com.x.Y", "compressionParameters": {"a": "b"}})
    )
    assert read is not None and read.compression == Compression("com.x.Y", {"a": "b"})


def test_encryption() -> None:
    params = {"encCipher": "AES/CBC/PKCS5Padding", "encKeyAlias": "k:1", "encIV": "00ff" * 8}
    read = read_header(header(params=params))
    assert read is not None
    assert read.encryption == Encryption("AES/CBC/PKCS5Padding", "k:1", b"\x00\xff" * 8)
    with pytest.raises(UnsupportedFormat, match="encIV"):
        read_header(header(params={**params, "encIV": "xyz"}))


@pytest.mark.parametrize("params", [[], "text", {"compressionClass": 7}])
def test_parameters_that_make_no_sense(params: object) -> None:
    with pytest.raises(UnsupportedFormat):
        read_header(header(params=params))


def test_id_beyond_32_bits() -> None:
    read = read_header(header(segment_id=2**40 + 5))
    assert read is not None and read.id == 2**40 + 5


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"62174", CdcIndex(62174, completed=False)),
        (b"87557\nCOMPLETED", CdcIndex(87557, completed=True)),
        (b"87557\nCOMPLETED\n", CdcIndex(87557, completed=True)),
        (b"87557\nCOMPL", CdcIndex(87557, completed=False)),
        (b"", None),
        (b"\0" * 20, None),
        (b"COMPLETED", None),
        (b"-5", None),
    ],
)
def test_index_content(tmp_path: Path, content: bytes, expected: CdcIndex | None) -> None:
    path = tmp_path / "CommitLog-7-17_cdc.idx"
    path.write_bytes(content)
    assert read_index(path) == expected


def test_missing_index_is_no_news(tmp_path: Path) -> None:
    assert read_index(tmp_path / "CommitLog-7-17_cdc.idx") is None
