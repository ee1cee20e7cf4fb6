# cython: language_level=3
"""Decoded rows as PostgreSQL's binary formats: COPY tuples, records, arrays of records."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from parsers._buffer cimport Buffer
from parsers._check cimport Element
from parsers._cursor cimport Slice
from parsers._model cimport Row
from parsers._relation cimport Relation


# A one-dimensional array in PostgreSQL's binary form, being read.
cdef struct ArrayReader:
    const uint8_t *data
    Py_ssize_t position
    Py_ssize_t limit
    int32_t n


# What writing a row needs besides the row, reused from row to row.
cdef struct Scratch:
    int32_t *first_cell         # per column of the table: index of its first cell, or -1
    Element *elements
    int32_t elements_capacity
    Slice *key                  # components of the primary key in hand
    Buffer state


cdef int scratch_init(Scratch *scratch, Relation relation) except -1
cdef void scratch_free(Scratch *scratch) noexcept nogil
cdef int split_key(
    Relation relation, const Row *row, bint partition_only, Slice *key
) noexcept nogil
cdef int put_array_header(Buffer *out, uint32_t oid, int32_t n) except -1 nogil
cdef void patch_array_count(Buffer *out, Py_ssize_t offset, int32_t n) noexcept nogil
cdef int put_key_record(
    Relation relation, const Row *row, bint partition_only, Scratch *s, Buffer *out
) except -1 nogil
cdef int put_row(
    Relation relation, const Row *row, const uint8_t *wanted, bint is_new, int64_t now_s,
    Scratch *s, Buffer *out,
) except -1 nogil
cdef int open_array(ArrayReader *reader, const uint8_t *data, Py_ssize_t size) noexcept nogil
cdef int next_item(ArrayReader *reader, Slice *item) noexcept nogil
