"""The order of varints and decimals, as `IntegerType` and `BigDecimal.compareTo` have it."""

from libc.stdint cimport uint8_t

# Both take any bytes.  Numbers beyond what PostgreSQL's numeric holds have some fixed order.
cdef int varint_compare(
    const uint8_t *left, Py_ssize_t left_size,
    const uint8_t *right, Py_ssize_t right_size) noexcept nogil
cdef int decimal_compare(
    const uint8_t *left, Py_ssize_t left_size,
    const uint8_t *right, Py_ssize_t right_size) noexcept nogil
