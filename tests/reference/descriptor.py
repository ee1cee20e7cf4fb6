"""A segment's name and header, and the content of its `_cdc.idx`."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass

from tests.reference.cursor import Cursor
from tests.reference.errors import DecodeError
from tests.reference.versions import LOG_VERSIONS, LogVersion

_NAME = re.compile(r"CommitLog-(\d+)-(\d+)(?:\.log|_cdc\.idx)")


@dataclass(frozen=True)
class Encryption:
    """`encCipher`, `encKeyAlias` and `encIV` of a header."""

    cipher: str
    key_alias: str
    iv: bytes


@dataclass(frozen=True)
class Descriptor:
    """A segment's header. `length` is its size in bytes: the first section's marker follows."""

    version: LogVersion
    segment_id: int
    compressor: str | None
    encryption: Encryption | None
    length: int


def parse_name(name: str) -> tuple[int, int]:
    """(log version, segment id) from a segment's or an index's file name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DecodeError(f"not a segment's name: {name}")
    return int(match[1]), int(match[2])


def parse_index(content: bytes) -> tuple[int, bool] | None:
    """(logical offset, completed) from an index; None while it is empty or half written."""
    match = re.fullmatch(rb"(\d+)(\nCOMPLETED)?\n?", content)
    return (int(match[1]), match[2] is not None) if match else None


def _params(raw: bytes) -> dict[str, object]:
    try:
        params = json.loads(raw)
    except ValueError as error:
        raise DecodeError(f"header parameters are not JSON: {error}") from error
    if not isinstance(params, dict):
        raise DecodeError("header parameters are not a JSON object")
    return params


def read_descriptor(data: bytes) -> Descriptor:
    """The header at the start of a segment. DecodeError when its CRC or its version does not
    hold.
    """
    cursor = Cursor(data)
    version = cursor.u32()
    segment_id = cursor.i64()
    raw = cursor.take(cursor.u16())
    # The CRC covers the id as two words, the low one first, and the length as four bytes although
    # two are stored.
    low, high = segment_id & 0xFFFFFFFF, (segment_id >> 32) & 0xFFFFFFFF
    covered = b"".join(word.to_bytes(4, "big") for word in (version, low, high, len(raw))) + raw
    if cursor.u32() != zlib.crc32(covered):
        raise DecodeError("the header's CRC does not hold")
    if version not in LOG_VERSIONS:
        raise DecodeError(f"log version {version} is not known")
    params = _params(raw)
    cipher, alias, iv = params.get("encCipher"), params.get("encKeyAlias"), params.get("encIV")
    encryption = None
    if cipher is not None and alias is not None:
        encryption = Encryption(str(cipher), str(alias), bytes.fromhex(str(iv)))
    compressor = params.get("compressionClass")
    return Descriptor(
        LOG_VERSIONS[version],
        segment_id,
        None if compressor is None or encryption else str(compressor).rpartition(".")[2],
        encryption,
        cursor.position,
    )
