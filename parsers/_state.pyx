# cython: language_level=3, autotestdict=False, auto_pickle=False
"""The reconciliation state of a row as it stands in the mirror's `_cdc` column, and back.

    u8 flags
    [LIVENESS]      i64 writetime, [LIVENESS_TTL] uvint ttl, uvint expiry second
    [DIGEST]        u64 digest of the write that set the liveness
    [DELETION]      i64 timestamp, svint local deletion time
    [UNIFORM]       u8 n, n bytes: bit set of the cids of plain cells of that write
    [ENTRIES]       uvint n, then n entries by cid, elements by their path's bytes:
        uvint cid, u8 flags (of the model; EXPIRED: its column was set to NULL),
        svint writetime - that of the entry before (first: the liveness, or 0),
        [tombstone, expiring, complex deletion] svint local deletion time
        [expiring] uvint ttl   [element] uvint length, path   [HAS_VALUE] uvint length, value
        [HAS_DIGEST] u64 digest of the value
    [CLUSTERING]    uvint length, the clustering in wire form
    [PARTITION_KEY] uvint length, the partition key's bytes

A cid numbers a column of the mirror for good. The value of a live cell is stored only where its
PostgreSQL column does not give back Cassandra's very bytes: ties are broken by those. The key is
stored where PostgreSQL's columns don't give it back. Why it looks like this is told in
docs/decisions/0002-row-state.md.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from parsers._arena cimport Arena, arena_alloc
from parsers._buffer cimport Buffer, put_bytes, put_i64, put_u8, put_uvint
from parsers._cursor cimport (
    Cursor,
    Slice,
    be64,
    read_bytes,
    read_u8,
    read_uvint,
    read_uvint_bytes,
    unzigzag,
    zigzag,
)
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_COUNTER,
    CELL_ELEMENT,
    CELL_EXPIRED,
    CELL_EXPIRING,
    CELL_IN_MIRROR,
    CELL_OF_INSERT,
    CELL_TOMBSTONE,
    DIGEST_ONLY,
    Cell,
    Row,
)
from parsers._reconcile cimport cell_is_live, digest_value, sort_cells
from parsers._relation cimport Relation
from parsers._state_check cimport damage_of_cells
from parsers._values cimport value_is_exact

from cdc_tail.errors import SchemaMismatch

cdef enum:
    LIVENESS = 1
    LIVENESS_TTL = 2
    DELETION = 4
    UNIFORM = 8
    ENTRIES = 16
    CLUSTERING = 32
    DIGEST = 64
    PARTITION_KEY = 128
    HAS_VALUE = 64      # entry flags; the others are the model's cell flags
    HAS_DIGEST = 128
    EXPIRED = 16
    STORED_FLAGS = (
        CELL_TOMBSTONE | CELL_EXPIRING | CELL_COMPLEX_DELETION | CELL_COUNTER | CELL_ELEMENT
    )
    UNIFORM_BYTES = 255

cdef uint8_t NO_BYTES = 0


cdef inline bint is_uniform(
    Relation relation, const Row *row, const Cell *cell, int64_t now_s
) noexcept nogil:
    cdef int32_t cid = relation.cid_of_column[cell.column]
    return (
        cell.flags & CELL_OF_INSERT
        and cell.ttl_s == row.liveness_ttl_s
        and not cell.flags & (
            CELL_TOMBSTONE | CELL_COMPLEX_DELETION | CELL_COUNTER | CELL_ELEMENT
        )
        and cell.deletion_time_s == row.liveness_expiry_s
        and cell_is_live(cell, now_s)
        and cid < 8 * UNIFORM_BYTES
        and not needs_value(relation, cell)
    )


cdef inline bint needs_value(Relation relation, const Cell *cell) noexcept nogil:
    """Whether the cell's bytes must be kept, because its column can't give them back."""
    if cell.value_length < 0 or cell.flags & (CELL_TOMBSTONE | CELL_COMPLEX_DELETION):
        return False
    if cell.flags & (CELL_ELEMENT | CELL_COUNTER):
        return True
    return not value_is_exact(
        relation.columns[cell.column].type, cell.value, cell.value_length
    )


cdef int encode_state(
    Relation relation, const Row *row, int64_t now_s, Buffer *out
) except -1 nogil:
    """Append the state of `row` (its bytes only, no length). Cells that expired keep no value."""
    cdef uint8_t bits[UNIFORM_BYTES]
    cdef uint8_t flags = 0
    cdef int i, last = -1, n_entries = 0
    cdef int32_t cid
    cdef uint64_t previous = 0
    cdef const Cell *cell
    if relation.keeps_clustering:
        flags |= CLUSTERING
    if relation.keeps_partition_key:
        flags |= PARTITION_KEY
    if row.liveness_us != INT64_MIN:
        flags |= LIVENESS
        previous = <uint64_t>row.liveness_us
        if row.liveness_ttl_s != 0:
            flags |= LIVENESS_TTL
        if row.digest != 0:
            flags |= DIGEST
    if row.deletion.timestamp_us != INT64_MIN:
        flags |= DELETION
    for i in range(row.n_cells):
        cell = &row.cells[i]
        cid = relation.cid_of_column[cell.column]
        if cid < 0:
            continue
        if is_uniform(relation, row, cell, now_s):
            if last < 0:
                memset(bits, 0, UNIFORM_BYTES)
            bits[cid >> 3] |= <uint8_t>(1 << (cid & 7))
            if cid >> 3 > last:
                last = cid >> 3
        else:
            n_entries += 1
    if last >= 0:
        flags |= UNIFORM
    if n_entries:
        flags |= ENTRIES
    put_u8(out, flags)
    if flags & LIVENESS:
        put_i64(out, row.liveness_us)
        if flags & LIVENESS_TTL:
            put_uvint(out, <uint64_t>row.liveness_ttl_s)
            put_uvint(out, zigzag(row.liveness_expiry_s))
        if flags & DIGEST:
            put_i64(out, <int64_t>row.digest)
    if flags & DELETION:
        put_i64(out, row.deletion.timestamp_us)
        put_uvint(out, zigzag(row.deletion.local_time_s))
    if flags & UNIFORM:
        put_u8(out, <uint8_t>(last + 1))
        put_bytes(out, bits, last + 1)
    if flags & ENTRIES:
        put_uvint(out, n_entries)
        put_entries(relation, row, now_s, previous, out)
    if flags & CLUSTERING:
        put_uvint(out, <uint64_t>row.clustering_length)
        put_bytes(out, row.clustering, row.clustering_length)
    if flags & PARTITION_KEY:
        put_uvint(out, <uint64_t>row.partition_key_length)
        put_bytes(out, row.partition_key, row.partition_key_length)
    return 0


cdef int put_entries(
    Relation relation, const Row *row, int64_t now_s, uint64_t previous, Buffer *out
) except -1 nogil:
    """By cid, then in the row's order: the same whatever definition of the table is in hand."""
    cdef int32_t cid
    cdef int i = 0
    if relation.cids_ascend:
        while i < row.n_cells:
            i = put_column_entries(relation, row, i, now_s, &previous, out)
        return 0
    for cid in range(relation.n_cids):
        if relation.column_of_cid[cid] >= 0:
            i = first_of_column(row, relation.column_of_cid[cid])
            if i < row.n_cells:
                put_column_entries(relation, row, i, now_s, &previous, out)
    return 0


