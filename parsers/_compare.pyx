# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Cassandra's comparators, one per type (`*Type.compareCustom`); malformed values fall back to the
order of their bytes.
"""

from libc.math cimport isnan
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy

from parsers._number_order cimport decimal_compare, varint_compare
from parsers._types cimport *
from parsers._wire cimport Items, items_next, items_open, read_i32, read_i64, read_integer


cdef int value_compare(
        const TypeNode *node,
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    cdef uint8_t kind = node.kind
    if (kind == KIND_TEXT or kind == KIND_ASCII or kind == KIND_BLOB or kind == KIND_DATE
            or kind == KIND_TIME or kind == KIND_INET or kind == KIND_DURATION
            or kind == KIND_CUSTOM):
        return bytes_compare(left, left_size, right, right_size)
    if left_size == 0 or right_size == 0:
        return (left_size > 0) - (right_size > 0)
    if node.wire_length >= 0 and (left_size != node.wire_length or right_size != node.wire_length):
        return bytes_compare(left, left_size, right, right_size)
    if kind == KIND_UUID:
        return _compare_uuids(left, right)
    if kind == KIND_TIMEUUID:
        return timeuuid_compare(left, right)
    if kind == KIND_VARINT:
        return varint_compare(left, left_size, right, right_size)
    if kind == KIND_DECIMAL:
        return decimal_compare(left, left_size, right, right_size)
    if kind == KIND_FLOAT:
        return _compare_floats(left, right)
    if kind == KIND_DOUBLE:
        return _compare_doubles(left, right)
    if kind == KIND_BOOLEAN:
        return (left[0] != 0) - (right[0] != 0)
    if node.wire_length > 0:
        return _sign(read_integer(left, left_size), read_integer(right, right_size))
    if kind == KIND_TUPLE or kind == KIND_UDT:
        return _compare_tuples(node, left, left_size, right, right_size)
    if node.n_children:
        return _compare_collections(node, left, left_size, right, right_size)
    return bytes_compare(left, left_size, right, right_size)


cdef int bytes_compare(
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    cdef Py_ssize_t common = left_size if left_size < right_size else right_size
    cdef int order = memcmp(left, right, <size_t>common) if common > 0 else 0
    if order:
        return order
    return (left_size > right_size) - (left_size < right_size)


cdef inline int _sign(int64_t left, int64_t right) noexcept nogil:
    return (left > right) - (left < right)


cdef int timeuuid_compare(const uint8_t *left, const uint8_t *right) noexcept nogil:
    cdef uint64_t flip = 0x0080808080808080
    cdef int order = _sign(<int64_t>uuid_timestamp(left), <int64_t>uuid_timestamp(right))
    if order:
        return order
    # Byte by byte, signed.
    return _sign(
        <int64_t>(<uint64_t>read_i64(left + 8) ^ flip),
        <int64_t>(<uint64_t>read_i64(right + 8) ^ flip))


cdef int _compare_uuids(const uint8_t *left, const uint8_t *right) noexcept nogil:
    cdef int left_version = left[6] >> 4
    cdef int right_version = right[6] >> 4
    cdef int order
    if left_version != right_version:
        return left_version - right_version
    if left_version == 1:
        order = _sign(<int64_t>uuid_timestamp(left), <int64_t>uuid_timestamp(right))
        return order if order else memcmp(left + 8, right + 8, 8)
    return memcmp(left, right, 16)


cdef int _compare_floats(const uint8_t *left, const uint8_t *right) noexcept nogil:
    cdef int32_t a_bits = read_i32(left), b_bits = read_i32(right)
    cdef float a, b
    memcpy(&a, &a_bits, 4)
    memcpy(&b, &b_bits, 4)
    if isnan(a) or isnan(b):
        return (isnan(a) != 0) - (isnan(b) != 0)
    if a != b:
        return 1 if a > b else -1
    # 0.0 is greater than -0.0.
    return (a_bits > b_bits) - (a_bits < b_bits)


cdef int _compare_doubles(const uint8_t *left, const uint8_t *right) noexcept nogil:
    cdef int64_t a_bits = read_i64(left), b_bits = read_i64(right)
    cdef double a, b
    memcpy(&a, &a_bits, 8)
    memcpy(&b, &b_bits, 8)
    if isnan(a) or isnan(b):
        return (isnan(a) != 0) - (isnan(b) != 0)
    if a != b:
        return 1 if a > b else -1
    return _sign(a_bits, b_bits)


cdef int _compare_collections(
        const TypeNode *node,
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    # List, set, vector: element by element; map: key, value, key, ...; then the shorter first.
    cdef Items a, b
    cdef const uint8_t *a_item
    cdef const uint8_t *b_item
    cdef Py_ssize_t a_length, b_length, i
    cdef Py_ssize_t a_count = items_open(&a, node, left, left_size)
    cdef Py_ssize_t b_count = items_open(&b, node, right, right_size)
    cdef const TypeNode *child
    cdef int order
    for i in range(a_count if a_count < b_count else b_count):
        if not items_next(&a, &a_item, &a_length) or not items_next(&b, &b_item, &b_length):
            return bytes_compare(left, left_size, right, right_size)
        child = node.children[i & 1 if node.kind == KIND_MAP else 0]
        order = _compare_items(child, a_item, a_length, b_item, b_length)
        if order:
            return order
    return (a_count > b_count) - (a_count < b_count)


cdef int _compare_tuples(
        const TypeNode *node,
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    # Field by field; a trailing null is the same as no field.
    cdef Items a, b
    cdef const uint8_t *a_item
    cdef const uint8_t *b_item
    cdef Py_ssize_t a_length, b_length, i
    cdef bint a_left, b_left
    cdef int order
    items_open(&a, node, left, left_size)
    items_open(&b, node, right, right_size)
    for i in range(node.n_children):
        a_left = items_next(&a, &a_item, &a_length)
        b_left = items_next(&b, &b_item, &b_length)
        if not a_left and not b_left:
            break
        order = _compare_items(node.children[i], a_item, a_length, b_item, b_length)
        if order:
            return order
    return 0


cdef int _compare_items(
        const TypeNode *node,
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    # A null comes first.
    if left == NULL or right == NULL:
        return (left != NULL) - (right != NULL)
    return value_compare(node, left, left_size, right, right_size)
