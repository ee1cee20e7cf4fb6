"""Decoded mutations as rows of change files: one per row, range or partition that they touch.

docs/parquet.md has the columns. It merges nothing: what was written is what stands there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from parsers.cql_types import CqlType, Native, SetType
from parsers.decoder import INCLUSIVE_ENDS, INCLUSIVE_STARTS
from parsers.masking import Mask, hashed_type
from parsers.position import Position
from parsers.schema import Column, Table
from parsers.view import (
    BoundView,
    CellView,
    ColumnView,
    RowView,
    UpdateView,
    cell_type,
    element_name,
    partition_key_values,
)
from sinks.parquet.values import Plain, arrow_type, converter, json_of

_CELL: Final = pa.struct(
    [
        ("column", pa.string()),
        ("path", pa.string()),
        ("kind", pa.string()),
        ("value", pa.string()),
        ("writetime_us", pa.int64()),
        ("ttl_seconds", pa.int32()),
        ("expires_s", pa.int64()),
    ]
)
CHANGE_COLUMNS: Final[tuple[tuple[str, pa.DataType], ...]] = (
    ("_cdc_op", pa.string()),
    ("_cdc_static", pa.bool_()),
    ("_cdc_writetime_us", pa.int64()),
    ("_cdc_ttl_seconds", pa.int32()),
    ("_cdc_deleted_us", pa.int64()),
    ("_cdc_start", pa.string()),
    ("_cdc_end", pa.string()),
    ("_cdc_cells", pa.list_(_CELL)),
    ("_cdc_node", pa.string()),
    ("_cdc_segment_id", pa.int64()),
    ("_cdc_offset", pa.int64()),
    ("_cdc_ordinal", pa.int32()),
)
"""What every change has, before the table's own columns."""

WRITETIME: Final = [name for name, _ in CHANGE_COLUMNS].index("_cdc_writetime_us")

Change = tuple[Any, ...]
"""The values of one change, in the order of `ChangeTable.schema`."""


