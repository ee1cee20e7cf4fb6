# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Decoded rows merged per key in C memory: what one transaction applies.

Rows refer to the bytes of the segments they came from; the batch pins those readers until it is
cleared.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from parsers._arena cimport arena_alloc, arena_clear, arena_free, arena_init
from parsers._catalog cimport MIRROR, Catalog, CompiledTable, TableCode
from parsers._model cimport Partition, RangeTombstone, Row, newest_writetime
from parsers._mutation cimport Decoding, Update
from parsers._reconcile cimport digest_insert, merge_deletion, merge_rows

from parsers.position import Position

cimport cython

cdef uint64_t MIX = 0x9E3779B97F4A7C15


cdef uint32_t hash_bytes(uint32_t seed, const uint8_t *p, Py_ssize_t n) noexcept nogil:
    """For the batch's own hash tables only: nothing depends on it outside this process."""
    cdef uint64_t h = (seed + <uint64_t>n) * MIX
    cdef uint64_t word
    while n >= 8:
        memcpy(&word, p, 8)
        h = (h ^ word) * MIX
        h ^= h >> 29
        p += 8
        n -= 8
    if n > 0:
        word = 0
        memcpy(&word, p, n)
        h = (h ^ word) * MIX
        h ^= h >> 29
    return <uint32_t>(h ^ (h >> 32))


cdef inline bint same_key(const Row *a, const Row *b) noexcept nogil:
    return (
        a.relation == b.relation
        and a.partition_key_length == b.partition_key_length
        and a.clustering_length == b.clustering_length
        and memcmp(a.partition_key, b.partition_key, a.partition_key_length) == 0
        # A static row has none.
        and (
            a.clustering_length == 0
            or memcmp(a.clustering, b.clustering, a.clustering_length) == 0
        )
    )


cdef inline void take_slot(
    RowSlot *slots, uint32_t mask, uint32_t hash, int32_t row
) noexcept nogil:
    cdef uint32_t at = hash & mask
    while slots[at].row != 0:
        at = (at + 1) & mask
    slots[at].hash = hash
    slots[at].row = row


