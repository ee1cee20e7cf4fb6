# cython: language_level=3, autotestdict=False, auto_pickle=False
"""A mirror relation compiled for writing: which of its columns takes what of a decoded row."""
from libc.stdint cimport INT64_MIN, int32_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from parsers._catalog cimport ColumnCode, CompiledTable
from parsers._types cimport (
    CODEC_DECIMAL,
    CODEC_TEXT,
    NUL_REJECT,
    CompiledType,
    TypeNode,
    compile_masked,
    compile_type,
)

cimport cython


cdef bint gives_back(const TypeNode *node) noexcept nogil:
    """Whether a key column holds every value so that Cassandra's very bytes can be told from it."""
    if node.codec == CODEC_TEXT and node.nul_policy != NUL_REJECT:
        return False
    # 1E+3 is kept as 1000, which has another scale.
    return node.exact and node.codec != CODEC_DECIMAL


@cython.final
cdef class Relation:
    """One mirror relation: the rows of a table, or its static rows.

    `attributes` lists the relation's columns in PostgreSQL's order as (name in Cassandra or None,
    type oid, role) with role "key", "column", "state" or "other"; `cids` maps a non-key column's
    name to its stable number in the reconciliation state. Columns that the mirror does not have
    (left out by the mapping, or dropped meanwhile) are passed over. `foreign` gives (CQL type,
    PostgreSQL type) by name for columns that the mirror has and `table` does not know yet: another
    process is ahead in its log. What they hold is kept. `renewed` gives the same for columns whose
    user-defined types have got fields or other names since `table`: values are written so.
    """

    def __cinit__(
        self,
        CompiledTable table not None,
        *,
        bint static,
        attributes,
        cids,
        foreign,
        renewed,
        uint32_t row_type_oid,
        uint32_t key_type_oid,
        int gc_grace_seconds,
    ):
        cdef int i, column
        cdef CompiledType compiled
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
        self.n_columns = self.code.n_columns + len(foreign)
        self.n_cids = max(cids.values(), default=-1) + 1
        self.key_types = <const TypeNode **>calloc(self.n_key, sizeof(TypeNode *))
        self.key_oids = <uint32_t *>calloc(self.n_key, sizeof(uint32_t))
        self.attributes = <Attribute *>calloc(self.n_attributes + 1, sizeof(Attribute))
        self.columns = <ColumnCode *>calloc(self.n_columns + 1, sizeof(ColumnCode))
        self.cid_of_column = <int32_t *>calloc(self.n_columns + 1, sizeof(int32_t))
        self.attribute_of_column = <int32_t *>calloc(self.n_columns + 1, sizeof(int32_t))
        self.column_of_cid = <int32_t *>calloc(self.n_cids + 1, sizeof(int32_t))
        if (
            self.key_types == NULL
            or self.key_oids == NULL
            or self.attributes == NULL
            or self.columns == NULL
            or self.cid_of_column == NULL
            or self.attribute_of_column == NULL
            or self.column_of_cid == NULL
        ):
            raise MemoryError
        for i in range(self.n_key):
            self.key_types[i] = self.code.partition_key[i]  # clustering types follow in that array
        for i in range(self.code.n_partition_key):
            if not gives_back(self.code.partition_key[i]):
                self.keeps_partition_key = True
        for i in range(self.code.n_clustering):
            if not static and not gives_back(self.code.clustering[i]):
                self.keeps_clustering = True
        keys = {key.name: i for i, key in enumerate(key_columns)}
        columns = {}
        for i in range(self.code.n_statics + self.code.n_regulars):
            if static == (i < self.code.n_statics):
                columns[table.columns[i].name] = i
        memcpy(self.columns, self.code.columns, self.code.n_columns * sizeof(ColumnCode))
        self.types = []

        def compile_column(name, cql_type, pg_type):
            if name in table.masks:
                self.types.append(compile_masked(cql_type, pg_type, table.masks[name]))
            else:
                self.types.append(compile_type(cql_type, pg_type, key=name in keys))
            return self.types[-1]

        for name, (cql_type, pg_type) in renewed.items():
            compiled = compile_column(name, cql_type, pg_type)
            if name in keys:
                self.key_types[keys[name]] = compiled.node
            elif name in columns:
                self.columns[columns[name]].type = compiled.node
        for i, (name, (cql_type, pg_type)) in enumerate(foreign.items()):
            compiled = compile_column(name, cql_type, pg_type)
            column = self.code.n_columns + i
            self.columns[column].type = compiled.node
            self.columns[column].fixed_length = compiled.node.fixed_length
            self.columns[column].complex = compiled.cql_type.is_multicell
            self.columns[column].counter = str(compiled.cql_type) == "counter"
            self.columns[column].dropped_us = INT64_MIN
            columns[name] = column
        for i in range(self.n_columns):
            self.cid_of_column[i] = -1
            self.attribute_of_column[i] = -1
        for i in range(self.n_cids):
            self.column_of_cid[i] = -1
        for name, column in columns.items():
            if name in cids:
                self.cid_of_column[column] = cids[name]
                self.column_of_cid[cids[name]] = column
            elif not self.columns[column].ghost:
                self.has_void = True
        self.cids_ascend = True
        column = -1
        for i in range(self.n_cids):
            if self.column_of_cid[i] >= 0:
                self.cids_ascend = self.cids_ascend and self.column_of_cid[i] > column
                column = self.column_of_cid[i]
        missing = set(keys)
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
        if missing:
            raise ValueError(f"the mirror of {table.table} lacks {', '.join(sorted(missing))}")

    def __dealloc__(self):
        free(self.key_types)
        free(self.key_oids)
        free(self.attributes)
        free(self.columns)
        free(self.cid_of_column)
        free(self.attribute_of_column)
        free(self.column_of_cid)
