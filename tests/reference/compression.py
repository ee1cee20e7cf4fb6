"""One section's bytes through Cassandra's compressors."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cramjam

from tests.reference.cursor import Cursor
from tests.reference.errors import DecodeError


def lz4_payload(payload: bytes) -> bytes:
    """A little-endian length (the only little-endian number in a segment), then one raw LZ4
    block.
    """
    cursor = Cursor(payload)
    length = int.from_bytes(cursor.take(4), "little")
    if length == 0:
        return b""
    # An LZ4 sequence byte adds at most 255 bytes of output.
    if length > 255 * cursor.remaining:
        raise DecodeError(f"LZ4 length {length} cannot come from {cursor.remaining} bytes")
    return bytes(cramjam.lz4.decompress_block(cursor.take(cursor.remaining), output_len=length))


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "LZ4Compressor": lz4_payload,
    "SnappyCompressor": lambda payload: bytes(cramjam.snappy.decompress_raw(payload)),
    "DeflateCompressor": zlib.decompress,
    "ZstdCompressor": lambda payload: bytes(cramjam.zstd.decompress(payload)),
    "NoopCompressor": lambda payload: payload,
}


def decompress(compressor: str, payload: bytes, length: int) -> bytes:
    """`payload` decompressed, exactly `length` bytes."""
    if compressor not in _COMPRESSORS:
        raise DecodeError(f"compressor {compressor} is not known")
    if length == 0:
        return b""  # an empty section's payload differs per compressor and says nothing
    try:
        plain = _COMPRESSORS[compressor](payload)
    except (cramjam.DecompressionError, zlib.error) as error:
        raise DecodeError(f"{compressor}: {error}") from error
    if len(plain) != length:
        raise DecodeError(f"{compressor} gave {len(plain)} bytes where {length} were announced")
    return plain
