"""A single value as the binary field of COPY; the elements of multi-cell columns are not its
business.
"""

from libc.stdint cimport uint8_t

from parsers._buffer cimport Buffer
from parsers._types cimport TypeNode

# Appends the COPY BINARY field: i32 length (-1 = NULL), bytes.  Only for values that passed
# value_check;
# raises nothing but MemoryError.
cdef int value_to_pg(
    const TypeNode *node, const uint8_t *value, Py_ssize_t size, Buffer *out) except -1 nogil

# Appends the field of CODEC_CONSTANT.
cdef int put_constant(const TypeNode *node, Buffer *out) except -1 nogil

# What comes before the elements of an array; `count` of them follow, each with value_to_pg.
cdef int put_array_header(const TypeNode *node, Py_ssize_t count, Buffer *out) except -1 nogil

# Writes the length of the field that begins at `start` with a placeholder for it.
cdef int close_field(Buffer *out, Py_ssize_t start) except -1 nogil
