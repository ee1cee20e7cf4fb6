"""Encrypted sections: chunks of AES/CBC over LZ4. Gets keys from its caller; reads no keystore.

Section 3.3 of the commit-log format.
"""

from __future__ import annotations

from collections.abc import Mapping

import cramjam

from cdc_tail.errors import SecretsError, SegmentCorrupt, UnsupportedFormat
from parsers.descriptor import Encryption

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
except ModuleNotFoundError as error:
    if error.name is None or not error.name.startswith("cryptography"):
        raise
    _CAN_DECRYPT = False
else:
    _CAN_DECRYPT = True

_BLOCK_BYTES = 16
_CHUNK_HEADER_BYTES = 8
_CIPHERS = frozenset({"AES/CBC/PKCS5Padding", "AES/CBC/PKCS7Padding"})
_KEY_BYTES = frozenset({16, 24, 32})


class EncryptedSections:
    """The codec of one encrypted segment: its key, its IV, its cipher."""

    def __init__(self, encryption: Encryption, keys: Mapping[str, bytes], segment: str) -> None:
        if encryption.cipher not in _CIPHERS or len(encryption.iv) != _BLOCK_BYTES:
            raise UnsupportedFormat(
                f"the commit log is encrypted with {encryption.cipher} and an IV of "
                f"{len(encryption.iv)} bytes",
                hint="AES/CBC/PKCS5Padding with an iv_length of 16 can be read",
                segment=segment,
            )
        if not _CAN_DECRYPT:
            raise UnsupportedFormat(
                "the commit log is encrypted and the package `cryptography` is not installed",
                hint="install cdc-tail[encryption]",
                segment=segment,
            )
        alias = encryption.key_alias
        # Java's JCEKS keystores lower-case every alias, so both spellings name one key.
        key = keys.get(alias, keys.get(alias.lower()))
        if key is None:
            raise SecretsError(
                f"the commit log is encrypted with the key {alias!r}, which is not configured",
                hint="give the node's keystore or the key itself",
                segment=segment,
            )
        if len(key) not in _KEY_BYTES:
            raise SecretsError(
                f"the key {alias!r} has {len(key)} bytes; AES needs 16, 24 or 32", segment=segment
            )
        self._key = algorithms.AES(key)
        self._iv = modes.CBC(encryption.iv)

    def decode(self, stored: memoryview, length: int) -> bytearray:
        """Exactly `length` bytes of entries, which straddle chunks; see SectionCodec."""
        section = bytearray(length)
        start = filled = 0
        while start < len(stored):
            if len(stored) - start < _CHUNK_HEADER_BYTES:
                raise SegmentCorrupt("the section ends inside a chunk's header")
            encrypted_length = _int32(stored, start)
            compressed_length = _int32(stored, start + 4)
            start += _CHUNK_HEADER_BYTES
            if encrypted_length > len(stored) - start:
                raise SegmentCorrupt("a chunk runs past the end of its section")
            plain = self._decrypt(stored[start : start + encrypted_length], compressed_length)
            start += encrypted_length
            filled += _expand(plain, section, filled)
        if filled != length:
            raise SegmentCorrupt(f"its chunks hold {filled} bytes in place of {length}")
        return section

    def _decrypt(self, encrypted: memoryview, compressed_length: int) -> bytes:
        # Each chunk starts again from the segment's IV.
        padding = len(encrypted) - compressed_length
        if not encrypted or len(encrypted) % _BLOCK_BYTES or not 1 <= padding <= _BLOCK_BYTES:
            raise SegmentCorrupt("a chunk's lengths are impossible")
        decryptor = Cipher(self._key, self._iv).decryptor()
        plain = decryptor.update(encrypted) + decryptor.finalize()
        if plain[compressed_length:] != bytes([padding]) * padding:
            raise SegmentCorrupt("a chunk's padding is wrong: it is damaged, or the key is another")
        return plain[:compressed_length]


def _expand(plain: bytes, section: bytearray, start: int) -> int:
    """Put one decrypted chunk into `section` at `start`; how many bytes that are."""
    raw_length = _int32(plain, 0) if len(plain) >= 8 else -1
    if raw_length < 0 or raw_length > len(section) - start:
        raise SegmentCorrupt("a chunk's length is more than its section has room for")
    if int.from_bytes(plain[4:8], "little") != raw_length:
        raise SegmentCorrupt("a chunk's two lengths differ")
    if raw_length == 0:
        return 0
    try:
        raw = cramjam.lz4.decompress_block(plain[8:], output_len=raw_length)
    except cramjam.DecompressionError as error:
        raise SegmentCorrupt(f"LZ4 can't decompress a chunk: {error}") from error
    if len(raw) != raw_length:
        raise SegmentCorrupt(f"a chunk holds {len(raw)} bytes in place of {raw_length}")
    section[start : start + raw_length] = memoryview(raw)
    return raw_length


def _int32(data: bytes | memoryview, start: int) -> int:
    return int.from_bytes(data[start : start + 4], signed=True)
