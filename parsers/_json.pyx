# cython: language_level=3, autotestdict=False, auto_pickle=False
"""JSON of values as `SELECT JSON` prints it, and where that would lose something, what differs.

NaN and the infinities are strings ("NaN", "Infinity", "-Infinity"), where Cassandra prints null.
Years before 1 AD have a minus sign, where Cassandra's timestamps drop the era.  Empty values are
null, where Cassandra prints "".  Floats and doubles have the fewest digits that give the same
number back, where Java 17 now and then prints one more.
"""

from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

from parsers._buffer cimport buffer_free, buffer_init, put_bytes, put_u8
from parsers._numeric cimport put_decimal_text
from parsers._text cimport (
    put_ascii,
    put_date,
    put_double,
    put_duration,
    put_float,
    put_hex,
    put_inet,
    put_integer,
    put_json_string,
    put_time,
    put_timestamp,
    put_uuid,
    put_without_nul,
)
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


cdef int put_json(
        Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef uint8_t kind = node.kind
    if kind == KIND_TEXT or kind == KIND_ASCII:
        return put_json_string(out, value, size, node.nul_policy)
    if size == 0 and not has_empty_value(node):
        return put_ascii(out, "null")
    if kind == KIND_LIST or kind == KIND_SET or kind == KIND_VECTOR or kind == KIND_TUPLE:
        return _put_array(out, node, value, size)
    if kind == KIND_MAP:
        return _put_map(out, node, value, size)
    if kind == KIND_UDT:
        return _put_udt(out, node, value, size)
    if _is_bare(node, value):
        return put_scalar_text(out, node, value, size)
    put_u8(out, c'"')
    put_scalar_text(out, node, value, size)
    return put_u8(out, c'"')


cdef int put_json_key(
        Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef Buffer nested
    if node.kind == KIND_TEXT or node.kind == KIND_ASCII:
        return put_json_string(out, value, size, node.nul_policy)
    if node.n_children == 0:
        put_u8(out, c'"')
        if size > 0 or has_empty_value(node):
            put_scalar_text(out, node, value, size)
        return put_u8(out, c'"')
    buffer_init(&nested)
    try:
        put_json(&nested, node, value, size)
        put_json_string(out, nested.data, nested.length, node.nul_policy)
    finally:
        buffer_free(&nested)
    return 0


cdef bint _is_bare(const TypeNode *node, const uint8_t *value) noexcept nogil:
    # Numbers and booleans stand without quotes, if JSON has them.
    cdef uint8_t kind = node.kind
    if kind == KIND_FLOAT:
        return isfinite(_read_float(value))
    if kind == KIND_DOUBLE:
        return isfinite(_read_double(value))
    return (
        kind == KIND_BOOLEAN or kind == KIND_TINYINT or kind == KIND_SMALLINT or kind == KIND_INT
        or kind == KIND_BIGINT or kind == KIND_COUNTER or kind == KIND_VARINT
        or kind == KIND_DECIMAL)


cdef int put_scalar_text(
        Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef uint8_t kind = node.kind
    cdef int32_t months, days
    cdef int64_t number
    if kind == KIND_BOOLEAN:
        return put_ascii(out, "true" if value[0] else "false")
    if kind == KIND_TINYINT or kind == KIND_SMALLINT or kind == KIND_INT or kind == KIND_BIGINT:
        return put_integer(out, read_integer(value, size))
    if kind == KIND_FLOAT:
        return put_float(out, _read_float(value))
    if kind == KIND_DOUBLE:
        return put_double(out, _read_double(value))
    if kind == KIND_VARINT:
        return put_decimal_text(out, value, size, 0)
    if kind == KIND_DECIMAL:
        return put_decimal_text(out, value + 4, size - 4, read_i32(value))
    if kind == KIND_UUID or kind == KIND_TIMEUUID:
        return put_uuid(out, value)
    if kind == KIND_TIMESTAMP:
        return put_timestamp(out, read_i64(value))
    if kind == KIND_DATE:
        return put_date(out, <int64_t><uint32_t>read_i32(value) - (<int64_t>1 << 31))
    if kind == KIND_TIME:
        return put_time(out, read_i64(value))
    if kind == KIND_INET:
        return put_inet(out, value, size)
    if kind == KIND_DURATION:
        duration_parts(value, size, &months, &days, &number)
        return put_duration(out, months, days, number)
    if kind == KIND_COUNTER:
        counter_total(value, size, &number)
        return put_integer(out, number)
    if kind == KIND_TEXT or kind == KIND_ASCII:
        return put_without_nul(out, value, size, node.nul_policy)
    return put_hex(out, value, size)


cdef float _read_float(const uint8_t *value) noexcept nogil:
    cdef int32_t bits = read_i32(value)
    cdef float result
    memcpy(&result, &bits, 4)
    return result


cdef double _read_double(const uint8_t *value) noexcept nogil:
    cdef int64_t bits = read_i64(value)
    cdef double result
    memcpy(&result, &bits, 8)
    return result


cdef int _put_item(
        Buffer *out, const TypeNode *node, const uint8_t *item, Py_ssize_t length) except -1 nogil:
    if item == NULL:
        return put_ascii(out, "null")
    return put_json(out, node, item, length)


cdef int _put_array(
        Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef Items items
    cdef const uint8_t *item
    cdef Py_ssize_t length, i
    cdef Py_ssize_t count = items_open(&items, node, value, size)
    put_u8(out, c'[')
    for i in range(count):
        if i:
            put_ascii(out, ", ")
        # A tuple may end early: items_next then leaves a null.
        items_next(&items, &item, &length)
        _put_item(out, node.children[i if node.kind == KIND_TUPLE else 0], item, length)
    return put_u8(out, c']')


cdef int _put_map(
        Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef Items items
    cdef const uint8_t *item
    cdef Py_ssize_t length, i
    cdef Py_ssize_t count = items_open(&items, node, value, size) // 2
    put_u8(out, c'{')
    for i in range(count):
        if i:
            put_ascii(out, ", ")
        items_next(&items, &item, &length)
        put_json_key(out, node.children[0], item, length)
        put_ascii(out, ": ")
        items_next(&items, &item, &length)
        _put_item(out, node.children[1], item, length)
    return put_u8(out, c'}')


cdef int _put_udt(
        Buffer *out, const TypeNode *node, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef Items items
    cdef const uint8_t *item
    cdef Py_ssize_t length, i
    cdef Py_ssize_t count = items_open(&items, node, value, size)
    put_u8(out, c'{')
    for i in range(count):
        if i:
            put_ascii(out, ", ")
        put_bytes(out, node.names[i].data, node.names[i].length)
        put_ascii(out, ": ")
        items_next(&items, &item, &length)
        _put_item(out, node.children[i], item, length)
    return put_u8(out, c'}')
