"""The growable byte buffer that every encoder appends to: big-endian puts, checked once, grown out
of line.

A zeroed `Buffer` is a valid empty one.  Whoever declares it frees it with `buffer_free`.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<endian.h>" nogil:
    uint16_t htobe16(uint16_t)
    uint32_t htobe32(uint32_t)
    uint64_t htobe64(uint64_t)


cdef struct Buffer:
    uint8_t *data
    Py_ssize_t length
    Py_ssize_t capacity


# Makes room for `extra` more bytes beyond `length`; MemoryError when the system has none.
cdef int buffer_grow(Buffer *buffer, Py_ssize_t extra) except -1 nogil
cdef void buffer_free(Buffer *buffer) noexcept nogil
cdef int put_uvint(Buffer *buffer, uint64_t value) except -1 nogil


cdef inline void buffer_init(Buffer *buffer) noexcept nogil:
    buffer.data = NULL
    buffer.length = 0
    buffer.capacity = 0


cdef inline void buffer_clear(Buffer *buffer) noexcept nogil:
    buffer.length = 0


cdef inline int buffer_reserve(Buffer *buffer, Py_ssize_t extra) except -1 nogil:
    if extra > buffer.capacity - buffer.length:
        return buffer_grow(buffer, extra)
    return 0


cdef inline int put_u8(Buffer *buffer, uint8_t value) except -1 nogil:
    buffer_reserve(buffer, 1)
    buffer.data[buffer.length] = value
    buffer.length += 1
    return 0


cdef inline int put_i16(Buffer *buffer, int16_t value) except -1 nogil:
    cdef uint16_t wire = htobe16(<uint16_t>value)
    buffer_reserve(buffer, 2)
    memcpy(buffer.data + buffer.length, &wire, 2)
    buffer.length += 2
    return 0


cdef inline int put_i32(Buffer *buffer, int32_t value) except -1 nogil:
    cdef uint32_t wire = htobe32(<uint32_t>value)
    buffer_reserve(buffer, 4)
    memcpy(buffer.data + buffer.length, &wire, 4)
    buffer.length += 4
    return 0


cdef inline int put_i64(Buffer *buffer, int64_t value) except -1 nogil:
    cdef uint64_t wire = htobe64(<uint64_t>value)
    buffer_reserve(buffer, 8)
    memcpy(buffer.data + buffer.length, &wire, 8)
    buffer.length += 8
    return 0


cdef inline int put_bytes(Buffer *buffer, const uint8_t *source, Py_ssize_t size) except -1 nogil:
    buffer_reserve(buffer, size)
    if size > 0:
        memcpy(buffer.data + buffer.length, source, <size_t>size)
        buffer.length += size
    return 0


# Overwrites four bytes written before: a length that is known only once its field is complete.
cdef inline void patch_i32(Buffer *buffer, Py_ssize_t offset, int32_t value) noexcept nogil:
    cdef uint32_t wire = htobe32(<uint32_t>value)
    memcpy(buffer.data + offset, &wire, 4)
