"""What names a segment and what stands at its front: file name, header, `_cdc.idx`.

Reads no entries. Sections 1.1, 1.5 and 2 of the commit-log format.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cdc_tail.errors import SegmentCorrupt, UnsupportedFormat

HEADER_MIN_BYTES = 18
HEADER_MAX_BYTES = HEADER_MIN_BYTES + 0xFFFF
INDEX_SUFFIX = "_cdc.idx"
LOG_VERSIONS = frozenset({6, 7, 8, 9})

_LOG_NAME = re.compile(r"CommitLog-([0-9]{1,9})-([0-9]{1,19})\.log")
_INDEX_NAME = re.compile(r"(CommitLog-[0-9]{1,9}-[0-9]{1,19})_cdc\.idx")
_INDEX_CONTENT = re.compile(rb"([0-9]{1,19})(\nCOMPLETED\n?)?")
_INDEX_MAX_BYTES = 64
_COMPRESSOR_PACKAGE = "org.apache.cassandra.io.compress."


@dataclass(frozen=True, slots=True)
class Compression:
    """`class_name` without Cassandra's own package; `parameters` as written, all text."""

    class_name: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Encryption:
    """A JCE transformation such as AES/CBC/PKCS5Padding, the key's alias and the segment's IV."""

    cipher: str
    key_alias: str
    iv: bytes


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """The header of a segment; `length` is where the first sync marker stands, in bytes."""

    version: int
    id: int
    params: Mapping[str, object]
    length: int
    compression: Compression | None
    encryption: Encryption | None


@dataclass(frozen=True, slots=True)
class CdcIndex:
    """What `_cdc.idx` says: logical end of the synced sections, and whether the segment is final.

    `offset` means nothing once `completed` is set: after a restart Cassandra writes the physical
    length of the file there.
    """

    offset: int
    completed: bool


def parse_log_name(name: str) -> tuple[int, int] | None:
    """(log version, segment id) of a segment's file name, None for any other name."""
    match = _LOG_NAME.fullmatch(name)
    return None if match is None else (int(match[1]), int(match[2]))


def log_name_of_index(name: str) -> str | None:
    """The name of the segment that an index belongs to, None if `name` is not an index's."""
    match = _INDEX_NAME.fullmatch(name)
    return None if match is None else f"{match[1]}.log"


def index_path(log_path: Path) -> Path:
    """Where the index of this segment stands."""
    return log_path.with_name(log_path.name.removesuffix(".log") + INDEX_SUFFIX)


def read_index(path: Path) -> CdcIndex | None:
    """The content of a `_cdc.idx`, or None when it holds no news.

    Cassandra truncates and rewrites the file in place, so it may be missing, empty or short at any
    moment, and stale or empty after a power loss: all of that is None, to be read again later.
    OSError for anything but a missing file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        content = os.read(fd, _INDEX_MAX_BYTES)
    finally:
        os.close(fd)
    match = _INDEX_CONTENT.match(content)
    if match is None:
        return None
    return CdcIndex(offset=int(match[1]), completed=match[2] is not None)


def read_header(data: bytes | memoryview, segment: str = "") -> SegmentHeader | None:
    """The header at the front of a segment, None while nothing is written there yet.

    `data` holds the first bytes of the file, at least HEADER_MAX_BYTES or the whole file. `segment`
    names the file in errors. SegmentCorrupt when the checksum does not hold (a header that is just
    being written looks the same: try again while the segment is open); UnsupportedFormat when the
    log version is not one of LOG_VERSIONS or the parameters make no sense.
    """
    head = bytes(data[:HEADER_MIN_BYTES])
    if not any(head):
        return None
    if len(head) < HEADER_MIN_BYTES:
        raise SegmentCorrupt("the segment ends inside its header", segment=segment)
    version, segment_id, params_length = struct.unpack_from(">iqH", head)
    length = HEADER_MIN_BYTES + params_length
    raw = bytes(data[:length])
    if len(raw) < length:
        raise SegmentCorrupt("the segment ends inside its header", segment=segment)
    params_bytes = raw[14:-4]
    # The checksum covers the id as two words, low one first, and the length as four bytes.
    covered = struct.pack(
        ">IIII", version & 0xFFFFFFFF, segment_id & 0xFFFFFFFF, segment_id >> 32 & 0xFFFFFFFF,
        params_length,
    )  # fmt: skip
    if zlib.crc32(params_bytes, zlib.crc32(covered)) != int.from_bytes(raw[-4:]):
        raise SegmentCorrupt("the header's checksum does not hold", segment=segment)
    if version not in LOG_VERSIONS:
        known = ", ".join(str(v) for v in sorted(LOG_VERSIONS))
        raise UnsupportedFormat(
            f"log version {version} is not one of {known}",
            hint="Cassandra 3.11, 4.0, 4.1, 5.0 and 6.0 can be read",
            segment=segment,
        )
    if segment_id < 0:
        raise UnsupportedFormat(f"the segment's id {segment_id} is negative", segment=segment)
    params = _parse_params(params_bytes, segment)
    return SegmentHeader(
        version,
        segment_id,
        params,
        length,
        _compression(params, segment),
        _encryption(params, segment),
    )


def _parse_params(raw: bytes, segment: str) -> dict[str, object]:
    try:
        params = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UnsupportedFormat("the header's parameters are not JSON", segment=segment) from error
    if not isinstance(params, dict):
        raise UnsupportedFormat("the header's parameters are not a JSON object", segment=segment)
    return params


def _compression(params: Mapping[str, object], segment: str) -> Compression | None:
    class_name = params.get("compressionClass")
    if class_name is None:
        return None
    parameters = params.get("compressionParameters") or {}
    if not isinstance(class_name, str) or not isinstance(parameters, dict):
        raise UnsupportedFormat(
            "the header's compression parameters are malformed", segment=segment
        )
    return Compression(
        class_name.removeprefix(_COMPRESSOR_PACKAGE),
        {str(name): str(value) for name, value in parameters.items()},
    )


def _encryption(params: Mapping[str, object], segment: str) -> Encryption | None:
    cipher, alias = params.get("encCipher"), params.get("encKeyAlias")
    if cipher is None or alias is None:
        return None
    try:
        iv = bytes.fromhex(str(params["encIV"]))
    except (KeyError, ValueError) as error:
        raise UnsupportedFormat("the header's encIV is not hexadecimal", segment=segment) from error
    return Encryption(str(cipher), str(alias), iv)
