# cython: language_level=3
"""Tables compiled for the decoder: table id -> what its bytes mean and what becomes of them."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from parsers._types cimport TypeNode

cdef enum Action:
    MIRROR = 0          # decode, check the values, merge into the batch
    DISCARD = 1         # decode only to get past it: another table of the same mutation may matter
    SKIP = 2            # never decoded; so is the whole mutation, all of one keyspace
    DIVERT = 3          # handed to the caller as Python objects: system_schema, system.local


cdef enum Masking:
    SHOWN = 0
    HASHED = 1          # values, and what names elements, become hexadecimal digits
    EMPTIED = 2         # likewise, but no value is left


cdef struct ColumnCode:
    const uint8_t *name
    int32_t name_length
    uint32_t tag                # CRC of the name: the same in every definition of the table
    int32_t fixed_length        # of a simple cell's value; -1: length-prefixed
    int64_t dropped_us          # cells up to this writetime are void; INT64_MIN: never dropped
    const TypeNode *type
    uint8_t complex
    uint8_t counter
    uint8_t ghost               # dropped and not there any more: every cell is void
    uint8_t mask                # Masking
    uint8_t names_by_value      # masked, and the paths of its cells are values, too
    const uint8_t *mask_key
    int32_t mask_key_length


cdef struct TableCode:
    uint8_t id[16]
    uint8_t action
    uint8_t checked             # values are checked against their PostgreSQL type
    uint32_t index              # in the catalog's tables
    # statics, then regulars, then ghosts of either kind; 16 bits count them
    ColumnCode *columns
    int32_t n_statics
    int32_t n_regulars
    int32_t n_columns
    uint8_t *ghost_static       # per ghost: 1 where it was a static column
    int32_t n_partition_key
    const TypeNode **partition_key
    int32_t n_clustering
    const TypeNode **clustering
    uint8_t *reversed           # per clustering column: 1 for DESC
    uint8_t equal_clusterings   # clusterings of different bytes may be equal


cdef class CompiledTable:
    cdef TableCode code
    cdef readonly object table          # parsers.schema.Table
    # parsers.schema.Column for each of code.columns, DroppedColumn for ghosts
    cdef readonly tuple columns
    cdef readonly dict masks            # parsers.masking.Mask by column
    cdef tuple keep                     # owners of what `code` points to
    cdef tuple key_types
    cdef tuple column_types


cdef class Catalog:
    cdef readonly list tables           # CompiledTable by index
    cdef TableCode *codes               # its own copies, with their index
    cdef TableCode **slots              # open addressing by the id's bytes
    cdef uint32_t mask
    cdef const TableCode *find(self, const uint8_t *table_id) noexcept nogil
    cdef void _insert(self, TableCode *code) noexcept
