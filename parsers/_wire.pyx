# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Takes values apart: integers, durations, counter contexts, the items of collections; each length
checked.
"""

from libc.stdint cimport INT32_MAX, INT32_MIN, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from parsers._types cimport KIND_MAP, KIND_TUPLE, KIND_UDT, KIND_VECTOR

cdef extern from "<endian.h>" nogil:
    uint32_t be32toh(uint32_t)
    uint64_t be64toh(uint64_t)


cdef int32_t read_i32(const uint8_t *p) noexcept nogil:
    cdef uint32_t wire
    memcpy(&wire, p, 4)
    return <int32_t>be32toh(wire)


cdef int64_t read_i64(const uint8_t *p) noexcept nogil:
    cdef uint64_t wire
    memcpy(&wire, p, 8)
    return <int64_t>be64toh(wire)


cdef int64_t read_integer(const uint8_t *p, Py_ssize_t size) noexcept nogil:
    # Big-endian two's complement of 1 to 8 bytes.
    cdef uint64_t value = <uint64_t>-1 if p[0] >= 0x80 else 0
    cdef Py_ssize_t i
    for i in range(size):
        value = (value << 8) | p[i]
    return <int64_t>value


cdef bint counter_total(const uint8_t *value, Py_ssize_t size, int64_t *total) noexcept nogil:
    cdef int64_t headers
    cdef uint64_t result = 0
    cdef Py_ssize_t position
    if size == 8:
        total[0] = read_i64(value)
        return True
    if size < 2:
        return False
    # A negative header count says that local shards are to be cleared; they still count.
    headers = read_integer(value, 2)
    if headers < 0:
        headers = -headers
    position = 2 + 2 * headers
    if position > size or (size - position) % 32 != 0:
        return False
    while position < size:
        result += <uint64_t>read_i64(value + position + 24)
        position += 32
    total[0] = <int64_t>result
    return True


cdef bint duration_parts(
        const uint8_t *value, Py_ssize_t size,
        int32_t *months, int32_t *days, int64_t *nanoseconds) noexcept nogil:
    cdef Py_ssize_t position = 0
    cdef int64_t[3] part
    cdef uint64_t raw
    cdef int i
    for i in range(3):
        position = _read_uvint(value, position, size, &raw)
        if position < 0:
            return False
        part[i] = <int64_t>(raw >> 1) ^ -<int64_t>(raw & 1)
    if position != size:
        return False
    if not INT32_MIN <= part[0] <= INT32_MAX or not INT32_MIN <= part[1] <= INT32_MAX:
        return False
    if ((part[0] < 0 or part[1] < 0 or part[2] < 0)
            and (part[0] > 0 or part[1] > 0 or part[2] > 0)):
        return False
    months[0] = <int32_t>part[0]
    days[0] = <int32_t>part[1]
    nanoseconds[0] = part[2]
    return True


cdef Py_ssize_t _read_uvint(
        const uint8_t *value, Py_ssize_t position, Py_ssize_t size,
        uint64_t *result) noexcept nogil:
    # Returns the position behind it, -1 if the bytes end before.
    cdef uint64_t number
    cdef int extra = 0, i
    cdef uint8_t first
    if position >= size:
        return -1
    first = value[position]
    while extra < 8 and first & (0x80 >> extra):
        extra += 1
    if size - position <= extra:
        return -1
    number = first & (0xFF >> extra)
    for i in range(1, extra + 1):
        number = (number << 8) | value[position + i]
    result[0] = number
    return position + extra + 1


cdef Py_ssize_t items_open(
        Items *items, const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    # -1: not even the count is there, or it is impossible.
    cdef Py_ssize_t count
    items.base = value
    items.position = 0
    items.limit = size
    items.fixed = 0
    items.varint_lengths = False
    if node.kind == KIND_VECTOR:
        if node.element_fixed:
            items.fixed = node.children[0].fixed_length
        items.varint_lengths = not node.element_fixed
        return node.dimension
    if node.kind == KIND_TUPLE or node.kind == KIND_UDT:
        return node.n_children
    if size < 4:
        return -1
    count = read_i32(value)
    items.position = 4
    if node.kind == KIND_MAP:
        count *= 2
    if count < 0 or count > (size - 4) // 4:
        return -1
    return count


cdef bint items_next(Items *items, const uint8_t **item, Py_ssize_t *length) noexcept nogil:
    cdef Py_ssize_t position = items.position
    cdef int64_t size
    cdef uint64_t raw
    item[0] = NULL
    length[0] = -1
    if items.fixed:
        size = items.fixed
    elif items.varint_lengths:
        position = _read_uvint(items.base, position, items.limit, &raw)
        if position < 0 or raw > <uint64_t>INT32_MAX:
            return False
        size = <int64_t>raw
    else:
        if items.limit - position < 4:
            return False
        size = read_i32(items.base + position)
        position += 4
        if size < 0:
            items.position = position
            return True
    if size > items.limit - position:
        return False
    item[0] = items.base + position
    length[0] = size
    items.position = position + size
    return True


cdef bint is_ipv4_mapped(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef uint8_t[12] prefix
    memset(prefix, 0, 10)
    prefix[10] = prefix[11] = 0xFF
    return size == 16 and memcmp(value, prefix, 12) == 0
