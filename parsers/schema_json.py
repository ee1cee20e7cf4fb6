"""A table's definition as JSON and back: readable, and complete without any other definition."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from parsers.cql_types import CqlType
from parsers.schema import Column, DroppedColumn, Table
from parsers.type_text import class_text, parse_class


def table_to_json(table: Table) -> dict[str, Any]:
    """The definition as what `json` can write; types stand there as CQL and as Java classes."""
    return {
        "keyspace": table.keyspace,
        "name": table.name,
        "id": str(table.id),
        "columns": [
            {"position": column.position, "reversed": column.reversed} | _common(column)
            for column in table.columns
        ],
        "dropped": [
            {"dropped_time_us": column.dropped_time_us} | _common(column)
            for column in table.dropped.values()
        ],
        "cdc": table.cdc,
        "gc_grace_seconds": table.gc_grace_seconds,
        "default_ttl": table.default_ttl,
        "flags": sorted(table.flags),
        "is_view": table.is_view,
    }


def _common(column: Column | DroppedColumn) -> dict[str, Any]:
    return {
        "name": column.name,
        "name_bytes": column.name_bytes.hex(),
        "kind": column.kind,
        "type": str(column.type),
        "class": class_text(column.type),
    }


def table_from_json(data: dict[str, Any]) -> Table:
    """The table of which `table_to_json` made `data`; raises KeyError or ValueError for others."""
    columns = [
        Column(
            column["name"],
            bytes.fromhex(column["name_bytes"]),
            column["kind"],
            column["position"],
            _type(column, data),
            column["reversed"],
        )
        for column in data["columns"]
    ]
    dropped = [
        DroppedColumn(
            column["name"],
            bytes.fromhex(column["name_bytes"]),
            column["kind"],
            _type(column, data),
            column["dropped_time_us"],
        )
        for column in data["dropped"]
    ]
    return Table(
        data["keyspace"],
        data["name"],
        UUID(data["id"]),
        tuple(column for column in columns if column.kind == "partition_key"),
        tuple(column for column in columns if column.kind == "clustering"),
        tuple(column for column in columns if column.kind == "static"),
        tuple(column for column in columns if column.kind == "regular"),
        cdc=data["cdc"],
        gc_grace_seconds=data["gc_grace_seconds"],
        default_ttl=data["default_ttl"],
        flags=frozenset(data["flags"]),
        dropped={column.name_bytes: column for column in dropped},
        is_view=data["is_view"],
    )


def _type(column: dict[str, Any], data: dict[str, Any]) -> CqlType:
    return parse_class(column["class"], {}, data["keyspace"])
