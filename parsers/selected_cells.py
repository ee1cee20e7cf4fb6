"""The cells that a selected row's columns stand for; see selected.py for the rows."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from parsers.cql_types import ListType, MapType, SetType, UdtType
from parsers.encode import Cell, ColumnDelta, Deletion
from parsers.schema import Column

SelectedRow = Sequence[bytes | None]
Timing = Literal["none", "writetime", "both"]

# 1582-10-15, from which the timestamps of UUIDs count, to 1970-01-01, in microseconds.
_UUID_EPOCH_US: Final = 12_219_292_800_000_000
# The clock sequence and node of the names given here to the elements of lists. No node has it: in
# Cassandra it is the least that a time UUID can have.
COPIED_NODE: Final = 0x8080808080808080
_SHARD = struct.Struct(">16sqq")
_i64 = struct.Struct(">q").unpack
_i32 = struct.Struct(">i").unpack


class AsOf(NamedTuple):
    """When a SELECT was made.

    `now_s` is what its TTLs count from. `written_us` stands for the writetimes that it does not
    tell: later than what it shows, earlier than what it may have missed.
    """

    now_s: int
    written_us: int


class Place(NamedTuple):
    """A column, by its number among those of its kind, and where the row has what of it."""

    number: int
    column: Column
    at: int
    timing: Timing


class Expiry(NamedTuple):
    """A TTL as it is left, and the second that it ends in."""

    ttl_s: int
    expires_s: int


def selected_columns(
    places: Sequence[Place],
    row: SelectedRow,
    as_of: AsOf,
    held: Mapping[str, int] = MappingProxyType({}),
) -> tuple[list[ColumnDelta], Expiry | None]:
    """What a row says of its columns, and when the last of them expires: None for never.

    Elements without a TTL of their own (before 5.0) expire with the row's last other value. Lists
    are assigned later than what is `held` of them, by column (microseconds).
    """
    columns: list[ColumnDelta] = []
    untimed: list[tuple[int, Place, bytes]] = []
    last: Expiry | None = None
    stays = False
    now_s = as_of.now_s
    for place in places:
        value = row[place.at]
        if value is None:
            continue
        if place.column.is_complex:
            untimed.append((len(columns), place, value))
            columns.append(ColumnDelta(place.number, ()))
            continue
        if place.timing == "none":
            raise ValueError(f"{place.column.name} has no writetime")
        told = row[place.at + 1]
        writetime_us: int = _i64(told)[0] if told else as_of.written_us
        left = row[place.at + 2] if place.timing == "both" else None
        if left is None:
            stays = True
            columns.append(ColumnDelta(place.number, (Cell(writetime_us, value),)))
            continue
        ttl_s: int = max(_i32(left)[0], 1)
        own = Expiry(ttl_s, now_s + ttl_s)
        last = own if last is None else max(last, own)
        cell = Cell(writetime_us, value, own.ttl_s, own.expires_s)
        columns.append(ColumnDelta(place.number, (cell,)))
    rest = None if stays else last
    for index, place, value in untimed:
        held_us = held.get(place.column.name)
        delta, its_last, its_stays = _elements(place, value, row, as_of, rest, held_us)
        columns[index] = delta
        stays = stays or its_stays
        if its_last is not None:
            last = its_last if last is None else max(last, its_last)
    return columns, None if stays else last


def _elements(
    place: Place,
    value: bytes,
    row: SelectedRow,
    as_of: AsOf,
    rest: Expiry | None,
    held_us: int | None,
) -> tuple[ColumnDelta, Expiry | None, bool]:
    """A multi-cell column's elements; when the last one expires; whether one of them never does."""
    column = place.column
    elements = _split(column, value)
    timed = place.timing == "both"
    writetimes: list[int | None] = [as_of.written_us] * len(elements)
    ttls: list[int | None] = [rest and rest.ttl_s] * len(elements)
    if timed:
        writetimes = _numbers(_i64, row[place.at + 1], len(elements))
        ttls = _numbers(_i32, row[place.at + 2], len(elements))
    deletion = None
    paths = [path for path, _ in elements]
    if isinstance(column.type, ListType) or not timed:
        # As an assignment of the whole column: its own deletion, and the elements after it.
        written_us = as_of.written_us
        if timed:
            written_us = 1 + max((one for one in writetimes if one is not None), default=written_us)
        if held_us is not None and isinstance(column.type, ListType):
            written_us = max(written_us, held_us + 1)
        writetimes = [written_us] * len(elements)
        deletion = Deletion(written_us - 1, as_of.now_s)
        if isinstance(column.type, ListType):
            paths = [_list_path(written_us, number) for number in range(len(elements))]
    cells = []
    last: Expiry | None = None
    stays = False
    for path, (_, item), writetime_us, ttl_s in zip(paths, elements, writetimes, ttls, strict=True):
        if item is None or writetime_us is None:
            continue  # a field of a user-defined type that is not set
        if ttl_s is None:
            stays = True
            cells.append(Cell(writetime_us, item, path=path))
            continue
        own = Expiry(max(ttl_s, 1), as_of.now_s + max(ttl_s, 1))
        last = own if last is None else max(last, own)
        cells.append(Cell(writetime_us, item, own.ttl_s, own.expires_s, path))
    return ColumnDelta(place.number, cells, deletion), last, stays


