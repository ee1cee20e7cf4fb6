# cython: language_level=3, autotestdict=False, auto_pickle=False
"""A file mapped for reading while another process writes and grows it; knows no format.

The mapping reserves address space beyond the end of the file, so that growth needs no new mapping
and pointers into it stay valid until close(). Pages that vanish under a reader read as zeros and
are reported by check_intact(), instead of killing the process.
"""
from libc.stdint cimport uint8_t
from libc.errno cimport EMFILE, ENXIO, errno
from posix.fcntl cimport O_CLOEXEC, O_RDONLY
from posix.mman cimport (
    MADV_DONTNEED, MADV_SEQUENTIAL, MAP_FAILED, MAP_SHARED, PROT_READ, madvise, mmap, munmap,
)
from posix.stat cimport fstat, struct_stat
from posix.unistd cimport close as posix_close, lseek

import os

import cython

from cdc_tail.errors import SegmentCorrupt

cdef extern from "<unistd.h>" nogil:
    int SEEK_DATA
    int SEEK_HOLE

cdef extern from "_mapping_guard.h" nogil:
    int cdc_guard_install()
    int cdc_guard_add(const void *base, size_t length)
    void cdc_guard_remove(int slot)
    bint cdc_guard_lost(int slot)

cdef Py_ssize_t RESERVED_MIN_BYTES = 64 * 1024 * 1024
cdef Py_ssize_t PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@cython.final
cdef class FileMapping:
    """The bytes of `path`, read-only and shared with its writer. OSError if it can't be opened."""

    def __cinit__(self, path):
        self.fd = -1
        self.count = 0
        self.length = 0
        self.base = NULL
        self.path = os.fspath(path)
        if cdc_guard_install() != 0:
            self._raise_errno()
        self.fd = os.open(self.path, O_RDONLY | O_CLOEXEC)
        self.refresh()

    def __dealloc__(self):
        self.close()

    cdef int refresh(self) except -1 nogil:
        """Look at the file's size again: 1 if it has grown, 0 if not.

        SegmentCorrupt if it has shrunk: reading pages that are gone would kill the process.
        """
        cdef struct_stat status
        cdef Py_ssize_t length
        if fstat(self.fd, &status) != 0:
            with gil:
                self._raise_errno()
        length = <Py_ssize_t>status.st_size
        if length < self.length:
            with gil:
                raise SegmentCorrupt(
                    f"the file was cut from {self.length} to {length} bytes while it was read",
                    hint="Cassandra never shortens a segment: find out what else writes there",
                    segment=self.path,
                )
        if self.count == 0 or length > <Py_ssize_t>self.mappings[self.count - 1].reserved:
            self._map(length)
        if length == self.length:
            return 0
        self.length = length
        return 1

    cdef int check_intact(self) except -1 nogil:
        """SegmentCorrupt if a page was lost: bytes read since may be zeros never written."""
        cdef int i
        for i in range(self.count):
            if cdc_guard_lost(self.mappings[i].guard):
                with gil:
                    raise SegmentCorrupt(
                        "the file was cut, or its disk failed, while it was read",
                        hint="find out what else writes there; see the kernel's log",
                        segment=self.path,
                    )
        return 0

    cdef int _map(self, Py_ssize_t length) except -1 nogil:
        cdef Py_ssize_t reserved = RESERVED_MIN_BYTES
        cdef void *base
        cdef int guard
        while reserved < length or (
            self.count and reserved < 2 * <Py_ssize_t>self.mappings[self.count - 1].reserved
        ):
            reserved *= 2
        base = mmap(NULL, <size_t>reserved, PROT_READ, MAP_SHARED, self.fd, 0)
        if base == MAP_FAILED:
            with gil:
                self._raise_errno()
        guard = cdc_guard_add(base, <size_t>reserved)
        if guard < 0:
            munmap(base, <size_t>reserved)
            with gil:
                raise OSError(EMFILE, "too many segments are open", self.path)
        madvise(base, <size_t>reserved, MADV_SEQUENTIAL)
        self.mappings[self.count].base = <uint8_t *>base
        self.mappings[self.count].reserved = <size_t>reserved
        self.mappings[self.count].guard = guard
        self.count += 1
        self.base = <uint8_t *>base
        return 0

    cdef Py_ssize_t data_end(self, Py_ssize_t start) noexcept nogil:
        """One past the last non-zero byte at or after `start`, or `start`; holes are not read."""
        cdef Py_ssize_t data = start, hole, end = start, found
        while start < self.length:
            data = <Py_ssize_t>lseek(self.fd, start, SEEK_DATA)
            if data < 0:
                if errno == ENXIO:
                    break
                data = start            # a file system that can't tell: all is data
            hole = <Py_ssize_t>lseek(self.fd, data, SEEK_HOLE)
            if hole < 0 or hole > self.length:
                hole = self.length
            if hole <= data:
                break
            found = <Py_ssize_t>cdc_nonzero_end(self.base + data, <size_t>(hole - data))
            if found:
                end = data + found
            start = hole
        return end

    cdef void forget(self, Py_ssize_t end) noexcept nogil:
        """Take the pages below `end` out of this process; a later read faults them in again."""
        cdef int i
        end -= end % PAGE_BYTES
        if end > 0:
            for i in range(self.count):
                if end <= <Py_ssize_t>self.mappings[i].reserved:
                    madvise(self.mappings[i].base, <size_t>end, MADV_DONTNEED)

    def close(self):
        """Unmap and close. Pointers into the file are invalid from here on."""
        while self.count:
            self.count -= 1
            cdc_guard_remove(self.mappings[self.count].guard)
            munmap(self.mappings[self.count].base, self.mappings[self.count].reserved)
        self.base = NULL
        self.length = 0
        if self.fd >= 0:
            posix_close(self.fd)
            self.fd = -1

    cdef int _raise_errno(self) except -1:
        raise OSError(errno, os.strerror(errno), self.path)
