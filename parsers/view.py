"""Decoded mutations as Python objects: for the schema, for inspect, for dead letters and tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from parsers.cql_types import CqlType, ListType, MapType, Native, SetType, UdtType
from parsers.position import Position
from parsers.schema import Column, DroppedColumn, Table

_T = TypeVar("_T")

Stop = (
    tuple[Literal["incomplete", "end", "corrupt", "full"], None, None]
    | tuple[Literal["diverted"], bytes, None]
    | tuple[Literal["unknown_table"], bytes, bytes]
    | tuple[Literal["unknown_column"], bytes, tuple[Table, bytes]]
    | tuple[Literal["malformed"], bytes, tuple[Table | None, str]]
)
"""Why the decoder stopped: what happened, the mutation, and the detail that goes with it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was not taken into a batch, because PostgreSQL can't hold one of its values."""

    table: Table
    position: Position
    log_version: int
    column: str
    reason: str
    partition_key: bytes
    raw: bytes


@dataclass(frozen=True, slots=True)
class DeletionView:
    """Everything up to `timestamp_us` is deleted, as of `local_time_s` (seconds)."""

    timestamp_us: int
    local_time_s: int


@dataclass(frozen=True, slots=True)
class LivenessView:
    """Primary-key liveness: an INSERT's mark; `expires_s` is None without a TTL."""

    writetime_us: int
    ttl_seconds: int
    expires_s: int | None


@dataclass(frozen=True, slots=True)
class CellView:
    """One cell. `value` None is a tombstone; `path` is set for elements of multi-cell columns.

    `deletion_time_s` is when a tombstone was written or an expiring cell expires, else None.
    """

    writetime_us: int
    ttl_seconds: int
    deletion_time_s: int | None
    path: bytes | None
    value: bytes | None


@dataclass(slots=True)
class ColumnView:
    """The cells of one column: one, or any number and a deletion for a multi-cell column."""

    column: Column | DroppedColumn
    deletion: DeletionView | None = None
    cells: list[CellView] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RowView:
    """A row or static row; a null clustering value is None."""

    clustering: list[bytes | None]
    liveness: LivenessView | None
    deletion: DeletionView | None
    columns: dict[str, ColumnView]


@dataclass(frozen=True, slots=True)
class BoundView:
    """A bound of a range tombstone: `ClusteringPrefix.Kind` ordinal and a prefix of values."""

    kind: int
    values: list[bytes | None]


@dataclass(frozen=True, slots=True)
class RangeView:
    """A range tombstone, in storage order."""

    start: BoundView
    end: BoundView
    deletion: DeletionView | None


@dataclass(frozen=True, slots=True)
class UpdateView:
    """One partition update of a mutation."""

    table: Table
    partition_key: bytes
    deletion: DeletionView | None
    static: RowView | None
    rows: list[RowView]
    ranges: list[RangeView]


def partition_key_values(table: Table, partition_key: bytes) -> list[bytes]:
    """The serialized values of the columns of a partition key (format page, section 5.2)."""
    if len(table.partition_key) == 1:
        return [partition_key]
    values, position = [], 0
    for _ in table.partition_key:
        length = int.from_bytes(partition_key[position : position + 2])
        values.append(partition_key[position + 2 : position + 2 + length])
        position += 3 + length
    return values


def cell_type(cql_type: CqlType, path: bytes | None) -> CqlType:
    """The type of a cell's value: the column's, or that of its elements."""
    if path is None:
        return cql_type
    match cql_type:
        case MapType():
            return cql_type.value
        case ListType():
            return cql_type.element
        case UdtType() if int.from_bytes(path) < len(cql_type.field_types):
            return cql_type.field_types[int.from_bytes(path)]
    return Native("blob")


def element_name(cql_type: CqlType, path: bytes, shown: Callable[[CqlType, bytes], _T]) -> _T | str:
    """What names an element: a map's key, a set's element, a list's timeuuid, a UDT's field.

    `shown` says how a value of a type looks.
    """
    match cql_type:
        case MapType():
            return shown(cql_type.key, path)
        case SetType():
            return shown(cql_type.element, path)
        case ListType():
            return shown(Native("timeuuid"), path)
        case UdtType() if int.from_bytes(path) < len(cql_type.field_names):
            return cql_type.field_names[int.from_bytes(path)]
    return "0x" + path.hex()
