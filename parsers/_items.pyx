# cython: language_level=3, autotestdict=False, auto_pickle=False
"""The rows (or static rows) and partitions of one relation in a batch, and their lock buckets.

What is asked of the mirror about them, what is decided and what is written stands elsewhere
(`_questions`, `_decision`, `_work`).
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memset

from parsers._arena cimport arena_alloc, arena_free, arena_init
from parsers._batch cimport Batch, hash_bytes
from parsers._catalog cimport Catalog, TableCode
from parsers._crc32 cimport crc32_update
from parsers._emit cimport scratch_free, scratch_init
from parsers._model cimport Partition, RangeTombstone, Row
from parsers._relation cimport Relation

cdef uint8_t bucket_of(const uint8_t *key, int32_t length) noexcept nogil:
    """The lock bucket of a partition; the same in every process that writes the mirror."""
    return <uint8_t>(crc32_update(0, key, <size_t>length) % 16)


cdef void empty_row(Row *row, const Row *key) noexcept nogil:
    """A row of `key`'s primary key that says nothing."""
    row[0] = key[0]
    row.liveness_us = INT64_MIN
    row.liveness_ttl_s = 0
    row.liveness_expiry_s = INT64_MAX
    row.deletion.timestamp_us = INT64_MIN
    row.deletion.local_time_s = INT64_MAX
    row.cells = NULL
    row.n_cells = 0


cdef void keep_key(Row *row, const Row *key) noexcept nogil:
    """Give `row` the very key of another one: that of a stored state may be damaged."""
    row.partition_key = key.partition_key
    row.partition_key_length = key.partition_key_length
    row.clustering = key.clustering
    row.clustering_length = key.clustering_length


cdef void empty_partition(Partition *partition, const uint8_t *key, int32_t length) noexcept nogil:
    memset(partition, 0, sizeof(Partition))
    partition.key = key
    partition.key_length = length
    partition.deletion.timestamp_us = INT64_MIN
    partition.deletion.local_time_s = INT64_MAX


cdef bint says_nothing(const Row *row) noexcept nogil:
    return (
        row.n_cells == 0
        and row.liveness_us == INT64_MIN
        and row.deletion.timestamp_us == INT64_MIN
    )


