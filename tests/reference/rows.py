"""Rows, cells, range-tombstone markers and the clustering values and deletion times in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.reference.cursor import Cursor, signed
from tests.reference.errors import DecodeError
from tests.reference.model import LIVE_DELETION_US, Cell, Deletion, Liveness, Marker, Row
from tests.reference.schema import RefColumn
from tests.reference.types import CqlType
from tests.reference.versions import LogVersion

END_OF_PARTITION, IS_MARKER, HAS_TIMESTAMP, HAS_TTL = 0x01, 0x02, 0x04, 0x08
HAS_DELETION, HAS_ALL_COLUMNS, HAS_COMPLEX_DELETION, EXTENSION = 0x10, 0x20, 0x40, 0x80
IS_STATIC, HAS_SHADOWABLE_DELETION = 0x01, 0x02

IS_DELETED, IS_EXPIRING, HAS_EMPTY_VALUE, USE_ROW_TIMESTAMP, USE_ROW_TTL = (
    0x01,
    0x02,
    0x04,
    0x08,
    0x10,
)

# kind -> (name, whether it ends a range, whether it starts one)
BOUNDS = {
    0: ("EXCL_END_BOUND", True, False),
    1: ("INCL_START_BOUND", False, True),
    2: ("EXCL_END_INCL_START_BOUNDARY", True, True),
    5: ("INCL_END_EXCL_START_BOUNDARY", True, True),
    6: ("INCL_END_BOUND", True, False),
    7: ("EXCL_START_BOUND", False, True),
}


@dataclass(frozen=True)
class Header:
    """The serialization header: the minima that times are counted from, and the columns in cell
    order.
    """

    version: LogVersion
    min_timestamp_us: int
    min_local_deletion_seconds: int
    min_ttl_seconds: int
    clustering: tuple[CqlType, ...]
    static: tuple[RefColumn, ...]
    regular: tuple[RefColumn, ...]

    def timestamp_us(self, cursor: Cursor) -> int:
        """A write timestamp; sums wrap at 64 bits."""
        return signed(self.min_timestamp_us + cursor.uvint(), 64)

    def local_deletion_seconds(self, cursor: Cursor) -> int:
        """A local deletion time; sums wrap at 32 bits."""
        return self.version.local_deletion_seconds(self.min_local_deletion_seconds + cursor.uvint())

    def ttl_seconds(self, cursor: Cursor) -> int:
        """A time to live; sums wrap at 32 bits."""
        ttl = signed(self.min_ttl_seconds + cursor.uvint(), 32)
        if ttl < 0:
            raise DecodeError(f"negative TTL {ttl}")
        return ttl


def read_deletion(cursor: Cursor, header: Header) -> Deletion | None:
    """A deletion time (timestamp first); None where it is the live one, told by its timestamp
    alone.
    """
    timestamp_us = header.timestamp_us(cursor)
    local_deletion_seconds = header.local_deletion_seconds(cursor)
    return (
        None if timestamp_us == LIVE_DELETION_US else Deletion(timestamp_us, local_deletion_seconds)
    )


def _value(cursor: Cursor, type_: CqlType) -> bytes:
    return cursor.vint_bytes() if type_.fixed_length is None else cursor.take(type_.fixed_length)


def _clustering(cursor: Cursor, types: tuple[CqlType, ...]) -> tuple[bytes | None, ...]:
    values: list[bytes | None] = []
    for start in range(0, len(types), 32):
        states = cursor.uvint()
        for index, type_ in enumerate(types[start : start + 32]):
            state = states >> (2 * index) & 3
            if state == 3:
                raise DecodeError("a clustering value is both empty and null")
            values.append(_value(cursor, type_) if state == 0 else b"" if state == 1 else None)
    return tuple(values)


def _subset(cursor: Cursor, columns: tuple[RefColumn, ...]) -> tuple[RefColumn, ...]:
    count = len(columns)
    encoded = cursor.uvint()
    if encoded == 0:
        return columns
    if count < 64:  # a bitmap of the missing columns
        if encoded >> count:
            raise DecodeError("a column subset has bits beyond its columns")
        return tuple(c for i, c in enumerate(columns) if not encoded >> i & 1)
    if encoded > count:
        raise DecodeError("a column subset misses more columns than there are")
    present = count - encoded
    lists_present = present < count // 2  # the shorter list is written
    indexes = [cursor.uvint() for _ in range(present if lists_present else encoded)]
    if any(i >= count for i in indexes) or indexes != sorted(set(indexes)):
        raise DecodeError("a column subset's indexes do not ascend within its columns")
    return tuple(c for i, c in enumerate(columns) if (i in indexes) == lists_present)


def _cell(cursor: Cursor, header: Header, column: RefColumn, liveness: Liveness | None) -> Cell:
    flags = cursor.u8()
    if flags > 0x1F:
        raise DecodeError(f"cell flags 0x{flags:02x} have no meaning")
    deleted, expiring = bool(flags & IS_DELETED), bool(flags & IS_EXPIRING)
    if flags & (USE_ROW_TIMESTAMP | USE_ROW_TTL) and liveness is None:
        raise DecodeError("a cell takes its times from a row that has none")
    if deleted and (expiring or not flags & HAS_EMPTY_VALUE):
        raise DecodeError(f"cell flags 0x{flags:02x} contradict each other")
    row = liveness or Liveness(LIVE_DELETION_US)
    timestamp_us = row.writetime_us if flags & USE_ROW_TIMESTAMP else header.timestamp_us(cursor)
    local_deletion_seconds: int | None = None
    ttl_seconds = 0
    # The local deletion time comes before the TTL here; rows have them the other way round.
    if flags & USE_ROW_TTL:
        local_deletion_seconds, ttl_seconds = row.local_deletion_seconds, row.ttl_seconds
    else:
        if deleted or expiring:
            local_deletion_seconds = header.local_deletion_seconds(cursor)
        if expiring:
            ttl_seconds = header.ttl_seconds(cursor)
    path = cursor.vint_bytes() if column.complex else None
    value = b""
    if not flags & HAS_EMPTY_VALUE:
        # A multi-cell column's own type is variable, so its elements carry a length, also an int's.
        value = cursor.vint_bytes() if column.complex else _value(cursor, column.type)
    return Cell(
        column.name, timestamp_us, ttl_seconds, local_deletion_seconds, deleted, path, value, flags
    )


def _row_body(
    cursor: Cursor,
    header: Header,
    flags: int,
    extended: int,
    clustering: tuple[bytes | None, ...],
    *,
    static: bool,
) -> Row:
    liveness = None
    if flags & HAS_TIMESTAMP:
        timestamp_us = header.timestamp_us(cursor)
        if flags & HAS_TTL:
            ttl_seconds = header.ttl_seconds(cursor)
            liveness = Liveness(timestamp_us, ttl_seconds, header.local_deletion_seconds(cursor))
        else:
            liveness = Liveness(timestamp_us)
    elif flags & HAS_TTL:
        raise DecodeError("a row has a TTL and no timestamp")
    deletion = read_deletion(cursor, header) if flags & HAS_DELETION else None
    columns = header.static if static else header.regular
    if not flags & HAS_ALL_COLUMNS:
        columns = _subset(cursor, columns)
    cells: list[Cell] = []
    complex_deletions: dict[str, Deletion] = {}
    for column in columns:
        if not column.complex:
            cells.append(_cell(cursor, header, column, liveness))
            continue
        if flags & HAS_COMPLEX_DELETION:
            complex_deletion = read_deletion(cursor, header)
            if complex_deletion is not None:
                complex_deletions[column.name] = complex_deletion
        cells.extend(_cell(cursor, header, column, liveness) for _ in range(cursor.length()))
    shadowable = deletion is not None and bool(extended & HAS_SHADOWABLE_DELETION)
    return Row(clustering, static, liveness, deletion, shadowable, complex_deletions, tuple(cells))


def read_static_row(cursor: Cursor, header: Header) -> Row:
    """The static row, which stands alone before the unfiltereds."""
    flags = cursor.u8()
    extended = cursor.u8() if flags & EXTENSION else 0
    if flags & (IS_MARKER | END_OF_PARTITION) or not extended & IS_STATIC:
        raise DecodeError("the static row's flags are not those of a static row")
    return _row_body(cursor, header, flags, extended, (), static=True)


def _marker(cursor: Cursor, header: Header) -> Marker:
    kind = cursor.u8()
    if kind not in BOUNDS:
        raise DecodeError(f"bound kind {kind} has no meaning in a mutation")
    name, ends, starts = BOUNDS[kind]
    count = cursor.u16()
    if count > len(header.clustering):
        raise DecodeError(
            f"a bound of {count} values in a table of {len(header.clustering)} clustering columns"
        )
    values = _clustering(cursor, header.clustering[:count])
    closed = read_deletion(cursor, header) if ends else None
    opened = read_deletion(cursor, header) if starts else None
    return Marker(name, values, closed, opened)


def read_unfiltereds(cursor: Cursor, header: Header) -> Iterator[Row | Marker]:
    """Rows and markers up to and including the end-of-partition flag."""
    while True:
        flags = cursor.u8()
        if flags & END_OF_PARTITION:
            return
        if flags & IS_MARKER:
            yield _marker(cursor, header)
            continue
        extended = cursor.u8() if flags & EXTENSION else 0
        if extended & IS_STATIC:
            raise DecodeError("a static row among the rows")
        clustering = _clustering(cursor, header.clustering)
        yield _row_body(cursor, header, flags, extended, clustering, static=False)
