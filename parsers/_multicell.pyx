# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Puts the elements of a multi-cell column in Cassandra's order and writes them as an array or as
JSON.
"""

from libc.stdlib cimport free, malloc

from parsers._buffer cimport put_bytes, put_i32, put_u8
from parsers._compare cimport bytes_compare, timeuuid_compare, value_compare
from parsers._fields cimport close_field, put_array_header, put_constant, value_to_pg
from parsers._json cimport put_json, put_json_key
from parsers._text cimport put_ascii
from parsers._types cimport *
from parsers._wire cimport read_integer

# Elements that are sorted on the stack: most collections are small.
cdef enum:
    INLINE_ELEMENTS = 128


cdef int multicell_to_pg(
        const TypeNode *node, const Element *elements, Py_ssize_t count,
        Buffer *out) except -1 nogil:
    cdef const Element *inline_room[2 * INLINE_ELEMENTS]
    cdef const Element **room = inline_room
    if count == 0:
        return put_i32(out, -1)
    if node.codec == CODEC_CONSTANT:
        return put_constant(node, out)
    if count > INLINE_ELEMENTS:
        room = <const Element **>malloc(2 * <size_t>count * sizeof(Element *))
        if room == NULL:
            with gil:
                raise MemoryError(f"no memory to sort {count} elements")
    try:
        _write(node, _sorted(node, elements, count, room), count, out)
    finally:
        if room != inline_room:
            free(room)
    return 0


cdef int _compare_paths(
        const TypeNode *node, const Element *left, const Element *right) noexcept nogil:
    if node.kind == KIND_LIST:
        return timeuuid_compare(left.path, right.path)
    if node.kind == KIND_UDT:
        return bytes_compare(left.path, left.path_length, right.path, right.path_length)
    return value_compare(
        node.children[0], left.path, left.path_length, right.path, right.path_length)


cdef const Element **_sorted(
        const TypeNode *node, const Element *elements, Py_ssize_t count,
        const Element **room) noexcept nogil:
    # Merge sort, bottom up, from one half of `room` to the other; what is in order already is left
    # so.
    cdef const Element **source = room
    cdef const Element **target = room + count
    cdef Py_ssize_t width = 1, low, middle, high, i, j, k
    cdef bint in_order = True
    for i in range(count):
        source[i] = elements + i
        if i and in_order and _compare_paths(node, source[i - 1], source[i]) > 0:
            in_order = False
    if in_order:
        return source
    while width < count:
        low = 0
        while low < count:
            middle = low + width if low + width < count else count
            high = middle + width if middle + width < count else count
            i = low
            j = middle
            for k in range(low, high):
                if i < middle and (j >= high or _compare_paths(node, source[i], source[j]) <= 0):
                    target[k] = source[i]
                    i += 1
                else:
                    target[k] = source[j]
                    j += 1
            low = high
        source, target = target, source
        width *= 2
    return source


cdef int _write(
        const TypeNode *node, const Element **elements, Py_ssize_t count,
        Buffer *out) except -1 nogil:
    cdef Py_ssize_t start = out.length, i
    put_i32(out, 0)
    if node.codec == CODEC_ARRAY:
        put_array_header(node, count, out)
        for i in range(count):
            if node.kind == KIND_SET:
                value_to_pg(node.children[0], elements[i].path, elements[i].path_length, out)
            else:
                value_to_pg(node.children[0], elements[i].value, elements[i].value_length, out)
        return close_field(out, start)
    if node.codec == CODEC_JSONB:
        put_u8(out, 1)
    if node.kind == KIND_MAP:
        _write_map(node, elements, count, out)
    elif node.kind == KIND_UDT:
        _write_udt(node, elements, count, out)
    else:
        _write_list(node, elements, count, out)
    return close_field(out, start)


cdef int _write_list(
        const TypeNode *node, const Element **elements, Py_ssize_t count,
        Buffer *out) except -1 nogil:
    cdef Py_ssize_t i
    put_u8(out, c'[')
    for i in range(count):
        if i:
            put_ascii(out, ", ")
        if node.kind == KIND_SET:
            put_json(out, node.children[0], elements[i].path, elements[i].path_length)
        else:
            put_json(out, node.children[0], elements[i].value, elements[i].value_length)
    return put_u8(out, c']')


cdef int _write_map(
        const TypeNode *node, const Element **elements, Py_ssize_t count,
        Buffer *out) except -1 nogil:
    cdef Py_ssize_t i
    put_u8(out, c'{')
    for i in range(count):
        if i:
            put_ascii(out, ", ")
        put_json_key(out, node.children[0], elements[i].path, elements[i].path_length)
        put_ascii(out, ": ")
        put_json(out, node.children[1], elements[i].value, elements[i].value_length)
    return put_u8(out, c'}')


cdef int _write_udt(
        const TypeNode *node, const Element **elements, Py_ssize_t count,
        Buffer *out) except -1 nogil:
    # Every field, also those that have no cell.
    cdef Py_ssize_t field, i = 0
    put_u8(out, c'{')
    for field in range(node.n_children):
        if field:
            put_ascii(out, ", ")
        put_bytes(out, node.names[field].data, node.names[field].length)
        put_ascii(out, ": ")
        if i < count and read_integer(elements[i].path, 2) == field:
            put_json(out, node.children[field], elements[i].value, elements[i].value_length)
            i += 1
        else:
            put_ascii(out, "null")
    return put_u8(out, c'}')
