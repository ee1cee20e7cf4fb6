"""What a SELECT tells of a table's rows, as mutations that say the same; it runs no query.

docs/snapshot.md has the rules for what a SELECT does not tell, and why they are as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from parsers.cql_types import ListType, MapType, Native, SetType, UdtType
from parsers.encode import (
    Cell,
    ColumnDelta,
    Deletion,
    Liveness,
    MutationEncoder,
    RowDelta,
    encoded_key,
)
from parsers.schema import Column, Table

ASSUMED_LIVENESS_US: Final = -(1 << 63) + 1
"""Older than any write: what is known of a row's own liveness wins over it, and any deletion."""
DOUBTED: Final = -1
"""The second at which a row falls due that shows by nothing but an assumed liveness."""

SelectedRow = Sequence[bytes | None]
Timing = Literal["none", "writetime", "both"]

_ROWS_PER_MUTATION: Final = 100
# 1582-10-15, from which the timestamps of UUIDs count, to 1970-01-01, in microseconds.
_UUID_EPOCH_US: Final = 12_219_292_800_000_000
_i64 = struct.Struct(">q").unpack
_i32 = struct.Struct(">i").unpack


class AsOf(NamedTuple):
    """When a SELECT was made.

    `now_s` is what its TTLs count from. `written_us` stands for the writetimes that it does not
    tell: later than what it shows, earlier than what it may have missed.
    """

    now_s: int
    written_us: int


class Selection:
    """One table's SELECT list, and its rows read back."""

    def __init__(self, table: Table, timings: dict[str, Timing]) -> None:
        """`timings`: which of WRITETIME and TTL the node's version selects of each column."""
        if table.layout == "super":
            raise ValueError(f"{table} is a super column family")
        self.table = table
        self._is_static_compact = table.layout == "static_compact"
        self._encoder = MutationEncoder(table)
        self.expressions: list[str] = []
        """What to select, in order."""
        shown = table.partition_key if self._is_static_compact else table.primary_key
        self.expressions += [quoted(column.name) for column in shown]
        self._n_partition_key = len(table.partition_key)
        self._n_key = len(shown)
        self._statics = self._places(table.statics, timings)
        regulars = [] if self._is_static_compact else selectable(table.regulars)
        self._regulars = self._places(regulars, timings)
        self._has_hidden = table.layout == "dense" and not regulars
        self._has_liveness = table.layout == "cql" and not table.is_counter

    def _places(self, columns: Sequence[Column], timings: dict[str, Timing]) -> list[_Place]:
        places = []
        for number, column in enumerate(columns):
            name = quoted(column.name)
            at = len(self.expressions)
            timing = timings[column.name]
            self.expressions.append(name)
            if timing != "none":
                self.expressions.append(f"writetime({name})")
            if timing == "both":
                self.expressions.append(f"ttl({name})")
            places.append(_Place(number, column, at, timing))
        return places

    def key(self, row: SelectedRow) -> list[bytes | None]:
        """The primary key's values of a row."""
        return list(row[: self._n_key])

    def mutations(self, rows: Iterable[SelectedRow], as_of: AsOf) -> Iterator[bytes]:
        """Mutations that say what `rows` say, one partition each; rows of one follow each other."""
        key: list[bytes | None] | None = None
        static: RowDelta | None = None
        deltas: list[RowDelta] = []
        n = self._n_partition_key
        for row in rows:
            if row[:n] != key or len(deltas) == _ROWS_PER_MUTATION:
                if deltas or static:
                    yield self._encode(key, deltas, static)
                deltas = []
                # Every row of a partition repeats its static values: once is enough.
                static = self._static(row, as_of) if self._statics and row[:n] != key else None
                key = list(row[:n])
            if self._is_static_compact:
                continue
            clustering = row[n : self._n_key]
            if clustering and all(value is None for value in clustering):
                continue  # a partition that has nothing but static values
            deltas.append(self._row(clustering, row, as_of))
        if deltas or static:
            yield self._encode(key, deltas, static)

    def exactly(
        self, key: SelectedRow, row: SelectedRow | None, held: Held, as_of: AsOf, *, static: bool
    ) -> bytes | None:
        """A mutation that makes what is `held` of a row what SELECT gives; None for nothing to say.

        `row` None: SELECT does not give it. What is held beyond SELECT gets tombstones as old as
        itself, so that other copies of it stay dead and nothing else does.
        """
        places = self._statics if static or self._is_static_compact else self._regulars
        columns = [] if row is None else _columns(places, row, as_of)[0]
        partition_key = encoded_key([one or b"" for one in key[: self._n_partition_key]])
        if static or self._is_static_compact:
            columns = _with_tombstones(columns, places, held, as_of)
            if not columns:
                return None
            return self._encoder.encode(partition_key, (), RowDelta((), columns))
        clustering = key[self._n_partition_key :]
        if row is None:
            if held.newest_us is None:
                return None
            deletion = Deletion(held.newest_us, as_of.now_s)
            return self._encoder.encode(partition_key, [RowDelta(clustering, (), None, deletion)])
        told = self._row(clustering, row, as_of)
        liveness = told.liveness
        if held.liveness is not None and liveness is not None:
            # That of the log says more than what is assumed, and no less than a bare row does.
            liveness = max(held.liveness, liveness)
        columns = _with_tombstones(told.columns, places, held, as_of)
        return self._encoder.encode(partition_key, [RowDelta(clustering, columns, liveness)])

    def _encode(
        self, key: list[bytes | None] | None, deltas: list[RowDelta], static: RowDelta | None
    ) -> bytes:
        return self._encoder.encode(encoded_key([one or b"" for one in key or ()]), deltas, static)

    def _static(self, row: SelectedRow, as_of: AsOf) -> RowDelta | None:
        columns, _ = _columns(self._statics, row, as_of)
        return RowDelta((), columns) if columns else None

    def _row(self, clustering: Sequence[bytes | None], row: SelectedRow, as_of: AsOf) -> RowDelta:
        columns, last = _columns(self._regulars, row, as_of)
        if self._has_hidden:
            columns = [ColumnDelta(0, [Cell(as_of.written_us, b"")])]
        liveness = None
        if self._has_liveness:
            liveness = self._liveness(bool(columns), last, as_of)
        return RowDelta(clustering, columns, liveness)

    def _liveness(self, has_values: bool, last: Expiry | None, as_of: AsOf) -> Liveness:
        if has_values:
            if last is None:
                return Liveness(ASSUMED_LIVENESS_US)
            return Liveness(ASSUMED_LIVENESS_US, *last)
        # Without values the row's own liveness is all that SELECT can show it by.
        ttl_s = self.table.default_ttl
        return Liveness(as_of.written_us, ttl_s, as_of.now_s + ttl_s if ttl_s else 0)