cdef class RelationItems:
    """One relation's share of a batch."""

    def __cinit__(
        self, Batch batch not None, Relation relation not None, RelationItems tombstones=None
    ):
        cdef int32_t i, at
        cdef Partition *partition
        cdef Row *row
        cdef const TableCode *code = (<Catalog>batch.catalog).find(relation.code.id)
        if code == NULL:
            raise ValueError(f"{relation.table.table} is not in the batch's catalog")
        self.batch = batch
        self.relation = relation
        self.relation_code = 2 * code.index + relation.static
        self.pins = []
        arena_init(&self.arena)
        scratch_init(&self.scratch, relation)
        self.wanted = <uint8_t *>calloc(relation.n_attributes + 1, 1)
        if self.wanted == NULL:
            raise MemoryError
        for i in range(16):
            self.row_watermarks[i] = INT64_MIN
            self.partition_watermarks[i] = INT64_MIN
            self.truncated_us[i] = INT64_MIN
        self.stored_until_us = INT64_MIN
        if tombstones is not None:
            self._share(tombstones)
            return
        row = batch.relations[self.relation_code].first
        while row != NULL:
            self._add(row)
            row = row.next
        for i in range(batch.n_partitions):
            partition = batch.partitions[i]
            if partition.table != code.index:
                continue
            if relation.static and partition.deletion.timestamp_us == INT64_MIN:
                continue        # range tombstones do not reach the static row
            at = self._add_partition(partition.key, partition.key_length)
            self.partitions[at].fresh = partition[0]
            self.partitions[at].novel = True
            if relation.static:
                self.partitions[at].fresh.ranges = NULL

    def __dealloc__(self):
        arena_free(&self.arena)
        scratch_free(&self.scratch)
        free(self.items)
        free(self.partitions)
        free(self.partition_slots)
        free(self.wanted)

    cdef int _share(self, RelationItems other) except -1:
        """Take over the partitions of another work, which stays as long as this one."""
        cdef int32_t i, at
        self.pins.append(other)
        self.asked = other._scanned()
        for i in range(16):
            self.row_watermarks[i] = other.row_watermarks[i]
            self.partition_watermarks[i] = other.partition_watermarks[i]
            self.truncated_us[i] = other.truncated_us[i]
        self.stored_until_us = other.stored_until_us
        for i in range(other.n_partitions):
            at = self._add_partition(
                other.partitions[i].fresh.key, other.partitions[i].fresh.key_length
            )
            self.partitions[at] = other.partitions[i]
            self.partitions[at].novel = False
        return 0

    cdef Item *_add(self, Row *row) except NULL:
        cdef void *grown
        cdef int32_t capacity
        cdef Item *item
        if self.n_items == self.items_capacity:
            capacity = max(64, 2 * self.items_capacity)
            grown = realloc(self.items, capacity * sizeof(Item))
            if grown == NULL:
                raise MemoryError
            self.items = <Item *>grown
            self.items_capacity = capacity
        item = &self.items[self.n_items]
        memset(item, 0, sizeof(Item))
        item.incoming = row
        item.bucket = bucket_of(row.partition_key, row.partition_key_length)
        self.n_items += 1
        return item

    cdef int32_t _find_partition(self, const uint8_t *key, int32_t length) noexcept nogil:
        cdef uint32_t slot
        cdef Partition *held
        if self.n_partitions == 0:
            return -1
        slot = hash_bytes(0, key, length) & self.partition_mask
        while self.partition_slots[slot] != 0:
            held = &self.partitions[self.partition_slots[slot] - 1].fresh
            if held.key_length == length and memcmp(held.key, key, length) == 0:
                return self.partition_slots[slot] - 1
            slot = (slot + 1) & self.partition_mask
        return -1

    cdef int32_t _add_partition(self, const uint8_t *key, int32_t length) except -1:
        """Index of the partition, which is added where it was not there."""
        cdef int32_t at = self._find_partition(key, length)
        cdef int32_t i, capacity
        cdef void *grown
        if at >= 0:
            return at
        if self.n_partitions == self.partitions_capacity:
            capacity = max(16, 2 * self.partitions_capacity)
            grown = realloc(self.partitions, capacity * sizeof(PartitionItem))
            if grown == NULL:
                raise MemoryError
            self.partitions = <PartitionItem *>grown
            self.partitions_capacity = capacity
            free(self.partition_slots)
            self.partition_slots = <int32_t *>calloc(4 * capacity, sizeof(int32_t))
            if self.partition_slots == NULL:
                raise MemoryError
            self.partition_mask = 4 * capacity - 1
            for i in range(self.n_partitions):
                self._slot_partition(i)
        at = self.n_partitions
        empty_partition(&self.partitions[at].fresh, key, length)
        empty_partition(&self.partitions[at].stored, key, length)
        self.partitions[at].novel = False
        self.partitions[at].bucket = bucket_of(key, length)
        self.n_partitions += 1
        self._slot_partition(at)
        return at

    cdef void _slot_partition(self, int32_t at) noexcept:
        cdef Partition *held = &self.partitions[at].fresh
        cdef uint32_t slot = hash_bytes(0, held.key, held.key_length) & self.partition_mask
        while self.partition_slots[slot] != 0:
            slot = (slot + 1) & self.partition_mask
        self.partition_slots[slot] = at + 1

    cdef list _scanned(self):
        """The partitions that the batch deletes something of, by index."""
        return [i for i in range(self.n_partitions) if self.partitions[i].novel]

    def buckets(self):
        """The numbers of the lock buckets that this work touches, ascending."""
        cdef uint32_t touched = 0
        cdef int32_t i
        for i in range(self.n_items):
            touched |= <uint32_t>1 << self.items[i].bucket
        for i in range(self.n_partitions):
            touched |= <uint32_t>1 << self.partitions[i].bucket
        return [i for i in range(16) if touched >> i & 1]

    def set_watermarks(self, int bucket, newest_row_us, newest_partition_us, truncated_us=None):
        """The newest timestamps (µs, None: none) of dead rows and partition tombstones stored.

        What is newer than them needs no look at the stored tombstones. Up to `truncated_us` the
        batch says nothing: it was written before a TRUNCATE that took what was stored then.
        """
        cdef int32_t i
        if truncated_us is not None:
            self.truncated_us[bucket] = truncated_us
            for i in range(self.n_partitions):
                if self.partitions[i].bucket == bucket:
                    self._truncate_partition(&self.partitions[i].fresh, truncated_us)
        self.row_watermarks[bucket] = INT64_MIN if newest_row_us is None else newest_row_us
        self.partition_watermarks[bucket] = (
            INT64_MIN if newest_partition_us is None else newest_partition_us
        )

    def delete_stored(self, int64_t until_us):
        """Delete of the rows what was written up to then, as a TRUNCATE of that time does."""
        self.stored_until_us = until_us

    cdef int _truncate_partition(self, Partition *fresh, int64_t truncated_us) except -1:
        """Drop the deletions up to then. The batch's own stay: it may be applied again."""
        cdef RangeTombstone *ranged = fresh.ranges
        cdef RangeTombstone *kept
        if fresh.deletion.timestamp_us <= truncated_us:
            fresh.deletion.timestamp_us = INT64_MIN
            fresh.deletion.local_time_s = INT64_MAX
        fresh.ranges = NULL
        while ranged != NULL:
            if ranged.deletion.timestamp_us > truncated_us:
                kept = <RangeTombstone *>arena_alloc(&self.arena, sizeof(RangeTombstone))
                kept[0] = ranged[0]
                kept.next = fresh.ranges
                fresh.ranges = kept
            ranged = ranged.next
        return 0
