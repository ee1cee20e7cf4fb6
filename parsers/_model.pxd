# cython: language_level=3
"""The decoded form of a mutation in C memory: cells, rows, range tombstones.

Byte pointers refer to the segment's own bytes (or to an arena) and live as long as the batch does.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    # Cell.flags
    CELL_TOMBSTONE = 1          # the cell (or element) is deleted
    CELL_EXPIRING = 2           # ttl and deletion_time (the expiry second) are set
    CELL_COMPLEX_DELETION = 4   # not a cell: the deletion of a whole multi-cell column
    CELL_COUNTER = 8            # value is a counter context
    CELL_IN_MIRROR = 16         # from the mirror's own state; a value not here stands in its column
    CELL_ELEMENT = 32           # a cell of a multi-cell column: `path` is set
    CELL_OF_INSERT = 64         # part of the write that the row's liveness and digest come from
    CELL_EXPIRED = 128          # from the mirror's state: it expired, its column was set to NULL
    # Cell.value_length where the value is not at hand
    NO_VALUE = -1               # none (tombstones), or only in its column in PostgreSQL
    DIGEST_ONLY = -2            # `value` points to the 8 bytes of its digest

# "None" is INT64_MIN in every timestamp and INT64_MAX in every local deletion time.

cdef struct Deletion:
    int64_t timestamp_us        # markedForDeleteAt; INT64_MIN: none
    int64_t local_time_s        # local deletion time, seconds


cdef struct Cell:
    int64_t writetime_us
    int64_t deletion_time_s     # tombstone: when deleted; expiring: when it expires; else INT64_MAX
    const uint8_t *value
    const uint8_t *path
    int32_t value_length
    int32_t path_length
    int32_t ttl_s
    uint16_t column             # index in the table's columns
    uint8_t flags
    uint8_t unused


cdef struct Row:
    const uint8_t *partition_key
    # wire form (format page 5.5); equal clusterings have equal bytes
    const uint8_t *clustering
    const uint8_t *shown        # the clustering as it was written first; NULL: no other than that
    int32_t partition_key_length
    int32_t clustering_length
    int32_t shown_length
    uint32_t relation           # 2 * table index, + 1 for the static row
    uint32_t hash
    int64_t liveness_us         # INT64_MIN: no primary-key liveness
    int64_t liveness_expiry_s
    int32_t liveness_ttl_s
    int32_t n_cells
    Deletion deletion           # row deletion
    uint64_t digest             # of the whole write that set the liveness; 0: not known
    Cell *cells                 # by column, then complex deletion first, then path bytes
    Row *next                   # in the same update; once merged, of the relation in the batch
    int64_t offset              # logical end offset of the newest mutation in it
    uint32_t mutations          # how many mutations it is made of


cdef inline int64_t newest_writetime(const Row *row) noexcept nogil:
    """Of all that the row says; INT64_MIN where it says nothing."""
    cdef int64_t newest = row.liveness_us
    cdef int32_t i
    if row.deletion.timestamp_us > newest:
        newest = row.deletion.timestamp_us
    for i in range(row.n_cells):
        if row.cells[i].writetime_us > newest:
            newest = row.cells[i].writetime_us
    return newest


cdef struct Bound:
    uint8_t kind                # ClusteringPrefix.Kind ordinal
    uint16_t count
    const uint8_t *values       # wire form of `count` clustering values
    int32_t length


cdef struct RangeTombstone:
    Bound start
    Bound end
    Deletion deletion
    RangeTombstone *next


# What deletes more than a row: one partition's deletion and range tombstones.
cdef struct Partition:
    const uint8_t *key
    int32_t key_length
    uint32_t table
    uint32_t hash
    Deletion deletion
    RangeTombstone *ranges      # newest first
    int32_t n_ranges
    Partition *next
    int64_t offset
    uint32_t mutations
