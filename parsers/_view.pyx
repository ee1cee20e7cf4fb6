# cython: language_level=3, autotestdict=False, auto_pickle=False
"""One mutation as Python objects: for the schema, inspect, dead letters and tests."""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from parsers._arena cimport Arena, arena_free, arena_init
from parsers._catalog cimport Catalog, CompiledTable, TableCode
from parsers._cursor cimport Cursor, Slice
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_ELEMENT,
    CELL_TOMBSTONE,
    Bound,
    Cell,
    Deletion,
    RangeTombstone,
    Row,
)
from parsers._mutation cimport (
    DECODED,
    SKIPPED,
    UNKNOWN_COLUMN,
    UNKNOWN_TABLE,
    Decoding,
    Update,
    decode_mutation,
    decoding_free,
    decoding_init,
    skip_clustering,
)

from uuid import UUID

from cdc_tail.errors import SegmentCorrupt, UnknownTable
from parsers.view import (
    BoundView,
    CellView,
    ColumnView,
    DeletionView,
    LivenessView,
    RangeView,
    RowView,
    UpdateView,
)


def view_mutation(const uint8_t[::1] mutation not None, Catalog catalog not None, int log_version):
    """The partition updates of one mutation as UpdateViews; [] where its tables are skipped.

    Raises UnknownTable for a table or column that the catalog does not explain, SegmentCorrupt for
    bytes that are no mutation of these tables.
    """
    cdef Arena arena
    cdef Decoding d
    cdef int verdict, i
    cdef const uint8_t *data = &mutation[0] if mutation.shape[0] else NULL
    memset(&d, 0, sizeof(Decoding))
    arena_init(&arena)
    try:
        decoding_init(&d, &arena, log_version)
        with nogil:
            verdict = decode_mutation(&d, catalog, data, mutation.shape[0], True)
        if verdict == SKIPPED:
            return []
        if verdict == UNKNOWN_TABLE:
            table_id = UUID(bytes=d.detail.data[:16])
            raise UnknownTable(f"table id {table_id} is not known")
        table = table_name(catalog, d.table)
        if verdict == UNKNOWN_COLUMN:
            name = d.detail.data[:d.detail.length].decode(errors="backslashreplace")
            raise UnknownTable(f"the table has no column {name!r} that is known", table=table)
        if verdict != DECODED:
            raise SegmentCorrupt(
                f"the mutation {d.reason.decode()} (byte {d.reason_at} of {mutation.shape[0]})",
                table=table,
            )
        return [view_update(&d.updates[i], catalog) for i in range(d.n_updates)]
    finally:
        decoding_free(&d)
        arena_free(&arena)


cdef table_name(Catalog catalog, const TableCode *code):
    if code == NULL or code.columns == NULL:
        return None
    return str((<CompiledTable>catalog.tables[code.index]).table)


cdef bytes of(const uint8_t *data, int32_t length):
    return None if length < 0 else data[:length]


cdef view_deletion(const Deletion *deletion):
    if deletion.timestamp_us == INT64_MIN:
        return None
    return DeletionView(deletion.timestamp_us, deletion.local_time_s)


cdef view_update(const Update *update, Catalog catalog):
    cdef CompiledTable compiled = catalog.tables[update.table.index]
    cdef const Row *row = update.rows
    cdef const RangeTombstone *ranged = update.ranges
    static = None
    rows = []
    ranges = []
    while row != NULL:
        if row.relation & 1:
            static = view_row(row, compiled)
        else:
            rows.append(view_row(row, compiled))
        row = row.next
    while ranged != NULL:
        ranges.append(
            RangeView(
                view_bound(&ranged.start, compiled),
                view_bound(&ranged.end, compiled),
                view_deletion(&ranged.deletion),
            )
        )
        ranged = ranged.next
    return UpdateView(
        table=compiled.table,
        partition_key=of(update.key.data, update.key.length),
        deletion=view_deletion(&update.deletion),
        static=static,
        rows=rows,
        ranges=ranges,
    )


cdef list clustering_values(CompiledTable compiled, const uint8_t *wire, int32_t length, int count):
    cdef Cursor c
    cdef Slice *values
    cdef int i
    c.base = wire
    c.position = 0
    c.limit = length
    values = <Slice *>malloc((count + 1) * sizeof(Slice))
    if values == NULL:
        raise MemoryError
    try:
        skip_clustering(&c, &compiled.code, count, values)
        return [of(values[i].data, values[i].length) for i in range(count)]
    finally:
        free(values)


cdef view_bound(const Bound *bound, CompiledTable compiled):
    return BoundView(
        bound.kind, clustering_values(compiled, bound.values, bound.length, bound.count)
    )


cdef view_row(const Row *row, CompiledTable compiled):
    cdef int i
    cdef const Cell *cell
    cdef Deletion deletion
    columns = {}
    for i in range(row.n_cells):
        cell = &row.cells[i]
        column = compiled.columns[cell.column]
        view = columns.get(column.name)
        if view is None:
            view = columns[column.name] = ColumnView(column)
        if cell.flags & CELL_COMPLEX_DELETION:
            deletion.timestamp_us = cell.writetime_us
            deletion.local_time_s = cell.deletion_time_s
            view.deletion = view_deletion(&deletion)
            continue
        view.cells.append(
            CellView(
                writetime_us=cell.writetime_us,
                ttl_seconds=cell.ttl_s,
                deletion_time_s=None if cell.deletion_time_s == INT64_MAX else cell.deletion_time_s,
                path=of(cell.path, cell.path_length) if cell.flags & CELL_ELEMENT else None,
                value=None if cell.flags & CELL_TOMBSTONE else of(cell.value, cell.value_length),
            )
        )
    liveness = None
    if row.liveness_us != INT64_MIN:
        liveness = LivenessView(
            row.liveness_us,
            row.liveness_ttl_s,
            None if row.liveness_expiry_s == INT64_MAX else row.liveness_expiry_s,
        )
    return RowView(
        clustering=[] if row.relation & 1 else clustering_values(
            compiled, row.clustering, row.clustering_length, compiled.code.n_clustering
        ),
        liveness=liveness,
        deletion=view_deletion(&row.deletion),
        columns=columns,
    )
