# cython: language_level=3
"""What becomes of a row: everything known of it merged, and compared with what the mirror shows."""
from libc.stdint cimport int32_t

from parsers._items cimport Item, RelationItems


cdef int merge_item(RelationItems work, Item *item) except -1 nogil
cdef int judge(RelationItems work, Item *item) except -1 nogil
