# cython: language_level=3, autotestdict=False, auto_pickle=False
"""The slow paths of the growable byte buffer; the puts of fixed size are inline in the `.pxd`."""

from libc.stdlib cimport free, realloc

cdef Py_ssize_t SMALLEST = 1024
cdef Py_ssize_t LARGEST = (<size_t>-1) // 4


cdef int buffer_grow(Buffer *buffer, Py_ssize_t extra) except -1 nogil:
    cdef Py_ssize_t capacity
    cdef void *grown
    if extra < 0 or extra > LARGEST - buffer.length:
        with gil:
            raise MemoryError(f"a buffer of {buffer.length} bytes can't grow by {extra}")
    if extra <= buffer.capacity - buffer.length:
        return 0
    capacity = buffer.capacity * 2
    if capacity < buffer.length + extra:
        capacity = buffer.length + extra
    if capacity < SMALLEST:
        capacity = SMALLEST
    grown = realloc(buffer.data, <size_t>capacity)
    if grown == NULL:
        with gil:
            raise MemoryError(f"no memory for a buffer of {capacity} bytes")
    buffer.data = <uint8_t *>grown
    buffer.capacity = capacity
    return 0


cdef void buffer_free(Buffer *buffer) noexcept nogil:
    free(buffer.data)
    buffer_init(buffer)


cdef int put_uvint(Buffer *buffer, uint64_t value) except -1 nogil:
    """An unsigned variable-length integer (format page 6.1)."""
    cdef uint8_t bytes[9]
    cdef int extra = 0
    cdef int i
    while extra < 8 and value >> (7 * (extra + 1)):
        extra += 1
    if extra == 8:
        bytes[0] = 0xFF
    else:
        bytes[0] = <uint8_t>((0xFF00 >> extra) & 0xFF) | <uint8_t>(value >> (8 * extra))
    for i in range(extra):
        bytes[extra - i] = <uint8_t>(value >> (8 * i))
    return put_bytes(buffer, bytes, extra + 1)