def _numbers(
    number: Callable[[bytes], tuple[int]], told: bytes | None, count: int
) -> list[int | None]:
    """One number per element; null where none of them has one, or a field is not set."""
    if told is None:
        return [None] * count
    found = [number(one)[0] if one else None for one in _items(told)]
    return found + [None] * (count - len(found))


def _items(value: bytes) -> Iterator[bytes | None]:
    """The elements of a list as the protocol sends it: 4 bytes count, each 4 bytes length."""
    position = 4
    for _ in range(int.from_bytes(value[:4])):
        length: int = _i32(value[position : position + 4])[0]
        position += 4
        yield None if length < 0 else value[position : position + length]
        position += max(0, length)


def _split(column: Column, value: bytes) -> list[tuple[bytes, bytes | None]]:
    """(path, value) of each element; the path of a list's is not known and stays empty."""
    match column.type:
        case ListType():
            return [(b"", item) for item in _items(value)]
        case SetType():
            return [(item or b"", b"") for item in _items(value)]
        case MapType():
            twice = int.from_bytes(value[:4]) * 2
            items = list(_items(twice.to_bytes(4) + value[4:]))
            return [(key or b"", item) for key, item in zip(items[::2], items[1::2], strict=True)]
        case UdtType(field_names=names):
            fields = []
            position = 0
            for number in range(len(names)):
                item = None
                if position < len(value):
                    length: int = _i32(value[position : position + 4])[0]
                    position += 4
                    if length >= 0:
                        item = value[position : position + length]
                        position += length
                fields.append((number.to_bytes(2), item))
            return fields
    raise ValueError(f"{column.name} has no elements")


def _list_path(written_us: int, number: int) -> bytes:
    """A time UUID of that moment, the `number`-th: what is appended later follows it."""
    ticks = (written_us + _UUID_EPOCH_US) * 10 + number & (1 << 60) - 1
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF
    return struct.pack(">IHHQ", low, middle, 0x1000 | high, COPIED_NODE)


def completed_context(
    held: bytes, total: int, clock: int, sole_owner: bytes | None = None
) -> bytes:
    """A counter context whose sum is `total`, made of the shards `held` and one of our own.

    Ours has the id zero, which no node has, and `clock`; or that of the only node, in its
    beginnings, where nothing is held of it. Raises ValueError where `held` is no context.
    """
    shards: dict[bytes, tuple[int, int]] = {}
    header = abs(int.from_bytes(held[:2], signed=True))
    body = held[2 + 2 * header :]
    if len(body) % _SHARD.size:
        raise ValueError(f"{held.hex()} is no counter context")
    for counter_id, its_clock, count in _SHARD.iter_unpack(body):
        shards[counter_id] = its_clock, count
    own = sole_owner if sole_owner is not None and sole_owner not in shards else bytes(16)
    shards.pop(bytes(16), None)
    missing = total - sum(count for _, count in shards.values())
    shards[own] = 0 if own == sole_owner else clock, missing
    # Global shards, by id: i16 their number, the index of each less 2^15, then id, clock and count.
    marks = b"".join((index - (1 << 15)).to_bytes(2, signed=True) for index in range(len(shards)))
    packed = b"".join(_SHARD.pack(one, *shards[one]) for one in sorted(shards))
    return len(shards).to_bytes(2) + marks + packed


def number_of(value: bytes) -> int:
    """A bigint as the protocol sends it."""
    number: int = _i64(value)[0]
    return number
