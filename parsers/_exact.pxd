"""PostgreSQL's binary fields back to Cassandra's bytes, for the types and values where that is
exact.
"""

from libc.stdint cimport uint8_t

from parsers._buffer cimport Buffer
from parsers._types cimport TypeNode

# 1 when value_from_pg gives back these very bytes from the field that value_to_pg writes (never,
# unless node.exact).
cdef bint value_is_exact(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil

# Appends Cassandra's bytes (no length) of a PostgreSQL binary field (its content, not NULL).
# Only where node.exact; ValueError for a field no such column can hold.
cdef int value_from_pg(
    const TypeNode *node, const uint8_t *field, Py_ssize_t size, Buffer *out) except -1 nogil
