"""The text of a scalar as Cassandra's toJson prints it, without quotes."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from parsers._buffer cimport Buffer

cdef int put_ascii(Buffer *out, const char *text) except -1 nogil
cdef int put_integer(Buffer *out, int64_t value) except -1 nogil

# `yyyy-MM-dd` of days since 1970-01-01; ISO years: -0043 is 44 BC, beyond 9999 with a plus sign.
cdef int put_date(Buffer *out, int64_t days) except -1 nogil

# `yyyy-MM-dd HH:mm:ss.SSSZ` of milliseconds since 1970-01-01 UTC.
cdef int put_timestamp(Buffer *out, int64_t milliseconds) except -1 nogil

# `HH:mm:ss.nnnnnnnnn` of nanoseconds since midnight.
cdef int put_time(Buffer *out, int64_t nanoseconds) except -1 nogil

# `1y2mo3d4h5m6s7ms8us9ns`, a minus sign before negative ones; nothing for zero.
cdef int put_duration(
    Buffer *out, int32_t months, int32_t days, int64_t nanoseconds) except -1 nogil
cdef int put_uuid(Buffer *out, const uint8_t *value) except -1 nogil

# Java's InetAddress.getHostAddress: eight groups without `::`, an IPv4-mapped address as IPv4.
cdef int put_inet(Buffer *out, const uint8_t *value, Py_ssize_t size) except -1 nogil

# `0x` and lower-case digits.
cdef int put_hex(Buffer *out, const uint8_t *value, Py_ssize_t size) except -1 nogil

# Java's Double.toString and Float.toString (Java 19 and later: the fewest digits that give the
# value back).
cdef int put_double(Buffer *out, double value) except -1 nogil
cdef int put_float(Buffer *out, float value) except -1 nogil

# A JSON string of UTF-8 text, quotes included, escaped as Cassandra does; what becomes of U+0000: a
# NulPolicy.
cdef int put_json_string(
    Buffer *out, const uint8_t *text, Py_ssize_t size, uint8_t nul_policy) except -1 nogil

# The text itself, with U+0000 replaced or stripped.
cdef int put_without_nul(
    Buffer *out, const uint8_t *text, Py_ssize_t size, uint8_t nul_policy) except -1 nogil
