"""Whether a value's bytes are legal and fit the PostgreSQL type they are written as; nothing is
written here.
"""

from libc.stdint cimport int32_t, uint8_t

from parsers._types cimport TypeNode


# A live element of a multi-cell column: list (path = timeuuid), set (path = element, no value),
# map (path = key), UDT (path = i16 field index).
cdef struct Element:
    const uint8_t *path
    int32_t path_length
    const uint8_t *value
    int32_t value_length


cdef enum:
    # The decoder's own reason, which no value has: the key's value is missing altogether.
    NULL_IN_KEY = 255

# 0 when value_to_pg can write the value, else a reason code for reason_text.
cdef int value_check(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil

# The same for one element of a multi-cell column (`node` is the column's).
cdef int element_check(const TypeNode *node, const Element *element) noexcept nogil

cpdef str reason_text(int reason)
