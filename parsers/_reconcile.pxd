# cython: language_level=3
"""Cassandra's reconciliation of cells, rows and deletions as pure functions."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from parsers._arena cimport Arena
from parsers._catalog cimport ColumnCode
from parsers._model cimport Cell, Deletion, Row

cdef enum:
    # outcome of reconcile_cells
    FIRST = 0
    SECOND = 1
    EITHER = 2          # the same write
    NEEDS_VALUE = 3     # a tie that only the value in the mirror can break

cdef int reconcile_cells(const Cell *a, const Cell *b, bint by_value) noexcept nogil
cdef int compare_cell_place(const Cell *a, const Cell *b) noexcept nogil
cdef int sort_cells(Cell *cells, int n) noexcept nogil
cdef void merge_deletion(Deletion *into, const Deletion *other) noexcept nogil
cdef bint deletion_supersedes(const Deletion *a, const Deletion *b) noexcept nogil
cdef void shadow_row(Row *row, const Deletion *outer) noexcept nogil
cdef int merge_rows(
    Arena *arena, const Row *a, const Row *b, bint by_value, Row *out
) except -1 nogil
cdef uint64_t digest_value(const uint8_t *value, int32_t length) noexcept nogil
cdef void digest_insert(Row *row, const ColumnCode *columns) noexcept nogil
cdef bint cell_is_live(const Cell *cell, int64_t now_s) noexcept nogil
cdef bint row_is_live(const Row *row, int64_t now_s) noexcept nogil
