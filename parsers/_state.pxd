# cython: language_level=3
"""The reconciliation state of a row as it stands in the mirror's `_cdc` column, and back."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from parsers._arena cimport Arena
from parsers._buffer cimport Buffer
from parsers._model cimport Row
from parsers._relation cimport Relation

cdef int encode_state(
    Relation relation, const Row *row, int64_t now_s, Buffer *out
) except -1 nogil
cdef int decode_state(
    Relation relation, Arena *arena, const uint8_t *state, int32_t length, bint dead, Row *out
) except -1 nogil
cdef int damaged(Relation relation, const char *what) except -1 nogil
cdef bint knows_write(const uint8_t *state, int32_t length, const Row *incoming) noexcept nogil
cdef int64_t purge_time(const Row *row, int64_t gc_grace_seconds) noexcept nogil
