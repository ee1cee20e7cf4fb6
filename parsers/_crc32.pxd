# cython: language_level=3
"""CRC-32 in zlib's convention, running, on raw memory."""
from libc.stdint cimport uint8_t, uint32_t


cdef uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t length) noexcept nogil