class HeldCell(NamedTuple):
    """A cell, or an element of a multi-cell column, that a mirror holds."""

    column: str
    path: bytes | None
    writetime_us: int


class Held(NamedTuple):
    """What a mirror holds of a row, by the times of it."""

    newest_us: int | None = None
    liveness: Liveness | None = None
    cells: Sequence[HeldCell] = ()


class _Place(NamedTuple):
    """A column, by its number among those of its kind, and where the row has what of it."""

    number: int
    column: Column
    at: int
    timing: Timing


class Expiry(NamedTuple):
    """A TTL as it is left, and the second that it ends in."""

    ttl_s: int
    expires_s: int


def quoted(name: str) -> str:
    """The name as an identifier of CQL."""
    return '"' + name.replace('"', '""') + '"'


def selectable(columns: Sequence[Column]) -> list[Column]:
    """Those that CQL shows: not the hidden column of a dense table."""
    return [column for column in columns if column.type != Native("empty")]


def _columns(
    places: Sequence[_Place], row: SelectedRow, as_of: AsOf
) -> tuple[list[ColumnDelta], Expiry | None]:
    """What a row says of its columns, and when the last of them expires: None for never.

    Elements without a TTL of their own (before 5.0) expire with the row's last other value.
    """
    columns: list[ColumnDelta] = []
    untimed: list[tuple[int, _Place, bytes]] = []
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
        delta, its_last, its_stays = _elements(place, value, row, as_of, rest)
        columns[index] = delta
        stays = stays or its_stays
        if its_last is not None:
            last = its_last if last is None else max(last, its_last)
    return columns, None if stays else last


def _with_tombstones(
    columns: Sequence[ColumnDelta], places: Sequence[_Place], held: Held, as_of: AsOf
) -> list[ColumnDelta]:
    """The columns, with a tombstone for each cell and element that is held and not among them."""
    by_number = {column.number: column for column in columns}
    number_of = {place.column.name: place.number for place in places}
    for cell in held.cells:
        number = number_of.get(cell.column)
        if number is None:
            continue
        told = by_number.get(number) or ColumnDelta(number, ())
        if told.deletion is not None or any(one.path == cell.path for one in told.cells):
            continue
        tombstone = Cell(cell.writetime_us, None, 0, as_of.now_s, cell.path)
        by_number[number] = told._replace(cells=[*told.cells, tombstone])
    return [by_number[number] for number in sorted(by_number)]


def _elements(
    place: _Place, value: bytes, row: SelectedRow, as_of: AsOf, rest: Expiry | None
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
    return struct.pack(">IHHQ", low, middle, 0x1000 | high, 0x8080808080808080)
