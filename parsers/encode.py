"""Partition updates as the bytes of a mutation: what the decoder reads, the other way round.

It is how rows that do not come from a log reach the one decoder with all its checks. The layout is
that of log version 8 (format page, sections 5 and 6), which holds times up to 2106.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from parsers.schema import Column, Table

ENCODED_LOG_VERSION: Final = 8

TIMESTAMP_EPOCH_US: Final = 1_442_880_000_000_000
DELETION_TIME_EPOCH_S: Final = 1_442_880_000

_HAS_STATIC_ROW, _END_OF_PARTITION = 0x08, 0x01
_HAS_TIMESTAMP, _HAS_TTL, _HAS_DELETION, _HAS_ALL_COLUMNS = 0x04, 0x08, 0x10, 0x20
_HAS_COMPLEX_DELETION, _EXTENSION, _EXTENDED_IS_STATIC = 0x40, 0x80, 0x01
_IS_DELETED, _IS_EXPIRING, _HAS_EMPTY_VALUE = 0x01, 0x02, 0x04
_MASK: Final = (1 << 64) - 1


class Liveness(NamedTuple):
    """A row's primary-key liveness; `ttl_s` 0: it does not expire."""

    writetime_us: int
    ttl_s: int = 0
    expires_s: int = 0


class Deletion(NamedTuple):
    """A deletion: everything up to `timestamp_us`; `local_time_s` is when it was made."""

    timestamp_us: int
    local_time_s: int


_NO_DELETION: Final = Deletion(-(1 << 63), (1 << 32) - 1)


class Cell(NamedTuple):
    """A cell, or an element with its `path`. `value` None: a tombstone, made at `local_time_s`.

    With `ttl_s`, `local_time_s` is the second in which it expires.
    """

    writetime_us: int
    value: bytes | None
    ttl_s: int = 0
    local_time_s: int = 0
    path: bytes | None = None


class ColumnDelta(NamedTuple):
    """What is said of the column `number` (in `statics` or `regulars`)."""

    number: int
    cells: Sequence[Cell]
    deletion: Deletion | None = None


class RowDelta(NamedTuple):
    """What is said of a row; `columns` ascend. A static row has no clustering."""

    clustering: Sequence[bytes | None]
    columns: Sequence[ColumnDelta]
    liveness: Liveness | None = None
    deletion: Deletion | None = None


