# cython: language_level=3
"""A mirror relation compiled for writing: which of its columns takes what of a decoded row."""
from libc.stdint cimport int32_t, uint8_t, uint32_t

from parsers._catalog cimport ColumnCode, CompiledTable, TableCode
from parsers._types cimport TypeNode

cdef enum Source:
    FROM_KEY = 0        # index: primary-key column
    FROM_COLUMN = 1     # index: column of Relation
    FROM_STATE = 2      # the reconciliation state
    FROM_NOTHING = 3    # none of ours


cdef struct Attribute:
    uint8_t source
    int32_t index
    uint32_t oid


cdef class Relation:
    cdef readonly CompiledTable table
    cdef readonly bint static
    cdef readonly uint32_t row_type_oid
    cdef readonly uint32_t key_type_oid
    cdef const TableCode *code
    cdef int32_t n_key
    cdef const TypeNode **key_types
    cdef uint32_t *key_oids
    cdef int32_t n_attributes       # in the relation's own order
    cdef Attribute *attributes
    # those of TableCode, then foreign ones: of a newer definition that another process knows
    cdef int32_t n_columns
    cdef ColumnCode *columns
    cdef int32_t *cid_of_column     # -1: not in this relation
    cdef int32_t *attribute_of_column
    cdef int32_t n_cids
    cdef int32_t *column_of_cid     # -1: none
    cdef bint cids_ascend           # with the columns' order
    cdef bint has_void              # a column that the batch knows was dropped meanwhile
    cdef readonly int gc_grace_seconds
    # in the state, where the columns of the key do not give back its very bytes
    cdef readonly bint keeps_partition_key
    cdef readonly bint keeps_clustering
    cdef list types                 # owners of those nodes that are not the table's own
