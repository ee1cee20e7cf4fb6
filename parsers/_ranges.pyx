# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Which rows partition deletions and range tombstones cover, and how the mirror keeps them.

Stored form of a partition's tombstones:

    i64 timestamp, svint local deletion time of the partition deletion (timestamp -2^63: none)
    uvint n, then n range tombstones:
        start bound, end bound, i64 timestamp, svint local deletion time
    bound: u8 kind, uvint count, uvint length, the values in wire form (format page 5.5)
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.string cimport memcmp

from parsers._arena cimport Arena, arena_alloc
from parsers._buffer cimport Buffer, put_bytes, put_i64, put_u8, put_uvint
from parsers._catalog cimport TableCode
from parsers._compare cimport value_compare
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
from parsers._model cimport Bound, Deletion, Partition, RangeTombstone
from parsers._mutation cimport next_clustering_value, skip_clustering
from parsers._reconcile cimport deletion_supersedes, merge_deletion

from cdc_tail.errors import SchemaMismatch

cdef enum:
    # kinds that stand after every clustering with their prefix (`ClusteringPrefix.Kind`)
    INCL_END_EXCL_START_BOUNDARY = 5
    INCL_END_BOUND = 6
    EXCL_START_BOUND = 7


cdef int compare_to_bound(
    const TableCode *table, const Slice *clustering, const Bound *bound
) noexcept nogil:
    """< 0 where the clustering stands before the bound, > 0 where after; never 0.

    In storage order: a DESC column runs from the larger value to the smaller (format page 5.5).
    """
    cdef Cursor c
    cdef uint64_t header = 0
    cdef Slice value
    cdef int i, order
    c.base = bound.values
    c.position = 0
    c.limit = bound.length
    for i in range(bound.count):
        # Cannot fail: the bound was checked when it was decoded, or read back from the mirror.
        next_clustering_value(&c, table, i, &header, &value)
        order = compare_component(table, i, &clustering[i], &value)
        if order != 0:
            return order
    if bound.kind in (INCL_END_EXCL_START_BOUNDARY, INCL_END_BOUND, EXCL_START_BOUND):
        return -1
    return 1


cdef int compare_component(
    const TableCode *table, int i, const Slice *a, const Slice *b
) noexcept nogil:
    cdef int order
    if a.length < 0 or b.length < 0:
        order = (a.length >= 0) - (b.length >= 0)       # null first
        return order
    order = value_compare(table.clustering[i], a.data, a.length, b.data, b.length)
    return -order if table.reversed[i] else order


cdef void outer_deletion(
    const TableCode *table, const Partition *partition, const Slice *clustering, Deletion *out
) noexcept nogil:
    """Raise `out` to the strongest deletion of `partition` over a row.

    `clustering` NULL is the static row: range tombstones do not cover it.
    """
    cdef const RangeTombstone *ranged
    merge_deletion(out, &partition.deletion)
    if clustering == NULL:
        return
    ranged = partition.ranges
    while ranged != NULL:
        if (
            deletion_supersedes(&ranged.deletion, out)
            and compare_to_bound(table, clustering, &ranged.start) > 0
            and compare_to_bound(table, clustering, &ranged.end) < 0
        ):
            out[0] = ranged.deletion
        ranged = ranged.next


cdef int put_bound(Buffer *out, const Bound *bound) except -1 nogil:
    put_u8(out, bound.kind)
    put_uvint(out, bound.count)
    put_uvint(out, <uint64_t>bound.length)
    return put_bytes(out, bound.values, bound.length)


cdef int encode_partition(const Partition *partition, bint ranges, Buffer *out) except -1 nogil:
    """Append the stored form; without `ranges` that of the partition deletion alone."""
    cdef const RangeTombstone *ranged = partition.ranges if ranges else NULL
    cdef uint64_t n = 0
    put_i64(out, partition.deletion.timestamp_us)
    put_uvint(out, zigzag(partition.deletion.local_time_s))
    while ranged != NULL:
        n += 1
        ranged = ranged.next
    put_uvint(out, n)
    ranged = partition.ranges if ranges else NULL
    while ranged != NULL:
        put_bound(out, &ranged.start)
        put_bound(out, &ranged.end)
        put_i64(out, ranged.deletion.timestamp_us)
        put_uvint(out, zigzag(ranged.deletion.local_time_s))
        ranged = ranged.next
    return 0


