"""What SELECT gives of a partition's merged state at a second: rows of raw values, writetimes and
expirations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cmp_to_key

from tests.reference import counters
from tests.reference.catalog import UserTypes
from tests.reference.cursor import Cursor
from tests.reference.model import EXPIRED_LIVENESS_TTL, Cell, Liveness, Row
from tests.reference.order import Order, timeuuid_key
from tests.reference.reconcile import Partition
from tests.reference.schema import RefColumn, RefTable


@dataclass(frozen=True)
class Selected:
    """A column's value. Writetime and expiry (a second, None without TTL) are those of single-cell
    columns.
    """

    value: bytes
    writetime_us: int | None = None
    expires_at_seconds: int | None = None


SelectedRow = dict[str, Selected | None]


def live_cell(cell: Cell, now_seconds: int) -> bool:
    """True where the cell has a value at `now_seconds`."""
    if cell.local_deletion_seconds is None:
        return True
    return cell.ttl_seconds != 0 and now_seconds < cell.local_deletion_seconds


def live_liveness(liveness: Liveness | None, now_seconds: int) -> bool:
    """True where the liveness alone makes its row exist at `now_seconds`."""
    if liveness is None or liveness.ttl_seconds == EXPIRED_LIVENESS_TTL:
        return False
    return liveness.local_deletion_seconds is None or now_seconds < liveness.local_deletion_seconds


def _pack(items: Sequence[bytes | None]) -> bytes:
    return b"".join(b"\xff" * 4 if i is None else len(i).to_bytes(4, "big") + i for i in items)


def key_values(table: RefTable, key: bytes) -> list[bytes]:
    """The values of the partition key's columns."""
    if len(table.of_kind("partition_key")) == 1:
        return [key]
    cursor = Cursor(key)
    found = []
    while cursor.remaining:
        found.append(cursor.take(cursor.u16()))
        cursor.take(1)
    return found


class Select:
    """Reads partitions of one table."""

    def __init__(self, table: RefTable, user_types: UserTypes, now_seconds: int) -> None:
        self._table = table
        self._user_types = user_types
        self._now_seconds = now_seconds
        self._order = Order(user_types)
        # A table of COMPACT STORAGE keeps a static row (or a value) where CQL shows a plain row.
        compact = (
            bool(table.columns) and "compound" not in table.flags and bool(table.flags or table.cdc)
        )
        self._static_compact = compact and "dense" not in table.flags and "super" not in table.flags
        self._columns = [
            column
            for column in table.columns.values()
            if column.type.name != "empty"
            and not (self._static_compact and column.kind in ("clustering", "regular"))
        ]

    def rows(self, key: bytes, partition: Partition) -> Iterator[SelectedRow]:
        """The partition's rows in clustering order; a static row alone gives one row of nulls."""
        found: SelectedRow = {}
        for column, value in zip(
            self._table.of_kind("partition_key"), key_values(self._table, key), strict=True
        ):
            found[column.name] = Selected(value)
        statics = self._row(partition.static_row, "static")
        any_static = any(value is not None for value in statics.values())
        compare = self._order.of_clustering(self._table.clustering)
        any_row = False
        for clustering in sorted(partition.rows, key=cmp_to_key(compare)):
            row = partition.rows[clustering]
            regulars = self._row(row, "regular")
            if not live_liveness(row.liveness, self._now_seconds) and not any(
                live_cell(cell, self._now_seconds) for cell in row.cells
            ):
                continue
            any_row = True
            keys: SelectedRow = {
                column.name: None if value is None else Selected(value)
                for column, value in zip(self._table.clustering, clustering, strict=True)
            }
            yield found | keys | statics | regulars
        if any_static and not any_row:
            empty: SelectedRow = {
                column.name: None
                for column in self._columns
                if column.kind in ("clustering", "regular")
            }
            yield found | empty | statics

    def _row(self, row: Row | None, kind: str) -> SelectedRow:
        cells: dict[str, list[Cell]] = {}
        for cell in row.cells if row else ():
            if live_cell(cell, self._now_seconds):
                cells.setdefault(cell.column, []).append(cell)
        return {
            column.name: self._value(column, cells[column.name]) if column.name in cells else None
            for column in self._columns
            if column.kind == kind
        }

    def _value(self, column: RefColumn, cells: list[Cell]) -> Selected:
        if column.complex:
            return Selected(self._elements(column, cells))
        cell = cells[0]
        value = cell.value
        if column.type.name == "counter":
            value = (counters.count(value) & (1 << 64) - 1).to_bytes(8, "big")
        return Selected(value, cell.writetime_us, cell.local_deletion_seconds)

    def _elements(self, column: RefColumn, cells: list[Cell]) -> bytes:
        by_path = {cell.path or b"": cell.value for cell in cells}
        if column.type.user:
            indexes = range(len(self._user_types[column.type.name].types))
            return _pack([by_path.get(index.to_bytes(2, "big")) for index in indexes])
        if column.type.name == "list":
            items = [by_path[path] for path in sorted(by_path, key=timeuuid_key)]
        else:
            paths = self._order.sorted(column.type.arguments[0], list(by_path))
            items = paths
            if column.type.name == "map":
                items = [item for path in paths for item in (path, by_path[path])]
        return len(by_path).to_bytes(4, "big") + _pack(items)
