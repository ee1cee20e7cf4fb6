# cython: language_level=3
"""The rows and partitions of one relation in a batch."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from parsers._arena cimport Arena
from parsers._batch cimport Batch
from parsers._cursor cimport Slice
from parsers._emit cimport Scratch
from parsers._model cimport Partition, Row
from parsers._relation cimport Relation

cdef enum:
    # Item.outcome
    SAME = 0        # nothing to write
    NEW = 1         # not in the mirror: insert
    CHANGED = 2     # update
    GONE = 3        # in the mirror: delete, and keep its tombstones
    DEAD = 4        # not in the mirror: keep its tombstones


cdef struct Item:
    Row *incoming
    Row merged
    Row state               # what the mirror holds, where `exists`
    Row dead                # merged fragments of a dead row, where `known_dead`
    Slice stored            # the bytes of `state`
    Slice place             # where the row lies, as a binary tid; NULL where that was not told
    uint64_t *changes       # a bit per attribute that an update writes; NULL: its state alone
    int32_t undecided       # cells whose winner only a value in the mirror can tell
    uint8_t exists
    uint8_t known_dead
    uint8_t known           # the mirror has merged this very write already
    uint8_t outcome
    uint8_t bucket


cdef struct PartitionItem:
    Partition fresh         # from the batch; empty where only rows ask for the partition
    Partition stored        # from the mirror
    bint novel              # `fresh` deletes more than `stored`
    uint8_t bucket


cdef class RelationItems:
    cdef readonly Relation relation
    cdef Batch batch
    cdef uint32_t relation_code         # Row.relation of its rows, in the batch's catalog
    cdef Arena arena
    cdef Scratch scratch
    cdef Item *items
    cdef readonly int32_t n_items
    cdef int32_t items_capacity
    cdef PartitionItem *partitions
    cdef readonly int32_t n_partitions
    cdef int32_t partitions_capacity
    cdef int32_t *partition_slots       # open addressing; index + 1
    cdef uint32_t partition_mask
    cdef uint8_t *wanted                # per attribute: 1 where the update in hand writes it
    cdef list asked                     # indexes of the items of the question in hand
    cdef list pins                      # answers that rows point into
    cdef int64_t row_watermarks[16]
    cdef int64_t partition_watermarks[16]
    cdef int64_t truncated_us[16]       # what comes in is deleted up to then
    cdef int64_t stored_until_us        # INT64_MIN, or: what is stored is deleted up to then
    cdef int64_t now_s
    cdef int32_t counts[5]
    cdef int32_t written                # items before it have been given by `new_rows`
    cdef int32_t updated                # items before it have been given by `changed_rows`

    cdef int _share(self, RelationItems other) except -1
    cdef Item *_add(self, Row *row) except NULL
    cdef int32_t _find_partition(self, const uint8_t *key, int32_t length) noexcept nogil
    cdef int32_t _add_partition(self, const uint8_t *key, int32_t length) except -1
    cdef void _slot_partition(self, int32_t at) noexcept
    cdef int _truncate_partition(self, Partition *fresh, int64_t truncated_us) except -1
    cdef list _scanned(self)


cdef void empty_row(Row *row, const Row *key) noexcept nogil
cdef void keep_key(Row *row, const Row *key) noexcept nogil
cdef bint says_nothing(const Row *row) noexcept nogil