cdef int first_of_column(const Row *row, int32_t column) noexcept nogil:
    """Index of the column's first cell; n_cells where it has none."""
    cdef int low = 0
    cdef int high = row.n_cells
    cdef int middle
    while low < high:
        middle = (low + high) // 2
        if row.cells[middle].column < column:
            low = middle + 1
        else:
            high = middle
    if low < row.n_cells and row.cells[low].column == column:
        return low
    return row.n_cells


cdef int put_column_entries(
    Relation relation, const Row *row, int i, int64_t now_s, uint64_t *previous, Buffer *out
) except -1 nogil:
    """The entries of the column whose cells begin at `i`; returns where they end."""
    cdef const Cell *cell
    cdef uint8_t cell_flags
    cdef bint with_value
    cdef uint64_t digest
    cdef uint16_t column = row.cells[i].column
    cdef int32_t cid = relation.cid_of_column[column]
    while i < row.n_cells and row.cells[i].column == column:
        cell = &row.cells[i]
        i += 1
        if cid < 0 or is_uniform(relation, row, cell, now_s):
            continue
        with_value = needs_value(relation, cell) and (
            cell.flags & CELL_COUNTER or cell_is_live(cell, now_s)
        )
        cell_flags = cell.flags & STORED_FLAGS
        if with_value:
            cell_flags |= HAS_VALUE
        elif has_digest(cell, now_s):
            cell_flags |= HAS_DIGEST
        if cell_flags & CELL_EXPIRING and not cell_is_live(cell, now_s):
            cell_flags |= EXPIRED
        put_uvint(out, <uint64_t>cid)
        put_u8(out, cell_flags)
        put_uvint(out, zigzag(<int64_t>(<uint64_t>cell.writetime_us - previous[0])))
        previous[0] = <uint64_t>cell.writetime_us
        if cell_flags & (CELL_TOMBSTONE | CELL_EXPIRING | CELL_COMPLEX_DELETION):
            put_uvint(out, zigzag(cell.deletion_time_s))
        if cell_flags & CELL_EXPIRING:
            put_uvint(out, <uint64_t>cell.ttl_s)
        if cell_flags & CELL_ELEMENT:
            put_uvint(out, <uint64_t>cell.path_length)
            put_bytes(out, cell.path, cell.path_length)
        if with_value:
            put_uvint(out, <uint64_t>cell.value_length)
            put_bytes(out, cell.value, cell.value_length)
        if cell_flags & HAS_DIGEST:
            digest = stored_digest(cell)
            put_bytes(out, <const uint8_t *>&digest, 8)
    return i


