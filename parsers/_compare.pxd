"""Cassandra's order of two values of a type (`AbstractType.compare`), for clusterings and elements.
"""

from libc.stdint cimport uint8_t, uint64_t

from parsers._types cimport TypeNode
from parsers._wire cimport read_i64


cdef inline uint64_t uuid_timestamp(const uint8_t *value) noexcept nogil:
    # The time of a version 1 uuid, its version on top (`reorderTimestampBytes`).
    cdef uint64_t high = <uint64_t>read_i64(value)
    return high << 48 | ((high << 16) & 0xFFFF00000000ULL) | high >> 32


# Negative, 0 or positive.  Any bytes are safe; values that Cassandra would refuse have some fixed
# order.
# A DESC clustering's order is the caller's to turn round.
cdef int value_compare(
    const TypeNode *node,
    const uint8_t *left, Py_ssize_t left_size,
    const uint8_t *right, Py_ssize_t right_size) noexcept nogil

# Unsigned bytes, the shorter first: how blobs, text and most other types are ordered.
cdef int bytes_compare(
    const uint8_t *left, Py_ssize_t left_size,
    const uint8_t *right, Py_ssize_t right_size) noexcept nogil

# Two 16-byte timeuuids, such as the paths of a list's cells.
cdef int timeuuid_compare(const uint8_t *left, const uint8_t *right) noexcept nogil
