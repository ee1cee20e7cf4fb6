# cython: language_level=3, autotestdict=False, auto_pickle=False
"""A mirror relation compiled for writing: which column of PostgreSQL takes what of a decoded row."""
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free

from parsers._catalog cimport CompiledTable
from parsers._types cimport TypeNode

cimport cython


@cython.final
cdef class Relation:
    """One mirror relation: the rows of a table, or its static rows.

    `attributes` lists the relation's columns in PostgreSQL's order as (name in Cassandra or None,
    type oid, role) with role "key", "column", "state" or "other"; `cids` maps a non-key column's
    name to its stable number in the reconciliation state.
    """

    def __cinit__(
        self,
        CompiledTable table not None,
        *,
        bint static,
        attributes,
        cids,
        uint32_t row_type_oid,
        uint32_t key_type_oid,
        int gc_grace_seconds,
    ):
        cdef int i, column
        key_columns = table.table.partition_key
        if not static:
            key_columns = table.table.primary_key
        self.table = table
        self.static = static
        self.code = &table.code
        self.row_type_oid = row_type_oid
        self.key_type_oid = key_type_oid
        self.gc_grace_seconds = gc_grace_seconds
        attributes = list(attributes)
        self.n_key = len(key_columns)
        self.n_attributes = len(attributes)
        self.n_columns = self.code.n_columns
        self.n_cids = max(cids.values(), default=-1) + 1
        self.key_types = self.code.partition_key    # clustering types follow in the same array
        self.key_oids = <uint32_t *>calloc(self.n_key, sizeof(uint32_t))
        self.attributes = <Attribute *>calloc(self.n_attributes + 1, sizeof(Attribute))
        self.cid_of_column = <int32_t *>calloc(self.n_columns + 1, sizeof(int32_t))
        self.attribute_of_column = <int32_t *>calloc(self.n_columns + 1, sizeof(int32_t))
        self.column_of_cid = <int32_t *>calloc(self.n_cids + 1, sizeof(int32_t))
        if (
            self.key_oids == NULL
            or self.attributes == NULL
            or self.cid_of_column == NULL
            or self.attribute_of_column == NULL
            or self.column_of_cid == NULL
        ):
            raise MemoryError
        for i in range(self.code.n_clustering):
            if not static and not self.code.clustering[i].exact:
                self.keeps_clustering = True
        keys = {column.name: i for i, column in enumerate(key_columns)}
        columns = {}
        for i in range(self.code.n_statics + self.code.n_regulars):
            if static == (i < self.code.n_statics):
                columns[table.columns[i].name] = i
        for i in range(self.n_columns):
            self.cid_of_column[i] = -1
            self.attribute_of_column[i] = -1
        for i in range(self.n_cids):
            self.column_of_cid[i] = -1
        for name, column in columns.items():
            if name in cids:
                self.cid_of_column[column] = cids[name]
                self.column_of_cid[cids[name]] = column
        missing = set(keys) | set(columns)
        for i, (name, oid, role) in enumerate(attributes):
            self.attributes[i].oid = oid
            self.attributes[i].source = FROM_NOTHING
            if role == "key":
                self.attributes[i].source = FROM_KEY
                self.attributes[i].index = keys[name]
                self.key_oids[keys[name]] = oid
                missing.discard(name)
            elif role == "state":
                self.attributes[i].source = FROM_STATE
            elif role == "column" and name in columns:
                self.attributes[i].source = FROM_COLUMN
                self.attributes[i].index = columns[name]
                self.attribute_of_column[columns[name]] = i
                missing.discard(name)
        missing.update(name for name in columns if name not in cids)
        if missing:
            raise ValueError(f"the mirror of {table.table} lacks {', '.join(sorted(missing))}")

    def __dealloc__(self):
        free(self.key_oids)
        free(self.attributes)
        free(self.cid_of_column)
        free(self.attribute_of_column)
        free(self.column_of_cid)
