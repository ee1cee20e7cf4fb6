"""What a mutation says in one plain form, whether the compiled or the reference decoder said it.

Both forms leave out what means nothing: rows that say nothing, cells of columns that were dropped,
the order of a multi-cell column's elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from parsers.decoder import Catalog, CompiledTable, schema_updates, view_mutation
from parsers.schema import Table
from parsers.schema_log import SchemaLog
from parsers.system_tables import LOCAL_TABLE, SCHEMA_TABLES
from parsers.view import ColumnView, DeletionView, RowView, UpdateView
from tests.reference.catalog import without_dropped
from tests.reference.model import Deletion, Mutation, PartitionUpdate, Row
from tests.reference.reconcile import ranges_of
from tests.reference.schema import RefTable
from tests.reference.versions import LogVersion

Plain = tuple[Any, ...]

_NO_TIME = (1 << 63) - 1
# Kinds of bounds that include what begins with their values (`ClusteringPrefix.Kind`): a boundary
# ends one range and starts another, and includes its values in one of them only.
_INCLUSIVE_STARTS = frozenset({1, 2})
_INCLUSIVE_ENDS = frozenset({5, 6})


class CompiledDecoder:
    """The compiled decoder, told of tables by the log itself, as a process that tails one is."""

    def __init__(self) -> None:
        self.log = SchemaLog()
        own = [*SCHEMA_TABLES.values(), LOCAL_TABLE]
        # "divert" decodes and changes nothing: no cell is checked and none is merged away.
        self._compiled = {table.id: CompiledTable(table, "divert") for table in own}
        self.catalog = Catalog(self._compiled.values())

    def views(self, mutation: bytes, log_version: int) -> list[UpdateView]:
        """What the mutation says; UnknownTable or SegmentCorrupt where that can't be told."""
        return view_mutation(mutation, self.catalog, log_version)

    def learn(self, views: Iterable[UpdateView]) -> None:
        """Take in what the views say about the schema, if anything."""
        if not self.log.apply(*schema_updates(views)):
            return
        for table in self.log.schema.all_by_id().values():
            known = self._compiled.get(table.id)
            if known is None or known.table != table:
                self._compiled[table.id] = CompiledTable(table, "divert")
        self.catalog = Catalog(self._compiled.values())


def views_of(mutation: bytes, *tables: Table, log_version: int = 8) -> list[UpdateView]:
    """What a mutation of these tables says to the compiled decoder."""
    catalog = Catalog([CompiledTable(one, "divert") for one in tables])
    return view_mutation(mutation, catalog, log_version)


def of_views(views: Iterable[UpdateView]) -> list[Plain]:
    """The updates as the compiled decoder saw them."""
    return [
        (
            view.table.id,
            view.partition_key,
            _deletion(view.deletion),
            None if view.static is None else _row_view(view.static),
            [_row_view(row) for row in view.rows],
            [
                (
                    (tuple(r.start.values), r.start.kind in _INCLUSIVE_STARTS),
                    (tuple(r.end.values), r.end.kind in _INCLUSIVE_ENDS),
                    _deletion(r.deletion),
                )
                for r in view.ranges
                if r.deletion is not None
            ],
        )
        for view in views
    ]


def _row_view(row: RowView) -> Plain:
    live = row.liveness
    return (
        tuple(row.clustering),
        None if live is None else (live.writetime_us, live.ttl_seconds, live.expires_s),
        _deletion(row.deletion),
        dict(_columns(row.columns)),
    )


def _columns(columns: dict[str, ColumnView]) -> Iterator[tuple[str, Plain]]:
    for name, column in columns.items():
        cells = [
            (c.path, c.writetime_us, c.ttl_seconds, c.deletion_time_s, c.value)
            for c in column.cells
        ]
        yield name, (_deletion(column.deletion), sorted(cells, key=lambda cell: cell[0] or b""))


def _deletion(deletion: DeletionView | None) -> Plain | None:
    return None if deletion is None else (deletion.timestamp_us, deletion.local_time_s)


class _Reference:
    """The same from the reference decoder's model; `version` says which time means none."""

    def __init__(self, version: LogVersion) -> None:
        self._none = (1 << 32) - 1 if version.unsigned_deletion_times else (1 << 31) - 1

    def update(self, update: PartitionUpdate, table: RefTable) -> Plain:
        rows = [self.row(row, table) for row in update.unfiltereds if isinstance(row, Row)]
        return (
            update.table_id,
            update.key,
            self.deletion(update.deletion),
            None if update.static_row is None else self.row(update.static_row, table),
            [row for row in rows if row is not None],
            [
                (
                    (found.start, found.start_inclusive),
                    (found.end, found.end_inclusive),
                    self.deletion(found.deletion),
                )
                for found in ranges_of(update.unfiltereds)
            ],
        )

    def row(self, row: Row, table: RefTable) -> Plain | None:
        kind = "static" if row.static else "regular"
        kept = {column.name for column in table.of_kind(kind)}
        row = without_dropped(row, table)
        columns: dict[str, tuple[Plain | None, list[Plain]]] = {
            name: (self.deletion(deletion), [])
            for name, deletion in row.complex_deletions.items()
            if name in kept
        }
        for cell in row.cells:
            if cell.column in kept:
                columns.setdefault(cell.column, (None, []))[1].append(
                    (
                        cell.path,
                        cell.writetime_us,
                        cell.ttl_seconds,
                        self.time(cell.local_deletion_seconds),
                        None if cell.deleted else cell.value,
                    )
                )
        live = row.liveness
        if not (live or row.deletion or columns):
            return None
        for _, cells in columns.values():
            cells.sort(key=lambda cell: cell[0] or b"")
        return (
            row.clustering,
            None
            if live is None
            else (live.writetime_us, live.ttl_seconds, self.time(live.local_deletion_seconds)),
            self.deletion(row.deletion),
            columns,
        )

    def deletion(self, deletion: Deletion | None) -> Plain | None:
        if deletion is None:
            return None
        seconds = self.time(deletion.local_deletion_seconds)
        return deletion.writetime_us, _NO_TIME if seconds is None else seconds

    def time(self, seconds: int | None) -> int | None:
        return None if seconds == self._none else seconds


def of_reference(
    mutation: Mutation, version: LogVersion, tables: Mapping[UUID, RefTable]
) -> list[Plain]:
    """The updates as the reference decoder saw them; `tables` by id."""
    reference = _Reference(version)
    return [reference.update(update, tables[update.table_id]) for update in mutation.updates]
