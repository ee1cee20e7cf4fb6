"""What the reference's reconciliation makes of a history: the rows and states of its mirror."""

from __future__ import annotations

from collections.abc import Iterable

from parsers.schema import Column
from parsers.values import compile_type, elements_to_pg, to_pg
from sinks.postgres.typemap import pg_type
from tests.reference.model import Cell, PartitionUpdate, Row
from tests.reference.order import Order
from tests.reference.reconcile import Clustering, Partition, apply_update
from tests.reference.select import live_cell, live_liveness
from tests.support.histories import Subject
from tests.support.memory_mirror import Field, Key, MemoryRelation, cids
from tests.support.row_state import StateCell, read_state


def merged(subject: Subject, updates: Iterable[PartitionUpdate]) -> dict[bytes, Partition]:
    """The merged partitions by key, as the reference has them."""
    counters = frozenset(c.name for c in subject.table.columns if str(c.type) == "counter")
    compare = Order({}).of_clustering(subject.reference.clustering)
    found: dict[bytes, Partition] = {}
    for update in updates:
        partition = found.setdefault(update.key, Partition())
        apply_update(
            partition, update, compare=compare, counters=counters, by_value=subject.by_value
        )
    return found


def expected_rows(
    subject: Subject, relation: MemoryRelation, partitions: dict[bytes, Partition], now_s: int
) -> dict[Key, dict[str, Field]]:
    """The rows that the relation must hold at `now_s`, without their state."""
    found = {}
    for key, partition in partitions.items():
        rows: dict[Clustering, Row] = partition.rows
        if relation.static:
            rows = {} if partition.static_row is None else {(): partition.static_row}
        for clustering, row in rows.items():
            live = [cell for cell in row.cells if live_cell(cell, now_s)]
            if not live and not live_liveness(row.liveness, now_s):
                continue
            found[_place(relation, key, clustering)] = {
                column.name: _expected_field(column, [c for c in live if c.column == column.name])
                for column in relation.columns
            }
    return found


def _expected_field(column: Column, live: list[Cell]) -> Field:
    compiled = compile_type(column.type, pg_type(column.type))
    if not live:
        return None
    if column.type.is_multicell:
        return _field(elements_to_pg(compiled, [(c.path or b"", c.value) for c in live]))
    return _field(to_pg(compiled, live[0].value))


def _field(sized: bytes) -> Field:
    return None if sized[:4] == b"\xff" * 4 else sized[4:]


def check_states(relation: MemoryRelation, partitions: dict[bytes, Partition]) -> None:
    """A row's state, with what is kept of the time that the row was dead, says what the reference
    knows of the row: times, deletions, elements.
    """
    numbers = cids(relation.columns)
    for partition_key, partition in partitions.items():
        rows: dict[Clustering, Row] = partition.rows
        if relation.static:
            rows = {} if partition.static_row is None else {(): partition.static_row}
        for clustering, row in rows.items():
            held = relation.rows.get(_place(relation, partition_key, clustering))
            if held is None:
                continue
            state = read_state(held["_cdc"] or b"")
            fragments = [
                read_state(dead)
                for (key, wire), dead in relation.dead
                if key == partition_key and wire == relation.wire(clustering)
            ]
            live, dead = row.liveness, row.deletion
            known = {one.liveness for one in fragments if state.liveness is None} | {state.liveness}
            expected = live and (live.writetime_us, live.ttl_seconds, live.local_deletion_seconds)
            # What has expired may have been kept while the row was dead.
            assert expected in known if live and live.ttl_seconds else expected == state.liveness
            deletions = [one.deletion for one in (state, *fragments) if one.deletion]
            assert not dead or (dead.writetime_us, dead.local_deletion_seconds) == max(deletions)
            cells = _state_cells(row, numbers)
            assert state.cells.items() <= cells.items()
            for place, cell in cells.items() - state.cells.items():
                assert cell.deletion_time_s is not None
                assert any(fragment.cells.get(place) == cell for fragment in fragments)


def _state_cells(
    row: Row, numbers: dict[str, int]
) -> dict[tuple[int, bytes | None, bool], StateCell]:
    cells = {
        (numbers[c.column], c.path, False): StateCell(
            c.writetime_us, c.deleted, False, c.local_deletion_seconds, c.ttl_seconds
        )
        for c in row.cells
    }
    for name, deletion in row.complex_deletions.items():
        cells[numbers[name], None, True] = StateCell(
            deletion.writetime_us, False, True, deletion.local_deletion_seconds
        )
    return cells


def _place(relation: MemoryRelation, partition_key: bytes, clustering: Clustering) -> Key:
    return tuple(
        _field(to_pg(compile_type(c.type, pg_type(c.type), key=True), value or b""))
        for c, value in zip(relation.key, (partition_key, *clustering), strict=True)
    )
