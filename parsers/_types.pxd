"""A CQL type compiled together with the PostgreSQL type it is written as: the tree the value codecs
walk.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t


cdef enum TypeKind:
    KIND_ASCII = 1
    KIND_TEXT
    KIND_BLOB
    KIND_BOOLEAN
    KIND_TINYINT
    KIND_SMALLINT
    KIND_INT
    KIND_BIGINT
    KIND_COUNTER
    KIND_VARINT
    KIND_DECIMAL
    KIND_FLOAT
    KIND_DOUBLE
    KIND_DATE
    KIND_TIME
    KIND_TIMESTAMP
    KIND_DURATION
    KIND_UUID
    KIND_TIMEUUID
    KIND_INET
    KIND_EMPTY
    KIND_CUSTOM
    KIND_LIST
    KIND_SET
    KIND_MAP
    KIND_TUPLE
    KIND_UDT
    KIND_VECTOR


# PostgreSQL types; PG_ARRAY's element type is the pg_kind of children[0].
cdef enum PgKind:
    PG_BOOL = 1
    PG_INT2
    PG_INT4
    PG_INT8
    PG_FLOAT4
    PG_FLOAT8
    PG_NUMERIC
    PG_TEXT
    PG_BYTEA
    PG_UUID
    PG_INET
    PG_TIMESTAMPTZ
    PG_DATE
    PG_TIME
    PG_INTERVAL
    PG_JSONB
    PG_ARRAY
    PG_VECTOR


# What the codec does with a value, chosen once from (TypeKind, PgKind) so that the hot path has one
# switch.
cdef enum Codec:
    CODEC_COPY = 1      # same bytes on both sides, `wire_length` of them
    CODEC_INTEGER       # sign-extended to the width of pg_kind
    CODEC_TEXT          # UTF-8, checked
    CODEC_BYTES         # any bytes, unchecked
    CODEC_BOOLEAN
    CODEC_FLOATING      # a copy, with the rules for keys
    CODEC_VARINT
    CODEC_DECIMAL
    CODEC_COUNTER
    CODEC_TIMESTAMP
    CODEC_DATE
    CODEC_DATE_DAYS     # int4: days since 1970-01-01
    CODEC_TIME
    CODEC_DURATION
    CODEC_INET
    CODEC_ARRAY
    CODEC_PGVECTOR
    CODEC_JSONB
    CODEC_AS_TEXT       # the JSON text, scalars without quotes
    CODEC_CONSTANT      # `constant`, whatever the value is


# What becomes of U+0000 in text, which PostgreSQL can't store.
cdef enum NulPolicy:
    NUL_REJECT = 0
    NUL_REPLACE         # by U+FFFD
    NUL_STRIP


cdef struct Name:
    const uint8_t *data
    int32_t length


cdef struct TypeNode:
    uint8_t kind                # TypeKind
    uint8_t pg_kind             # PgKind
    uint8_t codec               # Codec
    uint8_t frozen              # 1 unless a multi-cell list, set, map or UDT
    uint8_t key                 # 1 for (part of) a primary key column: stricter value_check
    uint8_t nul_policy          # NulPolicy
    uint8_t exact               # value_from_pg undoes value_to_pg where value_is_exact
    uint8_t element_fixed       # vector: elements stand without a length
    int32_t fixed_length        # of a cell's value in the log; -1: its length stands before it
    int32_t wire_length         # exact length of a non-empty scalar value; -1: varies
    uint32_t pg_oid             # 0 for types of an extension
    int32_t dimension           # vector
    int32_t n_children          # list, set, vector: 1; map: 2 (key, value); tuple, UDT: its fields
    TypeNode **children
    Name *names                 # UDT: per field `"name"` as JSON, quotes included
    const uint8_t *constant     # CODEC_CONSTANT: PostgreSQL's field
    int32_t constant_length     # -1: NULL


cdef class CompiledType:
    cdef TypeNode *node
    cdef readonly object cql_type
    cdef readonly str pg_type
    cdef bytes constant         # owner of what the node points to


cpdef CompiledType compile_type(object cql_type, str pg_type, bint key=*, str nul=*)
cdef CompiledType compile_masked(object cql_type, str pg_type, object mask)