cdef inline bint has_digest(const Cell *cell, int64_t now_s) noexcept nogil:
    """Whether a live cell's value, which stands in its column, is known here or was digested."""
    return (
        (cell.value_length >= 0 or cell.value_length == DIGEST_ONLY)
        and not cell.flags & (CELL_ELEMENT | CELL_COUNTER)
        and cell_is_live(cell, now_s)
    )


cdef uint64_t stored_digest(const Cell *cell) noexcept nogil:
    cdef uint64_t digest
    if cell.value_length == DIGEST_ONLY:
        memcpy(&digest, cell.value, 8)
        return digest
    return digest_value(cell.value, cell.value_length)


cdef int damaged(Relation relation, const char *what) except -1 nogil:
    with gil:
        raise SchemaMismatch(
            f"the _cdc state of a row of {relation.table.table} is damaged: {what.decode()}",
            hint="something else wrote the mirror, or its mapping was changed; "
            "`cdc-tail verify` finds the rows that differ",
            table=str(relation.table.table),
        )


cdef int decode_state(
    Relation relation, Arena *arena, const uint8_t *state, int32_t length, bint dead, Row *out
) except -1 nogil:
    """Fill liveness, deletion, cells and what is stored of the key; `out` points into `state`.

    A cell whose value stands only in its column has NO_VALUE or DIGEST_ONLY. In a `dead` row there
    is no such column and no value matters. SchemaMismatch when the bytes are no state.
    """
    cdef Cursor c
    cdef uint8_t flags, n_bytes, cell_flags
    cdef const uint8_t *bytes
    cdef uint64_t value, n_entries = 0, previous = 0
    cdef int i, cid, n = 0, capacity = 0
    cdef Cell *cell
    cdef Slice slice
    cdef const char *damage
    c.base = state
    c.position = 0
    c.limit = length
    out.liveness_us = INT64_MIN
    out.liveness_ttl_s = 0
    out.liveness_expiry_s = INT64_MAX
    out.deletion.timestamp_us = INT64_MIN
    out.deletion.local_time_s = INT64_MAX
    out.digest = 0
    out.n_cells = 0
    out.cells = NULL
    out.offset = 0
    out.mutations = 0
    if read_u8(&c, &flags) < 0:
        return damaged(relation, "it is empty")
    if flags & LIVENESS:
        if read_bytes(&c, 8, &bytes) < 0:
            return damaged(relation, "liveness")
        out.liveness_us = <int64_t>be64(bytes)
        previous = <uint64_t>out.liveness_us
        if flags & LIVENESS_TTL:
            if read_uvint(&c, &value) < 0:
                return damaged(relation, "liveness ttl")
            out.liveness_ttl_s = <int32_t>value
            if read_uvint(&c, &value) < 0:
                return damaged(relation, "liveness expiry")
            out.liveness_expiry_s = unzigzag(value)
        if flags & DIGEST:
            if read_bytes(&c, 8, &bytes) < 0:
                return damaged(relation, "digest")
            out.digest = be64(bytes)
    if flags & DELETION:
        if read_bytes(&c, 8, &bytes) < 0:
            return damaged(relation, "deletion")
        out.deletion.timestamp_us = <int64_t>be64(bytes)
        if read_uvint(&c, &value) < 0:
            return damaged(relation, "deletion time")
        out.deletion.local_time_s = unzigzag(value)
    bytes = NULL
    n_bytes = 0
    if flags & UNIFORM:
        if read_u8(&c, &n_bytes) < 0 or read_bytes(&c, n_bytes, &bytes) < 0:
            return damaged(relation, "uniform cells")
        capacity = 8 * n_bytes
    if flags & ENTRIES:
        if read_uvint(&c, &n_entries) < 0 or n_entries > <uint64_t>(c.limit - c.position):
            return damaged(relation, "number of entries")
        capacity += <int>n_entries
    if capacity > 0:
        out.cells = <Cell *>arena_alloc(arena, capacity * <Py_ssize_t>sizeof(Cell))
    for i in range(8 * n_bytes):
        if not bytes[i >> 3] & (1 << (i & 7)):
            continue
        if i >= relation.n_cids or relation.column_of_cid[i] < 0:
            continue    # a column that is no more
        cell = &out.cells[n]
        cell.writetime_us = out.liveness_us
        cell.deletion_time_s = out.liveness_expiry_s
        cell.ttl_s = out.liveness_ttl_s
        cell.value = &NO_BYTES if dead else NULL
        cell.value_length = 0 if dead else -1
        cell.path = NULL
        cell.path_length = 0
        cell.column = <uint16_t>relation.column_of_cid[i]
        cell.flags = CELL_IN_MIRROR | CELL_OF_INSERT | (CELL_EXPIRING if cell.ttl_s else 0)
        cell.unused = 0
        n += 1
    while n_entries > 0:
        n_entries -= 1
        cell = &out.cells[n]
        if read_uvint(&c, &value) < 0 or value > 65535 or read_u8(&c, &cell_flags) < 0:
            return damaged(relation, "entry")
        cid = <int>value
        cell.flags = (cell_flags & STORED_FLAGS) | CELL_IN_MIRROR
        if cell_flags & EXPIRED:
            cell.flags |= CELL_EXPIRED
        if read_uvint(&c, &value) < 0:
            return damaged(relation, "writetime")
        previous += <uint64_t>unzigzag(value)
        cell.writetime_us = <int64_t>previous
        cell.deletion_time_s = INT64_MAX
        cell.ttl_s = 0
        cell.path = NULL
        cell.path_length = 0
        cell.value = NULL
        cell.value_length = -1
        if dead and not cell_flags & (CELL_TOMBSTONE | CELL_COMPLEX_DELETION):
            cell.value = &NO_BYTES
            cell.value_length = 0
        cell.unused = 0
        if cell_flags & (CELL_TOMBSTONE | CELL_EXPIRING | CELL_COMPLEX_DELETION):
            if read_uvint(&c, &value) < 0:
                return damaged(relation, "deletion time of a cell")
            cell.deletion_time_s = unzigzag(value)
        if cell_flags & CELL_EXPIRING:
            if read_uvint(&c, &value) < 0:
                return damaged(relation, "ttl of a cell")
            cell.ttl_s = <int32_t>value
        if cell_flags & CELL_ELEMENT:
            if read_uvint_bytes(&c, &slice) < 0:
                return damaged(relation, "path of an element")
            cell.path = slice.data
            cell.path_length = slice.length
            if not cell_flags & HAS_VALUE:
                # It expired, or is deleted: no value decides anything any more.
                cell.value = &NO_BYTES
                cell.value_length = 0
        if cell_flags & HAS_VALUE:
            if read_uvint_bytes(&c, &slice) < 0:
                return damaged(relation, "value of a cell")
            cell.value = slice.data
            cell.value_length = slice.length
        if cell_flags & HAS_DIGEST:
            # Of a live cell whose value stands in its column.
            if (
                dead
                or cell_flags & (STORED_FLAGS & ~CELL_EXPIRING | HAS_VALUE)
                or read_bytes(&c, 8, &bytes) < 0
            ):
                return damaged(relation, "digest of a cell")
            cell.value = bytes
            cell.value_length = DIGEST_ONLY
        if cid < relation.n_cids and relation.column_of_cid[cid] >= 0:
            cell.column = <uint16_t>relation.column_of_cid[cid]
            n += 1
    if flags & CLUSTERING:
        if read_uvint_bytes(&c, &slice) < 0:
            return damaged(relation, "clustering")
        out.clustering = slice.data
        out.clustering_length = slice.length
    if flags & PARTITION_KEY:
        if read_uvint_bytes(&c, &slice) < 0:
            return damaged(relation, "partition key")
        out.partition_key = slice.data
        out.partition_key_length = slice.length
    if c.position != c.limit:
        return damaged(relation, "bytes follow it")
    out.n_cells = n
    sort_cells(out.cells, n)
    damage = damage_of_cells(relation, out.cells, n)
    if damage != NULL:
        return damaged(relation, damage)
    return 0


