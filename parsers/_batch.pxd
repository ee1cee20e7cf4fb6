# cython: language_level=3
"""Decoded rows merged per key in C memory: what one transaction applies."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from parsers._arena cimport Arena
from parsers._model cimport Partition, Row
from parsers._mutation cimport Decoding, Update


cdef struct RowSlot:
    uint32_t hash
    int32_t row                     # index + 1; 0: free


# Up to this position (inclusive) a TRUNCATE has deleted what the log holds of a table.
cdef struct Truncated:
    int64_t segment_id
    int64_t offset


# The rows of one relation, in the order in which they came, linked by `next`.
cdef struct RelationRows:
    Row *first
    Row *last


cdef class Batch:
    cdef Arena arena
    cdef Row **rows
    cdef int32_t n_rows
    cdef int32_t rows_capacity
    cdef RelationRows *relations    # by Row.relation
    cdef RowSlot *row_slots         # open addressing
    cdef uint32_t row_mask
    cdef Partition **partitions
    cdef int32_t n_partitions
    cdef int32_t partitions_capacity
    cdef Partition **partition_slots
    cdef uint32_t partition_mask
    cdef readonly object catalog
    cdef readonly list pins
    cdef readonly list rejections
    cdef readonly int64_t mutations         # of mirrored tables
    cdef readonly int64_t skipped           # of other tables
    # rows, range tombstones and partition deletions, before merging
    cdef readonly int64_t events
    cdef readonly int64_t bytes             # of mutations
    cdef readonly int64_t min_writetime_us
    cdef readonly int64_t max_writetime_us
    cdef bint ties_by_value         # as the version that wrote the last mutation reconciles
    cdef int64_t segment_id
    cdef int64_t offset
    cdef Truncated *truncated               # by table index; NULL: nothing was truncated
    cdef int absorb(self, Decoding *d, int64_t segment_id, int64_t offset) except -1 nogil
    cdef void note_writetime(self, int64_t writetime_us) noexcept nogil
    cdef int absorb_row(self, Row *row) except -1 nogil
    cdef int absorb_partition(self, const Update *update, int64_t offset) except -1 nogil
    cdef Row *_find_row(self, Row *row) noexcept nogil
    cdef bint holds_row(self, Row *row) noexcept nogil
    cdef int add_row(self, Row *row) except -1 nogil
    cdef int _grow_slots(self) except -1 nogil
    cdef Partition *find_partition(
        self, uint32_t table, const uint8_t *key, int32_t length
    ) noexcept nogil
    cdef Partition *add_partition(
        self, uint32_t table, const uint8_t *key, int32_t length
    ) except NULL nogil
    cdef tuple _partition_name(self, const Partition *held)
    cdef tuple _row_name(self, const Row *row)


cdef uint32_t hash_bytes(uint32_t seed, const uint8_t *p, Py_ssize_t n) noexcept nogil
