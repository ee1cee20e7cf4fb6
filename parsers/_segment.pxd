# cython: language_level=3
"""One commit-log segment as a sequence of checked mutation slices."""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from parsers._mapping cimport FileMapping


cdef enum:
    INCOMPLETE = 0      # nothing more yet: come back
    ENTRY = 1           # one mutation
    CORRUPT = 2         # see reason, error_offset, error_end
    END = 3             # the segment is final and read to its end


cdef enum Reason:
    NONE
    HEADER_ABSENT
    HEADER_BAD
    HEADER_ID
    MARKER_ABSENT
    MARKER_BAD
    MARKER_RANGE
    SECTION_CUT
    SECTION_NOT_SYNCED
    SECTION_TOO_BIG
    SECTION_UNDECODABLE
    ENTRY_ABSENT
    ENTRY_SIZE
    ENTRY_SIZE_CRC
    ENTRY_CRC
    RESUME_INSIDE


cdef enum:
    MARKER_BYTES = 8


cdef struct Entry:
    const uint8_t *mutation
    Py_ssize_t size
    int64_t end_offset      # logical: the entry's position


cdef class SegmentReader:
    cdef readonly object header         # SegmentHeader, None while the file has none
    cdef readonly object path
    cdef readonly int version
    cdef readonly int64_t segment_id
    cdef readonly int64_t position
    cdef readonly int64_t durable_end
    cdef readonly bint live
    cdef readonly bint completed
    cdef readonly int64_t error_offset
    cdef readonly int64_t error_end
    cdef readonly int64_t damage_skipped            # see _damage.pyx
    cdef readonly int64_t damage_skipped_bytes
    cdef readonly int64_t zero_bytes_skipped
    cdef readonly int64_t tail_bytes_ignored
    cdef readonly Py_ssize_t max_section_bytes
    cdef int _reason
    cdef str _detail

    cdef FileMapping _file
    cdef object _keys
    cdef object _codec                  # None: sections hold the entries as they are
    cdef list _sections                 # decoded sections that slices may point into
    cdef bint _plain
    cdef bint _to_sync
    cdef int64_t _synced_offset
    cdef int64_t _resume

    cdef Py_ssize_t _marker             # file offset of the current section's marker
    cdef int64_t _marker_logical
    cdef uint32_t _marker_crc           # what the marker holds once it is written
    cdef Py_ssize_t _next               # file offset of the next marker; 0: not known
    cdef bint _inside                   # between markers
    cdef bint _open                     # the section has no marker yet
    cdef const uint8_t *_body
    cdef Py_ssize_t _cursor
    cdef Py_ssize_t _limit
    cdef int64_t _body_logical          # logical offset of _body[0]

    cdef int next_entry(self, Entry *out) except -1 nogil
    cdef int _read_header(self) except -1
    cdef uint32_t _crc_of_marker(self, Py_ssize_t marker) noexcept nogil
    cdef int _check_marker(self) except -1 nogil
    cdef int _enter_section(self) except -1 nogil
    cdef int _enter_encoded(self) except -1 nogil
    cdef int _decode_section(self, Py_ssize_t length) except -1
    cdef void _leave_section(self) noexcept nogil
    cdef Py_ssize_t _room(self) noexcept nogil
    cdef int _look_for_close(self) except -1 nogil
    cdef int _check_entry(self, Entry *out) noexcept nogil
    cdef int _at_chain_end(self) except -1 nogil
    cdef int _incomplete(self, int reason) noexcept nogil
    cdef int _corrupt(self, int reason, int64_t start, int64_t end) noexcept nogil
