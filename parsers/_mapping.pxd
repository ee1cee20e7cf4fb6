# cython: language_level=3
"""A file mapped for reading while another process writes and grows it."""
from libc.stdint cimport uint8_t, uint32_t


cdef extern from "_mapping.h" nogil:
    uint32_t cdc_live_be32(const uint8_t *p)
    size_t cdc_nonzero_end(const uint8_t *p, size_t n)


# Each mapping reserves at least twice the room of the one before.
cdef enum:
    MAX_MAPPINGS = 40


cdef struct Mapped:
    uint8_t *base
    size_t reserved
    int guard           # see _mapping_guard.h


cdef class FileMapping:
    cdef readonly object path
    cdef int fd
    cdef const uint8_t *base        # the newest mapping; older ones stay valid until close()
    cdef Py_ssize_t length          # bytes of the file; never read at or past base + length
    cdef Mapped mappings[MAX_MAPPINGS]
    cdef int count

    cdef int refresh(self) except -1 nogil
    cdef int check_intact(self) except -1 nogil
    cdef Py_ssize_t data_end(self, Py_ssize_t start) noexcept nogil
    cdef void forget(self, Py_ssize_t end) noexcept nogil
    cdef int _map(self, Py_ssize_t length) except -1 nogil
    cdef int _raise_errno(self) except -1
