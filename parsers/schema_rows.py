"""A table's definition as the rows of `system_schema` that would give it, to seed a SchemaLog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from parsers.cql_types import CqlType, ListType, MapType, SetType, TupleType, UdtType, VectorType
from parsers.schema import Table
from parsers.schema_derive import UNBOUND
from parsers.schema_state import Cell, RawRow, Update
from parsers.schema_values import Value, encode
from parsers.system_tables import SCHEMA_TABLES


def table_updates(table: Table, written_us: int) -> list[Update]:
    """Updates that give this table, and the types that it uses, written at `written_us`."""
    options: dict[str, Value] = {
        "cdc": table.cdc,
        "gc_grace_seconds": table.gc_grace_seconds,
        "default_time_to_live": table.default_ttl,
    }
    if table.id != UNBOUND:
        options["id"] = table.id
    if not table.is_view:
        options["flags"] = [*sorted(table.flags)]
    columns = [
        make_row(
            "columns",
            (table.name, column.name),
            written_us,
            {
                "kind": column.kind,
                "position": column.position,
                "type": str(column.type),
                "column_name_bytes": column.name_bytes,
                "clustering_order": _order(column.kind == "clustering", column.reversed),
            },
        )
        for column in table.columns
    ]
    dropped = [
        make_row(
            "dropped_columns",
            (table.name, column.name),
            written_us,
            {
                "kind": column.kind,
                "type": str(column.type),
                "dropped_time": column.dropped_time_us // 1000,
            },
        )
        for column in table.dropped.values()
    ]
    used = {udt.name: udt for column in table.columns for udt in _udts(column.type)}
    used |= {udt.name: udt for column in table.dropped.values() for udt in _udts(column.type)}
    types = [
        make_row(
            "types",
            (udt.name,),
            written_us,
            {
                "field_names": list(udt.field_names),
                "field_types": [str(field_type) for field_type in udt.field_types],
            },
        )
        for udt in used.values()
    ]
    source = "views" if table.is_view else "tables"
    pk = table.keyspace.encode()
    return [
        Update(table="types", pk=pk, rows=types),
        Update(table=source, pk=pk, rows=[make_row(source, (table.name,), written_us, options)]),
        Update(table="columns", pk=pk, rows=columns),
        Update(table="dropped_columns", pk=pk, rows=dropped),
    ]


def make_row(
    table: str, key: tuple[str, ...], written_us: int | dict[str, int], values: Mapping[str, Value]
) -> RawRow:
    """A row of `system_schema.<table>`; `written_us` is one timestamp, or one per column.

    Raises ValueError where a value is not of its column's type.
    """
    definition = SCHEMA_TABLES[table]
    cells: list[Cell] = []
    for name, value in values.items():
        column = definition.column(name)
        if column is None:
            raise ValueError(f"system_schema.{table} has no column {name!r}")
        timestamp_us = written_us if isinstance(written_us, int) else written_us[name]
        cells.append((name, timestamp_us, 0, 0, encode(column.type, value)))
    newest_us = max(cell[1] for cell in cells)
    return RawRow(ck=[part.encode() for part in key], liveness=(newest_us, 0, 0), cells=cells)


def _order(is_clustering: bool, is_reversed: bool) -> str:
    if not is_clustering:
        return "none"
    return "desc" if is_reversed else "asc"


def _udts(cql_type: CqlType) -> Iterator[UdtType]:
    """The user-defined types in a type, however deep."""
    match cql_type:
        case UdtType():
            yield cql_type
            parts: tuple[CqlType, ...] = cql_type.field_types
        case ListType(element) | SetType(element) | VectorType(element):
            parts = (element,)
        case MapType(key, value):
            parts = (key, value)
        case TupleType(fields):
            parts = fields
        case _:
            parts = ()
    for part in parts:
        yield from _udts(part)
