# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Decoded rows as PostgreSQL's binary formats: COPY tuples, records, arrays of records.

Formats: "COPY, Binary Format" of PostgreSQL's manual; `array_recv`, `record_recv` of its source.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc

from parsers._buffer cimport (
    Buffer,
    buffer_free,
    buffer_init,
    patch_i32,
    put_i16,
    put_i32,
)
from parsers._check cimport Element
from parsers._cursor cimport Cursor, Slice, be16, be32
from parsers._model cimport CELL_ELEMENT, Cell, Row
from parsers._mutation cimport skip_clustering
from parsers._reconcile cimport cell_is_live
from parsers._relation cimport FROM_COLUMN, FROM_KEY, FROM_NOTHING, FROM_STATE, Attribute, Relation
from parsers._state cimport encode_state
from parsers._values cimport multicell_to_pg, value_to_pg


cdef int scratch_init(Scratch *scratch, Relation relation) except -1:
    cdef int32_t i
    scratch.first_cell = <int32_t *>calloc(relation.n_columns + 1, sizeof(int32_t))
    scratch.key = <Slice *>calloc(relation.n_key + 1, sizeof(Slice))
    scratch.elements = NULL
    scratch.elements_capacity = 0
    buffer_init(&scratch.state)
    if scratch.first_cell == NULL or scratch.key == NULL:
        raise MemoryError
    for i in range(relation.n_columns):
        scratch.first_cell[i] = -1
    return 0


cdef void scratch_free(Scratch *scratch) noexcept nogil:
    free(scratch.first_cell)
    free(scratch.key)
    free(scratch.elements)
    buffer_free(&scratch.state)


cdef int split_key(
    Relation relation, const Row *row, bint partition_only, Slice *key
) noexcept nogil:
    """The components of the row's primary key; all lengths were checked when it was decoded."""
    cdef const uint8_t *p = row.partition_key
    cdef int32_t n = relation.code.n_partition_key
    cdef int32_t i
    cdef Cursor c
    if n == 1:
        key[0].data = p
        key[0].length = row.partition_key_length
    else:
        for i in range(n):
            key[i].length = be16(p)
            key[i].data = p + 2
            p += 3 + key[i].length
    if relation.static or partition_only:
        return 0
    c.base = row.clustering
    c.position = 0
    c.limit = row.clustering_length
    return skip_clustering(&c, relation.code, relation.code.n_clustering, key + n)


cdef int split_shown_key(Relation relation, const Row *row, Slice *key) noexcept nogil:
    """The components of a new row's key as they are to be seen: as they were written."""
    cdef Row shown
    if row.shown == NULL:
        return split_key(relation, row, False, key)
    shown = row[0]
    shown.clustering = row.shown
    shown.clustering_length = row.shown_length
    return split_key(relation, &shown, False, key)


cdef int put_array_header(Buffer *out, uint32_t oid, int32_t n) except -1 nogil:
    """One dimension from 1, no nulls; `n` items (i32 length, bytes) must follow."""
    put_i32(out, 1)
    put_i32(out, 0)
    put_i32(out, <int32_t>oid)
    put_i32(out, n)
    return put_i32(out, 1)


cdef void patch_array_count(Buffer *out, Py_ssize_t offset, int32_t n) noexcept nogil:
    patch_i32(out, offset, n)


cdef int put_key_record(
    Relation relation, const Row *row, bint partition_only, Scratch *s, Buffer *out
) except -1 nogil:
    """The primary key as an array item of the mirror's key type.

    `partition_only` leaves the clustering fields NULL: the key of a partition.
    """
    cdef Py_ssize_t start = out.length
    cdef int32_t i
    split_key(relation, row, partition_only, s.key)
    put_i32(out, 0)
    put_i32(out, relation.n_key)
    for i in range(relation.n_key):
        put_i32(out, <int32_t>relation.key_oids[i])
        if partition_only and i >= relation.code.n_partition_key:
            put_i32(out, -1)
        else:
            value_to_pg(relation.key_types[i], s.key[i].data, s.key[i].length, out)
    patch_i32(out, start, <int32_t>(out.length - start - 4))
    return 0


cdef void index_cells(const Row *row, Scratch *s) noexcept nogil:
    """Note where each column's cells begin. Undo with `unindex_cells`."""
    cdef int32_t i
    cdef int32_t column = -1
    for i in range(row.n_cells):
        if row.cells[i].column != column:
            column = row.cells[i].column
            s.first_cell[column] = i


cdef void unindex_cells(const Row *row, Scratch *s) noexcept nogil:
    cdef int32_t i
    for i in range(row.n_cells):
        s.first_cell[row.cells[i].column] = -1


