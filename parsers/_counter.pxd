# cython: language_level=3
"""Counter contexts and their merge (format page, sections 7 and 9.6)."""
from libc.stdint cimport int32_t, uint8_t

from parsers._arena cimport Arena
from parsers._model cimport Cell

cdef int check_counter(const uint8_t *context, int32_t length) noexcept nogil
cdef int merge_counters(Arena *arena, const Cell *a, const Cell *b, Cell *out) except -1 nogil
