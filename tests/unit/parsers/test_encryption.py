"""Encrypted sections built chunk by chunk; what Cassandra wrote is among the golden segments."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import cramjam
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cdc_tail.errors import SecretsError, SegmentCorrupt, UnsupportedFormat
from parsers.descriptor import Encryption
from parsers.encryption import EncryptedSections
from parsers.segment import ReadResult, SegmentReader, iter_entries
from tests.support.segments import SEGMENT_ID, encoded_segment, entry, header

KEY, IV = bytes(range(16)), bytes(range(100, 116))
ENCRYPTION = Encryption("AES/CBC/PKCS5Padding", "Key:1", IV)
PARAMS = {"encCipher": ENCRYPTION.cipher, "encKeyAlias": "Key:1", "encIV": IV.hex()}
MUTATIONS = [b"a" * 100, os.urandom(5000), b"b" * 900, os.urandom(40)]


def chunk(raw: bytes, key: bytes = KEY) -> bytes:
    block = bytes(cramjam.lz4.compress_block(raw, store_size=False))
    plain = struct.pack(">i", len(raw)) + struct.pack("<i", len(raw)) + block
    padding = 16 - len(plain) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(IV)).encryptor()
    encrypted = encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()
    return struct.pack(">ii", len(encrypted), len(plain)) + encrypted


def section(mutations: list[bytes], chunk_bytes: int = 512, key: bytes = KEY) -> tuple[int, bytes]:
    body = b"".join(entry(mutation) for mutation in mutations)
    pieces = [body[at : at + chunk_bytes] for at in range(0, len(body), chunk_bytes)]
    return len(body), b"".join(chunk(piece, key) for piece in pieces)


def codec(keys: dict[str, bytes] | None = None) -> EncryptedSections:
    return EncryptedSections(ENCRYPTION, {"Key:1": KEY} if keys is None else keys, "")


def write(folder: Path, data: bytes) -> Path:
    path = folder / f"CommitLog-7-{SEGMENT_ID}.log"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("chunk_bytes", [7, 512, 65536])
def test_entries_straddle_chunks(tmp_path: Path, chunk_bytes: int) -> None:
    data = encoded_segment(
        [section(MUTATIONS[:2], chunk_bytes), section(MUTATIONS[2:], chunk_bytes)],
        params=PARAMS,
    )
    with SegmentReader(write(tmp_path, data), keys={"key:1": KEY}) as reader:
        entries = list(iter_entries(reader))
    assert [mutation for _, mutation in entries] == MUTATIONS
    first = len(header(params=PARAMS)) + 8
    assert entries[0][0].offset == first + len(MUTATIONS[0]) + 12


@pytest.mark.parametrize("size", [24, 32])
def test_longer_keys(size: int) -> None:
    key = os.urandom(size)
    length, stored = section(MUTATIONS, key=key)
    decoded = codec({"Key:1": key}).decode(memoryview(stored), length)
    assert decoded == b"".join(entry(mutation) for mutation in MUTATIONS)


def test_another_key_is_found_out() -> None:
    length, stored = section(MUTATIONS)
    with pytest.raises(SegmentCorrupt, match="chunk"):
        codec({"Key:1": os.urandom(16)}).decode(memoryview(stored), length)


def test_missing_or_impossible_key(tmp_path: Path) -> None:
    path = write(tmp_path, encoded_segment([], params=PARAMS))
    with pytest.raises(SecretsError, match="Key:1"):
        SegmentReader(path)
    with pytest.raises(SecretsError, match="bytes"):
        SegmentReader(path, keys={"Key:1": b"short"})


@pytest.mark.parametrize("cipher", ["AES/GCM/NoPadding", "DESede/CBC/PKCS5Padding"])
def test_other_ciphers(cipher: str) -> None:
    with pytest.raises(UnsupportedFormat, match=cipher):
        EncryptedSections(Encryption(cipher, "k", IV), {"k": KEY}, "")
    with pytest.raises(UnsupportedFormat, match="IV"):
        EncryptedSections(Encryption(ENCRYPTION.cipher, "k", IV[:8]), {"k": KEY}, "")


def test_every_cut_and_flipped_byte_of_a_section() -> None:
    length, stored = section(MUTATIONS[:1] + MUTATIONS[3:], 64)
    whole = codec().decode(memoryview(stored), length)
    for at in range(len(stored)):
        with pytest.raises(SegmentCorrupt):
            codec().decode(memoryview(stored[:at]), length)
        damaged = bytearray(stored)
        damaged[at] ^= 0x20
        try:
            # The entries' own checksums find what the chunk's structure does not.
            assert len(codec().decode(memoryview(damaged), length)) == len(whole)
        except SegmentCorrupt:
            continue


@pytest.mark.parametrize("off_by", [-1, 1])
def test_length_that_does_not_fit(off_by: int) -> None:
    length, stored = section(MUTATIONS)
    with pytest.raises(SegmentCorrupt):
        codec().decode(memoryview(stored), length + off_by)


@pytest.mark.parametrize(
    "lengths", [(0, 0), (16, 17), (16, -1), (15, 3), (-16, 3), (2**31 - 1, 5), (32, 2)]
)
def test_impossible_chunk_lengths(lengths: tuple[int, int]) -> None:
    stored = struct.pack(">ii", *lengths) + bytes(64)
    with pytest.raises(SegmentCorrupt):
        codec().decode(memoryview(stored), 100)


def test_damage_is_reported_by_the_reader(tmp_path: Path) -> None:
    data = bytearray(encoded_segment([section(MUTATIONS, 512)], params=PARAMS))
    data[-(len(data) // 2) & ~15] ^= 1
    with SegmentReader(write(tmp_path, bytes(data)), keys={"Key:1": KEY}) as reader:
        found = []
        while (got := reader.read())[2] is not None:
            found.append(got[2])
        assert got[0] == ReadResult.CORRUPT
        assert found == MUTATIONS[: len(found)] != MUTATIONS


WITHOUT_CRYPTOGRAPHY = """
import sys
sys.modules["cryptography"] = None
from cdc_tail.errors import CdcTailError
from parsers.keystore import keys_from_keystore
from parsers.segment import SegmentReader
for refused in (lambda: SegmentReader(sys.argv[1]), lambda: keys_from_keystore(b"0", "")):
    try:
        refused()
    except CdcTailError as error:
        print(type(error).__name__, error.hint)
"""


def test_without_the_optional_package_it_says_what_to_install(tmp_path: Path) -> None:
    path = write(tmp_path, encoded_segment([], params=PARAMS))
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_CRYPTOGRAPHY, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == [
        "UnsupportedFormat install cdc-tail[encryption]",
        "SecretsError install cdc-tail[encryption]",
    ]
