# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Compares numbers by their bytes where that does, by their digits only where scales differ and
sizes do not tell.
"""

cimport cython

from libc.stdint cimport int64_t, uint32_t

from parsers._numeric cimport (
    MAX_MAGNITUDE_BITS,
    Digits,
    digits_free,
    digits_try_load,
    is_minimal,
    magnitude_bits,
)
from parsers._wire cimport read_i32

cdef uint32_t[8] POWERS
POWERS[:] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000]


cdef int varint_compare(
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    cdef bint left_negative, right_negative
    cdef Py_ssize_t i
    if left_size == 0 or right_size == 0:
        return (left_size > 0) - (right_size > 0)
    left_negative = left[0] >= 0x80
    right_negative = right[0] >= 0x80
    if left_negative != right_negative:
        return -1 if left_negative else 1
    while left_size > 1 and not is_minimal(left, left_size):
        left += 1
        left_size -= 1
    while right_size > 1 and not is_minimal(right, right_size):
        right += 1
        right_size -= 1
    if left_size != right_size:
        return 1 if (left_size > right_size) != left_negative else -1
    for i in range(left_size):
        if left[i] != right[i]:
            return 1 if left[i] > right[i] else -1
    return 0


cdef inline int _sign(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    if size > 0 and value[0] >= 0x80:
        return -1
    for i in range(size):
        if value[i]:
            return 1
    return 0


cdef int decimal_compare(
        const uint8_t *left, Py_ssize_t left_size,
        const uint8_t *right, Py_ssize_t right_size) noexcept nogil:
    cdef int64_t left_scale, right_scale, left_low, left_high, right_low, right_high
    cdef int64_t left_bits, right_bits
    cdef int sign
    if left_size < 4 or right_size < 4:
        return <int>(left_size >= 4) - <int>(right_size >= 4)
    left_scale = read_i32(left)
    right_scale = read_i32(right)
    left += 4
    left_size -= 4
    right += 4
    right_size -= 4
    sign = _sign(left, left_size)
    if sign != _sign(right, right_size):
        return 1 if sign > _sign(right, right_size) else -1
    if sign == 0 or left_scale == right_scale:
        return varint_compare(left, left_size, right, right_size)
    # Digits before the point, as bounds from the bits; log10(2) = 0.30102999...
    left_bits = magnitude_bits(left, left_size)
    right_bits = magnitude_bits(right, right_size)
    left_low = (left_bits - 1) * 30102 // 100000 - left_scale
    left_high = left_bits * 30103 // 100000 + 1 - left_scale
    right_low = (right_bits - 1) * 30102 // 100000 - right_scale
    right_high = right_bits * 30103 // 100000 + 1 - right_scale
    if left_low > right_high:
        return sign
    if right_low > left_high:
        return -sign
    if left_bits > MAX_MAGNITUDE_BITS or right_bits > MAX_MAGNITUDE_BITS:
        # Beyond what is converted to digits (and what the mirror can hold): any fixed order does.
        return varint_compare(left, left_size, right, right_size) or (
            1 if left_scale > right_scale else -1)
    return sign * _compare_magnitudes(left, left_size, left_scale, right, right_size, right_scale)


@cython.cdivision(True)
cdef int64_t _digit_count(const Digits *digits) noexcept nogil:
    cdef uint32_t top = digits.limbs[digits.count - 1]
    cdef int64_t count = (digits.count - 1) * 8
    while top:
        top = top // 10
        count += 1
    return count


@cython.cdivision(True)
cdef int _digit(const Digits *digits, int64_t i) noexcept nogil:
    # The i-th decimal digit from the right; zero below the units.
    if i < 0:
        return 0
    return <int>(digits.limbs[i >> 3] // POWERS[i & 7] % 10)


cdef int _compare_magnitudes(
        const uint8_t *left, Py_ssize_t left_size, int64_t left_scale,
        const uint8_t *right, Py_ssize_t right_size, int64_t right_scale) noexcept nogil:
    cdef Digits a, b
    cdef int64_t i, j
    cdef int result = 0
    if not digits_try_load(&a, left, left_size) or not digits_try_load(&b, right, right_size):
        # Out of memory: the caller's next allocation will say so.
        digits_free(&a)
        return varint_compare(left, left_size, right, right_size)
    i = _digit_count(&a)
    j = _digit_count(&b)
    if i - left_scale != j - right_scale:
        result = 1 if i - left_scale > j - right_scale else -1
    while result == 0 and (i > 0 or j > 0):
        i -= 1
        j -= 1
        result = _digit(&a, i) - _digit(&b, j)
    digits_free(&a)
    digits_free(&b)
    return (result > 0) - (result < 0)