def uvint(value: int) -> bytes:
    """An unsigned variable-length integer (format page, section 4); modulo 2^64."""
    value &= _MASK
    if value < 0x80:
        return bytes((value,))
    extra = min((value.bit_length() - 1) // 7, 8)
    body = value.to_bytes(9)[8 - extra :]
    return bytes((body[0] | 0xFF & ~(0xFF >> extra),)) + body[1:]


def encoded_key(values: Sequence[bytes]) -> bytes:
    """A partition key of these component values (format page, section 5.2)."""
    if len(values) == 1:
        return values[0]
    return b"".join([len(value).to_bytes(2) + value + b"\0" for value in values])


class MutationEncoder:
    """Encodes updates of one table, one partition each."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._clustering_lengths = [c.type.fixed_length for c in table.clustering]
        self._regulars = _header(table.regulars)
        self._statics = _header(table.statics)

    def encode(
        self, partition_key: bytes, rows: Sequence[RowDelta], static: RowDelta | None = None
    ) -> bytes:
        """A mutation that says this of one partition. `rows` are in no particular order."""
        base_us = TIMESTAMP_EPOCH_US
        for row in (static, *rows):
            if row is not None and row.columns and row.columns[0].cells:
                base_us = row.columns[0].cells[0].writetime_us
                break
        parts = [
            b"\x01",
            self._table.id.bytes,
            uvint(len(partition_key)),
            partition_key,
            bytes((_HAS_STATIC_ROW if static else 0,)),
            uvint(base_us - TIMESTAMP_EPOCH_US),
            b"\0\0",  # local deletion times count from their epoch, TTLs from zero
        ]
        if static:
            parts.append(self._statics)
        parts.append(self._regulars)
        if static:
            self._row(parts, static, self._table.statics, base_us, is_static=True)
        for row in rows:
            self._row(parts, row, self._table.regulars, base_us)
        parts.append(bytes((_END_OF_PARTITION,)))
        return b"".join(parts)

    def _row(
        self,
        parts: list[bytes],
        row: RowDelta,
        columns: Sequence[Column],
        base_us: int,
        *,
        is_static: bool = False,
    ) -> None:
        flags = _HAS_ALL_COLUMNS if len(row.columns) == len(columns) else 0
        liveness, deletion = row.liveness, row.deletion
        if liveness:
            flags |= _HAS_TIMESTAMP | (_HAS_TTL if liveness.ttl_s else 0)
        if deletion:
            flags |= _HAS_DELETION
        if any(column.deletion for column in row.columns):
            flags |= _HAS_COMPLEX_DELETION
        if is_static:
            parts.append(bytes((flags | _EXTENSION, _EXTENDED_IS_STATIC)))
        else:
            parts.append(bytes((flags,)))
            _clustering(parts, row.clustering, self._clustering_lengths)
        if liveness:
            parts.append(uvint(liveness.writetime_us - base_us))
            if liveness.ttl_s:
                parts += uvint(liveness.ttl_s), _local_time(liveness.expires_s)
        if deletion:
            parts.append(_deletion(deletion, base_us))
        if not flags & _HAS_ALL_COLUMNS:
            parts.append(_subset([column.number for column in row.columns], len(columns)))
        for column in row.columns:
            definition = columns[column.number]
            if definition.is_complex:
                if flags & _HAS_COMPLEX_DELETION:
                    parts.append(_deletion(column.deletion or _NO_DELETION, base_us))
                parts.append(uvint(len(column.cells)))
            _cells(parts, column.cells, definition, base_us)


def _clustering(
    parts: list[bytes], values: Sequence[bytes | None], lengths: Sequence[int | None]
) -> None:
    for start in range(0, len(values), 32):
        batch = values[start : start + 32]
        states = 0
        for index, value in enumerate(batch):
            states |= (2 if value is None else 0 if value else 1) << 2 * index
        parts.append(uvint(states))
        for value, length in zip(batch, lengths[start : start + 32], strict=True):
            if value:
                if length is None:
                    parts.append(uvint(len(value)))
                parts.append(value)


def _header(columns: Sequence[Column]) -> bytes:
    names = [uvint(len(column.name_bytes)) + column.name_bytes for column in columns]
    return uvint(len(names)) + b"".join(names)


def _local_time(seconds: int) -> bytes:
    return uvint(seconds - DELETION_TIME_EPOCH_S)


def _deletion(deletion: Deletion, base_us: int) -> bytes:
    return uvint(deletion.timestamp_us - base_us) + _local_time(deletion.local_time_s)


def _subset(present: Sequence[int], count: int) -> bytes:
    """Which of the header's columns a row has (format page, section 5.6)."""
    missing = [number for number in range(count) if number not in present]
    if count < 64:
        return uvint(sum(1 << number for number in missing))
    listed = present if len(present) < count // 2 else missing
    return uvint(len(missing)) + b"".join(map(uvint, listed))


def _cells(parts: list[bytes], cells: Sequence[Cell], column: Column, base_us: int) -> None:
    is_complex = column.is_complex
    has_length = is_complex or column.type.fixed_length is None
    for writetime_us, value, ttl_s, local_time_s, path in cells:
        flags = 0 if value else _HAS_EMPTY_VALUE
        if value is None:
            flags |= _IS_DELETED
        elif ttl_s:
            flags |= _IS_EXPIRING
        parts += bytes((flags,)), uvint(writetime_us - base_us)
        if flags & (_IS_DELETED | _IS_EXPIRING):
            parts.append(_local_time(local_time_s))
            if ttl_s and value is not None:
                parts.append(uvint(ttl_s))
        if is_complex:
            assert path is not None
            parts += uvint(len(path)), path
        if value:
            if has_length:
                parts.append(uvint(len(value)))
            parts.append(value)


def clustering_bytes(table: Table, values: Sequence[bytes | None]) -> bytes:
    """Clustering values in wire form (format page, section 5.5)."""
    parts: list[bytes] = []
    _clustering(parts, values, [column.type.fixed_length for column in table.clustering])
    return b"".join(parts)


def decoded_key(table: Table, partition_key: bytes, clustering: bytes) -> list[bytes | None]:
    """The primary key's values, from the partition key and the clustering as they are serialized.

    Raises ValueError where the bytes are not a key of the table.
    """
    values: list[bytes | None] = []
    if len(table.partition_key) == 1:
        values.append(partition_key)
    else:
        position = 0
        for _ in table.partition_key:
            length = int.from_bytes(partition_key[position : position + 2])
            values.append(partition_key[position + 2 : position + 2 + length])
            position += 3 + length
        if position != len(partition_key):
            raise ValueError(f"{partition_key.hex()} is no partition key of {table}")
    position = states = 0
    if not clustering:
        return values
    for number, column in enumerate(table.clustering):
        if number % 32 == 0:
            states, position = _read_uvint(clustering, position)
        state = states >> 2 * (number % 32) & 3
        if state:
            values.append(None if state & 2 else b"")
            continue
        length_or_none = column.type.fixed_length
        if length_or_none is None:
            length, position = _read_uvint(clustering, position)
        else:
            length = length_or_none
        values.append(clustering[position : position + length])
        position += length
    if position != len(clustering):
        raise ValueError(f"{clustering.hex()} is no clustering of {table}")
    return values


def _read_uvint(data: bytes, position: int) -> tuple[int, int]:
    first = data[position] if position < len(data) else 0
    extra = 8 - (~first & 0xFF).bit_length()
    value = first & 0xFF >> extra
    for byte in data[position + 1 : position + 1 + extra]:
        value = value << 8 | byte
    return value, position + 1 + extra
