# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Cassandra's reconciliation of cells, rows and deletions as pure functions.

Format page, section 9.

Every merge here is commutative, associative and idempotent, so the order, the repetition and the
grouping in which mutations arrive do not matter. Nothing here knows the time but `*_is_live`.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int8_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from parsers._arena cimport Arena, arena_alloc
from parsers._catalog cimport ColumnCode
from parsers._counter cimport merge_counters
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_COUNTER,
    CELL_ELEMENT,
    CELL_EXPIRED,
    CELL_EXPIRING,
    CELL_OF_INSERT,
    CELL_TOMBSTONE,
    DIGEST_ONLY,
    Cell,
    Deletion,
    Row,
)


cdef extern from "_digest.h" nogil:
    uint64_t cdc_digest(uint64_t seed, const uint8_t *p, size_t n)


cdef inline int compare_bytes(
    const uint8_t *a, int32_t an, const uint8_t *b, int32_t bn
) noexcept nogil:
    """Unsigned, lexicographic; a prefix is the smaller one."""
    cdef int32_t n = an if an < bn else bn
    cdef int order = memcmp(a, b, n) if n > 0 else 0
    if order != 0:
        return order
    return (an > bn) - (an < bn)


cdef int compare_cell_place(const Cell *a, const Cell *b) noexcept nogil:
    """Order of cells in a row: column, the complex deletion before the elements, path bytes."""
    if a.column != b.column:
        return -1 if a.column < b.column else 1
    cdef bint a_deletion = a.flags & CELL_COMPLEX_DELETION
    cdef bint b_deletion = b.flags & CELL_COMPLEX_DELETION
    if a_deletion or b_deletion:
        return <int>b_deletion - <int>a_deletion
    return compare_bytes(a.path, a.path_length, b.path, b.path_length)


cdef int sort_cells(Cell *cells, int n) noexcept nogil:
    """Sort by place, in place. Cells come nearly sorted: runs are found and merged by insertion
    where short, by heap sort otherwise (no memory is needed). Returns 1 where two cells share a
    place, which Cassandra never writes."""
    cdef int i, j, moved = 0
    cdef Cell cell
    cdef int shared = 0
    for i in range(1, n):
        if compare_cell_place(&cells[i - 1], &cells[i]) <= 0:
            continue
        cell = cells[i]
        j = i
        while j > 0 and compare_cell_place(&cells[j - 1], &cell) > 0:
            cells[j] = cells[j - 1]
            j -= 1
            moved += 1
        cells[j] = cell
        if moved > 16 * n:
            heap_sort(cells, n)
            break
    for i in range(1, n):
        if compare_cell_place(&cells[i - 1], &cells[i]) == 0:
            shared = 1
            break
    return shared