cdef int put_column(
    Relation relation, const Row *row, int32_t column, int64_t now_s, Scratch *s, Buffer *out
) except -1 nogil:
    """The field of one column as SELECT shows it at `now_s`: NULL unless a cell of it is live."""
    cdef int32_t i = s.first_cell[column]
    cdef int32_t n = 0
    cdef const Cell *cell
    cdef void *grown
    if i < 0:
        return put_i32(out, -1)
    if not relation.columns[column].complex:
        cell = &row.cells[i]
        if not cell_is_live(cell, now_s):
            return put_i32(out, -1)
        return value_to_pg(relation.columns[column].type, cell.value, cell.value_length, out)
    while i < row.n_cells and row.cells[i].column == column:
        cell = &row.cells[i]
        i += 1
        if not cell.flags & CELL_ELEMENT or not cell_is_live(cell, now_s):
            continue
        if n == s.elements_capacity:
            grown = realloc(s.elements, (2 * n + 16) * sizeof(Element))
            if grown == NULL:
                with gil:
                    raise MemoryError
            s.elements = <Element *>grown
            s.elements_capacity = 2 * n + 16
        s.elements[n].path = cell.path
        s.elements[n].path_length = cell.path_length
        s.elements[n].value = cell.value
        s.elements[n].value_length = cell.value_length
        n += 1
    return multicell_to_pg(relation.columns[column].type, s.elements, n, out)


cdef int put_state(
    Relation relation, const Row *row, int64_t now_s, Buffer *out
) except -1 nogil:
    cdef Py_ssize_t start = out.length
    put_i32(out, 0)
    encode_state(relation, row, now_s, out)
    patch_i32(out, start, <int32_t>(out.length - start - 4))
    return 0


cdef int put_row(
    Relation relation, const Row *row, const uint8_t *wanted, bint is_new, int64_t now_s,
    Scratch *s, Buffer *out,
) except -1 nogil:
    """A whole row as a COPY tuple: the attributes that Cassandra has, in the relation's order.

    With `wanted` (per attribute: 1): key, state and those columns as an array item of the row type.
    A row that is new gets its key as it was written.
    """
    cdef int32_t i
    cdef Py_ssize_t start = out.length
    cdef int fields = 0
    cdef uint8_t source
    cdef const Attribute *attribute
    if is_new:
        split_shown_key(relation, row, s.key)
    else:
        split_key(relation, row, False, s.key)
    if wanted == NULL:
        put_i16(out, 0)
    else:
        put_i32(out, 0)
        put_i32(out, relation.n_attributes)
    index_cells(row, s)
    for i in range(relation.n_attributes):
        attribute = &relation.attributes[i]
        source = attribute.source
        if wanted != NULL:
            put_i32(out, <int32_t>attribute.oid)
            if source == FROM_COLUMN and not wanted[i]:
                source = FROM_NOTHING
        elif source == FROM_NOTHING:
            continue
        fields += 1
        if source == FROM_COLUMN:
            put_column(relation, row, attribute.index, now_s, s, out)
        elif source == FROM_KEY:
            value_to_pg(
                relation.key_types[attribute.index],
                s.key[attribute.index].data,
                s.key[attribute.index].length,
                out,
            )
        elif source == FROM_STATE:
            put_state(relation, row, now_s, out)
        else:
            put_i32(out, -1)
    if wanted == NULL:
        out.data[start] = <uint8_t>(fields >> 8)
        out.data[start + 1] = <uint8_t>(fields & 0xFF)
    else:
        patch_i32(out, start, <int32_t>(out.length - start - 4))
    unindex_cells(row, s)
    return 0


cdef int open_array(ArrayReader *reader, const uint8_t *data, Py_ssize_t size) noexcept nogil:
    """0, or -1 when the bytes are no array of at most one dimension."""
    reader.data = data
    reader.limit = size
    reader.n = 0
    if size < 12:
        return -1
    reader.position = 12
    if be32(data) == 0:
        return 0
    if be32(data) != 1 or size < 20:
        return -1
    reader.n = <int32_t>be32(data + 12)
    reader.position = 20
    return 0


cdef int next_item(ArrayReader *reader, Slice *item) noexcept nogil:
    """The next item (length -1: NULL); -1 when the bytes end before it does."""
    if reader.limit - reader.position < 4:
        return -1
    item.length = <int32_t>be32(reader.data + reader.position)
    reader.position += 4
    item.data = reader.data + reader.position
    if item.length < 0:
        return 0
    if item.length > reader.limit - reader.position:
        return -1
    reader.position += item.length
    return 0
