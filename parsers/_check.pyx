# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Checks values before they are written, so that writing can't fail half-way through a row."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from parsers._numeric cimport MAX_UNSCALED_BYTES, is_minimal, numeric_fits
from parsers._types cimport *
from parsers._wire cimport (
    Items,
    counter_total,
    duration_parts,
    has_empty_value,
    is_ipv4_mapped,
    items_next,
    items_open,
    read_i32,
    read_i64,
    read_integer,
)

cdef enum Reason:
    OK = 0
    BAD_LENGTH
    BAD_UTF8
    HAS_NUL
    DATE_RANGE
    TIMESTAMP_RANGE
    TIME_RANGE
    TIME_NANOSECONDS
    BAD_DURATION
    NUMERIC_RANGE
    BAD_DECIMAL
    KEY_FLOATING
    KEY_EMPTY
    KEY_ENCODING
    KEY_INET
    BAD_COLLECTION
    NULL_ITEM
    BAD_TUPLE
    BAD_VECTOR
    VECTOR_RANGE
    BAD_COUNTER
    BAD_PATH
    TOO_LARGE

_REASONS = {
    OK: "",
    BAD_LENGTH: "the value has a size that its type does not allow",
    BAD_UTF8: "the text is not valid UTF-8",
    HAS_NUL: "the text holds U+0000, which PostgreSQL can't store",
    DATE_RANGE: "the date is outside PostgreSQL's range (4713 BC to 5874897 AD)",
    TIMESTAMP_RANGE: "the timestamp is outside PostgreSQL's range (4713 BC to 294276 AD)",
    TIME_RANGE: "the time is not within one day",
    TIME_NANOSECONDS: "a time in a key is not a whole number of microseconds",
    BAD_DURATION: "the duration is malformed",
    NUMERIC_RANGE: (
        "the number is outside PostgreSQL's numeric (131072 digits before, 16383 after the point)"),
    BAD_DECIMAL: "the decimal is malformed",
    KEY_FLOATING: (
        "-0.0 or a non-standard NaN in a key, which PostgreSQL does not tell from 0.0 or NaN"),
    KEY_EMPTY: "an empty value in a key, which would be NULL in PostgreSQL",
    KEY_ENCODING: (
        "a number in a key is encoded with needless leading bytes, or a boolean as more than 1"),
    KEY_INET: "an IPv4 address inside IPv6 in a key, which would be printed as the IPv4 address",
    BAD_COLLECTION: "the collection is malformed",
    NULL_ITEM: "a null inside a map or set",
    BAD_TUPLE: "the tuple or user-defined type is malformed",
    BAD_VECTOR: "the vector is malformed",
    VECTOR_RANGE: "NaN and infinities can't be stored in a pgvector column",
    BAD_COUNTER: "the counter's context is malformed",
    BAD_PATH: "the cell path does not fit the column's type",
    TOO_LARGE: "the value is too large for PostgreSQL",
    NULL_IN_KEY: "a null in a key, which PostgreSQL's primary keys can't hold",
}

# PostgreSQL, timestamp.h: days and milliseconds since 2000-01-01.
cdef int64_t MIN_DATE = -2_451_545
cdef int64_t END_DATE = 2_145_031_949
cdef int64_t MIN_TIMESTAMP_MS = -211_813_488_000_000
cdef int64_t END_TIMESTAMP_MS = 9_223_371_331_200_000
cdef int64_t POSTGRES_EPOCH_DAYS = 10_957
cdef int64_t POSTGRES_EPOCH_MS = 946_684_800_000
cdef int64_t NANOSECONDS_PER_DAY = 86_400_000_000_000

# A field is below 1 GiB, a jsonb below 256 MiB; one byte can become six characters of JSON.
cdef Py_ssize_t LARGEST_FIELD = 512 << 20
cdef Py_ssize_t LARGEST_JSON = 32 << 20

cdef uint64_t HIGH_BITS = 0x8080808080808080
cdef uint64_t LOW_BITS = 0x0101010101010101


cpdef str reason_text(int reason):
    """What a code of value_check, or NULL_IN_KEY, means, in words; ValueError for any other."""
    if reason not in _REASONS:
        raise ValueError(f"no reason code {reason}")
    return _REASONS[reason]