cdef void heap_sort(Cell *cells, int n) noexcept nogil:
    cdef int end
    cdef Cell cell
    for end in range(n // 2 - 1, -1, -1):
        sift_down(cells, end, n)
    for end in range(n - 1, 0, -1):
        cell = cells[0]
        cells[0] = cells[end]
        cells[end] = cell
        sift_down(cells, 0, end)


cdef void sift_down(Cell *cells, int root, int n) noexcept nogil:
    cdef Cell cell = cells[root]
    cdef int child
    while True:
        child = 2 * root + 1
        if child >= n:
            break
        if child + 1 < n and compare_cell_place(&cells[child], &cells[child + 1]) < 0:
            child += 1
        if compare_cell_place(&cell, &cells[child]) >= 0:
            break
        cells[root] = cells[child]
        root = child
    cells[root] = cell


cdef int reconcile_cells(const Cell *a, const Cell *b, bint by_value) noexcept nogil:
    """Which of two cells in the same place wins (format page 9.3).

    `by_value`: as 3.11 has it (`Conflicts.resolveRegular`), else `Cells.resolveRegular`.
    """
    cdef bint a_dying, b_dying
    cdef int order
    if a.writetime_us != b.writetime_us:
        return FIRST if a.writetime_us > b.writetime_us else SECOND
    if by_value:
        a_dying = (a.flags & (CELL_TOMBSTONE | CELL_EXPIRED)) != 0
        b_dying = (b.flags & (CELL_TOMBSTONE | CELL_EXPIRED)) != 0
        if a_dying != b_dying:
            return FIRST if a_dying else SECOND
        if not a_dying:
            return greater_value(a, b)
    a_dying = (a.flags & (CELL_TOMBSTONE | CELL_EXPIRING)) != 0
    b_dying = (b.flags & (CELL_TOMBSTONE | CELL_EXPIRING)) != 0
    if a_dying != b_dying:
        return FIRST if a_dying else SECOND
    if a_dying:
        if (a.flags & CELL_TOMBSTONE) != (b.flags & CELL_TOMBSTONE):
            return FIRST if a.flags & CELL_TOMBSTONE else SECOND
        if a.deletion_time_s != b.deletion_time_s:
            return FIRST if a.deletion_time_s > b.deletion_time_s else SECOND
        if a.flags & CELL_TOMBSTONE:
            return EITHER
        if a.ttl_s != b.ttl_s:
            return FIRST if a.ttl_s < b.ttl_s else SECOND
    if (a.flags | b.flags) & CELL_EXPIRED:
        return EITHER       # both expired in the same second: no value matters any more
    if a.value_length < 0 or b.value_length < 0:
        return compare_unknown(a, b)
    order = compare_bytes(a.value, a.value_length, b.value, b.value_length)
    if order == 0:
        return EITHER
    return FIRST if order > 0 else SECOND


cdef int greater_value(const Cell *a, const Cell *b) noexcept nogil:
    """3.11's winner of two cells that live: the greater value, then the one that lives longer.

    3.11 asks the clock whether a cell with a TTL lives. No log tells when the other one came: what
    the mirror does not know as expired lives here, so the order of the two does not matter.
    """
    cdef int order
    if a.value_length < 0 or b.value_length < 0:
        order = compare_unknown(a, b)
        if order != EITHER:
            return order
    else:
        order = compare_signed_bytes(a.value, a.value_length, b.value, b.value_length)
        if order != 0:
            return FIRST if order > 0 else SECOND
    if a.deletion_time_s != b.deletion_time_s:
        return FIRST if a.deletion_time_s > b.deletion_time_s else SECOND
    if a.ttl_s != b.ttl_s:
        return FIRST if a.ttl_s < b.ttl_s else SECOND
    return EITHER


cdef int compare_signed_bytes(
    const uint8_t *a, int32_t an, const uint8_t *b, int32_t bn
) noexcept nogil:
    """Lexicographic by signed bytes (`ByteBuffer.compareTo`); a prefix is the smaller one."""
    cdef int32_t i
    for i in range(an if an < bn else bn):
        if a[i] != b[i]:
            return 1 if <int8_t>a[i] > <int8_t>b[i] else -1
    return (an > bn) - (an < bn)


cdef int compare_unknown(const Cell *a, const Cell *b) noexcept nogil:
    """A tie in which at least one value stands only in PostgreSQL: the same one, or not known."""
    cdef uint64_t digest
    if a.value_length < 0 and b.value_length < 0:
        return EITHER       # both are what the mirror holds
    if a.value_length != DIGEST_ONLY and b.value_length != DIGEST_ONLY:
        return NEEDS_VALUE
    if a.value_length == DIGEST_ONLY:
        memcpy(&digest, a.value, 8)
        return EITHER if digest == digest_value(b.value, b.value_length) else NEEDS_VALUE
    memcpy(&digest, b.value, 8)
    return EITHER if digest == digest_value(a.value, a.value_length) else NEEDS_VALUE


cdef uint64_t digest_value(const uint8_t *value, int32_t length) noexcept nogil:
    return cdc_digest(1, value, length)


cdef void digest_insert(Row *row, const ColumnCode *columns) noexcept nogil:
    """Give a row as decoded, if it has liveness, the digest of all it says.

    It tells a copy of an INSERT that the mirror has from another write with the same timestamp.
    """
    cdef uint64_t digest, word
    cdef Cell *cell
    cdef int i
    row.digest = 0
    if row.liveness_us == INT64_MIN:
        return
    digest = cdc_digest(<uint64_t>row.liveness_us, NULL, 0) ^ <uint64_t>row.liveness_expiry_s
    digest = mix(digest, <uint64_t>row.deletion.timestamp_us)
    for i in range(row.n_cells):
        cell = &row.cells[i]
        word = (<uint64_t>columns[cell.column].tag << 8) | cell.flags
        if cell.writetime_us != row.liveness_us:
            digest = mix(digest, <uint64_t>cell.writetime_us)
        elif not cell.flags & (CELL_TOMBSTONE | CELL_COMPLEX_DELETION):
            cell.flags |= CELL_OF_INSERT
        if cell.flags & (CELL_TOMBSTONE | CELL_EXPIRING | CELL_COMPLEX_DELETION):
            digest = mix(digest, <uint64_t>cell.deletion_time_s)
        if cell.flags & CELL_ELEMENT:
            digest = cdc_digest(digest, cell.path, cell.path_length)
        # One round for what a cell is and what it holds.
        if cell.value_length >= 0:
            digest = cdc_digest(digest ^ word, cell.value, cell.value_length)
        else:
            digest = mix(digest, word)
    row.digest = digest if digest != 0 else 1


cdef inline uint64_t mix(uint64_t digest, uint64_t word) noexcept nogil:
    return cdc_digest(digest ^ word, NULL, 0)


cdef bint deletion_supersedes(const Deletion *a, const Deletion *b) noexcept nogil:
    return a.timestamp_us > b.timestamp_us or (
        a.timestamp_us == b.timestamp_us
        and a.timestamp_us != INT64_MIN
        and a.local_time_s > b.local_time_s
    )


cdef void merge_deletion(Deletion *into, const Deletion *other) noexcept nogil:
    if deletion_supersedes(other, into):
        into[0] = other[0]


cdef bint liveness_supersedes(const Row *a, const Row *b) noexcept nogil:
    """`LivenessInfo.supersedes` (format page 9.4)."""
    cdef bint a_expired, b_expired, a_expiring, b_expiring
    if a.liveness_us != b.liveness_us:
        return a.liveness_us > b.liveness_us
    # 2^31 - 1 marks the "expired liveness" of materialized views
    a_expired = a.liveness_ttl_s == 0x7FFFFFFF
    b_expired = b.liveness_ttl_s == 0x7FFFFFFF
    if a_expired != b_expired:
        return a_expired
    a_expiring = a.liveness_ttl_s != 0
    b_expiring = b.liveness_ttl_s != 0
    if a_expiring != b_expiring:
        return a_expiring
    if a.liveness_expiry_s != b.liveness_expiry_s:
        return a.liveness_expiry_s > b.liveness_expiry_s
    return a.liveness_ttl_s < b.liveness_ttl_s


cdef void shadow_row(Row *row, const Deletion *outer) noexcept nogil:
    """Drop from `row` what its own deletion, `outer` and its complex deletions cover.

    `outer` is what covers the row from outside (partition deletion, range tombstones); it is not
    kept in the row, and the row's own deletion is dropped where `outer` makes it superfluous.
    """
    cdef Deletion active = outer[0]
    cdef Deletion column_active
    cdef Deletion complex_deletion
    cdef int i, kept = 0
    cdef int column = -1
    cdef Cell *cell
    if deletion_supersedes(&row.deletion, outer):
        active = row.deletion
    else:
        row.deletion.timestamp_us = INT64_MIN
        row.deletion.local_time_s = INT64_MAX
    if row.liveness_us != INT64_MIN and row.liveness_us <= active.timestamp_us:
        row.liveness_us = INT64_MIN
        row.digest = 0
        row.liveness_ttl_s = 0
        row.liveness_expiry_s = INT64_MAX
    column_active = active
    for i in range(row.n_cells):
        cell = &row.cells[i]
        if cell.column != column:
            column = cell.column
            column_active = active
        if cell.flags & CELL_COMPLEX_DELETION:
            complex_deletion.timestamp_us = cell.writetime_us
            complex_deletion.local_time_s = cell.deletion_time_s
            if not deletion_supersedes(&complex_deletion, &active):
                continue
            column_active = complex_deletion
        elif cell.writetime_us <= column_active.timestamp_us:
            continue
        if kept != i:
            row.cells[kept] = cell[0]
        kept += 1
    row.n_cells = kept


cdef int merge_rows(
    Arena *arena, const Row *a, const Row *b, bint by_value, Row *out
) except -1 nogil:
    """Merge two versions of one row into `out` (`Row.Merger.merge`, format page 9.2).

    `by_value`: cells as 3.11 reconciles them. `out` may be `a` or `b`. Keys, relation and hash are
    `a`'s. Returns the number of cells whose winner only the value in the mirror can tell (for them
    `b`'s cell is kept; the caller looks).
    """
    cdef Row merged = a[0]
    cdef Cell *cells
    cdef int i = 0, j = 0, n = 0, order, winner, undecided = 0
    cdef Deletion none
    cdef uint8_t keep_a, keep_b
    if liveness_supersedes(b, a):
        merged.liveness_us = b.liveness_us
        merged.liveness_ttl_s = b.liveness_ttl_s
        merged.liveness_expiry_s = b.liveness_expiry_s
        merged.digest = b.digest
    elif not liveness_supersedes(a, b) and b.digest > a.digest:
        merged.digest = b.digest
    # A cell is marked as part of the INSERT only while the row carries that INSERT's digest.
    keep_a = 0xFF if a.digest == merged.digest else <uint8_t>(0xFF ^ CELL_OF_INSERT)
    keep_b = 0xFF if b.digest == merged.digest else <uint8_t>(0xFF ^ CELL_OF_INSERT)
    merge_deletion(&merged.deletion, &b.deletion)
    if b.offset > a.offset:
        merged.offset = b.offset
    merged.mutations = a.mutations + b.mutations
    cells = <Cell *>arena_alloc(arena, (a.n_cells + b.n_cells) * <Py_ssize_t>sizeof(Cell))
    while i < a.n_cells and j < b.n_cells:
        order = compare_cell_place(&a.cells[i], &b.cells[j])
        if order < 0:
            cells[n] = a.cells[i]
            cells[n].flags &= keep_a
            i += 1
        elif order > 0:
            cells[n] = b.cells[j]
            cells[n].flags &= keep_b
            j += 1
        else:
            winner = merge_cell(
                arena, &a.cells[i], &b.cells[j], by_value, keep_a, keep_b, &cells[n]
            )
            undecided += winner == NEEDS_VALUE
            i += 1
            j += 1
        n += 1
    while i < a.n_cells:
        cells[n] = a.cells[i]
        cells[n].flags &= keep_a
        i += 1
        n += 1
    while j < b.n_cells:
        cells[n] = b.cells[j]
        cells[n].flags &= keep_b
        j += 1
        n += 1
    merged.cells = cells
    merged.n_cells = n
    none.timestamp_us = INT64_MIN
    none.local_time_s = INT64_MAX
    shadow_row(&merged, &none)
    out[0] = merged
    return undecided


cdef int merge_cell(
    Arena *arena, const Cell *a, const Cell *b, bint by_value, uint8_t keep_a, uint8_t keep_b,
    Cell *out,
) except -1 nogil:
    cdef Deletion first, second
    cdef int winner
    if a.flags & CELL_COMPLEX_DELETION:
        first.timestamp_us = a.writetime_us
        first.local_time_s = a.deletion_time_s
        second.timestamp_us = b.writetime_us
        second.local_time_s = b.deletion_time_s
        out[0] = b[0] if deletion_supersedes(&second, &first) else a[0]
        return FIRST
    if a.flags & b.flags & CELL_COUNTER:
        merge_counters(arena, a, b, out)
        out.flags &= keep_a & keep_b
        return FIRST
    if (a.flags | b.flags) & CELL_COUNTER:
        # A tombstone beats a counter whatever the timestamps (format page 9.6).
        out[0] = a[0] if a.flags & CELL_TOMBSTONE else b[0]
        return FIRST
    winner = reconcile_cells(a, b, by_value)
    if winner == NEEDS_VALUE and a.flags & keep_a & b.flags & keep_b & CELL_OF_INSERT:
        winner = EITHER     # one and the same INSERT
    if winner == SECOND or winner == NEEDS_VALUE:
        out[0] = b[0]
        out.flags &= keep_b
    else:
        out[0] = a[0]
        out.flags &= keep_a
    if winner == EITHER:
        out.flags |= b.flags & keep_b & CELL_OF_INSERT
    return winner


cdef bint cell_is_live(const Cell *cell, int64_t now_s) noexcept nogil:
    if cell.flags & (CELL_TOMBSTONE | CELL_COMPLEX_DELETION):
        return False
    return not cell.flags & CELL_EXPIRING or now_s < cell.deletion_time_s


cdef bint row_is_live(const Row *row, int64_t now_s) noexcept nogil:
    """Whether SELECT shows the row at `now_s` (format page 9.5)."""
    cdef int i
    if (
        row.liveness_us != INT64_MIN
        and row.liveness_ttl_s != 0x7FFFFFFF
        and (row.liveness_ttl_s == 0 or now_s < row.liveness_expiry_s)
    ):
        return True
    for i in range(row.n_cells):
        if cell_is_live(&row.cells[i], now_s):
            return True
    return False
