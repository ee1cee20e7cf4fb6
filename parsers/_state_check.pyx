# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Whether what a stored state says can be so, before anything of it is merged or written.

Values of a mutation are checked when it is decoded, and written without another look. A state comes
from a column that anybody may have written to who may write the mirror, so it is checked likewise.
"""
from parsers._check cimport Element, element_check, value_check
from parsers._counter cimport check_counter
from parsers._cursor cimport Cursor
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_COUNTER,
    CELL_ELEMENT,
    CELL_EXPIRED,
    CELL_EXPIRING,
    CELL_TOMBSTONE,
)
from parsers._mutation cimport skip_clustering
from parsers._reconcile cimport compare_cell_place


cdef const char *damage_of_cells(Relation relation, const Cell *cells, int n) noexcept nogil:
    cdef const char *damage
    cdef int i
    for i in range(n):
        if i > 0 and compare_cell_place(&cells[i - 1], &cells[i]) == 0:
            return "two cells in one place"
        damage = _damage_of_cell(relation, &cells[i])
        if damage != NULL:
            return damage
    return NULL


cdef const char *_damage_of_cell(Relation relation, const Cell *cell) noexcept nogil:
    cdef bint multi_cell = relation.columns[cell.column].complex
    cdef bint counter = relation.columns[cell.column].counter
    cdef Element element
    if cell.flags & CELL_COMPLEX_DELETION:
        if not multi_cell or cell.flags & (
            CELL_TOMBSTONE | CELL_EXPIRING | CELL_COUNTER | CELL_ELEMENT
        ):
            return "the deletion of a column"
        return NULL
    if multi_cell != ((cell.flags & CELL_ELEMENT) != 0):
        return "a cell of another kind than its column"
    if cell.flags & CELL_TOMBSTONE:
        if cell.flags & (CELL_EXPIRING | CELL_COUNTER):
            return "a tombstone"
        return NULL
    if cell.flags & (CELL_EXPIRING | CELL_EXPIRED) == CELL_EXPIRED:
        return "a cell that can't expire"
    if counter != ((cell.flags & CELL_COUNTER) != 0):
        return "a cell of another kind than its column"
    if counter and (
        cell.value_length < 0 or check_counter(cell.value, cell.value_length) < 0
    ):
        return "a counter"
    if multi_cell:
        element.path = cell.path
        element.path_length = cell.path_length
        element.value = cell.value
        element.value_length = cell.value_length
        if element_check(relation.columns[cell.column].type, &element) != 0:
            return "an element that its column can't hold"
    elif cell.value_length >= 0 and value_check(
        relation.columns[cell.column].type, cell.value, cell.value_length
    ) != 0:
        return "a value that its column can't hold"
    return NULL


cdef int check_clustering(
    Relation relation, const uint8_t *clustering, int32_t length, Slice *values
) noexcept nogil:
    cdef Cursor c
    cdef int i
    c.base = clustering
    c.position = 0
    c.limit = length
    if skip_clustering(&c, relation.code, relation.code.n_clustering, values) < 0:
        return -1
    if c.position != c.limit:
        return -1
    for i in range(relation.code.n_clustering):
        if values[i].length < 0 or value_check(
            relation.code.clustering[i], values[i].data, values[i].length
        ) != 0:
            return -1
    return 0
