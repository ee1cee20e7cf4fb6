# cython: language_level=3
"""Whether what a stored state says can be so, before anything of it is merged or written."""
from libc.stdint cimport int32_t, uint8_t

from parsers._cursor cimport Slice
from parsers._model cimport Cell
from parsers._relation cimport Relation

# What is wrong with the sorted cells of a state; NULL for nothing.
cdef const char *damage_of_cells(Relation relation, const Cell *cells, int n) noexcept nogil

# 0 for the wire form of a whole clustering that the mirror's key can hold, else -1; `values` has
# room for its parts.
cdef int check_clustering(
    Relation relation, const uint8_t *clustering, int32_t length, Slice *values
) noexcept nogil
