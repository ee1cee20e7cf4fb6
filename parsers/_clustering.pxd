# cython: language_level=3
"""Clusterings in wire form (format page 5.5): writing one; one form for those that are equal."""
from libc.stdint cimport int32_t

from parsers._arena cimport Arena
from parsers._buffer cimport Buffer
from parsers._catalog cimport TableCode
from parsers._cursor cimport Slice

cdef int put_clustering(
    const TableCode *table, const Slice *values, Buffer *out
) except -1 nogil

# Replaces those of `values` that equal others of different bytes by one form of theirs; returns
# whether there were any.
cdef bint canonical_values(const TableCode *table, Slice *values, Arena *arena) except -1 nogil
