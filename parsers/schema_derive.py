"""Tables derived from the rows of `system_schema`; it keeps nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast
from uuid import UUID

from parsers.cql_types import UdtType
from parsers.schema import KEY_KINDS, Column, ColumnKind, DroppedColumn, Table
from parsers.schema_state import LiveRow, SchemaState
from parsers.type_text import TypeTextError, parse_type

_KINDS: Final = frozenset({"partition_key", "clustering", "static", "regular"})
DEFAULT_GC_GRACE_SECONDS: Final = 864_000
_NEVER: Final = 2**63

# The id of a table of which only CQL without `WITH ID` told: no mutation carries it.
UNBOUND: Final = UUID(int=0)


@dataclass(slots=True)
class Derived:
    """The tables of a keyspace by name, and for those that can't be derived the reason."""

    tables: dict[str, Table] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    written_us: dict[str, int] = field(default_factory=dict)
    """The newest timestamp among the rows that a table was derived from."""


def derive_tables(
    state: SchemaState,
    keyspace: str,
    names: Collection[str] | None = None,
    types: SchemaState | None = None,
) -> Derived:
    """Derive the tables and views of a keyspace (all, or those named).

    `types` may be another state to take the user-defined types from.
    """
    derived = Derived()
    udts, udts_us = derive_types(types or state, keyspace)
    columns = _by_table(state.rows("columns", keyspace, names))
    dropped = _by_table(state.rows("dropped_columns", keyspace, names))
    for source in ("tables", "views"):
        for row in state.rows(source, keyspace, names):
            name = row.key[0]
            rows, gone = columns.get(name, []), dropped.get(name, [])
            try:
                derived.tables[name] = _table(
                    keyspace, row, rows, gone, udts, is_view=source == "views"
                )
            except ValueError as error:
                derived.problems[name] = str(error)
            else:
                written = (r.written_us for r in (row, *rows, *gone))
                derived.written_us[name] = max(udts_us, *written)
    return derived


def derive_types(state: SchemaState, keyspace: str) -> tuple[dict[str, UdtType], int]:
    """The user-defined types of a keyspace by name, and the newest timestamp of their rows."""
    rows = list(state.rows("types", keyspace))
    declared = {
        row.key[0]: dict(
            zip(
                cast("list[str]", row.values.get("field_names", [])),
                cast("list[str]", row.values.get("field_types", [])),
                strict=True,
            )
        )
        for row in rows
    }
    return resolve_types(keyspace, declared), max((row.written_us for row in rows), default=-_NEVER)


def resolve_types(keyspace: str, declared: Mapping[str, Mapping[str, str]]) -> dict[str, UdtType]:
    """User-defined types from their fields' type texts, in whatever order they are declared.

    A type that uses one that is not known is left out; a table that needs it says so.
    """
    udts: dict[str, UdtType] = {}
    waiting = dict(declared)
    while waiting:
        # Each round resolves the types whose fields use none, or resolved ones.
        resolved = {}
        for name, fields in waiting.items():
            try:
                types = tuple(parse_type(text, udts, keyspace).freeze() for text in fields.values())
            except TypeTextError:
                continue
            resolved[name] = UdtType(keyspace, name, tuple(fields), types, False)
        if not resolved:
            break
        udts |= resolved
        waiting = {name: fields for name, fields in waiting.items() if name not in resolved}
    return udts


def _by_table(rows: Iterable[LiveRow]) -> dict[str, list[LiveRow]]:
    grouped: dict[str, list[LiveRow]] = {}
    for row in rows:
        grouped.setdefault(row.key[0], []).append(row)
    return grouped


def _table(
    keyspace: str,
    row: LiveRow,
    column_rows: list[LiveRow],
    dropped_rows: list[LiveRow],
    udts: Mapping[str, UdtType],
    *,
    is_view: bool,
) -> Table:
    columns = [_column(keyspace, column_row, udts) for column_row in column_rows]
    dropped = [_dropped(keyspace, dropped_row, udts) for dropped_row in dropped_rows]
    values = row.values
    return Table(
        keyspace,
        row.key[0],
        cast("UUID", values.get("id", UNBOUND)),
        _key(columns, "partition_key"),
        _key(columns, "clustering"),
        tuple(column for column in columns if column.kind == "static"),
        tuple(column for column in columns if column.kind == "regular"),
        cdc=values.get("cdc") is True,
        gc_grace_seconds=cast("int", values.get("gc_grace_seconds", DEFAULT_GC_GRACE_SECONDS)),
        default_ttl=cast("int", values.get("default_time_to_live", 0)),
        flags=frozenset(cast("list[str]", values.get("flags", ["compound"]))),
        dropped={column.name_bytes: column for column in dropped},
        is_view=is_view,
    )


def _key(columns: Iterable[Column], kind: ColumnKind) -> tuple[Column, ...]:
    """The key columns of a kind in order; raises ValueError where one is missing."""
    key = sorted((c for c in columns if c.kind == kind), key=lambda column: column.position)
    if [column.position for column in key] != list(range(len(key))):
        raise ValueError(f"only some of its {kind.replace('_', ' ')} columns are known")
    return tuple(key)


def _column(keyspace: str, row: LiveRow, udts: Mapping[str, UdtType]) -> Column:
    kind = row.values.get("kind")
    if kind not in _KINDS or "type" not in row.values:
        raise ValueError(f"only a part of column {row.key[1]} is known")
    cql_type = parse_type(cast("str", row.values["type"]), udts, keyspace)
    return Column(
        row.key[1],
        cast("bytes", row.values.get("column_name_bytes", row.key[1].encode())),
        cast("ColumnKind", kind),
        cast("int", row.values.get("position", -1)),
        cql_type.freeze() if kind in KEY_KINDS else cql_type,
        row.values.get("clustering_order") == "desc",
    )


def _dropped(keyspace: str, row: LiveRow, udts: Mapping[str, UdtType]) -> DroppedColumn:
    if "type" not in row.values or "dropped_time" not in row.values:
        raise ValueError(f"only a part of dropped column {row.key[1]} is known")
    return DroppedColumn(
        row.key[1],
        row.key[1].encode(),
        cast("ColumnKind", row.values.get("kind", "regular")),
        parse_type(cast("str", row.values["type"]), udts, keyspace),
        cast("int", row.values["dropped_time"]) * 1000,
    )
