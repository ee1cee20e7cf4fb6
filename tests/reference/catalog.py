"""The schema as the log tells it: `system_schema` mutations merged by timestamp, then read as
tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from tests.reference.bootstrap import SYSTEM_SCHEMA
from tests.reference.cursor import Cursor
from tests.reference.model import Mutation, Row
from tests.reference.reconcile import Partition, apply_update
from tests.reference.schema import DroppedColumn, RefColumn, RefTable
from tests.reference.types import CqlType, parse_type

_DEFINING = ("tables", "views", "columns", "dropped_columns", "types")
_SCHEMA_NAMES = {table_id: table.name for table_id, table in SYSTEM_SCHEMA.items()}


@dataclass(frozen=True)
class UserType:
    """A user type's fields in order; a field's index is its path in a multi-cell column."""

    names: tuple[str, ...]
    types: tuple[CqlType, ...]


UserTypes = Mapping[str, UserType]


class Catalog(Mapping[UUID, RefTable]):
    """Table id -> table, as of the last mutation given to `learn`. A dropped table stays known for
    late mutations.
    """

    def __init__(self, tables: Iterable[RefTable] = ()) -> None:
        self._tables: dict[UUID, RefTable] = dict(SYSTEM_SCHEMA)
        self._tables.update((table.id, table) for table in tables)
        self._partitions: dict[tuple[str, bytes], Partition] = {}

    def __getitem__(self, table_id: UUID) -> RefTable:
        return self._tables[table_id]

    def __iter__(self) -> Iterator[UUID]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def learn(self, mutation: Mutation) -> None:
        """Takes in what the mutation says about the schema, if anything."""
        touched = set()
        for update in mutation.updates:
            name = _SCHEMA_NAMES.get(update.table_id)
            if name not in _DEFINING:
                continue
            apply_update(self._partitions.setdefault((name, update.key), Partition()), update)
            touched.add(update.key)
        for keyspace in touched:
            for table in self._tables_of(keyspace):
                if table.id not in SYSTEM_SCHEMA:
                    self._tables[table.id] = table

    def user_types(self, keyspace: str) -> dict[str, UserType]:
        """The user types of a keyspace by name."""
        found = {}
        for (name,), cells in self._live_rows("types", keyspace.encode()):
            types = tuple(parse_type(text) for text in _texts(cells["field_types"]))
            found[name] = UserType(tuple(_texts(cells["field_names"])), types)
        return found

    def _live_rows(
        self, name: str, keyspace: bytes
    ) -> Iterator[tuple[tuple[str, ...], dict[str, bytes]]]:
        partition = self._partitions.get((name, keyspace))
        for clustering, row in partition.rows.items() if partition else ():
            cells = {cell.column: cell.value for cell in row.cells if not cell.deleted}
            if row.liveness or cells:
                yield tuple((value or b"").decode() for value in clustering), cells

    def _tables_of(self, keyspace: bytes) -> Iterator[RefTable]:
        columns: dict[str, dict[str, RefColumn]] = {}
        for (table, column), cells in self._live_rows("columns", keyspace):
            columns.setdefault(table, {})[column] = RefColumn(
                column,
                cells["kind"].decode(),
                parse_type(cells["type"].decode()),
                Cursor(cells["position"]).i32(),
                cells.get("clustering_order") == b"desc",
            )
        dropped: dict[str, dict[str, DroppedColumn]] = {}
        for (table, column), cells in self._live_rows("dropped_columns", keyspace):
            kind = cells.get("kind", b"regular").decode()
            dropped_us = Cursor(cells["dropped_time"]).i64() * 1000
            dropped.setdefault(table, {})[column] = DroppedColumn(
                RefColumn(column, kind, parse_type(cells["type"].decode())), dropped_us
            )
        for name in ("tables", "views"):
            for (table,), cells in self._live_rows(name, keyspace):
                if "id" not in cells or table not in columns:
                    continue
                yield RefTable(
                    keyspace.decode(),
                    table,
                    UUID(bytes=cells["id"]),
                    columns[table],
                    dropped.get(table, {}),
                    cells.get("cdc") == b"\x01",
                    frozenset(_texts(cells.get("flags", b""))),
                )


def _texts(value: bytes) -> Iterator[str]:
    cursor = Cursor(value)
    for _ in range(cursor.i32() if value else 0):
        yield cursor.take(cursor.i32()).decode()


def without_dropped(row: Row, table: RefTable) -> Row:
    """The row without what was written before its column was dropped, as Cassandra's reader gives
    it.
    """
    if not table.dropped:
        return row

    def dropped(column: str, writetime_us: int) -> bool:
        found = table.dropped.get(column)
        return found is not None and writetime_us <= found.dropped_us

    return replace(
        row,
        cells=tuple(c for c in row.cells if not dropped(c.column, c.writetime_us)),
        complex_deletions={
            name: deletion
            for name, deletion in row.complex_deletions.items()
            if not dropped(name, deletion.writetime_us)
        },
    )
