# cython: language_level=3, autotestdict=False, auto_pickle=False
"""What the mirror's state says of a row's times, for Python: to undo what it should not hold."""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t
from libc.string cimport memset

from parsers._arena cimport Arena, arena_free, arena_init
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_COUNTER,
    CELL_ELEMENT,
    CELL_TOMBSTONE,
    Row,
    newest_writetime,
)
from parsers._relation cimport Relation
from parsers._state cimport decode_state


def held_times(Relation relation not None, bytes state not None):
    """(newest writetime, liveness, cells, newest of columns) of a mirrored row.

    The newest is None where the row has none. `liveness` is (writetime, ttl, expiry second) or
    None. `cells` are (column's index in the compiled table, path or None, writetime, counter
    context or None) of all cells and elements that are not deleted. The newest writetime of each
    multi-cell column, deletions included, is by the column's index. Raises SchemaMismatch where the
    state is damaged.
    """
    cdef Arena arena
    cdef Row row
    cdef int32_t i
    cdef int64_t newest
    memset(&row, 0, sizeof(Row))
    arena_init(&arena)
    try:
        decode_state(relation, &arena, state, <int32_t>len(state), False, &row)
        newest = newest_writetime(&row)
        newest_us = None if newest == INT64_MIN else newest
        liveness = None
        if row.liveness_us != INT64_MIN:
            expiry = 0 if row.liveness_expiry_s == INT64_MAX else row.liveness_expiry_s
            liveness = row.liveness_us, row.liveness_ttl_s, expiry
        cells = []
        columns = {}
        for i in range(row.n_cells):
            if row.cells[i].flags & (CELL_ELEMENT | CELL_COMPLEX_DELETION):
                newest = columns.get(row.cells[i].column, INT64_MIN)
                columns[row.cells[i].column] = max(newest, row.cells[i].writetime_us)
            if row.cells[i].flags & (CELL_TOMBSTONE | CELL_COMPLEX_DELETION):
                continue
            path = None
            if row.cells[i].flags & CELL_ELEMENT:
                path = row.cells[i].path[:row.cells[i].path_length]
            context = None
            if row.cells[i].flags & CELL_COUNTER and row.cells[i].value_length >= 0:
                context = row.cells[i].value[:row.cells[i].value_length]
            cells.append((row.cells[i].column, path, row.cells[i].writetime_us, context))
        return newest_us, liveness, cells, columns
    finally:
        arena_free(&arena)
