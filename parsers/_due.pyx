# cython: language_level=3, autotestdict=False, auto_pickle=False
"""When a row changes without a mutation, or has to be asked for; it writes nothing."""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t
from libc.string cimport memcmp

from parsers._catalog cimport ColumnCode
from parsers._compare cimport uuid_timestamp
from parsers._model cimport (
    CELL_ELEMENT,
    CELL_EXPIRING,
    CELL_TOMBSTONE,
    Cell,
    Row,
)
from parsers._reconcile cimport cell_is_live
from parsers._types cimport KIND_LIST

# As in parsers.selected.
cdef int64_t ASSUMED_LIVENESS_US = INT64_MIN + 1
cdef int64_t DOUBTED = -1
# As in parsers.selected_cells.
cdef const uint8_t *COPIED_NODE = b"\x80\x80\x80\x80\x80\x80\x80\x80"
cdef int64_t UUID_EPOCH_US = 12_219_292_800_000_000

# The name of an element is made when it is written: within a clock's error of its writetime. Those
# of prepended ones lie as long before 2010 as they are written after (Lists.Prepender).
cdef int64_t PREPEND_EPOCH_US = 1_262_304_000_000_000
# Taken too small it costs a question, taken too great an answer.
cdef int64_t CLOCK_ERROR_US = 1_000_000


cdef int64_t next_due(const Row *row, const ColumnCode *columns, int64_t now_s) noexcept nogil:
    """The next second at which a live part of the row expires; INT64_MAX for never.

    DOUBTED where only Cassandra can tell of the row: it shows by nothing but a liveness that a
    snapshot assumed, or the log named an element of a list that was copied without its names.
    """
    cdef int64_t due = INT64_MAX
    cdef int32_t i, looked_at = -1
    cdef bint doubted = row.liveness_us == ASSUMED_LIVENESS_US
    if row.liveness_us != INT64_MIN and row.liveness_ttl_s and row.liveness_expiry_s > now_s:
        due = row.liveness_expiry_s
    for i in range(row.n_cells):
        if row.cells[i].column != looked_at and is_copied(&row.cells[i], columns):
            looked_at = row.cells[i].column
            if names_another(row, i):
                return DOUBTED
        if cell_is_live(&row.cells[i], now_s):
            doubted = False
            if row.cells[i].flags & CELL_EXPIRING and row.cells[i].deletion_time_s < due:
                due = row.cells[i].deletion_time_s
    return DOUBTED if doubted else due


cdef bint is_copied(const Cell *cell, const ColumnCode *columns) noexcept nogil:
    """Whether a snapshot named this element of a list."""
    return (
        cell.flags & CELL_ELEMENT != 0
        and cell.path_length == 16
        and memcmp(cell.path + 8, COPIED_NODE, 8) == 0
        and columns[cell.column].type.kind == KIND_LIST
    )


cdef bint names_another(const Row *row, int32_t copied) noexcept nogil:
    """Whether the list of a copied element has one that the log deleted, or wrote anew.

    What is appended or prepended after the copy is new, and no reason to ask.
    """
    cdef int32_t i = copied
    cdef const Cell *cell
    cdef int64_t named_us
    while i > 0 and row.cells[i - 1].column == row.cells[copied].column:
        i -= 1
    while i < row.n_cells and row.cells[i].column == row.cells[copied].column:
        cell = &row.cells[i]
        i += 1
        if cell.flags & CELL_ELEMENT == 0 or cell.path_length != 16:
            continue
        if memcmp(cell.path + 8, COPIED_NODE, 8) == 0:
            continue
        if cell.flags & CELL_TOMBSTONE:
            return True
        named_us = uuid_time_us(cell.path)
        if named_us < PREPEND_EPOCH_US:
            named_us = 2 * PREPEND_EPOCH_US - named_us
        # Either may be anything (a client chooses the writetime): compared without overflow.
        if (
            cell.writetime_us < named_us - CLOCK_ERROR_US
            or cell.writetime_us > named_us + CLOCK_ERROR_US
        ):
            return True
    return False


cdef int64_t uuid_time_us(const uint8_t *uuid) noexcept nogil:
    """The time of a time UUID in microseconds since 1970; its 60 bits are at most 3654 years."""
    return <int64_t>(uuid_timestamp(uuid) & 0x0FFFFFFFFFFFFFFFULL) // 10 - UUID_EPOCH_US
