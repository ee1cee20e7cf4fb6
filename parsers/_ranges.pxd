# cython: language_level=3
"""Which rows partition deletions and range tombstones cover, and how the mirror keeps them."""
from libc.stdint cimport int32_t, int64_t, uint8_t

from parsers._arena cimport Arena
from parsers._buffer cimport Buffer
from parsers._catalog cimport TableCode
from parsers._model cimport Bound, Deletion, Partition, RangeTombstone
from parsers._cursor cimport Slice

cdef int compare_to_bound(
    const TableCode *table, const Slice *clustering, const Bound *bound
) noexcept nogil
cdef void outer_deletion(
    const TableCode *table, const Partition *partition, const Slice *clustering, Deletion *out
) noexcept nogil
cdef int encode_partition(const Partition *partition, bint ranges, Buffer *out) except -1 nogil
cdef int decode_partition(
    Arena *arena, const TableCode *table, const uint8_t *state, int32_t length, Partition *into
) except -1 nogil
cdef bint knows_range(const Partition *partition, const RangeTombstone *ranged) noexcept nogil
cdef int64_t newest_deletion_time(const Partition *partition, bint ranges) noexcept nogil
cdef int64_t newest_timestamp(const Partition *partition, bint ranges) noexcept nogil
