"""One Cassandra value to one PostgreSQL binary field: check first, then write; and back where that is exact."""

from libc.stdint cimport int32_t, uint8_t

from parsers._buffer cimport Buffer
from parsers._types cimport TypeNode


# A live element of a multi-cell column: list (path = timeuuid), set (path = element, no value),
# map (path = key), UDT (path = i16 field index).
cdef struct Element:
    const uint8_t *path
    int32_t path_length
    const uint8_t *value
    int32_t value_length


# 0 when value_to_pg can write the value, else a reason code for reason_text.
cdef int value_check(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil

# The same for one element of a multi-cell column (`node` is the column's).
cdef int element_check(const TypeNode *node, const Element *element) noexcept nogil

# Appends the COPY BINARY field: i32 length (-1 = NULL), bytes.  Only for values that passed value_check;
# raises nothing but MemoryError.
cdef int value_to_pg(
    const TypeNode *node, const uint8_t *value, Py_ssize_t size, Buffer *out) except -1 nogil

# The field of a multi-cell column from its live elements in any order, each having passed element_check.
# No elements: NULL.
cdef int multicell_to_pg(
    const TypeNode *node, const Element *elements, Py_ssize_t count, Buffer *out) except -1 nogil

# 1 when value_from_pg gives back these very bytes from the field that value_to_pg writes (never, unless node.exact).
cdef bint value_is_exact(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil

# Appends Cassandra's bytes (no length) of a PostgreSQL binary field (its content, not NULL).
# Only where node.exact; ValueError for a field no such column can hold.
cdef int value_from_pg(
    const TypeNode *node, const uint8_t *field, Py_ssize_t size, Buffer *out) except -1 nogil

cpdef str reason_text(int reason)