@cython.final
cdef class Batch:
    """Rows of any number of tables and segments, merged by Cassandra's rules.

    It belongs to one catalog: a schema change asks for a new batch (apply the old one first).
    """

    def __cinit__(self, Catalog catalog not None):
        arena_init(&self.arena)
        self.catalog = catalog
        self.row_mask = 1023
        self.partition_mask = 63
        self.row_slots = <RowSlot *>calloc(self.row_mask + 1, sizeof(RowSlot))
        self.partition_slots = <Partition **>calloc(self.partition_mask + 1, sizeof(Partition *))
        self.relations = <RelationRows *>calloc(2 * len(catalog.tables) + 1, sizeof(RelationRows))
        if self.row_slots == NULL or self.partition_slots == NULL or self.relations == NULL:
            raise MemoryError
        self.pins = []
        self.rejections = []
        self.min_writetime_us = INT64_MAX
        self.max_writetime_us = INT64_MIN

    def __dealloc__(self):
        arena_free(&self.arena)
        free(self.rows)
        free(self.relations)
        free(self.row_slots)
        free(self.partitions)
        free(self.partition_slots)
        free(self.truncated)

    def __len__(self):
        """Distinct rows and partitions to write."""
        return self.n_rows + self.n_partitions

    @property
    def memory_bytes(self):
        """Memory that the rows take, without the segments they refer to."""
        return self.arena.total

    @property
    def position(self):
        """Position of the last mutation read (also one that was skipped), None before the first."""
        return Position(self.segment_id, self.offset) if self.segment_id else None

    def touch(
        self, CompiledTable compiled not None, bytes partition_key, bytes clustering, bint static
    ):
        """Add a row that says nothing, so that it is looked at: something of it has expired.

        `clustering` is the wire form, as it was handed out with the row's expiry.
        """
        cdef Row *row = <Row *>arena_alloc(&self.arena, sizeof(Row))
        cdef const TableCode *code = (<Catalog>self.catalog).find(compiled.code.id)
        if code == NULL:
            raise ValueError(f"{compiled.table} is not in the batch's catalog")
        memset(row, 0, sizeof(Row))
        row.partition_key = partition_key
        row.partition_key_length = len(partition_key)
        row.clustering = clustering
        row.clustering_length = len(clustering)
        row.relation = 2 * code.index + static
        row.liveness_us = INT64_MIN
        row.liveness_expiry_s = INT64_MAX
        row.deletion.timestamp_us = INT64_MIN
        row.deletion.local_time_s = INT64_MAX
        self.pins.append((partition_key, clustering))
        if self._find_row(row) == NULL:
            self.add_row(row)

    def touched(self):
        """The CompiledTables that the batch has rows or partition tombstones of."""
        cdef int32_t i
        cdef set indexes = set()
        for i in range(len(self.catalog.tables)):
            if self.relations[2 * i].first != NULL or self.relations[2 * i + 1].first != NULL:
                indexes.add(i)
        for i in range(self.n_partitions):
            indexes.add(self.partitions[i].table)
        return [self.catalog.tables[table] for table in sorted(indexes)]

    def part(self, items):
        """Some items of this batch as a batch of their own, for as long as this one is not changed.

        `items` are numbers below len(self), each at most once: deletions of partitions come first,
        then rows. The part shares the memory of the rows, and counts no mutations.
        """
        cdef Batch part = Batch(self.catalog)
        cdef Partition *partition
        cdef Partition *held
        cdef Row *row
        cdef Py_ssize_t item
        for item in items:
            if not 0 <= item < self.n_partitions + self.n_rows:
                raise IndexError(f"a batch of {len(self)} has no item {item}")
            if item < self.n_partitions:
                held = self.partitions[item]
                partition = part.add_partition(held.table, held.key, held.key_length)
                partition.deletion = held.deletion
                partition.ranges = held.ranges
                partition.n_ranges = held.n_ranges
                partition.offset = held.offset
                partition.mutations = held.mutations
                continue
            row = <Row *>arena_alloc(&part.arena, sizeof(Row))
            row[0] = self.rows[item - self.n_partitions][0]
            part.add_row(row)
        part.pins.append(self)
        return part

    def touched_keys(self):
        """What the batch writes to: the set of (CompiledTable, partition key)."""
        cdef int32_t i
        found = set()
        for i in range(self.n_partitions):
            found.add(self._partition_name(self.partitions[i]))
        for i in range(self.n_rows):
            found.add(self._row_name(self.rows[i]))
        return found

    def shared(self, Batch other not None):
        """Of the rows and deletions of partitions in this batch those that `other` has, too.

        As the set of their (CompiledTable, partition key).
        """
        cdef int32_t i
        cdef Partition *held
        if other.catalog is not self.catalog:
            raise ValueError("the batches are of different catalogs")
        found = set()
        for i in range(self.n_partitions):
            held = self.partitions[i]
            if other.find_partition(held.table, held.key, held.key_length) != NULL:
                found.add(self._partition_name(held))
        for i in range(self.n_rows):
            if other.holds_row(self.rows[i]):
                found.add(self._row_name(self.rows[i]))
        return found

    cdef tuple _partition_name(self, const Partition *held):
        return self.catalog.tables[held.table], held.key[:held.key_length]

    cdef tuple _row_name(self, const Row *row):
        return (
            self.catalog.tables[row.relation >> 1], row.partition_key[:row.partition_key_length]
        )

    def pass_over(self, table_id not None, int64_t segment_id, int64_t offset):
        """Take nothing of that table up to a position: a TRUNCATE has deleted it.

        Holds until the batch goes, `clear` or not; of several positions the last one in the log
        counts, in whatever order they come. A table that the catalog does not know is left.
        """
        cdef Truncated *held
        cdef bytes id_bytes = table_id.bytes
        cdef Catalog catalog = self.catalog
        cdef const TableCode *code = catalog.find(id_bytes)
        if code == NULL:
            return
        if self.truncated == NULL:
            self.truncated = <Truncated *>calloc(len(catalog.tables), sizeof(Truncated))
            if self.truncated == NULL:
                raise MemoryError
        held = &self.truncated[code.index]
        if (segment_id, offset) > (held.segment_id, held.offset):
            held.segment_id = segment_id
            held.offset = offset

    def advance(self, int64_t segment_id, int64_t offset):
        """Move the position on without a mutation: past an empty section or a dead-lettered one."""
        self.segment_id = segment_id
        self.offset = offset

    def clear(self):
        """Empty, for re-use with the same catalog. Position and pins go too."""
        arena_clear(&self.arena)
        memset(self.row_slots, 0, (self.row_mask + 1) * sizeof(RowSlot))
        memset(self.relations, 0, 2 * len(self.catalog.tables) * sizeof(RelationRows))
        memset(self.partition_slots, 0, (self.partition_mask + 1) * sizeof(Partition *))
        self.n_rows = 0
        self.n_partitions = 0
        self.mutations = 0
        self.skipped = 0
        self.events = 0
        self.bytes = 0
        self.min_writetime_us = INT64_MAX
        self.max_writetime_us = INT64_MIN
        self.ties_by_value = False
        self.segment_id = 0
        self.offset = 0
        self.pins = []
        self.rejections = []

    cdef int absorb(self, Decoding *d, int64_t segment_id, int64_t offset) except -1 nogil:
        """Merge the updates of one decoded mutation."""
        cdef int32_t i
        cdef const Truncated *until
        cdef Row *row
        cdef Row *following
        cdef Update *update
        self.ties_by_value = d.ties_by_value
        for i in range(d.n_updates):
            update = &d.updates[i]
            if update.table.action != MIRROR:
                continue
            if self.truncated != NULL:
                until = &self.truncated[update.table.index]
                if until.segment_id != 0 and (
                    segment_id < until.segment_id
                    or (segment_id == until.segment_id and offset <= until.offset)
                ):
                    continue
            if update.ranges != NULL or update.deletion.timestamp_us != INT64_MIN:
                self.absorb_partition(update, offset)
            row = update.rows
            while row != NULL:
                following = row.next
                row.offset = offset
                digest_insert(row, update.table.columns)
                self.note_writetime(newest_writetime(row))
                self.absorb_row(row)
                self.events += 1
                row = following
        return 0

    cdef void note_writetime(self, int64_t writetime_us) noexcept nogil:
        if writetime_us == INT64_MIN:
            return
        if writetime_us < self.min_writetime_us:
            self.min_writetime_us = writetime_us
        if writetime_us > self.max_writetime_us:
            self.max_writetime_us = writetime_us

    cdef int absorb_row(self, Row *row) except -1 nogil:
        cdef Row *held = self._find_row(row)
        if held == NULL:
            return self.add_row(row)
        merge_rows(&self.arena, held, row, self.ties_by_value, held)
        return 0

    cdef Row *_find_row(self, Row *row) noexcept nogil:
        """The batch's row of the same key, or NULL; `row` gets its hash."""
        cdef const RowSlot *slot
        cdef uint32_t at
        row.hash = hash_bytes(row.relation, row.partition_key, row.partition_key_length)
        if row.clustering_length:
            row.hash = hash_bytes(row.hash, row.clustering, row.clustering_length)
        at = row.hash & self.row_mask
        while True:
            slot = &self.row_slots[at]
            if slot.row == 0:
                return NULL
            # The hash stands in the slot: a row is looked at when it is very likely the one.
            if slot.hash == row.hash and same_key(self.rows[slot.row - 1], row):
                return self.rows[slot.row - 1]
            at = (at + 1) & self.row_mask

    cdef bint holds_row(self, Row *row) noexcept nogil:
        """Whether the batch has a row of that key."""
        return self._find_row(row) != NULL

    cdef int add_row(self, Row *row) except -1 nogil:
        cdef int32_t capacity
        cdef void *grown
        cdef RelationRows *others = &self.relations[row.relation]
        if self.n_rows == self.rows_capacity:
            capacity = max(1024, 2 * self.rows_capacity)
            grown = realloc(self.rows, capacity * sizeof(Row *))
            if grown == NULL:
                with gil:
                    raise MemoryError
            self.rows = <Row **>grown
            self.rows_capacity = capacity
        if 2 * <uint32_t>self.n_rows > self.row_mask:
            self._grow_slots()
        self.rows[self.n_rows] = row
        self.n_rows += 1
        row.next = NULL
        if others.first == NULL:
            others.first = row
        else:
            others.last.next = row
        others.last = row
        take_slot(self.row_slots, self.row_mask, row.hash, self.n_rows)
        return 0

    cdef int _grow_slots(self) except -1 nogil:
        cdef uint32_t mask = 4 * self.row_mask + 3
        cdef RowSlot *slots = <RowSlot *>calloc(<size_t>mask + 1, sizeof(RowSlot))
        cdef uint32_t i
        if slots == NULL:
            with gil:
                raise MemoryError
        for i in range(self.row_mask + 1):
            if self.row_slots[i].row != 0:
                take_slot(slots, mask, self.row_slots[i].hash, self.row_slots[i].row)
        free(self.row_slots)
        self.row_slots = slots
        self.row_mask = mask
        return 0

    cdef Partition *find_partition(
        self, uint32_t table, const uint8_t *key, int32_t length
    ) noexcept nogil:
        """What the batch holds of that partition's deletions, or NULL."""
        cdef uint32_t hashed
        cdef Partition *held
        if self.n_partitions == 0:
            return NULL
        hashed = hash_bytes(table, key, length)
        held = self.partition_slots[hashed & self.partition_mask]
        while held != NULL:
            if (
                held.hash == hashed
                and held.table == table
                and held.key_length == length
                and memcmp(held.key, key, length) == 0
            ):
                return held
            held = held.next
        return NULL

    cdef Partition *add_partition(
        self, uint32_t table, const uint8_t *key, int32_t length
    ) except NULL nogil:
        """A partition that the batch does not hold yet, with no deletion in it."""
        cdef Partition *held
        cdef void *grown
        cdef int32_t capacity
        cdef uint32_t mask
        cdef int32_t i
        if self.n_partitions == self.partitions_capacity:
            capacity = max(64, 2 * self.partitions_capacity)
            grown = realloc(self.partitions, capacity * sizeof(Partition *))
            if grown == NULL:
                with gil:
                    raise MemoryError
            self.partitions = <Partition **>grown
            self.partitions_capacity = capacity
        if <uint32_t>self.n_partitions > self.partition_mask:
            mask = 4 * self.partition_mask + 3
            grown = calloc(<size_t>mask + 1, sizeof(Partition *))
            if grown == NULL:
                with gil:
                    raise MemoryError
            free(self.partition_slots)
            self.partition_slots = <Partition **>grown
            self.partition_mask = mask
            for i in range(self.n_partitions):
                held = self.partitions[i]
                held.next = self.partition_slots[held.hash & mask]
                self.partition_slots[held.hash & mask] = held
        held = <Partition *>arena_alloc(&self.arena, sizeof(Partition))
        held.key = key
        held.key_length = length
        held.table = table
        held.hash = hash_bytes(table, key, length)
        held.deletion.timestamp_us = INT64_MIN
        held.deletion.local_time_s = INT64_MAX
        held.ranges = NULL
        held.n_ranges = 0
        held.mutations = 0
        held.next = self.partition_slots[held.hash & self.partition_mask]
        self.partition_slots[held.hash & self.partition_mask] = held
        self.partitions[self.n_partitions] = held
        self.n_partitions += 1
        return held

    cdef int absorb_partition(self, const Update *update, int64_t offset) except -1 nogil:
        """Merge a partition deletion and range tombstones."""
        cdef Partition *held = self.find_partition(
            update.table.index, update.key.data, update.key.length
        )
        cdef RangeTombstone *ranged
        cdef RangeTombstone *following
        if held == NULL:
            held = self.add_partition(
                update.table.index, update.key.data, update.key.length
            )
        held.offset = offset
        held.mutations += 1
        if update.deletion.timestamp_us != INT64_MIN:
            merge_deletion(&held.deletion, &update.deletion)
            self.note_writetime(update.deletion.timestamp_us)
            self.events += 1
        ranged = update.ranges
        while ranged != NULL:
            following = ranged.next
            self.note_writetime(ranged.deletion.timestamp_us)
            ranged.next = held.ranges
            held.ranges = ranged
            held.n_ranges += 1
            self.events += 1
            ranged = following
        return 0
