# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Finds the mutations of one table in a segment, without decoding any."""
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from parsers._segment cimport ENTRY, Entry, SegmentReader

# The first update's table id stands behind the count of updates and, in 6.0, a byte of flags
# (format page 5.1): both are vints, of at most nine bytes.
cdef Py_ssize_t FARTHEST = 18


def next_of_table(SegmentReader reader not None, table_id not None):
    """The next mutation whose first update is of that table: (end offset, bytes).

    None where the segment can't be read further: at its end, for now, or at a damage. What it
    returns only looks like such a mutation; decoding tells.
    """
    cdef bytes id_bytes = table_id.bytes
    cdef const uint8_t *wanted = id_bytes
    cdef Entry entry
    cdef Py_ssize_t at
    cdef bint found = False
    with nogil:
        while not found and reader.next_entry(&entry) == ENTRY:
            at = 1
            while not found and at <= FARTHEST and at + 16 <= entry.size:
                found = memcmp(entry.mutation + at, wanted, 16) == 0
                at += 1
    return (entry.end_offset, entry.mutation[:entry.size]) if found else None
