"""Decoding from Python: segments into batches, single mutations into views, DDL into updates.

A thin facade over the compiled modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from cdc_tail.errors import SegmentCorrupt, UnknownTable
from parsers._batch import Batch
from parsers._catalog import Catalog, CompiledTable
from parsers._decoder import Decoder
from parsers._scan import next_of_table
from parsers._segment import SegmentReader
from parsers._view import view_mutation
from parsers.position import Position
from parsers.schema import Table
from parsers.schema_state import Cell, RawRange, RawRow
from parsers.schema_state import Update as SchemaUpdate
from parsers.system_tables import LOCAL_TABLE, SCHEMA_TABLES, SKIPPED_TABLE_IDS
from parsers.view import RangeView, RowView, Stop, UpdateView

__all__ = [
    "INCLUSIVE_ENDS",
    "INCLUSIVE_STARTS",
    "Batch",
    "Catalog",
    "CompiledTable",
    "Outcome",
    "SegmentDecoder",
    "Truncation",
    "build_catalog",
    "decode_kept",
    "find_truncations",
    "schema_updates",
    "truncations",
    "view_mutation",
]

OutcomeKind = Literal[
    "incomplete",
    "end",
    "corrupt",
    "full",
    "diverted",
    "unknown_table",
    "unknown_column",
    "malformed",
]

# Kinds of bounds that include the prefix they name (`ClusteringPrefix.Kind`); a boundary does so
# for one of the two ranges that meet there.
INCLUSIVE_STARTS = frozenset({1, 2})
INCLUSIVE_ENDS = frozenset({5, 6})


@dataclass(frozen=True, slots=True)
class Outcome:
    """Why decoding stopped.

    "incomplete": nothing more for now. "end": the segment is final and done. "corrupt": see the
    reader. "full": apply the batch. For the others one mutation, `raw`, was read past and needs
    the caller: "diverted" (of system_schema or system.local), "unknown_table" (`table_id`),
    "unknown_column" (of `table`; `column`), "malformed" (`reason`).
    """

    kind: OutcomeKind
    raw: bytes = b""
    table_id: UUID | None = None
    table: Table | None = None
    column: bytes = b""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Truncation:
    """A TRUNCATE as a node's log records it: what stands there up to `position` is deleted.

    What was written while the table was truncated stands behind it, and stays.
    """

    table_id: UUID
    position: Position
    truncated_at_ms: int


class SegmentDecoder:
    """Decodes one segment into batches."""

    def __init__(self, reader: SegmentReader) -> None:
        """`reader` must have read its header. UnsupportedFormat for an unknown log version."""
        self.reader = reader
        self._decoder = Decoder(reader.version)

    def fill(self, batch: Batch, *, max_events: int, max_bytes: int) -> Outcome:
        """Decode until the batch is full or something needs the caller. Releases the GIL."""
        return _outcome(
            self._decoder.fill(self.reader, batch, max_events=max_events, max_bytes=max_bytes)
        )


def decode_kept(
    mutation: bytes, batch: Batch, *, log_version: int, position: Position
) -> Outcome | None:
    """Decode one mutation that was kept (parked, dead-lettered) into the batch.

    None where it was taken. The batch's position does not move: `position` says where in the log
    the mutation stood.
    """
    stop = Decoder(log_version).add(
        mutation, batch, segment_id=position.segment_id, offset=position.offset
    )
    return None if stop is None else _outcome(stop)


def _outcome(stop: Stop) -> Outcome:
    match stop:
        case ("unknown_table", raw, table_id):
            return Outcome("unknown_table", raw, table_id=UUID(bytes=table_id))
        case ("unknown_column", raw, (table, column)):
            return Outcome("unknown_column", raw, table=table, column=column)
        case ("malformed", raw, (table_or_none, reason)):
            return Outcome("malformed", raw, table=table_or_none, reason=reason)
        case (kind, raw_or_none, _):
            return Outcome(kind, raw_or_none or b"")


def build_catalog(
    mirrored: Iterable[CompiledTable] = (),
    others: Iterable[Table] = (),
    *,
    extra_skipped: Iterable[UUID] = (),
) -> Catalog:
    """A catalog of mirrored tables, of `others` that are only passed over, and Cassandra's own.

    Of Cassandra's own, `system_schema` and `system.local` are diverted to the caller, the rest is
    skipped without decoding, as are `extra_skipped`.
    """
    system = [CompiledTable(table, "divert") for table in (*SCHEMA_TABLES.values(), LOCAL_TABLE)]
    known = {compiled.table.id for compiled in system}
    tables = [*system]
    for compiled in mirrored:
        if compiled.table.id not in known:
            known.add(compiled.table.id)
            tables.append(compiled)
    for table in others:
        if table.id not in known and table.id not in SKIPPED_TABLE_IDS:
            known.add(table.id)
            tables.append(CompiledTable(table, "discard"))
    return Catalog(tables, SKIPPED_TABLE_IDS | set(extra_skipped))


def schema_updates(views: Iterable[UpdateView]) -> list[SchemaUpdate]:
    """The `system_schema` updates among `views`, in the form that SchemaLog takes."""
    return [
        SchemaUpdate(
            table=view.table.name,
            pk=view.partition_key,
            deletion=(
                None
                if view.deletion is None
                else (view.deletion.timestamp_us, view.deletion.local_time_s)
            ),
            ranges=[_raw_range(ranged) for ranged in view.ranges if ranged.deletion is not None],
            rows=[_raw_row(row) for row in view.rows],
        )
        for view in views
        if view.table.keyspace == "system_schema"
    ]


def _raw_row(row: RowView) -> RawRow:
    cells: list[Cell] = [
        (name, cell.writetime_us, cell.ttl_seconds, cell.deletion_time_s or 0, cell.value)
        for name, column in row.columns.items()
        for cell in column.cells
    ]
    live = row.liveness
    dead = row.deletion
    return RawRow(
        ck=row.clustering,
        liveness=None if live is None else (live.writetime_us, live.ttl_seconds, 0),
        deletion=None if dead is None else (dead.timestamp_us, dead.local_time_s),
        cells=cells,
    )


def _raw_range(ranged: RangeView) -> RawRange:
    assert ranged.deletion is not None
    return RawRange(
        start=(
            [v or b"" for v in ranged.start.values],
            ranged.start.kind in INCLUSIVE_STARTS,
        ),
        end=([v or b"" for v in ranged.end.values], ranged.end.kind in INCLUSIVE_ENDS),
        deletion=(ranged.deletion.timestamp_us, ranged.deletion.local_time_s),
    )


def truncations(views: Iterable[UpdateView]) -> list[Truncation]:
    """The truncations that a `system.local` mutation among `views` records.

    Format page, section 8.1: `truncated_at` maps a table id to segment, position and time.
    """
    return [
        Truncation(
            UUID(bytes=cell.path),
            Position(
                int.from_bytes(cell.value[:8], signed=True),
                int.from_bytes(cell.value[8:12], signed=True),
            ),
            int.from_bytes(cell.value[12:], signed=True),
        )
        for view in views
        if view.table.id == LOCAL_TABLE.id
        for row in view.rows
        if (column := row.columns.get("truncated_at")) is not None
        for cell in column.cells
        if cell.value is not None and len(cell.value) == 20
        if cell.path is not None and len(cell.path) == 16
    ]


def find_truncations(reader: SegmentReader) -> Iterator[Truncation]:
    """Every truncation that the rest of a segment records, without decoding anything else."""
    catalog = build_catalog()
    while (found := next_of_table(reader, LOCAL_TABLE.id)) is not None:
        try:
            views = view_mutation(found[1], catalog, reader.version)
        except (SegmentCorrupt, UnknownTable):
            continue  # to be dead-lettered when its turn comes
        yield from truncations(views)
