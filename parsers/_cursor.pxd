# cython: language_level=3
"""Checked big-endian reads over one mutation's bytes.

Every read returns 0, or -1 when the bytes do not suffice; nothing is raised here and nothing is
read past `limit`. `boundscheck` does not guard raw pointers: `need()` is the guard.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef struct Cursor:
    const uint8_t *base
    Py_ssize_t position
    Py_ssize_t limit


cdef struct Slice:
    const uint8_t *data
    int32_t length      # -1: null


cdef inline bint need(const Cursor *c, int64_t n) noexcept nogil:
    # Never `position + n > limit`: that can overflow.
    return n >= 0 and n <= c.limit - c.position


cdef inline int read_u8(Cursor *c, uint8_t *out) noexcept nogil:
    if c.position >= c.limit:
        return -1
    out[0] = c.base[c.position]
    c.position += 1
    return 0


cdef inline uint16_t be16(const uint8_t *p) noexcept nogil:
    return <uint16_t>((p[0] << 8) | p[1])


cdef inline uint32_t be32(const uint8_t *p) noexcept nogil:
    return ((<uint32_t>p[0]) << 24) | ((<uint32_t>p[1]) << 16) | ((<uint32_t>p[2]) << 8) | p[3]


cdef inline uint64_t be64(const uint8_t *p) noexcept nogil:
    return ((<uint64_t>be32(p)) << 32) | be32(p + 4)


cdef inline int read_u16(Cursor *c, uint16_t *out) noexcept nogil:
    if not need(c, 2):
        return -1
    out[0] = be16(c.base + c.position)
    c.position += 2
    return 0


cdef inline int read_bytes(Cursor *c, int64_t n, const uint8_t **out) noexcept nogil:
    if not need(c, n):
        return -1
    out[0] = c.base + c.position
    c.position += <Py_ssize_t>n
    return 0


cdef extern from * nogil:
    """
    /* Leading one bits of the first byte = number of extra bytes (format page, 6.1). */
    static inline int cdc_vint_extra(unsigned char first) {
        return first == 0xFF ? 8 : __builtin_clz((unsigned int)((unsigned char)~first)) - 24;
    }
    """
    int cdc_vint_extra(uint8_t first)


cdef inline int read_uvint(Cursor *c, uint64_t *out) noexcept nogil:
    """Unsigned variable-length integer, format page section 6.1."""
    cdef uint8_t first
    cdef int extra, i
    cdef uint64_t value
    cdef const uint8_t *p
    if c.position >= c.limit:
        return -1
    p = c.base + c.position
    first = p[0]
    if first < 0x80:
        out[0] = first
        c.position += 1
        return 0
    extra = cdc_vint_extra(first)
    if extra >= c.limit - c.position:
        return -1
    value = first & (<uint8_t>(0xFF >> extra)) if extra < 8 else 0
    for i in range(1, extra + 1):
        value = (value << 8) | p[i]
    out[0] = value
    c.position += extra + 1
    return 0


cdef inline int read_uvint_bytes(Cursor *c, Slice *out) noexcept nogil:
    """`uvint length` and that many bytes."""
    cdef uint64_t n
    if read_uvint(c, &n) < 0 or n > <uint64_t>0x7FFFFFFF or not need(c, <int64_t>n):
        return -1
    out.data = c.base + c.position
    out.length = <int32_t>n
    c.position += <Py_ssize_t>n
    return 0


cdef inline int64_t unzigzag(uint64_t n) noexcept nogil:
    return <int64_t>((n >> 1) ^ (~(n & 1) + 1))


cdef inline uint64_t zigzag(int64_t n) noexcept nogil:
    return ((<uint64_t>n) << 1) ^ <uint64_t>(n >> 63)