cdef int damaged() except -1 nogil:
    with gil:
        raise SchemaMismatch(
            "a stored partition tombstone is damaged",
            hint="something else wrote cdc_tail.partition_tombstone; restore it from a backup",
        )


cdef int read_bound(Cursor *c, const TableCode *table, Bound *bound) noexcept nogil:
    cdef uint64_t count
    cdef Slice values
    cdef Cursor within
    if (
        read_u8(c, &bound.kind) < 0
        or read_uvint(c, &count) < 0
        or count > <uint64_t>table.n_clustering
        or read_uvint_bytes(c, &values) < 0
    ):
        return -1
    within.base = values.data
    within.position = 0
    within.limit = values.length
    if skip_clustering(&within, table, <int>count, NULL) < 0 or within.position != within.limit:
        return -1
    bound.count = <uint16_t>count
    bound.values = values.data
    bound.length = values.length
    return 0


cdef int read_stored_deletion(Cursor *c, Deletion *out) noexcept nogil:
    cdef const uint8_t *bytes
    cdef uint64_t value
    if read_bytes(c, 8, &bytes) < 0 or read_uvint(c, &value) < 0:
        return -1
    out.timestamp_us = <int64_t>be64(bytes)
    out.local_time_s = unzigzag(value)
    return 0


cdef int decode_partition(
    Arena *arena, const TableCode *table, const uint8_t *state, int32_t length, Partition *into
) except -1 nogil:
    """Merge a stored form into `into`; bounds point into `state`. SchemaMismatch if it is none."""
    cdef Cursor c
    cdef Deletion deletion
    cdef RangeTombstone *ranged
    cdef uint64_t n
    c.base = state
    c.position = 0
    c.limit = length
    if read_stored_deletion(&c, &deletion) < 0 or read_uvint(&c, &n) < 0:
        return damaged()
    merge_deletion(&into.deletion, &deletion)
    while n > 0:
        n -= 1
        ranged = <RangeTombstone *>arena_alloc(arena, sizeof(RangeTombstone))
        if (
            read_bound(&c, table, &ranged.start) < 0
            or read_bound(&c, table, &ranged.end) < 0
            or read_stored_deletion(&c, &ranged.deletion) < 0
        ):
            return damaged()
        ranged.next = into.ranges
        into.ranges = ranged
        into.n_ranges += 1
    if c.position != c.limit:
        return damaged()
    return 0


cdef inline bint same_bound(const Bound *a, const Bound *b) noexcept nogil:
    return (
        a.kind == b.kind
        and a.count == b.count
        and a.length == b.length
        and memcmp(a.values, b.values, a.length) == 0
    )


cdef bint knows_range(const Partition *partition, const RangeTombstone *ranged) noexcept nogil:
    """Whether `partition` already deletes as much as `ranged` does."""
    cdef const RangeTombstone *held = partition.ranges
    if not deletion_supersedes(&ranged.deletion, &partition.deletion):
        return True
    while held != NULL:
        if (
            not deletion_supersedes(&ranged.deletion, &held.deletion)
            and same_bound(&held.start, &ranged.start)
            and same_bound(&held.end, &ranged.end)
        ):
            return True
        held = held.next
    return False


cdef int64_t newest_deletion_time(const Partition *partition, bint ranges) noexcept nogil:
    """Newest local deletion time, seconds; 0 where there is none."""
    cdef int64_t newest = 0
    cdef const RangeTombstone *ranged = partition.ranges if ranges else NULL
    if partition.deletion.timestamp_us != INT64_MIN:
        newest = partition.deletion.local_time_s
    while ranged != NULL:
        if ranged.deletion.local_time_s > newest:
            newest = ranged.deletion.local_time_s
        ranged = ranged.next
    return newest if newest != INT64_MAX else 0


cdef int64_t newest_timestamp(const Partition *partition, bint ranges) noexcept nogil:
    """Newest deletion timestamp, INT64_MIN where there is none."""
    cdef int64_t newest = partition.deletion.timestamp_us
    cdef const RangeTombstone *ranged = partition.ranges if ranges else NULL
    while ranged != NULL:
        if ranged.deletion.timestamp_us > newest:
            newest = ranged.deletion.timestamp_us
        ranged = ranged.next
    return newest
