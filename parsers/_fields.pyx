# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Writes values as PostgreSQL's binary fields, as its `*_recv` functions read them."""

cimport cython

from libc.stdint cimport INT32_MAX, int16_t, int32_t, int64_t, uint32_t
from libc.string cimport memcpy

from parsers._buffer cimport (
    buffer_reserve,
    patch_i32,
    put_bytes,
    put_i16,
    put_i32,
    put_i64,
    put_u8,
)
from parsers._json cimport put_json, put_scalar_text
from parsers._numeric cimport put_numeric
from parsers._text cimport put_without_nul
from parsers._types cimport *
from parsers._wire cimport (
    Items,
    counter_total,
    duration_parts,
    has_empty_value,
    items_next,
    items_open,
    read_i32,
    read_i64,
    read_integer,
)

cdef int64_t POSTGRES_EPOCH_DAYS = 10_957
cdef int64_t POSTGRES_EPOCH_MS = 946_684_800_000
cdef int64_t CASSANDRA_EPOCH_DAYS = <int64_t>1 << 31

# PostgreSQL, inet.h: the family of an address, one above AF_INET for IPv6.
cdef uint8_t PGSQL_AF_INET = 2
cdef uint8_t PGSQL_AF_INET6 = 3
cdef uint8_t JSONB_VERSION = 1


cdef int value_to_pg(
        const TypeNode *node, const uint8_t *value, Py_ssize_t size, Buffer *out) except -1 nogil:
    cdef uint8_t codec = node.codec
    if codec == CODEC_TEXT:
        if node.nul_policy == NUL_REJECT:
            return _put_field(out, value, size)
        return _put_text(node, value, size, out)
    if codec == CODEC_BYTES:
        return _put_field(out, value, size)
    if codec == CODEC_CONSTANT:
        return put_constant(node, out)
    if size == 0 and not has_empty_value(node):
        return put_i32(out, -1)
    if codec == CODEC_COPY or codec == CODEC_FLOATING:
        return _put_field(out, value, size)
    if codec == CODEC_TIMESTAMP:
        buffer_reserve(out, 12)
        put_i32(out, 8)
        return put_i64(out, (read_i64(value) - POSTGRES_EPOCH_MS) * 1000)
    if codec == CODEC_BOOLEAN:
        put_i32(out, 1)
        return put_u8(out, value[0] != 0)
    if codec == CODEC_DECIMAL:
        return put_numeric(out, value + 4, size - 4, read_i32(value))
    if codec == CODEC_VARINT:
        return put_numeric(out, value, size, 0)
    if codec == CODEC_INTEGER:
        return _put_integer(node, read_integer(value, size), out)
    return _put_other(node, value, size, out)


cdef int put_constant(const TypeNode *node, Buffer *out) except -1 nogil:
    if node.constant_length < 0:
        return put_i32(out, -1)
    return _put_field(out, node.constant, node.constant_length)


