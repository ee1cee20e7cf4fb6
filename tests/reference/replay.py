"""Segments to what SELECT gives: every update of a table merged in any order, truncations
heeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from tests.reference.catalog import Catalog, without_dropped
from tests.reference.cursor import Cursor
from tests.reference.descriptor import read_descriptor
from tests.reference.model import Marker, PartitionUpdate, Row
from tests.reference.order import Order
from tests.reference.reconcile import Partition, apply_update
from tests.reference.schema import RefTable
from tests.reference.segment import Decoded, read_segment
from tests.reference.select import Select, SelectedRow

_SYSTEM_LOCAL = UUID("7ad54392-bcdd-35a6-8417-4e047860b377")
Place = tuple[int, int]
"""Segment id and logical end offset of an entry."""


@dataclass
class Replay:
    """All updates of all tables, by table id, with their places in the log; and the newest
    truncation of each.
    """

    catalog: Catalog = field(default_factory=Catalog)
    updates: dict[UUID, list[tuple[Place, PartitionUpdate]]] = field(default_factory=dict)
    truncated_at: dict[UUID, Place] = field(default_factory=dict)
    by_value: bool = False
    """Whether cells of one writetime are merged as 3.11, which wrote the last segment, does."""

    def read(self, data: bytes, keys: Mapping[str, bytes] | None = None) -> None:
        """Takes in a segment; segments come in the order of their ids."""
        descriptor = read_descriptor(data)
        segment_id = descriptor.segment_id
        self.by_value = descriptor.version.ties_by_value
        for item in read_segment(data, self.catalog, keys):
            if not isinstance(item, Decoded):
                continue
            for update in item.mutation.updates:
                place = (segment_id, item.entry.end)
                self.updates.setdefault(update.table_id, []).append((place, update))
                if update.table_id == _SYSTEM_LOCAL:
                    self._truncations(update)

    def _truncations(self, update: PartitionUpdate) -> None:
        for row in update.unfiltereds:
            for cell in row.cells if isinstance(row, Row) else ():
                if cell.column == "truncated_at" and cell.path and not cell.deleted:
                    cursor = Cursor(cell.value)
                    self.truncated_at[UUID(bytes=cell.path)] = (cursor.i64(), cursor.i32())

    def partitions(self, table: RefTable) -> dict[bytes, Partition]:
        """The merged state of a table's partitions by key."""
        compare = Order(self.catalog.user_types(table.keyspace)).of_clustering(table.clustering)
        counters = frozenset(c.name for c in table.columns.values() if c.type.name == "counter")
        found: dict[bytes, Partition] = {}
        since = self.truncated_at.get(table.id, (0, 0))
        for place, update in self.updates.get(table.id, []):
            if place <= since:
                continue
            state = found.setdefault(update.key, Partition())
            current = _without_dropped(update, table)
            apply_update(state, current, compare=compare, counters=counters, by_value=self.by_value)
        return found

    def select(self, table: RefTable, now_seconds: int) -> Iterator[SelectedRow]:
        """The table's rows at a second, partitions in no order."""
        reader = Select(table, self.catalog.user_types(table.keyspace), now_seconds)
        for key, partition in self.partitions(table).items():
            yield from reader.rows(key, partition)


def _without_dropped(update: PartitionUpdate, table: RefTable) -> PartitionUpdate:
    unfiltereds: Sequence[Row | Marker] = [
        unfiltered if isinstance(unfiltered, Marker) else without_dropped(unfiltered, table)
        for unfiltered in update.unfiltereds
    ]
    static_row = update.static_row and without_dropped(update.static_row, table)
    return replace(update, unfiltereds=tuple(unfiltereds), static_row=static_row)
