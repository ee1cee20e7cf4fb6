"""varint and decimal: two's complement of any length to PostgreSQL's numeric, to text, and back."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from parsers._buffer cimport Buffer

cdef enum:
    # Bits of the largest magnitude below 10^131072, numeric's limit before the point.
    MAX_MAGNITUDE_BITS = 435411
    MAX_UNSCALED_BYTES = 54427
    MAX_DIGITS_BEFORE_POINT = 131072
    MAX_SCALE = 16383
    INLINE_LIMBS = 40


# A magnitude in base 10^8, least significant limb first; `limbs` points to `inline_limbs` while it
# fits there,
# so the struct must not be copied.  digits_free when done.
cdef struct Digits:
    uint32_t *limbs
    Py_ssize_t count            # without leading zero limbs: 0 is the number 0
    bint negative
    uint32_t inline_limbs[INLINE_LIMBS]


cdef int digits_load(Digits *digits, const uint8_t *value, Py_ssize_t size) except -1 nogil
# The same without an exception: False when there is no memory.
cdef bint digits_try_load(Digits *digits, const uint8_t *value, Py_ssize_t size) noexcept nogil
cdef void digits_free(Digits *digits) noexcept nogil

# Bits of the magnitude (0 for 0 and -1 needs 1); a bound that is exact but for powers of two below
# zero.
cdef int64_t magnitude_bits(const uint8_t *value, Py_ssize_t size) noexcept nogil

# Whether numeric holds unscaled * 10^-scale with that scale.
cdef bint numeric_fits(const uint8_t *unscaled, Py_ssize_t size, int64_t scale) noexcept nogil

# Whether these are the bytes that Java's BigInteger.toByteArray gives.
cdef bint is_minimal(const uint8_t *value, Py_ssize_t size) noexcept nogil

# The whole field with its length.
cdef int put_numeric(
    Buffer *out, const uint8_t *unscaled, Py_ssize_t size, int32_t scale) except -1 nogil

# Text as java.math.BigDecimal.toString has it; scale 0 is BigInteger's.
cdef int put_decimal_text(
    Buffer *out, const uint8_t *unscaled, Py_ssize_t size, int32_t scale) except -1 nogil

# numeric's binary field to the minimal two's complement of its unscaled value; `scale` receives its
# dscale.
# ValueError for NaN, infinities and malformed fields.
cdef int numeric_unscaled(
    Buffer *out, const uint8_t *field, Py_ssize_t size, int32_t *scale) except -1 nogil
