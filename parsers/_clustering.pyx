# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Clusterings in wire form (format page 5.5): writing one, and one form for those that are equal.

Cassandra holds decimals equal whatever their scale (`DecimalType.compareCustom`), and so does
PostgreSQL's numeric: 1.5 and 1.50 are one row. A tuple or user-defined type may end before its last
fields, which is the same as nulls there (`TupleType.compareCustom`), and the same JSON.
"""
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcmp, memcpy

from parsers._arena cimport Arena, arena_alloc
from parsers._buffer cimport (
    Buffer,
    buffer_clear,
    buffer_free,
    buffer_init,
    put_bytes,
    put_i32,
    put_uvint,
)
from parsers._catalog cimport TableCode
from parsers._cursor cimport Slice, be16, be32
from parsers._numeric cimport numeric_unscaled, put_numeric
from parsers._types cimport CODEC_DECIMAL, KIND_TUPLE, KIND_UDT, TypeNode
from parsers._wire cimport Items, items_next, items_open

cdef enum:
    NUMERIC_HEADER = 12     # of a numeric field: its length, digits, weight, sign and scale


cdef int put_clustering(
    const TableCode *table, const Slice *values, Buffer *out
) except -1 nogil:
    """Append the values in wire form: the identity of a row."""
    cdef uint64_t header
    cdef int32_t i, j
    cdef int32_t n = table.n_clustering
    for i in range(0, n, 32):
        header = 0
        for j in range(i, min(i + 32, n)):
            if values[j].length < 0:
                header |= <uint64_t>2 << 2 * (j - i)
            elif values[j].length == 0:
                header |= <uint64_t>1 << 2 * (j - i)
        put_uvint(out, header)
        for j in range(i, min(i + 32, n)):
            if values[j].length <= 0:
                continue
            if table.clustering[j].fixed_length < 0:
                put_uvint(out, <uint64_t>values[j].length)
            put_bytes(out, values[j].data, values[j].length)
    return 0


cdef bint canonical_values(const TableCode *table, Slice *values, Arena *arena) except -1 nogil:
    cdef Buffer numeric, canonical
    cdef int32_t i
    cdef bint changed = False
    cdef uint8_t *kept
    cdef int32_t kept_length
    buffer_init(&numeric)
    buffer_init(&canonical)
    try:
        for i in range(table.n_clustering):
            if table.clustering[i].kind in (KIND_TUPLE, KIND_UDT) and values[i].length > 0:
                kept_length = without_last_nulls(table.clustering[i], &values[i])
                changed = changed or kept_length != values[i].length
                values[i].length = kept_length
            if table.clustering[i].codec != CODEC_DECIMAL or is_canonical(&values[i]):
                continue
            put_canonical(&values[i], &numeric, &canonical)
            if (
                canonical.length == values[i].length
                and memcmp(canonical.data, values[i].data, canonical.length) == 0
            ):
                continue
            kept = <uint8_t *>arena_alloc(arena, canonical.length)
            memcpy(kept, canonical.data, canonical.length)
            values[i].data = kept
            values[i].length = <int32_t>canonical.length
            changed = True
    finally:
        buffer_free(&numeric)
        buffer_free(&canonical)
    return changed


cdef int32_t without_last_nulls(const TypeNode *node, const Slice *value) noexcept nogil:
    """The length of a tuple without the nulls it ends in; one stays where all of it is null."""
    cdef Items items
    cdef const uint8_t *item
    cdef Py_ssize_t length, kept = 0
    items_open(&items, node, value.data, value.length)
    while items_next(&items, &item, &length):
        if item != NULL or kept == 0:
            kept = items.position
    return <int32_t>kept


cdef inline bint is_canonical(const Slice *decimal) noexcept nogil:
    """Whether it is plain that nothing changes: no scale, or no multiple of ten below the point."""
    if decimal.length < 5 or be32(decimal.data) == 0:
        return True
    return decimal.data[0] < 0x80 and decimal.data[decimal.length - 1] & 1


cdef int put_canonical(const Slice *decimal, Buffer *numeric, Buffer *out) except -1 nogil:
    """The decimal with the least scale from 0 up that holds it: what its numeric field says then.

    The value was checked: a numeric holds it.
    """
    cdef int32_t scale, groups, weight, needed = 0
    cdef uint16_t group
    buffer_clear(numeric)
    buffer_clear(out)
    put_numeric(numeric, decimal.data + 4, decimal.length - 4, <int32_t>be32(decimal.data))
    groups = be16(numeric.data + 4)
    weight = <int32_t><int16_t>be16(numeric.data + 6)
    if groups > 0:
        # Groups of four digits, of which the last is not zero.
        group = be16(numeric.data + NUMERIC_HEADER + 2 * (groups - 1))
        needed = 4 * (groups - 1 - weight)
        while needed > 0 and group % 10 == 0:
            group = group // 10
            needed -= 1
        if needed < 0:
            needed = 0
    numeric.data[10] = <uint8_t>(needed >> 8)
    numeric.data[11] = <uint8_t>(needed & 0xFF)
    put_i32(out, needed)
    numeric_unscaled(
        out, numeric.data + 4, NUMERIC_HEADER - 4 + 2 * groups, &scale
    )
    return 0
