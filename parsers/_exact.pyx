# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Reads binary fields as PostgreSQL's `*_send` functions write them; what can't be told exactly is
refused.
"""

cimport cython

from libc.stdint cimport INT64_MAX, INT64_MIN, int16_t, int32_t, int64_t, uint32_t
from libc.string cimport memchr

from parsers._buffer cimport patch_i32, put_bytes, put_i16, put_i32, put_i64, put_u8
from parsers._numeric cimport is_minimal, numeric_unscaled
from parsers._types cimport *
from parsers._wire cimport read_i32, read_i64, read_integer

cdef int64_t POSTGRES_EPOCH_DAYS = 10_957
cdef int64_t POSTGRES_EPOCH_MS = 946_684_800_000
cdef int64_t CASSANDRA_EPOCH_DAYS = <int64_t>1 << 31
cdef int64_t MICROSECONDS_PER_DAY = 86_400_000_000


@cython.cdivision(True)
cdef bint value_is_exact(
        const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef uint8_t codec = node.codec
    if not node.exact:
        return False
    if codec == CODEC_TEXT:
        return node.nul_policy == NUL_REJECT or size == 0 or memchr(value, 0, <size_t>size) == NULL
    if codec == CODEC_BYTES:
        return True
    if size == 0:
        # NULL, as an absent value is.
        return False
    if codec == CODEC_BOOLEAN:
        return value[0] <= 1
    if codec == CODEC_VARINT:
        return is_minimal(value, size)
    if codec == CODEC_DECIMAL:
        # A negative scale becomes zeros before the point.
        return size > 4 and value[0] < 0x80 and is_minimal(value + 4, size - 4)
    if codec == CODEC_TIME:
        return read_i64(value) % 1000 == 0
    return True


@cython.cdivision(True)
cdef int value_from_pg(
        const TypeNode *node, const uint8_t *field, Py_ssize_t size, Buffer *out) except -1 nogil:
    cdef uint8_t codec = node.codec
    cdef int64_t number
    if not node.exact:
        return _refuse()
    if codec == CODEC_TEXT or codec == CODEC_BYTES:
        return put_bytes(out, field, size)
    if codec == CODEC_COPY or codec == CODEC_FLOATING:
        if size != node.wire_length:
            return _refuse()
        return put_bytes(out, field, size)
    if codec == CODEC_TIMESTAMP:
        if size != 8:
            return _refuse()
        number = read_i64(field)
        # The extremes are PostgreSQL's infinities.
        if number % 1000 != 0 or number == INT64_MIN or number == INT64_MAX:
            return _refuse()
        return put_i64(out, number // 1000 + POSTGRES_EPOCH_MS)
    if codec == CODEC_BOOLEAN:
        if size != 1 or field[0] > 1:
            return _refuse()
        return put_u8(out, field[0])
    if codec == CODEC_VARINT or codec == CODEC_DECIMAL:
        return _from_numeric(node, field, size, out)
    if codec == CODEC_INTEGER:
        return _from_integer(node, field, size, out)
    if codec == CODEC_DATE or codec == CODEC_DATE_DAYS:
        if size != 4:
            return _refuse()
        number = <int64_t>read_i32(field) + CASSANDRA_EPOCH_DAYS
        if codec == CODEC_DATE:
            number += POSTGRES_EPOCH_DAYS
        if number < 0 or number > 0xFFFFFFFFLL:
            return _refuse()
        return put_i32(out, <int32_t><uint32_t>number)
    if codec == CODEC_TIME:
        if size != 8:
            return _refuse()
        number = read_i64(field)
        # PostgreSQL has 24:00:00, Cassandra has not.
        if number < 0 or number >= MICROSECONDS_PER_DAY:
            return _refuse()
        return put_i64(out, number * 1000)
    return _from_inet(field, size, out)


cdef int _from_integer(
        const TypeNode *node, const uint8_t *field, Py_ssize_t size, Buffer *out) except -1 nogil:
    cdef int64_t number
    cdef int64_t limit = <int64_t>1 << (8 * node.wire_length - 1)
    if size != (2 if node.pg_kind == PG_INT2 else 4 if node.pg_kind == PG_INT4 else 8):
        return _refuse()
    number = read_integer(field, size)
    if number < -limit or number >= limit:
        return _refuse()
    if node.wire_length == 1:
        return put_u8(out, <uint8_t>number)
    if node.wire_length == 2:
        return put_i16(out, <int16_t>number)
    return put_i32(out, <int32_t>number)


cdef int _from_numeric(
        const TypeNode *node, const uint8_t *field, Py_ssize_t size, Buffer *out) except -1 nogil:
    cdef Py_ssize_t start = out.length
    cdef int32_t scale = 0
    if node.codec == CODEC_DECIMAL:
        put_i32(out, 0)
    numeric_unscaled(out, field, size, &scale)
    if node.codec == CODEC_DECIMAL:
        patch_i32(out, start, scale)
    elif scale != 0:
        return _refuse()
    return 0


cdef int _from_inet(const uint8_t *field, Py_ssize_t size, Buffer *out) except -1 nogil:
    # family, bits, is_cidr, length, address: only whole addresses come from Cassandra.
    if size != 8 and size != 20:
        return _refuse()
    if field[0] != (2 if size == 8 else 3) or field[1] != (size - 4) * 8 or field[3] != size - 4:
        return _refuse()
    return put_bytes(out, field + 4, size - 4)


cdef int _refuse() except -1 nogil:
    with gil:
        raise ValueError("a field that no value of the column's CQL type gives")