cdef bint knows_write(const uint8_t *state, int32_t length, const Row *incoming) noexcept nogil:
    """Whether `incoming`, as decoded, is the very write that set the stored liveness.

    It was merged then, so it says nothing new. Looks at the head of the state only.
    """
    cdef Cursor c
    cdef uint64_t value
    cdef uint8_t flags
    if incoming.digest == 0 or incoming.mutations != 1 or length < 17:
        return False
    flags = state[0]
    if flags & (LIVENESS | DIGEST) != LIVENESS | DIGEST:
        return False
    if <int64_t>be64(state + 1) != incoming.liveness_us:
        return False
    c.base = state
    c.position = 9
    c.limit = length
    if flags & LIVENESS_TTL and (read_uvint(&c, &value) < 0 or read_uvint(&c, &value) < 0):
        return False
    return c.limit - c.position >= 8 and be64(c.base + c.position) == incoming.digest


cdef int64_t purge_time(const Row *row, int64_t gc_grace_seconds) noexcept nogil:
    """The second after which nothing in a dead row matters any more."""
    cdef int64_t newest = INT64_MIN
    cdef int i
    if row.deletion.timestamp_us != INT64_MIN:
        newest = row.deletion.local_time_s
    if row.liveness_us != INT64_MIN and row.liveness_expiry_s != INT64_MAX:
        if row.liveness_expiry_s > newest:
            newest = row.liveness_expiry_s
    for i in range(row.n_cells):
        if row.cells[i].deletion_time_s != INT64_MAX and row.cells[i].deletion_time_s > newest:
            newest = row.cells[i].deletion_time_s
    if newest < 0:
        newest = 0
    return newest + gc_grace_seconds