cdef inline int _put_field(Buffer *out, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef uint8_t *target
    buffer_reserve(out, 4 + size)
    put_i32(out, <int32_t>size)
    target = out.data + out.length
    # The sizes of most columns, each copied by one instruction.
    if size == 4:
        memcpy(target, value, 4)
    elif size == 8:
        memcpy(target, value, 8)
    elif size == 16:
        memcpy(target, value, 16)
    elif size > 0:
        memcpy(target, value, <size_t>size)
    out.length += size
    return 0


@cython.cdivision(True)
cdef int _put_other(
        const TypeNode *node, const uint8_t *value, Py_ssize_t size, Buffer *out) except -1 nogil:
    cdef uint8_t codec = node.codec
    cdef int64_t number
    cdef int32_t months, days
    if codec == CODEC_DATE:
        put_i32(out, 4)
        number = <int64_t><uint32_t>read_i32(value) - CASSANDRA_EPOCH_DAYS - POSTGRES_EPOCH_DAYS
        return put_i32(out, <int32_t>number)
    if codec == CODEC_DATE_DAYS:
        put_i32(out, 4)
        return put_i32(out, <int32_t>(<int64_t><uint32_t>read_i32(value) - CASSANDRA_EPOCH_DAYS))
    if codec == CODEC_TIME:
        put_i32(out, 8)
        return put_i64(out, read_i64(value) // 1000)
    if codec == CODEC_DURATION:
        duration_parts(value, size, &months, &days, &number)
        put_i32(out, 16)
        put_i64(out, number // 1000)
        put_i32(out, days)
        return put_i32(out, months)
    if codec == CODEC_INET:
        put_i32(out, <int32_t>(4 + size))
        put_u8(out, PGSQL_AF_INET if size == 4 else PGSQL_AF_INET6)
        put_u8(out, <uint8_t>(size * 8))
        put_u8(out, 0)
        put_u8(out, <uint8_t>size)
        return put_bytes(out, value, size)
    if codec == CODEC_COUNTER:
        counter_total(value, size, &number)
        put_i32(out, 8)
        return put_i64(out, number)
    if codec == CODEC_ARRAY:
        return _put_array(node, value, size, out)
    if codec == CODEC_PGVECTOR:
        put_i32(out, <int32_t>(4 + size))
        put_i16(out, <int16_t>node.dimension)
        put_i16(out, 0)
        return put_bytes(out, value, size)
    return _put_text(node, value, size, out)


cdef int _put_integer(const TypeNode *node, int64_t number, Buffer *out) except -1 nogil:
    if node.pg_kind == PG_INT2:
        put_i32(out, 2)
        return put_i16(out, <int16_t>number)
    if node.pg_kind == PG_INT4:
        put_i32(out, 4)
        return put_i32(out, <int32_t>number)
    put_i32(out, 8)
    return put_i64(out, number)


cdef int _put_text(
        const TypeNode *node, const uint8_t *value, Py_ssize_t size, Buffer *out) except -1 nogil:
    # text with a policy for U+0000, jsonb, and everything that is written as text.
    cdef Py_ssize_t start = out.length
    put_i32(out, 0)
    if node.codec == CODEC_TEXT:
        put_without_nul(out, value, size, node.nul_policy)
    elif node.codec == CODEC_JSONB:
        put_u8(out, JSONB_VERSION)
        put_json(out, node, value, size)
    elif node.n_children:
        put_json(out, node, value, size)
    else:
        put_scalar_text(out, node, value, size)
    return close_field(out, start)


cdef int close_field(Buffer *out, Py_ssize_t start) except -1 nogil:
    cdef Py_ssize_t size = out.length - start - 4
    if size > INT32_MAX:
        with gil:
            raise MemoryError(f"a field of {size} bytes is more than COPY can carry")
    patch_i32(out, start, <int32_t>size)
    return 0


cdef int put_array_header(const TypeNode *node, Py_ssize_t count, Buffer *out) except -1 nogil:
    put_i32(out, 1 if count else 0)
    # The "has nulls" flag: array_recv looks for itself.
    put_i32(out, 0)
    put_i32(out, <int32_t>node.children[0].pg_oid)
    if count:
        put_i32(out, <int32_t>count)
        put_i32(out, 1)
    return 0


cdef int _put_array(
        const TypeNode *node, const uint8_t *value, Py_ssize_t size, Buffer *out) except -1 nogil:
    cdef Items items
    cdef const uint8_t *item
    cdef Py_ssize_t length, _
    cdef Py_ssize_t start = out.length
    cdef Py_ssize_t count = items_open(&items, node, value, size)
    put_i32(out, 0)
    put_array_header(node, count, out)
    for _ in range(count):
        items_next(&items, &item, &length)
        if item == NULL:
            put_i32(out, -1)
        else:
            value_to_pg(node.children[0], item, length, out)
    return close_field(out, start)
