# cython: language_level=3, autotestdict=False, auto_pickle=False
"""CRC-32 in zlib's convention, running, on raw memory; picks the CPU's fastest way at import."""
from libc.stdint cimport uint8_t, uint32_t


cdef extern from "_crc32.h" nogil:
    void cdc_crc_init()
    uint32_t cdc_crc32(uint32_t crc, const uint8_t *data, size_t length)
    uint32_t cdc_crc32_portable(uint32_t crc, const uint8_t *data, size_t length)


cdc_crc_init()


cdef uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t length) noexcept nogil:
    return cdc_crc32(crc, data, length)


def crc32(const uint8_t[::1] data not None, uint32_t crc=0, *, bint portable=False):
    """The CRC-32 of `data` continued from `crc`, as zlib.crc32 gives it.

    `portable` takes the way of a CPU without carry-less multiplication.
    """
    cdef uint32_t result
    cdef const uint8_t *start = NULL
    cdef size_t length = <size_t>data.shape[0]
    if length:
        start = &data[0]
    with nogil:
        if portable:
            result = cdc_crc32_portable(crc, start, length)
        else:
            result = cdc_crc32(crc, start, length)
    return result