cdef int value_check(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef uint8_t codec = node.codec
    if codec == CODEC_TEXT:
        if size > LARGEST_FIELD:
            return TOO_LARGE
        return _check_text(node, value, size)
    if codec == CODEC_BYTES:
        return TOO_LARGE if size > LARGEST_FIELD else OK
    if size == 0:
        return KEY_EMPTY if node.key and not has_empty_value(node) else OK
    if node.wire_length >= 0 and size != node.wire_length:
        return BAD_LENGTH
    if codec == CODEC_COPY or codec == CODEC_INTEGER:
        return OK
    if codec == CODEC_BOOLEAN:
        return KEY_ENCODING if node.key and value[0] > 1 else OK
    if codec == CODEC_DATE_DAYS:
        return OK
    if codec == CODEC_JSONB or codec == CODEC_AS_TEXT:
        if size > LARGEST_JSON:
            return TOO_LARGE
        return _check_json(node, value, size)
    if codec == CODEC_ARRAY or codec == CODEC_PGVECTOR:
        if size > LARGEST_FIELD:
            return TOO_LARGE
        return _check_items(node, value, size)
    return _check_scalar(node, value, size)


cdef int _check_scalar(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef uint8_t codec = node.codec
    cdef int64_t number
    if codec == CODEC_TIMESTAMP:
        number = read_i64(value)
        # The bounds leave room: comparing before subtracting can't overflow.
        if (number < MIN_TIMESTAMP_MS + POSTGRES_EPOCH_MS
                or number >= END_TIMESTAMP_MS + POSTGRES_EPOCH_MS):
            return TIMESTAMP_RANGE
        return OK
    if codec == CODEC_DATE:
        number = <int64_t><uint32_t>read_i32(value) - (<int64_t>1 << 31) - POSTGRES_EPOCH_DAYS
        return OK if MIN_DATE <= number < END_DATE else DATE_RANGE
    if codec == CODEC_TIME:
        return _check_time(node, read_i64(value))
    return _check_kind(node, value, size)


cdef int _check_kind(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    # What must hold whatever PostgreSQL type it becomes.
    cdef uint8_t kind = node.kind
    cdef int64_t number
    cdef int32_t months, days
    if kind == KIND_BOOLEAN:
        return KEY_ENCODING if node.key and value[0] > 1 else OK
    if kind == KIND_VARINT:
        if node.key and not is_minimal(value, size):
            return KEY_ENCODING
        return OK if numeric_fits(value, size, 0) else NUMERIC_RANGE
    if kind == KIND_DECIMAL:
        return _check_decimal(node, value, size)
    if kind == KIND_FLOAT or kind == KIND_DOUBLE:
        return _check_floating(node, value, size)
    if kind == KIND_INET:
        return OK if size == 4 or size == 16 else BAD_LENGTH
    if kind == KIND_DURATION:
        return OK if duration_parts(value, size, &months, &days, &number) else BAD_DURATION
    if kind == KIND_COUNTER:
        return OK if counter_total(value, size, &number) else BAD_COUNTER
    return OK


cdef int _check_json(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    if node.kind == KIND_TEXT or node.kind == KIND_ASCII:
        return _check_text(node, value, size)
    if node.kind == KIND_TIME:
        # All nine digits are written: the whole microseconds of keys are no matter here.
        return OK if 0 <= read_i64(value) < NANOSECONDS_PER_DAY else TIME_RANGE
    if node.kind == KIND_INET and node.key and is_ipv4_mapped(value, size):
        return KEY_INET
    if node.n_children:
        return _check_items(node, value, size)
    return _check_kind(node, value, size)


cdef int _check_time(const TypeNode *node, int64_t nanoseconds) noexcept nogil:
    if not 0 <= nanoseconds < NANOSECONDS_PER_DAY:
        return TIME_RANGE
    if node.key and nanoseconds % 1000 != 0:
        return TIME_NANOSECONDS
    return OK


cdef int _check_floating(
        const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef uint64_t bits
    cdef uint64_t negative_zero, infinity, standard_nan
    if not node.key:
        return OK
    if size == 4:
        bits = <uint32_t>read_i32(value)
        negative_zero, infinity, standard_nan = 0x80000000, 0x7F800000, 0x7FC00000
    else:
        bits = <uint64_t>read_i64(value)
        negative_zero = 0x8000000000000000
        infinity = 0x7FF0000000000000
        standard_nan = 0x7FF8000000000000
    if bits == negative_zero:
        return KEY_FLOATING
    if (bits & ~negative_zero) > infinity and bits != standard_nan:
        return KEY_FLOATING
    return OK


cdef int _check_decimal(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    if size < 5:
        return BAD_DECIMAL
    if node.key and not is_minimal(value + 4, size - 4):
        return KEY_ENCODING
    if node.codec == CODEC_AS_TEXT:
        # Text has exponents: only the time to convert the digits is bounded.
        return OK if size - 4 <= MAX_UNSCALED_BYTES else NUMERIC_RANGE
    return OK if numeric_fits(value + 4, size - 4, read_i32(value)) else NUMERIC_RANGE


cdef int _check_text(const TypeNode *node, const uint8_t *text, Py_ssize_t size) noexcept nogil:
    # Eight ASCII characters at a time; a word with a zero byte or a high bit goes the slow way.
    cdef Py_ssize_t i = 0
    cdef uint64_t word
    cdef uint8_t c
    cdef bint nul_allowed = node.nul_policy != NUL_REJECT
    while i < size:
        if size - i >= 8:
            memcpy(&word, text + i, 8)
            if (word | (word - LOW_BITS)) & HIGH_BITS == 0:
                i += 8
                continue
        c = text[i]
        if c < 0x80:
            if c == 0 and not nul_allowed:
                return HAS_NUL
            i += 1
            continue
        i = _skip_multibyte(text, i, size)
        if i < 0:
            return BAD_UTF8
    return OK


cdef Py_ssize_t _skip_multibyte(const uint8_t *text, Py_ssize_t i, Py_ssize_t size) noexcept nogil:
    # RFC 3629: no overlong form, no surrogate, nothing above U+10FFFF.  -1 if it is not UTF-8.
    cdef uint8_t c = text[i]
    cdef uint8_t low = 0x80, high = 0xBF
    cdef Py_ssize_t more, k
    if 0xC2 <= c <= 0xDF:
        more = 1
    elif 0xE0 <= c <= 0xEF:
        more = 2
        if c == 0xE0:
            low = 0xA0
        elif c == 0xED:
            high = 0x9F
    elif 0xF0 <= c <= 0xF4:
        more = 3
        if c == 0xF0:
            low = 0x90
        elif c == 0xF4:
            high = 0x8F
    else:
        return -1
    if size - i <= more or not low <= text[i + 1] <= high:
        return -1
    for k in range(2, more + 1):
        if not 0x80 <= text[i + k] <= 0xBF:
            return -1
    return i + more + 1


cdef int _check_items(const TypeNode *node, const uint8_t *value, Py_ssize_t size) noexcept nogil:
    cdef Items items
    cdef const uint8_t *item
    cdef Py_ssize_t length, i
    cdef Py_ssize_t count = items_open(&items, node, value, size)
    cdef bint by_field = node.kind == KIND_TUPLE or node.kind == KIND_UDT
    cdef const TypeNode *child = node.children[0] if node.n_children else NULL
    cdef int reason
    if count < 0:
        return _malformed(node)
    for i in range(count):
        if by_field and items.position == items.limit:
            # Trailing fields may be absent: the value is older than the type.
            return OK
        if not items_next(&items, &item, &length):
            return _malformed(node)
        if item == NULL:
            if by_field or node.kind == KIND_LIST or (node.kind == KIND_MAP and i & 1):
                continue
            return NULL_ITEM
        if by_field:
            child = node.children[i]
        elif node.kind == KIND_MAP:
            child = node.children[i & 1]
        reason = value_check(child, item, length)
        if reason != OK:
            return reason
        if node.codec == CODEC_PGVECTOR and not _is_finite(item, length):
            return VECTOR_RANGE
    return OK if items.position == items.limit else _malformed(node)


cdef int _malformed(const TypeNode *node) noexcept nogil:
    if node.kind == KIND_TUPLE or node.kind == KIND_UDT:
        return BAD_TUPLE
    return BAD_VECTOR if node.kind == KIND_VECTOR else BAD_COLLECTION


cdef bint _is_finite(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    return size == 4 and (<uint32_t>read_i32(value) & 0x7F800000) != 0x7F800000


cdef int element_check(const TypeNode *node, const Element *element) noexcept nogil:
    cdef int reason
    cdef int64_t field
    if element.path_length < 0:
        return BAD_PATH
    if node.kind == KIND_LIST:
        if element.path_length != 16:
            return BAD_PATH
        return value_check(node.children[0], element.value, element.value_length)
    if node.kind == KIND_SET:
        return value_check(node.children[0], element.path, element.path_length)
    if node.kind == KIND_MAP:
        reason = value_check(node.children[0], element.path, element.path_length)
        if reason != OK:
            return reason
        return value_check(node.children[1], element.value, element.value_length)
    if node.kind == KIND_UDT:
        if element.path_length != 2:
            return BAD_PATH
        field = read_integer(element.path, 2)
        if field < 0 or field >= node.n_children:
            return BAD_PATH
        return value_check(node.children[field], element.value, element.value_length)
    return BAD_PATH
