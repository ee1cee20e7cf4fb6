"""The ways a segment stores its sections: compressed or encrypted bytes back to entries.

Knows no markers and no entries. Sections 3.2 and 3.3 of the commit-log format. No checksum covers
compressed bytes, so the only promise is the length; the checksums of the entries inside judge the
content.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import cramjam

from cdc_tail.errors import SegmentCorrupt, UnsupportedFormat
from parsers.descriptor import SegmentHeader

# What every Zstandard decoder must be able to hold (RFC 8878, 3.1.1.1.2).
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class SectionCodec(Protocol):
    """Turns the stored body of one section (without its length field) into the entries."""

    def decode(self, stored: memoryview, length: int) -> bytes | bytearray:
        """Exactly `length` bytes, more than 0. SegmentCorrupt if `stored` is not just that.

        `stored` is valid during the call only. Takes no more than a small multiple of `length` of
        memory, whatever `stored` claims.
        """


class _Compressed:
    """A section that is one unit of one of Cassandra's compressors."""

    def __init__(
        self, name: str, decompress: Callable[[memoryview, int], bytes | bytearray]
    ) -> None:
        self._name = name
        self._decompress = decompress

    def decode(self, stored: memoryview, length: int) -> bytes | bytearray:
        try:
            return self._decompress(stored, length)
        except (cramjam.DecompressionError, zlib.error, _WrongLength) as error:
            raise SegmentCorrupt(f"{self._name} can't decompress it: {error}") from error


class _WrongLength(Exception):
    """The content is sound but not as long as the section says."""

    def __init__(self, found: int, expected: int) -> None:
        super().__init__(f"{found} bytes in place of {expected}")


def _filled(section: bytearray, count: int) -> bytearray:
    if count != len(section):
        raise _WrongLength(count, len(section))
    return section


def _lz4(stored: memoryview, length: int) -> bytearray:
    # The only little-endian number of the format; then one block without a frame.
    claimed = int.from_bytes(stored[:4], "little")
    if len(stored) < 4 or claimed != length:
        raise _WrongLength(claimed, length)
    section = bytearray(length)
    return _filled(
        section, cramjam.lz4.decompress_block_into(stored[4:], section, output_len=length)
    )


def _snappy(stored: memoryview, length: int) -> bytearray:
    section = bytearray(length)
    return _filled(section, cramjam.snappy.decompress_raw_into(stored, section))


def _deflate(stored: memoryview, length: int) -> bytes:
    # Not cramjam's: it does not tell of bytes after the stream's end.
    stream = zlib.decompressobj()
    section = stream.decompress(stored, length + 1)
    if len(section) != length or not stream.eof:
        raise _WrongLength(len(section), length)
    if stream.unused_data:
        raise zlib.error("bytes follow the end of the stream")
    return section


def _zstd(stored: memoryview, length: int) -> bytearray:
    window = _zstd_window_bytes(bytes(stored[:6]))
    if window > max(_ZSTD_WINDOW_BYTES, 2 * length):
        raise SegmentCorrupt(f"ZstdCompressor's frame asks for a window of {window} bytes")
    section = bytearray(length)
    return _filled(section, cramjam.zstd.decompress_into(stored, section))


def _zstd_window_bytes(head: bytes) -> int:
    """The memory that a Zstandard frame asks of its decoder, 0 if the content's size bounds it."""
    if len(head) < 6 or head[:4] != _ZSTD_MAGIC:
        raise SegmentCorrupt("ZstdCompressor's frame has no Zstandard header")
    if head[4] & 0x20:
        return 0
    base = 1 << (10 + (head[5] >> 3))
    return base + base // 8 * (head[5] & 7)


def _noop(stored: memoryview, length: int) -> bytearray:
    if len(stored) != length:
        raise _WrongLength(len(stored), length)
    return bytearray(stored)


_COMPRESSORS: Mapping[str, Callable[[memoryview, int], bytes | bytearray]] = {
    "LZ4Compressor": _lz4,
    "SnappyCompressor": _snappy,
    "DeflateCompressor": _deflate,
    "ZstdCompressor": _zstd,
    "NoopCompressor": _noop,
}


def section_codec(
    header: SegmentHeader, keys: Mapping[str, bytes] | None, segment: str
) -> SectionCodec | None:
    """The codec that a header asks for; None if sections hold their entries as they are.

    `keys` maps a key alias to the key's bytes. UnsupportedFormat for a compressor or cipher that
    this release can't undo, SecretsError if the key is not among `keys`.
    """
    if header.encryption is not None:
        # 7 MB that a plain log does without.
        from parsers.encryption import EncryptedSections

        return EncryptedSections(header.encryption, keys or {}, segment)
    if header.compression is None:
        return None
    name = header.compression.class_name
    if name not in _COMPRESSORS:
        raise UnsupportedFormat(
            f"the commit log is compressed with {name}",
            hint=f"commitlog_compression can be read if it is one of {', '.join(_COMPRESSORS)}",
            segment=segment,
        )
    return _Compressed(name, _COMPRESSORS[name])
