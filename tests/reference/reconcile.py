"""Cassandra's merge of partition updates, cell by cell: any order, any repetition gives the same
state.

Counter contexts are merged in `counters.py`. Nothing here looks at the clock: what has expired is
the reader's question. 3.11 does look, and merges cells of one writetime by another rule: `by_value`
is that rule for cells that have not expired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from tests.reference.counters import merge_contexts
from tests.reference.cursor import signed
from tests.reference.model import (
    EXPIRED_LIVENESS_TTL,
    Cell,
    Deletion,
    Liveness,
    Marker,
    PartitionUpdate,
    Row,
)

Clustering = tuple[bytes | None, ...]
Compare = Callable[[Clustering, Clustering], int]
"""Order of two clusterings over their common prefix (negative, 0, positive), in storage order."""


def compare_bytes(left: Clustering, right: Clustering) -> int:
    """The order of text and blob columns: unsigned bytes, null first."""
    for a, b in zip(left, right, strict=False):
        if a != b:
            return -1 if a is None or (b is not None and a < b) else 1
    return 0


@dataclass(frozen=True)
class RangeTombstone:
    """A deletion of all clusterings between two bounds (value prefixes, each with its
    inclusiveness).
    """

    start: Clustering
    start_inclusive: bool
    end: Clustering
    end_inclusive: bool
    deletion: Deletion

    def covers(self, clustering: Clustering, compare: Compare) -> bool:
        """True where the clustering lies within the bounds; an inclusive prefix holds everything
        that starts with it.
        """
        after = compare(clustering, self.start)
        before = compare(clustering, self.end)
        return (after > 0 or (after == 0 and self.start_inclusive)) and (
            before < 0 or (before == 0 and self.end_inclusive)
        )


@dataclass
class Partition:
    """The merged state of one partition. `ranges` are kept as they came; the newest that covers a
    row counts.
    """

    deletion: Deletion | None = None
    ranges: set[RangeTombstone] = field(default_factory=set)
    static_row: Row | None = None
    rows: dict[Clustering, Row] = field(default_factory=dict)


def supersedes(left: Deletion | None, right: Deletion | None) -> bool:
    """True where `left` is the stronger deletion."""
    if left is None or right is None:
        return left is not None
    return (left.writetime_us, left.local_deletion_seconds) > (
        right.writetime_us,
        right.local_deletion_seconds,
    )


def stronger(left: Deletion | None, right: Deletion | None) -> Deletion | None:
    """The deletion that supersedes."""
    return left if supersedes(left, right) else right


def deletes(deletion: Deletion | None, writetime_us: int) -> bool:
    """True where data of this writetime is deleted; on a tie the deletion wins."""
    return deletion is not None and writetime_us <= deletion.writetime_us


def _liveness_rank(liveness: Liveness) -> tuple[int, bool, bool, int, int]:
    expiring = liveness.ttl_seconds != 0
    return (
        liveness.writetime_us,
        liveness.ttl_seconds == EXPIRED_LIVENESS_TTL,
        expiring,
        liveness.local_deletion_seconds or 0,
        -liveness.ttl_seconds,
    )


def merge_liveness(left: Liveness | None, right: Liveness | None) -> Liveness | None:
    """The liveness that supersedes."""
    if left is None or right is None:
        return left or right
    return left if _liveness_rank(left) >= _liveness_rank(right) else right


def _cell_rank(cell: Cell) -> tuple[int, bool, bool, int, int, bytes]:
    transient = cell.deleted or cell.ttl_seconds != 0
    return (
        cell.writetime_us,
        transient,
        cell.deleted,
        cell.local_deletion_seconds or 0,
        -cell.ttl_seconds,
        cell.value,
    )


def _cell_rank_by_value(cell: Cell) -> tuple[int, bool, tuple[int, ...], float, int]:
    return (
        cell.writetime_us,
        cell.deleted,
        tuple(signed(byte, 8) for byte in cell.value),
        # What never expires lives longest.
        math.inf if cell.local_deletion_seconds is None else cell.local_deletion_seconds,
        -cell.ttl_seconds,
    )


def merge_cells(left: Cell, right: Cell, *, counter: bool, by_value: bool = False) -> Cell:
    """The cell that wins; two live counter cells become one that holds the newest shards of
    both.
    """
    if counter:
        if left.deleted != right.deleted:
            return left if left.deleted else right  # whatever the writetimes say
        if not left.deleted:
            newest = max(left.writetime_us, right.writetime_us)
            return replace(left, writetime_us=newest, value=merge_contexts(left.value, right.value))
    if by_value:
        return left if _cell_rank_by_value(left) >= _cell_rank_by_value(right) else right
    return left if _cell_rank(left) >= _cell_rank(right) else right


def merge_rows(
    rows: Sequence[Row],
    outer: Deletion | None,
    counters: frozenset[str],
    *,
    by_value: bool = False,
) -> Row | None:
    """Rows of one clustering merged under the deletion that covers them; None where nothing is left
    to say.
    """
    liveness: Liveness | None = None
    for row in rows:
        liveness = merge_liveness(liveness, row.liveness)
    chosen = max(
        (r for r in rows if r.deletion),
        key=lambda r: (
            (r.deletion.writetime_us, r.deletion.local_deletion_seconds) if r.deletion else (0, 0)
        ),
        default=None,
    )
    deletion, shadowable = (chosen.deletion, chosen.shadowable) if chosen else (None, False)
    if shadowable and deletion and liveness and liveness.writetime_us > deletion.writetime_us:
        deletion, shadowable = None, False
    if not supersedes(deletion, outer):
        deletion, shadowable = None, False
    active = stronger(deletion, outer)
    if liveness and deletes(active, liveness.writetime_us):
        liveness = None
    complex_deletions: dict[str, Deletion] = {}
    for row in rows:
        for column, found in row.complex_deletions.items():
            strongest = stronger(found, complex_deletions.get(column))
            if strongest is not None and supersedes(strongest, active):
                complex_deletions[column] = strongest
    cells: dict[tuple[str, bytes | None], Cell] = {}
    for row in rows:
        for cell in row.cells:
            if deletes(complex_deletions.get(cell.column, active), cell.writetime_us):
                continue
            key = (cell.column, cell.path)
            known = cells.get(key)
            cells[key] = (
                cell
                if known is None
                else merge_cells(known, cell, counter=cell.column in counters, by_value=by_value)
            )
    merged = replace(
        rows[0],
        liveness=liveness,
        deletion=deletion,
        shadowable=shadowable,
        complex_deletions=complex_deletions,
        cells=tuple(cells[key] for key in sorted(cells, key=lambda k: (k[0], k[1] or b""))),
    )
    return None if merged.empty else merged


def ranges_of(unfiltereds: Iterable[Row | Marker]) -> list[RangeTombstone]:
    """The ranges that the markers of one update open and close."""
    found = []
    opened: Marker | None = None
    for unfiltered in unfiltereds:
        if isinstance(unfiltered, Row):
            continue
        if unfiltered.closed is not None and opened is not None:
            # The kind names end before start, and a boundary's start is inclusive where its end is
            # not.
            start_inclusive = "INCL_START" in opened.kind
            end_inclusive = "INCL_END" in unfiltered.kind
            found.append(
                RangeTombstone(
                    opened.values,
                    start_inclusive,
                    unfiltered.values,
                    end_inclusive,
                    unfiltered.closed,
                )
            )
        opened = unfiltered if unfiltered.opened is not None else None
    return found


def apply_update(
    partition: Partition,
    update: PartitionUpdate,
    *,
    compare: Compare = compare_bytes,
    counters: frozenset[str] = frozenset(),
    by_value: bool = False,
) -> None:
    """Merges one update into the partition. `counters` names the table's counter columns."""
    partition.deletion = stronger(update.deletion, partition.deletion)
    partition.ranges.update(ranges_of(update.unfiltereds))
    statics = [row for row in (partition.static_row, update.static_row) if row is not None]
    partition.static_row = (
        merge_rows(statics, partition.deletion, counters, by_value=by_value) if statics else None
    )
    incoming = {row.clustering: row for row in update.unfiltereds if isinstance(row, Row)}
    for clustering in [*partition.rows, *(c for c in incoming if c not in partition.rows)]:
        outer = partition.deletion
        for tombstone in partition.ranges:
            if tombstone.covers(clustering, compare):
                outer = stronger(tombstone.deletion, outer)
        rows = [
            row
            for row in (partition.rows.get(clustering), incoming.get(clustering))
            if row is not None
        ]
        merged = merge_rows(rows, outer, counters, by_value=by_value)
        if merged is None:
            partition.rows.pop(clustering, None)
        else:
            partition.rows[clustering] = merged
