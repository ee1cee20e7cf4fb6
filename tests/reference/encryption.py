"""One section's bytes through transparent data encryption: chunks, each AES/CBC over an LZ4
block.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from tests.reference.compression import lz4_payload
from tests.reference.cursor import Cursor
from tests.reference.descriptor import Encryption
from tests.reference.errors import DecodeError


def _decrypt(encryption: Encryption, key: bytes, cipher_text: bytes) -> bytes:
    if not encryption.cipher.startswith("AES/CBC/"):
        raise DecodeError(f"cipher {encryption.cipher} is not known")
    # The vector of the header starts anew with every chunk.
    decryptor = Cipher(algorithms.AES(key), modes.CBC(encryption.iv)).decryptor()
    try:
        padded = decryptor.update(cipher_text) + decryptor.finalize()
        if encryption.cipher.endswith("/NoPadding"):
            return padded
        unpadder = PKCS7(128).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError as error:
        raise DecodeError(f"a chunk does not decrypt (wrong key?): {error}") from error


def decrypt_section(encryption: Encryption, key: bytes, body: bytes, length: int) -> bytes:
    """The entries of an encrypted section: all chunks, decrypted and decompressed, `length` bytes
    together.
    """
    cursor = Cursor(body)
    plain = b""
    while cursor.remaining:
        encrypted_length = cursor.i32()
        compressed_length = cursor.i32()
        compressed = Cursor(_decrypt(encryption, key, cursor.take(encrypted_length)))
        compressed.limit = min(compressed.limit, compressed_length)
        raw_length = compressed.i32()
        raw = lz4_payload(compressed.take(compressed.remaining))
        if len(raw) != raw_length:
            raise DecodeError(f"a chunk gave {len(raw)} bytes where {raw_length} were announced")
        plain += raw
    if len(plain) != length:
        raise DecodeError(f"the chunks gave {len(plain)} bytes where {length} were announced")
    return plain
