# cython: language_level=3
"""One mutation's bytes to rows in C memory (format page, sections 5 and 6)."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from parsers._arena cimport Arena
from parsers._catalog cimport Catalog, TableCode
from parsers._cursor cimport Cursor, Slice
from parsers._model cimport Cell, Deletion, RangeTombstone, Row

cdef enum Verdict:
    DECODED = 0
    SKIPPED = 1             # of a keyspace that is never decoded
    DIVERTED = 2            # of a table whose mutations the caller wants as Python objects
    UNKNOWN_TABLE = 3       # detail: 16 bytes of table id
    UNKNOWN_COLUMN = 4      # detail: the column's name; table
    MALFORMED = 5           # reason; table where it is known


# A row whose key or cell PostgreSQL can't hold as its column's type.
cdef struct Rejection:
    const TableCode *table
    int32_t column          # index in table.columns; -1 - i: primary key column i
    int32_t reason          # of value_check
    Slice partition_key


cdef struct Update:
    const TableCode *table
    Slice key
    Deletion deletion
    RangeTombstone *ranges  # in the order of the log
    Row *rows               # linked by `next`, in the order of the log; a static row comes first


cdef struct Decoding:
    # what differs per log version (format page 6.4, 13)
    bint mutation_flags
    bint epoch
    bint unsigned_deletion_time
    bint ties_by_value      # how its writer reconciles cells (format page 9.3)
    Arena *arena
    Cursor cursor
    # result
    Update *updates
    int32_t n_updates
    Rejection *rejections
    int32_t n_rejections
    Slice detail
    const TableCode *table
    const char *reason
    int64_t reason_at       # byte within the mutation
    # scratch, reused from mutation to mutation
    int32_t updates_capacity
    int32_t rejections_capacity
    Cell *cells
    int32_t n_cells
    int32_t cells_capacity
    uint16_t *header
    int32_t header_capacity
    Slice *values               # clustering values of the row in hand
    int32_t values_capacity
    # of the partition update in hand
    uint64_t base_timestamp
    uint64_t base_deletion_time
    uint64_t base_ttl
    int32_t n_static_header     # header[0 .. n_static_header) are statics
    int32_t n_regular_header    # then these


cdef int decoding_init(Decoding *d, Arena *arena, int log_version) except -1
cdef void decoding_free(Decoding *d) noexcept nogil
cdef int decode_mutation(
    Decoding *d, Catalog catalog, const uint8_t *mutation, Py_ssize_t size, bint divert
) except -1 nogil
cdef int next_clustering_value(
    Cursor *c, const TableCode *table, int i, uint64_t *header, Slice *value
) noexcept nogil
cdef int skip_clustering(
    Cursor *c, const TableCode *table, int count, Slice *values
) noexcept nogil
