# cython: language_level=3, autotestdict=False, auto_pickle=False
"""What becomes of a row: everything known of it merged, and compared with what the mirror shows.

It asks nothing and writes nothing.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from parsers._arena cimport Arena, arena_alloc
from parsers._buffer cimport Buffer, buffer_clear
from parsers._emit cimport split_key
from parsers._items cimport CHANGED, DEAD, GONE, NEW, SAME, Item, RelationItems, says_nothing
from parsers._model cimport CELL_EXPIRED, CELL_EXPIRING, CELL_IN_MIRROR, Cell, Deletion, Row
from parsers._ranges cimport outer_deletion
from parsers._reconcile cimport cell_is_live, merge_rows, row_is_live, shadow_row
from parsers._state cimport encode_state

cdef int merge_item(RelationItems work, Item *item) except -1 nogil:
    """Merge all that is known of a row; counts what only a value in the mirror can decide."""
    cdef Deletion outer
    cdef int32_t at
    item.undecided = 0
    item.merged = item.incoming[0]
    if work.relation.has_void:
        drop_void(work, &item.merged)
    if work.truncated_us[item.bucket] != INT64_MIN:
        # A truncation's time in seconds decides nothing.
        outer.timestamp_us = work.truncated_us[item.bucket]
        outer.local_time_s = 0
        item.merged.cells = copied_cells(&work.arena, item.incoming)
        shadow_row(&item.merged, &outer)
    if item.known_dead:
        merge_rows(
            &work.arena, &item.dead, &item.merged, work.batch.ties_by_value, &item.merged
        )
    if item.exists:
        item.undecided = merge_rows(
            &work.arena, &item.state, &item.merged, work.batch.ties_by_value, &item.merged
        )
    at = work._find_partition(
        item.incoming.partition_key, item.incoming.partition_key_length
    )
    outer.timestamp_us = work.stored_until_us
    outer.local_time_s = INT64_MAX if outer.timestamp_us == INT64_MIN else 0
    if at >= 0 and work.relation.static:
        outer_deletion(work.relation.code, &work.partitions[at].fresh, NULL, &outer)
        outer_deletion(work.relation.code, &work.partitions[at].stored, NULL, &outer)
    elif at >= 0:
        split_key(work.relation, item.incoming, False, work.scratch.key)
        outer_deletion(
            work.relation.code, &work.partitions[at].fresh,
            work.scratch.key + work.relation.code.n_partition_key, &outer,
        )
        outer_deletion(
            work.relation.code, &work.partitions[at].stored,
            work.scratch.key + work.relation.code.n_partition_key, &outer,
        )
    if outer.timestamp_us != INT64_MIN:
        if item.known_dead:
            shadow_row(&item.dead, &outer)      # so that nothing new is nothing to keep
        if item.merged.cells == item.incoming.cells:
            # The batch's own, which is decided and applied again where an attempt failed.
            item.merged.cells = copied_cells(&work.arena, item.incoming)
        shadow_row(&item.merged, &outer)
    return 0


cdef int drop_void(RelationItems work, Row *row) except -1 nogil:
    """Leave out the cells of columns that another process has read the drop of."""
    cdef int32_t i, n = 0
    row.cells = copied_cells(&work.arena, row)
    for i in range(row.n_cells):
        if work.relation.cid_of_column[row.cells[i].column] >= 0:
            row.cells[n] = row.cells[i]
            n += 1
    row.n_cells = n
    return 0


cdef int judge(RelationItems work, Item *item) except -1 nogil:
    """Say what becomes of a merged row."""
    cdef Buffer *state = &work.scratch.state
    cdef bint live = row_is_live(&item.merged, work.now_s)
    cdef Py_ssize_t length
    if not live:
        if item.exists:
            item.outcome = GONE
            return 0
        item.outcome = SAME
        if says_nothing(&item.merged):
            return 0
        item.outcome = DEAD
        if item.known_dead:
            buffer_clear(state)
            encode_state(work.relation, &item.dead, work.now_s, state)
            length = state.length
            encode_state(work.relation, &item.merged, work.now_s, state)
            if state.length == 2 * length and memcmp(
                state.data, state.data + length, length
            ) == 0:
                item.outcome = SAME
        return 0
    if not item.exists:
        item.outcome = NEW
        return 0
    item.outcome = CHANGED
    if note_changes(work, item):
        return 0
    buffer_clear(state)
    encode_state(work.relation, &item.merged, work.now_s, state)
    if state.length == item.stored.length and memcmp(
        state.data, item.stored.data, state.length
    ) == 0:
        item.outcome = SAME
    return 0


cdef int32_t note_changes(RelationItems work, Item *item) except -1 nogil:
    """How many columns differ from the mirror's; notes which ones in `item.changes`."""
    cdef const Cell *old = item.state.cells
    cdef const Cell *new = item.merged.cells
    cdef int32_t i = 0, j = 0, n = 0
    cdef int32_t column, attribute, kept, held
    cdef bint differs
    cdef Py_ssize_t size
    item.changes = NULL
    while i < item.state.n_cells or j < item.merged.n_cells:
        if i == item.state.n_cells:
            column = new[j].column
        elif j == item.merged.n_cells or old[i].column < new[j].column:
            column = old[i].column
        else:
            column = new[j].column
        held = 0
        kept = 0
        differs = False
        while i < item.state.n_cells and old[i].column == column:
            held += 1
            i += 1
        while j < item.merged.n_cells and new[j].column == column:
            # A cell that expired since may still show in the mirror.
            if not new[j].flags & CELL_IN_MIRROR or (
                new[j].flags & (CELL_EXPIRING | CELL_EXPIRED) == CELL_EXPIRING
                and not cell_is_live(&new[j], work.now_s)
            ):
                differs = True
            kept += 1
            j += 1
        attribute = work.relation.attribute_of_column[column]
        if attribute >= 0 and (differs or kept != held):
            if n == 0:
                size = ((work.relation.n_attributes + 63) >> 6) * <Py_ssize_t>sizeof(uint64_t)
                item.changes = <uint64_t *>arena_alloc(&work.arena, size)
                memset(item.changes, 0, size)
            item.changes[attribute >> 6] |= <uint64_t>1 << (attribute & 63)
            n += 1
    return n


cdef Cell *copied_cells(Arena *arena, const Row *row) except NULL nogil:
    cdef Cell *cells = <Cell *>arena_alloc(arena, row.n_cells * <Py_ssize_t>sizeof(Cell))
    if row.n_cells > 0:
        memcpy(cells, row.cells, row.n_cells * <Py_ssize_t>sizeof(Cell))
    return cells
