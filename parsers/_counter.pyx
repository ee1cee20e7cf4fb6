# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Counter contexts and their merge (format page, sections 7 and 9.6).

Source: `CounterContext.merge` of Apache Cassandra.
"""
from libc.stdint cimport INT16_MIN, int16_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from parsers._arena cimport Arena, arena_alloc
from parsers._cursor cimport be16, be64
from parsers._model cimport CELL_IN_MIRROR, Cell

cdef enum:
    SHARD_BYTES = 32        # counter id 16, clock 8, count 8
    REMOTE = 0
    LOCAL = 1
    GLOBAL = 2


cdef struct Context:
    const uint8_t *header       # its shard indexes, 2 bytes each
    const uint8_t *shards
    int32_t n_header
    int32_t n_shards


cdef int open_context(const uint8_t *bytes, int32_t length, Context *out) noexcept nogil:
    """0, or -1 when the bytes are no counter context."""
    cdef int32_t header
    if length == 0:
        out.header = out.shards = bytes
        out.n_header = out.n_shards = 0
        return 0
    if length < 2:
        return -1
    header = <int16_t>be16(bytes)
    # A negative count marks "clear the local shards", as streamed contexts do; it reads the same.
    if header < 0:
        header = -header
    if length < 2 + 2 * header or (length - 2 - 2 * header) % SHARD_BYTES != 0:
        return -1
    out.header = bytes + 2
    out.n_header = header
    out.shards = bytes + 2 + 2 * header
    out.n_shards = (length - 2 - 2 * header) // SHARD_BYTES
    return 0


cdef int shard_kind(const Context *context, int32_t index) noexcept nogil:
    cdef int32_t i
    cdef int16_t entry
    for i in range(context.n_header):
        entry = <int16_t>be16(context.header + 2 * i)
        if entry >= 0:
            if entry == index:
                return LOCAL
        elif entry - INT16_MIN == index:
            return GLOBAL
    return REMOTE


cdef int check_counter(const uint8_t *context, int32_t length) noexcept nogil:
    cdef Context opened
    return open_context(context, length, &opened)


cdef inline void put16(uint8_t *p, int value) noexcept nogil:
    p[0] = <uint8_t>((value >> 8) & 0xFF)
    p[1] = <uint8_t>(value & 0xFF)


cdef inline void put64(uint8_t *p, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        p[i] = <uint8_t>(value >> (56 - 8 * i))


cdef int merge_counters(Arena *arena, const Cell *a, const Cell *b, Cell *out) except -1 nogil:
    """Merge two counter cells shard by shard; the writetime is the greater one."""
    cdef Context x, y
    cdef int32_t i = 0, j = 0, n = 0, n_header = 0, total
    cdef int order, kind, x_kind, y_kind
    cdef const uint8_t *p
    cdef const uint8_t *q
    cdef uint8_t *header
    cdef uint8_t *shards
    cdef uint8_t *merged
    cdef int64_t clock, count
    out[0] = b[0] if b.writetime_us > a.writetime_us else a[0]
    out.flags &= ~CELL_IN_MIRROR
    if (
        open_context(a.value, a.value_length, &x) < 0
        or open_context(b.value, b.value_length, &y) < 0
    ):
        return 0    # checked when decoded; a context from the mirror's state is our own
    total = x.n_shards + y.n_shards
    merged = <uint8_t *>arena_alloc(arena, 2 + (2 + SHARD_BYTES) * <Py_ssize_t>total)
    header = <uint8_t *>arena_alloc(arena, 2 * <Py_ssize_t>total + 2)
    shards = <uint8_t *>arena_alloc(arena, SHARD_BYTES * <Py_ssize_t>total + 1)
    while i < x.n_shards or j < y.n_shards:
        p = x.shards + i * SHARD_BYTES
        q = y.shards + j * SHARD_BYTES
        if i == x.n_shards:
            order = 1
        elif j == y.n_shards:
            order = -1
        else:
            order = memcmp(p, q, 16)
        if order < 0:
            memcpy(shards + n * SHARD_BYTES, p, SHARD_BYTES)
            kind = shard_kind(&x, i)
            i += 1
        elif order > 0:
            memcpy(shards + n * SHARD_BYTES, q, SHARD_BYTES)
            kind = shard_kind(&y, j)
            j += 1
        else:
            x_kind = shard_kind(&x, i)
            y_kind = shard_kind(&y, j)
            kind = x_kind if x_kind > y_kind else y_kind
            if x_kind == LOCAL and y_kind == LOCAL:
                clock = <int64_t>(be64(p + 16) + be64(q + 16))
                count = <int64_t>(be64(p + 24) + be64(q + 24))
                memcpy(shards + n * SHARD_BYTES, p, 16)
                put64(shards + n * SHARD_BYTES + 16, <uint64_t>clock)
                put64(shards + n * SHARD_BYTES + 24, <uint64_t>count)
            elif x_kind != y_kind:
                memcpy(shards + n * SHARD_BYTES, p if x_kind > y_kind else q, SHARD_BYTES)
            elif <int64_t>be64(p + 16) != <int64_t>be64(q + 16):
                memcpy(
                    shards + n * SHARD_BYTES,
                    p if <int64_t>be64(p + 16) > <int64_t>be64(q + 16) else q,
                    SHARD_BYTES,
                )
            else:
                memcpy(
                    shards + n * SHARD_BYTES,
                    p if <int64_t>be64(p + 24) >= <int64_t>be64(q + 24) else q,
                    SHARD_BYTES,
                )
            i += 1
            j += 1
        if kind != REMOTE:
            put16(header + 2 * n_header, n if kind == LOCAL else n + INT16_MIN)
            n_header += 1
        n += 1
    put16(merged, n_header)
    memcpy(merged + 2, header, 2 * n_header)
    memcpy(merged + 2 + 2 * n_header, shards, SHARD_BYTES * n)
    if (
        a.value_length == 2 + 2 * n_header + SHARD_BYTES * n
        and memcmp(a.value, merged, a.value_length) == 0
    ):
        # Nothing new: it stays the cell that the mirror knows, if it was that.
        out[0] = a[0]
        if b.writetime_us > a.writetime_us:
            out.writetime_us = b.writetime_us
        return 0
    out.value = merged
    out.value_length = 2 + 2 * n_header + SHARD_BYTES * n
    return 0
