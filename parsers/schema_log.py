"""The schema as the commit log tells it: changes of `system_schema` in, tables out.

It merges by timestamp, so that changes may come late, twice or out of order, and it can be seeded
from a cluster, from CQL or from a stored history. It reads no log and asks no cluster itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

from parsers.schema import Schema, Table
from parsers.schema_derive import UNBOUND, derive_tables
from parsers.schema_state import NO_TIMESTAMP, RawRow, SchemaState, Update, row_key
from parsers.system_tables import SKIPPED_TABLE_IDS, SYSTEM_TABLES

TableName = tuple[str, str]
"""Keyspace and table."""

# Cassandra's own tables are known beforehand; every node start rewrites their definitions.
_OWN_IDS: Final = SKIPPED_TABLE_IDS | {table.id for table in SYSTEM_TABLES}
_OF_ONE_TABLE: Final = frozenset({"tables", "views", "columns", "dropped_columns"})


class SchemaLog:
    """Tables of all keyspaces, kept up to date from `system_schema` updates.

    `schema` is the present snapshot, another object after every change. `unbound` holds tables
    whose id is not known yet, and `problems` says why a table can't be derived.
    """

    def __init__(self) -> None:
        self.schema = Schema()
        self.unbound: dict[TableName, Table] = {}
        self.problems: dict[TableName, str] = {}
        self._state = SchemaState()
        self._written_us: dict[TableName, int] = {}
        # Incarnations of a table that are older than the one known under its name: the newer one
        # hides their rows in the merged state, yet their mutations may still come.
        self._retired: dict[UUID, SchemaState] = {}

    def apply(self, *updates: Update) -> set[TableName]:
        """Merge the updates of one mutation; returns the tables that changed, came or went.

        Raises ValueError for an update that is of no table of `system_schema`, or that holds an
        undecodable value.
        """
        for update in updates:
            self._state.merge(update)
        changed: set[TableName] = set()
        for keyspace, names in _touched(updates).items():
            changed |= self._derive(keyspace, names)
        for update in updates:
            if update["table"] in ("tables", "views"):
                for row in update.get("rows", ()):
                    self._retire(update["pk"].decode(), row, updates)
        return changed

    def refresh(self, updates: Iterable[Update], until_us: int) -> set[TableName]:
        """Merge the whole schema of a cluster, read at `until_us` or later.

        Whatever it lacks and was written up to then is taken as dropped.
        """
        self._state.complete(updates, until_us)
        changed: set[TableName] = set()
        for keyspace in self._state.keyspaces():
            changed |= self._derive(keyspace, None)
        return changed

    def restore(self, tables: Iterable[Table]) -> None:
        """Make tables known by id that don't exist any more, so that mutations can be decoded."""
        self.schema = Schema(self.schema, dropped=[*self.schema.dropped(), *tables])

    def bind(self, name: TableName, table_id: UUID) -> Table:
        """Give an unbound table its id; raises KeyError where no such table is unbound."""
        table = self.unbound[name]
        cell = ("id", self.written_us(name), 0, 0, table_id.bytes)
        source = "views" if table.is_view else "tables"
        row = RawRow(ck=[name[1].encode()], cells=[cell])
        self.apply(Update(table=source, pk=name[0].encode(), rows=[row]))
        bound = self.schema.by_id(table_id)
        if bound is None:
            raise KeyError(name)
        return bound

    def written_us(self, name: TableName) -> int:
        """The newest timestamp in the definition of a table, its keyspace's types included.

        For a table that was never derived it is the oldest timestamp there is.
        """
        return self._written_us.get(name, NO_TIMESTAMP)

    def _derive(self, keyspace: str, names: set[str] | None) -> set[TableName]:
        """Derive tables anew (None: all of the keyspace) and take over what differs."""
        derived = derive_tables(self._state, keyspace, names)
        tables = (*self.schema, *self.unbound.values())
        known = {table.name: table for table in tables if table.keyspace == keyspace}
        concerned = {*known, *derived.tables, *derived.problems}
        concerned |= {name for of, name in self.problems if of == keyspace}
        changed: set[TableName] = set()
        for name in concerned if names is None else concerned & names:
            self.unbound.pop((keyspace, name), None)
            self.problems.pop((keyspace, name), None)
            table = derived.tables.get(name)
            if name in derived.problems:
                self.problems[keyspace, name] = derived.problems[name]
            elif table is None:
                self.schema = self.schema.without(keyspace, name)
                changed.add((keyspace, name))
            elif table.id not in _OWN_IDS:
                self._written_us[keyspace, name] = derived.written_us[name]
                if table.id == UNBOUND:
                    self.unbound[keyspace, name] = table
                elif table != known.get(name):
                    self.schema = self.schema.with_table(table)
                    changed.add((keyspace, name))
        return changed

    def _retire(self, keyspace: str, row: RawRow, updates: tuple[Update, ...]) -> None:
        """Keep the definition of a table whose row lost to a newer incarnation or a drop."""
        ids = [cell[4] for cell in row.get("cells", ()) if cell[0] == "id" and cell[4]]
        name = row_key(row)[0]
        current = self.schema.by_name(keyspace, name.decode())
        for data in ids:
            table_id = UUID(bytes=data)
            if table_id in _OWN_IDS or (current is not None and current.id == table_id):
                continue
            state = self._retired.setdefault(table_id, SchemaState())
            for update in updates:
                if update["table"] in _OF_ONE_TABLE and update["pk"].decode() == keyspace:
                    rows = [r for r in update.get("rows", ()) if row_key(r)[0] == name]
                    state.merge(Update(table=update["table"], pk=update["pk"], rows=rows))
            derived = derive_tables(state, keyspace, types=self._state)
            self.restore(derived.tables.values())


def _touched(updates: Iterable[Update]) -> Mapping[str, set[str] | None]:
    """Which tables of which keyspaces the updates may change; None: all of the keyspace."""
    touched: dict[str, set[str] | None] = {}
    for update in updates:
        keyspace = update["pk"].decode()
        if update["table"] == "types" or update.get("deletion") or update.get("ranges"):
            touched[keyspace] = None
        elif update["table"] in _OF_ONE_TABLE:
            names = touched.setdefault(keyspace, set())
            if names is not None:
                names |= {row_key(row)[0].decode() for row in update.get("rows", ())}
    return touched
