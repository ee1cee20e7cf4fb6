# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Compiles a CQL type and the PostgreSQL type it is written as into a tree of C nodes; it touches
no value.
"""

cimport cython

import json

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from parsers.cql_types import (
    CqlType,
    CustomType,
    ListType,
    MapType,
    Native,
    SetType,
    TupleType,
    UdtType,
    VectorType,
)
from parsers.masking import hashed_type

# Types nest as deep as this; the codecs recurse once per level.
cdef int MAX_DEPTH = 64

_KINDS = {
    "ascii": KIND_ASCII, "text": KIND_TEXT, "blob": KIND_BLOB, "boolean": KIND_BOOLEAN,
    "tinyint": KIND_TINYINT, "smallint": KIND_SMALLINT, "int": KIND_INT, "bigint": KIND_BIGINT,
    "counter": KIND_COUNTER, "varint": KIND_VARINT, "decimal": KIND_DECIMAL, "float": KIND_FLOAT,
    "double": KIND_DOUBLE, "date": KIND_DATE, "time": KIND_TIME, "timestamp": KIND_TIMESTAMP,
    "duration": KIND_DURATION, "uuid": KIND_UUID, "timeuuid": KIND_TIMEUUID, "inet": KIND_INET,
    "empty": KIND_EMPTY,
}

# PostgreSQL type -> (PgKind, oid, oid of its array); pg_type.dat.  Extension types have no fixed
# oid.
_PG_TYPES = {
    "bool": (PG_BOOL, 16, 1000), "int2": (PG_INT2, 21, 1005), "int4": (PG_INT4, 23, 1007),
    "int8": (PG_INT8, 20, 1016), "float4": (PG_FLOAT4, 700, 1021), "float8": (PG_FLOAT8, 701, 1022),
    "numeric": (PG_NUMERIC, 1700, 1231), "text": (PG_TEXT, 25, 1009), "bytea": (PG_BYTEA, 17, 1001),
    "uuid": (PG_UUID, 2950, 2951), "inet": (PG_INET, 869, 1041),
    "timestamptz": (PG_TIMESTAMPTZ, 1184, 1185), "date": (PG_DATE, 1082, 1182),
    "time": (PG_TIME, 1083, 1183), "interval": (PG_INTERVAL, 1186, 1187),
    "jsonb": (PG_JSONB, 3802, 3807),
    "vector": (PG_VECTOR, 0, 0),
}

# (TypeKind, PgKind) -> Codec, beyond jsonb and text, which every type has.
_CODECS = {
    (KIND_ASCII, PG_TEXT): CODEC_TEXT, (KIND_TEXT, PG_TEXT): CODEC_TEXT,
    (KIND_ASCII, PG_BYTEA): CODEC_BYTES, (KIND_TEXT, PG_BYTEA): CODEC_BYTES,
    (KIND_BLOB, PG_BYTEA): CODEC_BYTES, (KIND_CUSTOM, PG_BYTEA): CODEC_BYTES,
    (KIND_EMPTY, PG_BYTEA): CODEC_COPY,
    (KIND_BOOLEAN, PG_BOOL): CODEC_BOOLEAN,
    (KIND_TINYINT, PG_INT2): CODEC_INTEGER, (KIND_TINYINT, PG_INT4): CODEC_INTEGER,
    (KIND_TINYINT, PG_INT8): CODEC_INTEGER,
    (KIND_SMALLINT, PG_INT2): CODEC_COPY, (KIND_SMALLINT, PG_INT4): CODEC_INTEGER,
    (KIND_SMALLINT, PG_INT8): CODEC_INTEGER,
    (KIND_INT, PG_INT4): CODEC_COPY, (KIND_INT, PG_INT8): CODEC_INTEGER,
    (KIND_BIGINT, PG_INT8): CODEC_COPY,
    (KIND_COUNTER, PG_INT8): CODEC_COUNTER,
    (KIND_VARINT, PG_NUMERIC): CODEC_VARINT, (KIND_DECIMAL, PG_NUMERIC): CODEC_DECIMAL,
    (KIND_FLOAT, PG_FLOAT4): CODEC_FLOATING, (KIND_DOUBLE, PG_FLOAT8): CODEC_FLOATING,
    (KIND_DATE, PG_DATE): CODEC_DATE, (KIND_DATE, PG_INT4): CODEC_DATE_DAYS,
    (KIND_TIME, PG_TIME): CODEC_TIME, (KIND_TIME, PG_INT8): CODEC_COPY,
    (KIND_TIMESTAMP, PG_TIMESTAMPTZ): CODEC_TIMESTAMP, (KIND_TIMESTAMP, PG_INT8): CODEC_COPY,
    (KIND_DURATION, PG_INTERVAL): CODEC_DURATION,
    (KIND_UUID, PG_UUID): CODEC_COPY, (KIND_TIMEUUID, PG_UUID): CODEC_COPY,
    (KIND_INET, PG_INET): CODEC_INET,
}

# Legal sizes of a non-empty value; the other scalars vary.
_WIRE_LENGTHS = {
    KIND_BOOLEAN: 1, KIND_TINYINT: 1, KIND_SMALLINT: 2, KIND_INT: 4, KIND_BIGINT: 8, KIND_FLOAT: 4,
    KIND_DOUBLE: 8, KIND_DATE: 4, KIND_TIME: 8, KIND_TIMESTAMP: 8, KIND_UUID: 16, KIND_TIMEUUID: 16,
    KIND_EMPTY: 0,
}

_EXACT = frozenset([
    CODEC_COPY, CODEC_INTEGER, CODEC_TEXT, CODEC_BYTES, CODEC_BOOLEAN, CODEC_FLOATING, CODEC_VARINT,
    CODEC_DECIMAL, CODEC_TIMESTAMP, CODEC_DATE, CODEC_DATE_DAYS, CODEC_TIME, CODEC_INET,
])

_NUL_POLICIES = {"reject": NUL_REJECT, "replace": NUL_REPLACE, "strip": NUL_STRIP}


@cython.final
cdef class CompiledType:
    """A CQL type bound to its PostgreSQL type; owns the C nodes, which live as long as it does."""

    def __dealloc__(self):
        _free(self.node)


cpdef CompiledType compile_type(object cql_type, str pg_type, bint key=False, str nul="reject"):
    """Binds a CQL type to `pg_type` ("int4", "text[]", "jsonb", ...).

    `key` makes value_check refuse what PostgreSQL's equality would merge or not keep apart;
    `nul` is what to do with U+0000 outside keys: "reject", "replace" (by U+FFFD) or "strip".
    ValueError if the pair has no conversion.
    """
    if not isinstance(cql_type, CqlType):
        raise TypeError(f"a CQL type is expected, not {cql_type!r}")
    if nul not in _NUL_POLICIES:
        raise ValueError(f"nul policy must be one of {', '.join(_NUL_POLICIES)}, not {nul!r}")
    cdef CompiledType compiled = CompiledType.__new__(CompiledType)
    compiled.cql_type = cql_type
    compiled.pg_type = pg_type
    compiled.node = _compile(cql_type, pg_type, key, NUL_REJECT if key else _NUL_POLICIES[nul], 0)
    return compiled


cdef CompiledType compile_masked(object cql_type, str pg_type, object mask):
    """Binds a column under a parsers.masking.Mask: to what its cells are once they are masked."""
    if mask.kind == "hash":
        return compile_type(hashed_type(cql_type), pg_type)
    cdef CompiledType compiled = compile_type(cql_type, pg_type)
    compiled.node.codec = CODEC_CONSTANT
    # So that no value of it is ever asked back from the mirror.
    compiled.node.exact = False
    compiled.node.constant_length = -1
    compiled.constant = mask.field
    if compiled.constant is not None:
        compiled.node.constant = <const uint8_t *>PyBytes_AS_STRING(compiled.constant)
        compiled.node.constant_length = <int32_t>PyBytes_GET_SIZE(compiled.constant)
    return compiled


cdef TypeNode *_compile(object cql_type, str pg_type, bint key, int nul, int depth) except NULL:
    if depth > MAX_DEPTH:
        raise ValueError(f"CQL type nested deeper than {MAX_DEPTH} levels")
    cdef TypeNode *node = <TypeNode *>calloc(1, sizeof(TypeNode))
    if node == NULL:
        raise MemoryError()
    try:
        _fill(node, cql_type, pg_type, key, nul, depth)
    except:  # noqa: E722  whatever it is, the half-built node must not leak
        _free(node)
        raise
    return node


cdef int _fill(
        TypeNode *node, object cql_type, str pg_type, bint key, int nul, int depth) except -1:
    kind = _kind(cql_type)
    node.kind = kind
    node.frozen = not cql_type.is_multicell
    node.key = <uint8_t>key
    node.nul_policy = <uint8_t>nul
    node.fixed_length = -1 if cql_type.fixed_length is None else cql_type.fixed_length
    node.wire_length = _WIRE_LENGTHS.get(kind, -1)
    node.dimension = cql_type.dimension if isinstance(cql_type, VectorType) else 0

    if pg_type.endswith("[]"):
        if kind not in (KIND_LIST, KIND_SET, KIND_VECTOR):
            raise _no_conversion(cql_type, pg_type)
        element_pg = pg_type[:-2]
        if element_pg not in _PG_TYPES or element_pg == "vector":
            raise _no_conversion(cql_type, pg_type)
        node.pg_kind = PG_ARRAY
        node.codec = CODEC_ARRAY
        node.pg_oid = _PG_TYPES[element_pg][2]
        _children(node, [cql_type.element], element_pg, key, nul, depth)
        node.element_fixed = node.children[0].fixed_length >= 0
        return 0

    if pg_type not in _PG_TYPES:
        raise ValueError(f"PostgreSQL type {pg_type!r} is not one that the mirror can write")
    pg_kind = _PG_TYPES[pg_type][0]
    node.pg_kind = pg_kind
    node.pg_oid = _PG_TYPES[pg_type][1]
    if (kind, pg_kind) in _CODECS:
        node.codec = _CODECS[kind, pg_kind]
    elif pg_kind == PG_JSONB:
        node.codec = CODEC_JSONB
    elif pg_kind == PG_TEXT:
        node.codec = CODEC_AS_TEXT
    elif pg_kind == PG_VECTOR and kind == KIND_VECTOR and cql_type.element == Native("float"):
        if cql_type.dimension > 16_000:
            raise ValueError(f"pgvector holds at most 16000 dimensions, not {cql_type.dimension}")
        node.codec = CODEC_PGVECTOR
    else:
        raise _no_conversion(cql_type, pg_type)
    node.exact = node.codec in _EXACT and kind != KIND_EMPTY

    if kind in (KIND_LIST, KIND_SET, KIND_VECTOR):
        # pgvector's element is a real, and so compiled as one: the same checks.
        element_pg = "float4" if node.codec == CODEC_PGVECTOR else "jsonb"
        _children(node, [cql_type.element], element_pg, key, nul, depth)
        node.element_fixed = node.children[0].fixed_length >= 0
    elif kind == KIND_MAP:
        _children(node, [cql_type.key, cql_type.value], "jsonb", key, nul, depth)
    elif kind == KIND_TUPLE:
        _children(node, cql_type.fields, "jsonb", key, nul, depth)
    elif kind == KIND_UDT:
        _children(node, cql_type.field_types, "jsonb", key, nul, depth)
        _names(node, cql_type.field_names)
    return 0


cdef int _children(
        TypeNode *node, object types, str pg_type, bint key, int nul, int depth) except -1:
    cdef Py_ssize_t count = len(types)
    node.children = <TypeNode **>calloc(<size_t>(count + 1), sizeof(TypeNode *))
    if node.children == NULL:
        raise MemoryError()
    for child in types:
        node.children[node.n_children] = _compile(child.freeze(), pg_type, key, nul, depth + 1)
        node.n_children += 1
    return 0


cdef int _names(TypeNode *node, tuple field_names) except -1:
    # A name with capitals keeps its CQL quotes inside the JSON string, as Cassandra's toJson has
    # it.
    cdef bytes text
    cdef uint8_t *copy
    cdef Py_ssize_t i
    node.names = <Name *>calloc(<size_t>(len(field_names) + 1), sizeof(Name))
    if node.names == NULL:
        raise MemoryError()
    for i, name in enumerate(field_names):
        quoted = name if name == name.lower() else f'"{name}"'
        text = json.dumps(quoted, ensure_ascii=False).encode()
        copy = <uint8_t *>malloc(<size_t>PyBytes_GET_SIZE(text))
        if copy == NULL:
            raise MemoryError()
        memcpy(copy, PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))
        node.names[i].data = copy
        node.names[i].length = <int32_t>PyBytes_GET_SIZE(text)
    return 0


cdef void _free(TypeNode *node) noexcept:
    cdef int32_t i
    if node == NULL:
        return
    if node.names != NULL:
        for i in range(node.n_children):
            free(<void *>node.names[i].data)
        free(node.names)
    if node.children != NULL:
        for i in range(node.n_children):
            _free(node.children[i])
        free(node.children)
    free(node)


def _kind(cql_type):
    if isinstance(cql_type, Native):
        return _KINDS[cql_type.name]
    if isinstance(cql_type, ListType):
        return KIND_LIST
    if isinstance(cql_type, SetType):
        return KIND_SET
    if isinstance(cql_type, MapType):
        return KIND_MAP
    if isinstance(cql_type, TupleType):
        return KIND_TUPLE
    if isinstance(cql_type, UdtType):
        return KIND_UDT
    if isinstance(cql_type, VectorType):
        return KIND_VECTOR
    if isinstance(cql_type, CustomType):
        return KIND_CUSTOM
    raise TypeError(f"{cql_type!r} is not a type with values")


def _no_conversion(cql_type, pg_type):
    return ValueError(f"CQL type {cql_type} can't be written as PostgreSQL type {pg_type}")
