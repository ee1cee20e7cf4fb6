# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Writes scalars as text, in C alone; what the values mean and whether they are legal was settled
before.
"""

cimport cython

from libc.math cimport fabs, isinf, isnan, signbit
from libc.stdint cimport uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport atoi, strtod
from libc.string cimport strlen

from parsers._buffer cimport buffer_reserve, put_bytes, put_u8
from parsers._types cimport NUL_REPLACE
from parsers._wire cimport is_ipv4_mapped

cdef extern from "<stdlib.h>" nogil:
    float strtof(const char *, char **)

cdef const char *LOWER_HEX = "0123456789abcdef"
cdef const char *UPPER_HEX = "0123456789ABCDEF"
cdef double SMALLEST_NORMAL_DOUBLE = 2.2250738585072014e-308
cdef double SMALLEST_NORMAL_FLOAT = 1.1754943508222875e-38


cdef int put_ascii(Buffer *out, const char *text) except -1 nogil:
    return put_bytes(out, <const uint8_t *>text, <Py_ssize_t>strlen(text))


@cython.cdivision(True)
cdef int _put_padded(Buffer *out, uint64_t value, int width) except -1 nogil:
    cdef uint8_t text[24]
    cdef int i = 24
    while value or i > 24 - width:
        i -= 1
        text[i] = <uint8_t>(c'0' + value % 10)
        value = value // 10
    return put_bytes(out, text + i, 24 - i)


cdef int put_integer(Buffer *out, int64_t value) except -1 nogil:
    if value < 0:
        put_u8(out, c'-')
        return _put_padded(out, <uint64_t>0 - <uint64_t>value, 1)
    return _put_padded(out, <uint64_t>value, 1)


@cython.cdivision(True)
cdef int put_date(Buffer *out, int64_t days) except -1 nogil:
    # Howard Hinnant, "chrono-compatible low-level date algorithms": civil_from_days.
    cdef int64_t shifted = days + 719468
    cdef int64_t era = (shifted if shifted >= 0 else shifted - 146096) // 146097
    cdef int64_t day_of_era = shifted - era * 146097
    cdef int64_t year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    cdef int64_t day_of_year = (
        day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100))
    cdef int64_t month_index = (5 * day_of_year + 2) // 153
    cdef int64_t day = day_of_year - (153 * month_index + 2) // 5 + 1
    cdef int64_t month = month_index + 3 if month_index < 10 else month_index - 9
    cdef int64_t year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    if year < 0:
        put_u8(out, c'-')
        year = -year
    elif year > 9999:
        put_u8(out, c'+')
    _put_padded(out, <uint64_t>year, 4)
    put_u8(out, c'-')
    _put_padded(out, <uint64_t>month, 2)
    put_u8(out, c'-')
    return _put_padded(out, <uint64_t>day, 2)


@cython.cdivision(True)
cdef int put_timestamp(Buffer *out, int64_t milliseconds) except -1 nogil:
    cdef int64_t day = 86_400_000
    cdef int64_t days = milliseconds // day
    cdef int64_t rest = milliseconds % day
    if rest < 0:
        rest += day
        days -= 1
    put_date(out, days)
    put_u8(out, c' ')
    _put_clock(out, rest // 1000)
    put_u8(out, c'.')
    _put_padded(out, <uint64_t>(rest % 1000), 3)
    return put_u8(out, c'Z')


@cython.cdivision(True)
cdef int _put_clock(Buffer *out, int64_t seconds) except -1 nogil:
    _put_padded(out, <uint64_t>(seconds // 3600), 2)
    put_u8(out, c':')
    _put_padded(out, <uint64_t>(seconds // 60 % 60), 2)
    put_u8(out, c':')
    return _put_padded(out, <uint64_t>(seconds % 60), 2)


@cython.cdivision(True)
cdef int put_time(Buffer *out, int64_t nanoseconds) except -1 nogil:
    _put_clock(out, nanoseconds // 1_000_000_000)
    put_u8(out, c'.')
    return _put_padded(out, <uint64_t>(nanoseconds % 1_000_000_000), 9)


cdef int put_duration(
        Buffer *out, int32_t months, int32_t days, int64_t nanoseconds) except -1 nogil:
    cdef uint64_t rest
    if months < 0 or days < 0 or nanoseconds < 0:
        put_u8(out, c'-')
    rest = _put_unit(out, _magnitude(months), 12, "y")
    _put_unit(out, rest, 1, "mo")
    _put_unit(out, _magnitude(days), 1, "d")
    rest = _put_unit(out, _magnitude(nanoseconds), 3_600_000_000_000, "h")
    rest = _put_unit(out, rest, 60_000_000_000, "m")
    rest = _put_unit(out, rest, 1_000_000_000, "s")
    rest = _put_unit(out, rest, 1_000_000, "ms")
    rest = _put_unit(out, rest, 1_000, "us")
    _put_unit(out, rest, 1, "ns")
    return 0


cdef inline uint64_t _magnitude(int64_t value) noexcept nogil:
    return <uint64_t>0 - <uint64_t>value if value < 0 else <uint64_t>value


@cython.cdivision(True)
cdef uint64_t _put_unit(
        Buffer *out, uint64_t amount, uint64_t divisor, const char *unit
) except? 0xFFFFFFFFFFFFFFFF nogil:
    if amount < divisor:
        return amount
    _put_padded(out, amount // divisor, 1)
    put_ascii(out, unit)
    return amount % divisor


cdef int put_uuid(Buffer *out, const uint8_t *value) except -1 nogil:
    cdef int i
    cdef uint8_t *text
    buffer_reserve(out, 36)
    text = out.data + out.length
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            text[0] = c'-'
            text += 1
        text[0] = <uint8_t>LOWER_HEX[value[i] >> 4]
        text[1] = <uint8_t>LOWER_HEX[value[i] & 15]
        text += 2
    out.length += 36
    return 0


cdef int put_inet(Buffer *out, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef char text[8]
    cdef int i
    if is_ipv4_mapped(value, size):
        value += 12
        size = 4
    if size == 4:
        for i in range(4):
            if i:
                put_u8(out, c'.')
            put_integer(out, value[i])
        return 0
    for i in range(8):
        if i:
            put_u8(out, c':')
        snprintf(text, 8, "%x", <uint32_t>value[2 * i] << 8 | value[2 * i + 1])
        put_ascii(out, text)
    return 0


cdef int put_hex(Buffer *out, const uint8_t *value, Py_ssize_t size) except -1 nogil:
    cdef Py_ssize_t i
    cdef uint8_t *text
    put_ascii(out, "0x")
    buffer_reserve(out, 2 * size)
    text = out.data + out.length
    for i in range(size):
        text[2 * i] = <uint8_t>LOWER_HEX[value[i] >> 4]
        text[2 * i + 1] = <uint8_t>LOWER_HEX[value[i] & 15]
    out.length += 2 * size
    return 0


cdef int put_double(Buffer *out, double value) except -1 nogil:
    cdef char text[40]
    cdef int precision
    if isnan(value) or isinf(value) or value == 0:
        return _put_special(out, value)
    # 15 digits of a normal number, if they give it back, are its fewest but for zeros at the end.
    precision = 15 if fabs(value) >= SMALLEST_NORMAL_DOUBLE else 2
    while True:
        snprintf(text, 40, "%.*e", precision - 1, fabs(value))
        if precision == 17 or strtod(text, NULL) == fabs(value):
            break
        precision += 1
    return _put_java(out, value < 0, text, precision)


cdef int put_float(Buffer *out, float value) except -1 nogil:
    cdef char text[40]
    cdef int precision
    cdef double magnitude = fabs(<double>value)
    if isnan(value) or isinf(value) or value == 0:
        return _put_special(out, value)
    precision = 6 if magnitude >= SMALLEST_NORMAL_FLOAT else 2
    while True:
        snprintf(text, 40, "%.*e", precision - 1, magnitude)
        if precision == 9 or strtof(text, NULL) == <float>magnitude:
            break
        precision += 1
    return _put_java(out, value < 0, text, precision)


cdef int _put_special(Buffer *out, double value) except -1 nogil:
    if isnan(value):
        return put_ascii(out, "NaN")
    if signbit(value):
        put_u8(out, c'-')
    return put_ascii(out, "Infinity" if isinf(value) else "0.0")


cdef int _put_java(Buffer *out, bint negative, const char *text, int precision) except -1 nogil:
    # `text` is C's d.ddde[+-]xx; Java writes 10^-3 <= |v| < 10^7 plainly, always with a digit after
    # the point.
    cdef char digits[24]
    cdef int count = 0, exponent, point, i
    digits[0] = text[0]
    for count in range(1, precision):
        digits[count] = text[count + 1]
    exponent = atoi(text + precision + 2)
    count = precision
    while count > 1 and digits[count - 1] == c'0':
        count -= 1
    if negative:
        put_u8(out, c'-')
    if -3 <= exponent < 7:
        point = exponent + 1
        if point <= 0:
            put_ascii(out, "0.")
            for _ in range(-point):
                put_u8(out, c'0')
            return put_bytes(out, <const uint8_t *>digits, count)
        for i in range(point):
            put_u8(out, <uint8_t>digits[i] if i < count else c'0')
        put_u8(out, c'.')
        if count <= point:
            return put_u8(out, c'0')
        return put_bytes(out, <const uint8_t *>digits + point, count - point)
    put_u8(out, <uint8_t>digits[0])
    put_u8(out, c'.')
    if count > 1:
        put_bytes(out, <const uint8_t *>digits + 1, count - 1)
    else:
        put_u8(out, c'0')
    put_u8(out, c'E')
    return put_integer(out, exponent)


cdef int put_json_string(
        Buffer *out, const uint8_t *text, Py_ssize_t size, uint8_t nul_policy) except -1 nogil:
    cdef Py_ssize_t i, done = 0
    cdef uint8_t c
    buffer_reserve(out, size + 2)
    put_u8(out, c'"')
    for i in range(size):
        c = text[i]
        if c >= 0x20 and c != c'"' and c != c'\\':
            continue
        put_bytes(out, text + done, i - done)
        done = i + 1
        if c == 0:
            if nul_policy == NUL_REPLACE:
                put_ascii(out, b"\xef\xbf\xbd")
            continue
        put_u8(out, c'\\')
        if c == c'"' or c == c'\\':
            put_u8(out, c)
        elif c == c'\n':
            put_u8(out, c'n')
        elif c == c'\r':
            put_u8(out, c'r')
        elif c == c'\t':
            put_u8(out, c't')
        elif c == c'\b':
            put_u8(out, c'b')
        elif c == c'\f':
            put_u8(out, c'f')
        else:
            put_ascii(out, "u00")
            put_u8(out, <uint8_t>UPPER_HEX[c >> 4])
            put_u8(out, <uint8_t>UPPER_HEX[c & 15])
    put_bytes(out, text + done, size - done)
    return put_u8(out, c'"')


cdef int put_without_nul(
        Buffer *out, const uint8_t *text, Py_ssize_t size, uint8_t nul_policy) except -1 nogil:
    cdef Py_ssize_t i, done = 0
    for i in range(size):
        if text[i] == 0:
            put_bytes(out, text + done, i - done)
            done = i + 1
            if nul_policy == NUL_REPLACE:
                put_ascii(out, b"\xef\xbf\xbd")
    return put_bytes(out, text + done, size - done)
