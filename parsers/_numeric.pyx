# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Numbers of any length, without Python's integers: base conversion is quadratic, which the size
limits bound.
"""

cimport cython

from libc.stdint cimport int16_t, uint16_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove, memset

from parsers._buffer cimport buffer_reserve, htobe32, put_bytes, put_i16, put_i32, put_u8

cdef extern from "<endian.h>" nogil:
    uint16_t be16toh(uint16_t)

cdef uint32_t LIMB_BASE = 100_000_000
cdef int LIMB_DIGITS = 8
cdef uint32_t[9] POWERS
POWERS[:] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000]

# PostgreSQL, numeric.c
cdef uint16_t NUMERIC_POSITIVE = 0x0000
cdef uint16_t NUMERIC_NEGATIVE = 0x4000
cdef int32_t NUMERIC_GROUP_DIGITS = 4


cdef int digits_load(Digits *digits, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    if not digits_try_load(digits, value, size):
        with gil:
            raise MemoryError(f"no memory for a number of {size} bytes")
    return 0


@cython.cdivision(True)
cdef bint digits_try_load(Digits *digits, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    # False when there is no memory.
    cdef uint64_t small = 0
    cdef uint8_t flip = 0
    cdef Py_ssize_t i
    digits.limbs = digits.inline_limbs
    digits.count = 0
    digits.negative = size > 0 and value[0] >= 0x80
    if digits.negative:
        flip = 0xFF
    if size <= 8:
        for i in range(size):
            small = (small << 8) | (value[i] ^ flip)
        if digits.negative:
            small += 1
        while small:
            digits.limbs[digits.count] = <uint32_t>(small % 100_000_000)
            small = small // 100_000_000
            digits.count += 1
        return True
    return _load_large(digits, value, size, flip)


@cython.cdivision(True)
cdef bint _load_large(
        Digits *digits, const uint8_t *value, Py_ssize_t size, uint8_t flip) noexcept nogil:
    # A byte is 2.41 decimal digits, 0.302 limbs.
    cdef Py_ssize_t room = size // 3 + 3
    cdef Py_ssize_t position = 0, j, count = 0
    cdef uint32_t *limbs = digits.limbs
    cdef uint64_t carry
    cdef int width
    if room > INLINE_LIMBS:
        limbs = <uint32_t *>malloc(<size_t>room * sizeof(uint32_t))
        if limbs == NULL:
            return False
        digits.limbs = limbs
    while position < size:
        width = <int>((size - position) & 3)
        if width == 0:
            width = 4
        carry = 0
        for j in range(position, position + width):
            carry = (carry << 8) | (value[j] ^ flip)
        position += width
        for j in range(count):
            carry += <uint64_t>limbs[j] << (8 * width)
            limbs[j] = <uint32_t>(carry % 100_000_000)
            carry = carry // 100_000_000
        while carry:
            limbs[count] = <uint32_t>(carry % 100_000_000)
            carry = carry // 100_000_000
            count += 1
    if flip:
        # |v| = ~v + 1
        j = 0
        while j < count and limbs[j] == 99_999_999:
            limbs[j] = 0
            j += 1
        if j == count:
            limbs[count] = 1
            count += 1
        else:
            limbs[j] += 1
    digits.count = count
    return True


cdef void digits_free(Digits *digits) noexcept nogil:
    if digits.limbs != digits.inline_limbs:
        free(digits.limbs)
        digits.limbs = digits.inline_limbs


cdef int64_t magnitude_bits(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i = 0
    cdef uint8_t flip = 0xFF if size > 0 and value[0] >= 0x80 else 0
    cdef uint8_t top
    cdef int64_t bits
    while i < size and value[i] == flip:
        i += 1
    if i == size:
        return 1 if flip else 0
    top = value[i] ^ flip
    bits = 8 * <int64_t>(size - i)
    while not top & 0x80:
        top = <uint8_t>(top << 1)
        bits -= 1
    return bits


@cython.cdivision(True)
cdef bint numeric_fits(const uint8_t *unscaled, Py_ssize_t size, int64_t scale) noexcept nogil:
    cdef int64_t bits
    if scale > MAX_SCALE:
        return False
    bits = magnitude_bits(unscaled, size)
    if bits == 0:
        return True
    # 10^d has more than 3.3219 d bits; the bound is one digit short of exact at most.
    if bits > MAX_MAGNITUDE_BITS:
        return False
    return bits * 30103 // 100000 + 1 - scale <= MAX_DIGITS_BEFORE_POINT


cdef bint is_minimal(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    if size < 1:
        return False
    if size == 1:
        return True
    if value[0] == 0:
        return value[1] >= 0x80
    if value[0] == 0xFF:
        return value[1] < 0x80
    return True


@cython.cdivision(True)
cdef inline int32_t _group(const Digits *digits, Py_ssize_t i) noexcept nogil:
    # The i-th base-10000 digit, the least significant being 0.
    cdef uint32_t limb
    if i < 0 or (i >> 1) >= digits.count:
        return 0
    limb = digits.limbs[i >> 1]
    return <int32_t>(limb // 10_000 if i & 1 else limb % 10_000)


@cython.cdivision(True)
cdef int put_numeric(
        Buffer *out, const uint8_t *unscaled, Py_ssize_t size, int32_t scale) except -1 nogil:
    cdef Digits digits
    # A multiple of 4, so that groups of four digits meet at the point.
    cdef int32_t pad = <int32_t>(((4 - scale % 4) % 4))
    cdef int64_t aligned = <int64_t>scale + pad
    cdef int32_t factor = <int32_t>POWERS[pad], split = <int32_t>POWERS[4 - pad]
    cdef Py_ssize_t top, bottom, i
    cdef int32_t count
    digits_load(&digits, unscaled, size)
    try:
        top = digits.count * 2
        while top >= 0 and _scaled_group(&digits, top, factor, split) == 0:
            top -= 1
        bottom = 0
        while bottom < top and _scaled_group(&digits, bottom, factor, split) == 0:
            bottom += 1
        count = <int32_t>(top - bottom + 1) if top >= 0 else 0
        buffer_reserve(out, 12 + 2 * count)
        put_i32(out, 8 + 2 * count)
        put_i16(out, <int16_t>count)
        put_i16(out, <int16_t>(top - aligned // NUMERIC_GROUP_DIGITS) if count else 0)
        put_i16(out, <int16_t>(NUMERIC_NEGATIVE if digits.negative else NUMERIC_POSITIVE))
        put_i16(out, <int16_t>(scale if scale > 0 else 0))
        for i in range(count):
            put_i16(out, <int16_t>_scaled_group(&digits, top - i, factor, split))
    finally:
        digits_free(&digits)
    return 0


@cython.cdivision(True)
cdef inline int32_t _scaled_group(
        const Digits *digits, Py_ssize_t i, int32_t factor, int32_t split) noexcept nogil:
    # The i-th base-10000 digit of the magnitude times factor; split = 10000 / factor.  What comes
    # up from
    # below is less than factor, and what stays is a multiple of it: there is no further carry.
    return _group(digits, i) % split * factor + _group(digits, i - 1) // split


@cython.cdivision(True)
cdef int _put_coefficient(Buffer *out, const Digits *digits) except -1 nogil:
    cdef Py_ssize_t i
    cdef uint32_t limb
    cdef int k, skip
    if digits.count == 0:
        return put_u8(out, c'0')
    buffer_reserve(out, digits.count * 8)
    limb = digits.limbs[digits.count - 1]
    skip = 0
    while skip < 7 and limb < POWERS[7 - skip]:
        skip += 1
    for i in range(digits.count - 1, -1, -1):
        limb = digits.limbs[i]
        for k in range(7 - skip, -1, -1):
            out.data[out.length + k] = <uint8_t>(c'0' + limb % 10)
            limb = limb // 10
        out.length += 8 - skip
        skip = 0
    return 0


cdef int put_decimal_text(
        Buffer *out, const uint8_t *unscaled, Py_ssize_t size, int32_t scale) except -1 nogil:
    cdef Digits digits
    cdef Py_ssize_t start, length, point
    cdef int64_t adjusted, zeros
    digits_load(&digits, unscaled, size)
    try:
        if digits.negative:
            put_u8(out, c'-')
        start = out.length
        _put_coefficient(out, &digits)
    finally:
        digits_free(&digits)
    if scale == 0:
        return 0
    length = out.length - start
    adjusted = -<int64_t>scale + length - 1
    if scale > 0 and adjusted >= -6:
        point = length - scale
        if point > 0:
            _open_gap(out, start + point, 1)
            out.data[start + point] = c'.'
        else:
            zeros = -point
            _open_gap(out, start, 2 + <Py_ssize_t>zeros)
            memset(out.data + start, c'0', <size_t>(2 + zeros))
            out.data[start + 1] = c'.'
        return 0
    if length > 1:
        _open_gap(out, start + 1, 1)
        out.data[start + 1] = c'.'
    if adjusted != 0:
        put_u8(out, c'E')
        put_u8(out, <uint8_t>(c'+' if adjusted > 0 else c'-'))
        _put_small(out, <uint64_t>(adjusted if adjusted > 0 else -adjusted))
    return 0


cdef int _open_gap(Buffer *out, Py_ssize_t at, Py_ssize_t width) except -1 nogil:
    buffer_reserve(out, width)
    memmove(out.data + at + width, out.data + at, <size_t>(out.length - at))
    out.length += width
    return 0


@cython.cdivision(True)
cdef int _put_small(Buffer *out, uint64_t value) except -1 nogil:
    cdef uint8_t text[20]
    cdef int i = 20
    while True:
        i -= 1
        text[i] = <uint8_t>(c'0' + value % 10)
        value = value // 10
        if value == 0:
            break
    return put_bytes(out, text + i, 20 - i)


@cython.cdivision(True)
cdef int numeric_unscaled(
        Buffer *out, const uint8_t *field, Py_ssize_t size, int32_t *scale) except -1 nogil:
    cdef uint16_t header[4]
    cdef uint16_t raw
    cdef int32_t count, weight, dscale, pad, group
    cdef Py_ssize_t groups, i, words = 0
    cdef uint32_t *magnitude
    if size < 8:
        return _malformed()
    memcpy(header, field, 8)
    count = be16toh(header[0])
    weight = <int16_t>be16toh(header[1])
    dscale = be16toh(header[3])
    if size != 8 + 2 * count or dscale > MAX_SCALE or be16toh(header[2]) not in (0x0000, 0x4000):
        return _malformed()
    # Groups from the first digit's down to the one that holds the last digit of dscale.
    groups = <Py_ssize_t>weight + 1 + (dscale + 3) // 4
    pad = (4 - dscale % 4) % 4
    if count > groups:
        return _malformed()
    if groups < 0 or count == 0:
        groups = 0
    # 14 bits hold a group.
    magnitude = <uint32_t *>malloc(<size_t>(groups * 14 // 32 + 2) * sizeof(uint32_t))
    if magnitude == NULL:
        with gil:
            raise MemoryError("no memory for a numeric")
    try:
        for i in range(groups):
            group = 0
            if i < count:
                memcpy(&raw, field + 8 + 2 * i, 2)
                group = be16toh(raw)
                if group > 9999:
                    return _malformed()
            if i == groups - 1:
                if group % <int32_t>POWERS[pad] != 0:
                    return _malformed()
                words = _multiply_add(
                    magnitude, words, POWERS[4 - pad], <uint32_t>(group // <int32_t>POWERS[pad]))
            else:
                words = _multiply_add(magnitude, words, 10_000, <uint32_t>group)
        _put_twos_complement(out, magnitude, words, be16toh(header[2]) == 0x4000)
    finally:
        free(magnitude)
    scale[0] = dscale
    return 0


cdef Py_ssize_t _multiply_add(
        uint32_t *words, Py_ssize_t count, uint32_t factor, uint32_t addend) noexcept nogil:
    cdef uint64_t carry = addend
    cdef Py_ssize_t i
    for i in range(count):
        carry += <uint64_t>words[i] * factor
        words[i] = <uint32_t>carry
        carry >>= 32
    if carry:
        words[count] = <uint32_t>carry
        count += 1
    return count


cdef int _put_twos_complement(
        Buffer *out, uint32_t *words, Py_ssize_t count, bint negative) except -1 nogil:
    cdef Py_ssize_t i, start
    cdef uint32_t wire, sign = 0
    cdef bint borrow = negative
    if negative and count:
        sign = 0xFFFFFFFF
        for i in range(count):
            words[i] = ~words[i]
            if borrow:
                words[i] += 1
                borrow = words[i] == 0
    buffer_reserve(out, 4 * count + 4)
    start = out.length
    put_i32(out, <int32_t>sign)
    for i in range(count - 1, -1, -1):
        wire = htobe32(words[i])
        memcpy(out.data + out.length, &wire, 4)
        out.length += 4
    # Drop leading bytes that only repeat the sign.
    i = start
    while i < out.length - 1 and not is_minimal(out.data + i, out.length - i):
        i += 1
    memmove(out.data + start, out.data + i, <size_t>(out.length - i))
    out.length -= i - start
    return 0


cdef int _malformed() except -1 nogil:
    with gil:
        raise ValueError("a numeric field that no varint or decimal column holds")