@dataclass
class ChangeTable:
    """A table as the columns of its files; `masks` are those that its changes are decoded with."""

    table: Table
    masks: Mapping[str, Mask] = field(default_factory=dict)
    schema: pa.Schema = field(init=False)
    _place: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        columns = [*self.table.primary_key, *self.table.statics, *self.table.regulars]
        names = _file_names(columns)
        shown = [_shown_type(column, self.masks.get(column.name)) for column in columns]
        types = [arrow_type(one) for one in shown]
        self.schema = pa.schema([*CHANGE_COLUMNS, *zip(names, types, strict=True)])
        self._place = {column.name: number for number, column in enumerate(columns)}
        self._types = {c.name: one for c, one in zip(columns, shown, strict=True)}
        self._constants = {
            name: mask.text for name, mask in self.masks.items() if mask.kind == "constant"
        }
        self._convert = [
            self._constant(column.name) or converter(one)
            for column, one in zip(columns, shown, strict=True)
        ]
        self._complex = [column.is_complex for column in columns]

    def _constant(self, name: str) -> Callable[[bytes | None], Plain] | None:
        if name not in self._constants:
            return None
        return lambda data: None if data is None else self._constants[name]

    def changes(self, node: str, position: Position, view: UpdateView) -> Iterator[Change]:
        """The changes of one update of a mutation, which ends at `position`."""
        values: list[Plain] = [None] * len(self._place)
        keys = partition_key_values(self.table, view.partition_key)
        for number, data in enumerate(keys):
            values[number] = self._convert[number](data)
        origin = (node, position.segment_id, position.offset)
        ordinal = 0
        if view.deletion is not None:
            at_us = view.deletion.timestamp_us
            head: tuple[object, ...] = (
                "delete_partition",
                False,
                at_us,
                None,
                at_us,
                None,
                None,
                None,
            )
            yield (*head, *origin, ordinal, *values)
            ordinal += 1
        for ranged in view.ranges:
            if ranged.deletion is None:
                continue
            at_us = ranged.deletion.timestamp_us
            start = self._bound(ranged.start, INCLUSIVE_STARTS)
            end = self._bound(ranged.end, INCLUSIVE_ENDS)
            head = ("delete_range", False, at_us, None, at_us, start, end, None)
            yield (*head, *origin, ordinal, *values)
            ordinal += 1
        if view.static is not None:
            yield self._row(view.static, True, values, (*origin, ordinal))
            ordinal += 1
        for row in view.rows:
            yield self._row(row, False, values, (*origin, ordinal))
            ordinal += 1

    def _row(
        self, row: RowView, is_static: bool, key: list[Plain], origin: tuple[object, ...]
    ) -> Change:
        values = list(key)
        first = len(self.table.partition_key)
        for number, data in enumerate(row.clustering, first):
            values[number] = self._convert[number](data)
        cells: list[dict[str, object]] = []
        for name, column in row.columns.items():
            cells += self._cells(name, column)
            place = self._place.get(name)
            # Elements of a collection stand among the cells alone: they are not its value.
            if place is not None and not self._complex[place] and column.cells:
                values[place] = self._convert[place](column.cells[0].value)
        times = [one.writetime_us for column in row.columns.values() for one in column.cells]
        times += [
            column.deletion.timestamp_us
            for column in row.columns.values()
            if column.deletion is not None
        ]
        ttls = {cell["ttl_seconds"] for cell in cells if cell["kind"] in ("write", "element")}
        if row.liveness is not None:
            times.append(row.liveness.writetime_us)
            ttls.add(row.liveness.ttl_seconds or None)
        deleted_us = None
        if row.deletion is not None:
            deleted_us = row.deletion.timestamp_us
            times.append(deleted_us)
        operation = "update"
        if row.liveness is not None:
            operation = "insert"
        elif row.deletion is not None and not cells:
            operation = "delete"
        head = (
            operation,
            is_static,
            max(times, default=0),
            ttls.pop() if len(ttls) == 1 else None,
            deleted_us,
            None,
            None,
            cells or None,
        )
        return (*head, *origin, *values)

    def _cells(self, name: str, column: ColumnView) -> Iterator[dict[str, object]]:
        cql_type = self._types.get(name, column.column.type)
        if column.deletion is not None:
            yield _said(name, None, "delete_elements", None, column.deletion.timestamp_us)
        for cell in column.cells:
            path = None if cell.path is None else element_name(cql_type, cell.path, json_of)
            kind = "write" if cell.path is None else "element"
            value = None
            if cell.value is None:
                kind = "delete" if cell.path is None else "delete_element"
            elif name in self._constants:
                value = self._constants[name]
            elif cell.path is None or not isinstance(cql_type, SetType):
                value = json_of(cell_type(cql_type, cell.path), cell.value)
            yield _said(name, path, kind, value, cell.writetime_us, cell)

    def _bound(self, bound: BoundView, inclusive: frozenset[int]) -> str:
        pairs = zip(self.table.clustering, bound.values, strict=False)
        said: dict[str, object] = {column.name: json_of(column.type, v) for column, v in pairs}
        return json.dumps(
            {"clustering": said, "inclusive": bound.kind in inclusive}, ensure_ascii=False
        )


def _file_names(columns: Iterable[Column]) -> list[str]:
    """Names of the file's columns; `_` is added to one that a change's own column has."""
    taken = {name for name, _ in CHANGE_COLUMNS}
    names = []
    for column in columns:
        name = column.name
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
    return names


def _shown_type(column: Column, mask: Mask | None) -> CqlType:
    """The type of what is seen of a column's values."""
    if mask is None or (mask.kind == "constant" and mask.text is None and not column.is_complex):
        return column.type
    if mask.kind == "constant" and not column.is_complex:
        return Native("text")
    return hashed_type(column.type)


def _said(
    name: str,
    path: str | None,
    kind: str,
    value: str | None,
    writetime_us: int,
    cell: CellView | None = None,
) -> dict[str, object]:
    expires = cell is not None and cell.value is not None and cell.ttl_seconds
    return {
        "column": name,
        "path": path,
        "kind": kind,
        "value": value,
        "writetime_us": writetime_us,
        "ttl_seconds": cell.ttl_seconds if cell is not None and expires else None,
        "expires_s": cell.deletion_time_s if cell is not None and expires else None,
    }
