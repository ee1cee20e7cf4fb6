# cython: language_level=3
"""What is asked of the mirror about the rows of a batch, and its answers."""
from libc.stdint cimport int32_t, uint8_t

from parsers._arena cimport Arena
from parsers._buffer cimport Buffer
from parsers._items cimport Item, RelationItems


cdef class Questions(RelationItems):
    cdef _keys_of(self, list indexes)
    cdef bint _may_be_dead(self, const Item *item) noexcept nogil


cdef bytes taken(Buffer *buffer)
