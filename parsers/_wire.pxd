"""The parts of a value: integers, durations, counter contexts, items of collections; it judges no
content.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from parsers._types cimport KIND_ASCII, KIND_BLOB, KIND_CUSTOM, KIND_TEXT, TypeNode


# A cursor over the fields of a frozen collection, tuple, UDT or vector.
cdef struct Items:
    const uint8_t *base
    Py_ssize_t position
    Py_ssize_t limit
    Py_ssize_t fixed            # size of each item where they stand without a length, else 0
    bint varint_lengths         # vector of a variable type


# Opens a value and returns how many items it says it holds (a map: keys and values); -1: an
# impossible count.
cdef Py_ssize_t items_open(
    Items *items, const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil

# The next item (item[0] NULL with length -1: a null); False when the bytes end before it does.
cdef bint items_next(Items *items, const uint8_t **item, Py_ssize_t *length) noexcept nogil

cdef int32_t read_i32(const uint8_t *p) noexcept nogil
cdef int64_t read_i64(const uint8_t *p) noexcept nogil
cdef int64_t read_integer(const uint8_t *p, Py_ssize_t size) noexcept nogil

# A counter's total: of the 8 bytes of a total, or of the shards of a context.  False if it is
# neither.
cdef bint counter_total(const uint8_t *value, Py_ssize_t size, int64_t *total) noexcept nogil

# False unless the value is three signed vints of one sign that fit, and nothing else.
cdef bint duration_parts(
    const uint8_t *value, Py_ssize_t size,
    int32_t *months, int32_t *days, int64_t *nanoseconds) noexcept nogil


# Whether the address is IPv4 inside IPv6, which Java prints as IPv4.
cdef bint is_ipv4_mapped(const uint8_t *value, Py_ssize_t size) noexcept nogil

# Whether an empty value is one; Cassandra's serializers give null for those of all other types.
cdef inline bint has_empty_value(const TypeNode *node) noexcept nogil:
    return (
        node.kind == KIND_TEXT or node.kind == KIND_ASCII or node.kind == KIND_BLOB
        or node.kind == KIND_CUSTOM)
