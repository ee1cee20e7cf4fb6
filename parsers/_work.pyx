# cython: language_level=3, autotestdict=False, auto_pickle=False
"""One relation's share of a batch: merged with what the mirror holds, and what is to be written.

The applier asks the questions (SQL) and hands in the answers; this module decides. The steps, in
order: `buckets`, `set_watermarks`, `load_rows`, `load_partitions`, `load_scan`, `load_dead`,
`decide`, for ties `load_values` and `decide` again, then the parameters of the writes. Questions
and answers are PostgreSQL's binary arrays; numbers count the items of a question from 1.
"""
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

from parsers._arena cimport Arena, arena_alloc, arena_free, arena_init
from parsers._batch cimport Batch, hash_bytes
from parsers._buffer cimport (
    Buffer,
    buffer_clear,
    buffer_free,
    buffer_init,
    put_bytes,
    put_i16,
    put_i32,
    put_i64,
)
from parsers._catalog cimport Catalog, TableCode
from parsers._clustering cimport canonical_values, put_clustering
from parsers._crc32 cimport crc32_update
from parsers._cursor cimport Slice, be32
from parsers._emit cimport (
    ArrayReader,
    Scratch,
    next_item,
    open_array,
    patch_array_count,
    put_array_header,
    put_key_record,
    put_row_record,
    put_row_tuple,
    scratch_free,
    scratch_init,
    split_key,
)
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_COUNTER,
    CELL_EXPIRED,
    CELL_EXPIRING,
    CELL_IN_MIRROR,
    Cell,
    Deletion,
    Partition,
    RangeTombstone,
    Row,
)
from parsers._ranges cimport (
    decode_partition,
    encode_partition,
    knows_range,
    newest_deletion_time,
    newest_timestamp,
    outer_deletion,
)
from parsers._reconcile cimport (
    cell_is_live,
    deletion_supersedes,
    merge_rows,
    row_is_live,
    shadow_row,
)
from parsers._relation cimport Relation
from parsers._state cimport damaged, decode_state, encode_state, knows_write, purge_time
from parsers._state_check cimport check_clustering
from parsers._values cimport value_from_pg

from cdc_tail.errors import SchemaMismatch

cimport cython

BUCKETS = 16
MASK_BITS = 62

cdef uint32_t BYTEA_OID = 17
cdef uint32_t INT8_OID = 20
cdef uint8_t NO_BYTES = 0

cdef enum:
    # Item.outcome
    SAME = 0        # nothing to write
    NEW = 1         # not in the mirror: insert
    CHANGED = 2     # update
    GONE = 3        # in the mirror: delete, and keep its tombstones
    DEAD = 4        # not in the mirror: keep its tombstones


cdef struct Item:
    Row *incoming
    Row merged
    Row state               # what the mirror holds, where `exists`
    Row dead                # merged fragments of a dead row, where `known_dead`
    Slice stored            # the bytes of `state`
    int32_t undecided       # cells whose winner only a value in the mirror can tell
    uint8_t exists
    uint8_t known_dead
    uint8_t known           # the mirror has merged this very write already
    uint8_t outcome
    uint8_t bucket


cdef struct PartitionItem:
    Partition fresh         # from the batch; empty where only rows ask for the partition
    Partition stored        # from the mirror
    bint novel              # `fresh` deletes more than `stored`
    uint8_t bucket


cdef uint8_t bucket_of(const uint8_t *key, int32_t length) noexcept nogil:
    """The lock bucket of a partition; the same in every process that writes the mirror."""
    return <uint8_t>(crc32_update(0, key, <size_t>length) % 16)


cdef int64_t oldest_timestamp(const Row *row) noexcept nogil:
    """The oldest timestamp anywhere in the row; INT64_MAX where it has none."""
    cdef int64_t oldest = INT64_MAX
    cdef int32_t i
    if row.liveness_us != INT64_MIN:
        oldest = row.liveness_us
    if row.deletion.timestamp_us != INT64_MIN and row.deletion.timestamp_us < oldest:
        oldest = row.deletion.timestamp_us
    for i in range(row.n_cells):
        if row.cells[i].writetime_us < oldest:
            oldest = row.cells[i].writetime_us
    return oldest


cdef int64_t newest_of_row(const Row *row) noexcept nogil:
    cdef int64_t newest = row.liveness_us
    cdef int32_t i
    if row.deletion.timestamp_us > newest:
        newest = row.deletion.timestamp_us
    for i in range(row.n_cells):
        if row.cells[i].writetime_us > newest:
            newest = row.cells[i].writetime_us
    return newest


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


@cython.final
cdef class RelationWork:
    """The rows (or static rows) of one table in a batch, on their way into its mirror relation."""

    cdef readonly Relation relation
    cdef Batch batch
    cdef uint32_t relation_code         # Row.relation of its rows, in the batch's catalog
    cdef Arena arena
    cdef Scratch scratch
    cdef Item *items
    cdef readonly int32_t n_items
    cdef int32_t items_capacity
    cdef PartitionItem *partitions
    cdef readonly int32_t n_partitions
    cdef int32_t partitions_capacity
    cdef int32_t *partition_slots       # open addressing; index + 1
    cdef uint32_t partition_mask
    cdef uint8_t *wanted                # per attribute: 1 where the update in hand writes it
    cdef list asked                     # indexes of the items of the question in hand
    cdef list pins                      # answers that rows point into
    cdef int64_t row_watermarks[16]
    cdef int64_t partition_watermarks[16]
    cdef int64_t truncated_us[16]       # up to then all is deleted
    cdef int64_t now_s
    cdef int32_t counts[5]
    cdef int32_t written                # items before it have been given by `new_rows`

    def __cinit__(
        self, Batch batch not None, Relation relation not None, RelationWork tombstones=None
    ):
        cdef int32_t i, at
        cdef Partition *partition
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
        if tombstones is not None:
            self._share(tombstones)
            return
        for i in range(batch.n_rows):
            if batch.rows[i].relation == self.relation_code:
                self._add(batch.rows[i])
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

    cdef int _share(self, RelationWork other) except -1:
        """Take over the partitions of another work, which stays as long as this one."""
        cdef int32_t i, at
        self.pins.append(other)
        self.asked = other._scanned()
        for i in range(16):
            self.row_watermarks[i] = other.row_watermarks[i]
            self.partition_watermarks[i] = other.partition_watermarks[i]
            self.truncated_us[i] = other.truncated_us[i]
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

    # -- locks

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

        What is newer than them needs no look at the stored tombstones. Up to `truncated_us`
        everything is deleted.
        """
        self.truncated_us[bucket] = INT64_MIN if truncated_us is None else truncated_us
        self.row_watermarks[bucket] = INT64_MIN if newest_row_us is None else newest_row_us
        self.partition_watermarks[bucket] = (
            INT64_MIN if newest_partition_us is None else newest_partition_us
        )

    # -- what deletes more than a row

    def partition_keys(self):
        """bytea[] of the partition keys whose stored tombstones matter; None for none.

        Those that the batch deletes from, those of rows old enough to be covered by one, and those
        of rows that a dead row may precede.
        """
        cdef int32_t i
        cdef int64_t newest
        cdef Row *row
        cdef Buffer out
        for i in range(self.n_items):
            row = self.items[i].incoming
            newest = self.partition_watermarks[self.items[i].bucket]
            if self.items[i].known or newest == INT64_MIN:
                continue
            # What is kept of a dead row must not come back from below a range tombstone.
            if oldest_timestamp(row) <= newest or self._may_be_dead(&self.items[i]):
                self._add_partition(row.partition_key, row.partition_key_length)
        buffer_init(&out)
        try:
            put_array_header(&out, BYTEA_OID, self.n_partitions)
            for i in range(self.n_partitions):
                put_i32(&out, self.partitions[i].fresh.key_length)
                put_bytes(&out, self.partitions[i].fresh.key, self.partitions[i].fresh.key_length)
            return taken(&out) if self.n_partitions else None
        finally:
            buffer_free(&out)

    def load_partitions(self, bytes numbers, bytes states):
        """Stored tombstones, as fragments to be merged, of the partitions of `partition_keys`."""
        cdef ArrayReader number_reader, state_reader
        cdef Slice state
        cdef int32_t i, _i, at
        cdef PartitionItem *item
        cdef RangeTombstone *ranged
        if numbers is not None:
            self.pins.append(states)
            open_pair(&number_reader, numbers, &state_reader, states)
            for _i in range(number_reader.n):
                at = next_number(&number_reader, self.n_partitions)
                next_checked(&state_reader, &state)
                decode_partition(
                    &self.arena, self.relation.code, state.data, state.length,
                    &self.partitions[at].stored,
                )
        for i in range(self.n_partitions):
            item = &self.partitions[i]
            item.novel = deletion_supersedes(&item.fresh.deletion, &item.stored.deletion)
            ranged = item.fresh.ranges
            while ranged != NULL and not item.novel:
                item.novel = not knows_range(&item.stored, ranged)
                ranged = ranged.next

    def scan_keys(self):
        """Array of key records of the partitions whose rows a new deletion may reach; or None.

        Their clustering fields are NULL.
        """
        cdef Buffer out
        cdef Row row
        cdef int32_t i
        self.asked = self._scanned()
        if not self.asked:
            return None
        buffer_init(&out)
        memset(&row, 0, sizeof(Row))
        try:
            put_array_header(&out, self.relation.key_type_oid, len(self.asked))
            for i in self.asked:
                row.partition_key = self.partitions[i].fresh.key
                row.partition_key_length = self.partitions[i].fresh.key_length
                put_key_record(self.relation, &row, True, &self.scratch, &out)
            return taken(&out)
        finally:
            buffer_free(&out)

    cdef list _scanned(self):
        return [i for i in range(self.n_partitions) if self.partitions[i].novel]

    def for_scan(self):
        """A work that sees the same tombstones and holds no rows: for `load_scan` of some of them.

        A partition may have any number of rows in the mirror: they are decided and written page by
        page, each page by such a work, after this one is written.
        """
        return RelationWork(self.batch, self.relation, self)

    def load_scan(self, bytes numbers, bytes states, list clusterings):
        """The mirror's rows in the partitions of `scan_keys`, but for those of the batch.

        `clusterings` are the arrays of the clustering columns; empty where the state keeps them.
        """
        cdef ArrayReader number_reader, state_reader
        cdef ArrayReader *columns
        cdef Slice state, field
        cdef Slice *values
        cdef Row *row
        cdef Row probe
        cdef Buffer wire
        cdef Buffer raw
        cdef Item *item
        cdef int32_t _i, at, column
        cdef int32_t n_columns = len(clusterings)
        cdef bytes array
        if numbers is None:
            return
        self.pins.append(states)
        columns = <ArrayReader *>calloc(n_columns + 1, sizeof(ArrayReader))
        values = <Slice *>calloc(n_columns + 1, sizeof(Slice))
        buffer_init(&wire)
        buffer_init(&raw)
        try:
            if columns == NULL or values == NULL:
                raise MemoryError
            open_pair(&number_reader, numbers, &state_reader, states)
            for column, array in enumerate(clusterings):
                checked(open_array(&columns[column], array, len(array)))
            for _i in range(number_reader.n):
                at = self.asked[next_number(&number_reader, len(self.asked))]
                next_checked(&state_reader, &state)
                row = <Row *>arena_alloc(&self.arena, sizeof(Row))
                memset(row, 0, sizeof(Row))
                empty_row(row, row)
                row.partition_key = self.partitions[at].fresh.key
                row.partition_key_length = self.partitions[at].fresh.key_length
                row.relation = self.relation_code
                probe = row[0]
                decode_state(
                    self.relation, &self.arena, state.data, state.length, False, &probe
                )
                if n_columns:
                    buffer_clear(&raw)
                    offsets = []
                    for column in range(n_columns):
                        next_checked(&columns[column], &field)
                        offsets.append(raw.length)
                        value_from_pg(
                            self.relation.code.clustering[column], field.data, field.length, &raw
                        )
                    offsets.append(raw.length)
                    for column in range(n_columns):
                        values[column].data = raw.data + <Py_ssize_t>offsets[column]
                        values[column].length = <int32_t>(offsets[column + 1] - offsets[column])
                    buffer_clear(&wire)
                    if self.relation.code.equal_clusterings:
                        canonical_values(self.relation.code, values, &self.arena)
                    put_clustering(self.relation.code, values, &wire)
                    row.clustering = copied(&self.arena, wire.data, wire.length)
                    row.clustering_length = <int32_t>wire.length
                else:
                    row.clustering = probe.clustering
                    row.clustering_length = probe.clustering_length
                    if not self.relation.static and check_clustering(
                        self.relation, row.clustering, row.clustering_length, self.scratch.key
                    ) < 0:
                        damaged(self.relation, "clustering")
                if self.batch.holds_row(row):
                    continue        # it has an item of its own
                item = self._add(row)
                item.exists = True
                item.state = probe
                keep_key(&item.state, row)
                item.stored = state
        finally:
            free(columns)
            free(values)
            buffer_free(&wire)
            buffer_free(&raw)

    # -- rows

    def row_keys(self):
        """Array of key records of all rows of the batch; None for none."""
        self.asked = list(range(self.n_items))
        return self._keys_of(self.asked)

    cdef _keys_of(self, list indexes):
        cdef Buffer out
        cdef int32_t i
        if not indexes:
            return None
        buffer_init(&out)
        try:
            put_array_header(&out, self.relation.key_type_oid, len(indexes))
            for i in indexes:
                put_key_record(
                    self.relation, self.items[i].incoming, False, &self.scratch, &out
                )
            return taken(&out)
        finally:
            buffer_free(&out)

    def load_rows(self, bytes numbers, bytes states):
        """The states of those rows of `row_keys` that the mirror holds."""
        cdef ArrayReader number_reader, state_reader
        cdef Slice state
        cdef Item *item
        cdef int32_t _i, n_asked
        if numbers is None:
            return
        n_asked = len(self.asked)
        self.pins.append(states)
        open_pair(&number_reader, numbers, &state_reader, states)
        for _i in range(number_reader.n):
            item = &self.items[<int32_t>self.asked[next_number(&number_reader, n_asked)]]
            next_checked(&state_reader, &state)
            if item.exists:
                raise SchemaMismatch(
                    f"two rows of {self.relation.table.table} share a primary key",
                    hint="the mirror's primary key was dropped; restore it",
                )
            item.exists = True
            item.stored = state
            item.known = knows_write(state.data, state.length, item.incoming) and (
                self._find_partition(
                    item.incoming.partition_key, item.incoming.partition_key_length
                ) < 0
            )
            if item.known:
                continue
            item.state = item.incoming[0]
            decode_state(
                self.relation, &self.arena, state.data, state.length, False, &item.state
            )
            keep_key(&item.state, item.incoming)

    def dead_keys(self):
        """(bytea[] of partition keys, bytea[] of clusterings) of rows that a dead row may precede.

        None where no row is old enough.
        """
        cdef Buffer keys, clusterings
        cdef int32_t i
        cdef Row *row
        self.asked = [
            i for i in range(self.n_items)
            if not self.items[i].known and self._may_be_dead(&self.items[i])
        ]
        if not self.asked:
            return None
        buffer_init(&keys)
        buffer_init(&clusterings)
        try:
            put_array_header(&keys, BYTEA_OID, len(self.asked))
            put_array_header(&clusterings, BYTEA_OID, len(self.asked))
            for i in self.asked:
                row = self.items[i].incoming
                put_i32(&keys, row.partition_key_length)
                put_bytes(&keys, row.partition_key, row.partition_key_length)
                put_i32(&clusterings, row.clustering_length)
                put_bytes(&clusterings, row.clustering, row.clustering_length)
            return taken(&keys), taken(&clusterings)
        finally:
            buffer_free(&keys)
            buffer_free(&clusterings)

    cdef bint _may_be_dead(self, const Item *item) noexcept nogil:
        """Whether what is kept of dead rows may matter to the row."""
        cdef int64_t newest = self.row_watermarks[item.bucket]
        cdef const Row *row = item.incoming
        if newest == INT64_MIN:
            return False
        # A counter's tombstone wins whatever the timestamps (format page 9.6).
        if row.n_cells > 0 and row.cells[0].flags & CELL_COUNTER:
            return True
        return oldest_timestamp(row) <= newest

    def load_dead(self, bytes numbers, bytes states):
        """Fragments of dead rows, to be merged, for the rows of `dead_keys`."""
        cdef ArrayReader number_reader, state_reader
        cdef Slice state
        cdef Item *item
        cdef Row fragment
        cdef int32_t _i
        if numbers is None:
            return
        self.pins.append(states)
        open_pair(&number_reader, numbers, &state_reader, states)
        for _i in range(number_reader.n):
            item = &self.items[
                <int32_t>self.asked[next_number(&number_reader, len(self.asked))]
            ]
            next_checked(&state_reader, &state)
            empty_row(&fragment, item.incoming)
            decode_state(self.relation, &self.arena, state.data, state.length, True, &fragment)
            keep_key(&fragment, item.incoming)
            if item.known_dead:
                merge_rows(
                    &self.arena, &item.dead, &fragment, self.batch.ties_by_value, &item.dead
                )
            else:
                item.dead = fragment
                item.known_dead = True

    # -- the decision

    def decide(self, int64_t now_s):
        """Merge everything and say what becomes of each row, as it is at `now_s`.

        Returns how many rows wait for `load_values`.
        """
        cdef int32_t i, waiting = 0
        self.now_s = now_s
        self.written = 0
        with nogil:
            for i in range(5):
                self.counts[i] = 0
            for i in range(self.n_items):
                if not self.items[i].known:
                    self._merge(&self.items[i])
                    waiting += self.items[i].undecided > 0
                    self._judge(&self.items[i])
                self.counts[self.items[i].outcome] += 1
        return waiting

    cdef int _merge(self, Item *item) except -1 nogil:
        cdef Deletion outer
        cdef int32_t at
        item.undecided = 0
        item.merged = item.incoming[0]
        if item.known_dead:
            merge_rows(
                &self.arena, &item.dead, &item.merged, self.batch.ties_by_value, &item.merged
            )
        if item.exists:
            item.undecided = merge_rows(
                &self.arena, &item.state, &item.merged, self.batch.ties_by_value, &item.merged
            )
        at = self._find_partition(
            item.incoming.partition_key, item.incoming.partition_key_length
        )
        # A truncation's time in seconds decides nothing.
        outer.timestamp_us = self.truncated_us[item.bucket]
        outer.local_time_s = 0 if outer.timestamp_us != INT64_MIN else INT64_MAX
        if at >= 0 and self.relation.static:
            outer_deletion(self.relation.code, &self.partitions[at].fresh, NULL, &outer)
            outer_deletion(self.relation.code, &self.partitions[at].stored, NULL, &outer)
        elif at >= 0:
            split_key(self.relation, item.incoming, False, self.scratch.key)
            outer_deletion(
                self.relation.code, &self.partitions[at].fresh,
                self.scratch.key + self.relation.code.n_partition_key, &outer,
            )
            outer_deletion(
                self.relation.code, &self.partitions[at].stored,
                self.scratch.key + self.relation.code.n_partition_key, &outer,
            )
        if outer.timestamp_us != INT64_MIN:
            if item.known_dead:
                shadow_row(&item.dead, &outer)      # so that nothing new is nothing to keep
            if item.merged.cells == item.incoming.cells:
                # The batch's own, which is decided and applied again where an attempt failed.
                item.merged.cells = copied_cells(&self.arena, item.incoming)
            shadow_row(&item.merged, &outer)
        return 0

    cdef int _judge(self, Item *item) except -1 nogil:
        cdef Buffer *state = &self.scratch.state
        cdef bint live = row_is_live(&item.merged, self.now_s)
        cdef Py_ssize_t length
        if not live:
            if item.exists:
                item.outcome = GONE
                return 0
            item.outcome = SAME
            if says_nothing(&item.merged):
                return 0
            item.outcome = DEAD
            if item.known_dead:
                buffer_clear(state)
                encode_state(self.relation, &item.dead, self.now_s, state)
                length = state.length
                encode_state(self.relation, &item.merged, self.now_s, state)
                if state.length == 2 * length and memcmp(
                    state.data, state.data + length, length
                ) == 0:
                    item.outcome = SAME
            return 0
        if not item.exists:
            item.outcome = NEW
            return 0
        item.outcome = CHANGED
        if self._note_changes(item, NULL):
            return 0
        buffer_clear(state)
        encode_state(self.relation, &item.merged, self.now_s, state)
        if state.length == item.stored.length and memcmp(
            state.data, item.stored.data, state.length
        ) == 0:
            item.outcome = SAME
        return 0

    cdef int32_t _note_changes(self, Item *item, uint8_t *changed) noexcept nogil:
        """How many columns differ from the mirror's; `changed` marks them (per attribute)."""
        cdef const Cell *old = item.state.cells
        cdef const Cell *new = item.merged.cells
        cdef int32_t i = 0, j = 0, n = 0
        cdef int32_t column, attribute, kept, held
        cdef bint differs
        while i < item.state.n_cells or j < item.merged.n_cells:
            if i == item.state.n_cells:
                column = new[j].column
            elif j == item.merged.n_cells or old[i].column < new[j].column:
                column = old[i].column
            else:
                column = new[j].column
            held = 0
            kept = 0
            differs = False
            while i < item.state.n_cells and old[i].column == column:
                held += 1
                i += 1
            while j < item.merged.n_cells and new[j].column == column:
                # A cell that expired since may still show in the mirror.
                if not new[j].flags & CELL_IN_MIRROR or (
                    new[j].flags & (CELL_EXPIRING | CELL_EXPIRED) == CELL_EXPIRING
                    and not cell_is_live(&new[j], self.now_s)
                ):
                    differs = True
                kept += 1
                j += 1
            attribute = self.relation.attribute_of_column[column]
            if attribute >= 0 and (differs or kept != held):
                n += 1
                if changed != NULL:
                    changed[attribute] = 1
        return n

    def counted(self):
        """Rows by outcome: (same, new, changed, gone, dead)."""
        return tuple(self.counts[i] for i in range(5))

    # -- ties

    def tied_columns(self):
        """(array of key records, indexes of table columns) of rows whose values are needed."""
        cdef int32_t i, j
        cdef Item *item
        cdef Cell *cell
        columns = set()
        self.asked = []
        for i in range(self.n_items):
            item = &self.items[i]
            if item.undecided == 0:
                continue
            self.asked.append(i)
            for j in range(item.state.n_cells):
                cell = &item.state.cells[j]
                if (
                    cell.value_length < 0
                    and is_live_cell(cell)
                    and cell.column < self.relation.code.n_columns
                ):
                    columns.add(cell.column)
        return self._keys_of(self.asked), sorted(columns)

    def load_values(self, bytes numbers, list columns, list arrays):
        """The mirror's values of `columns` (indexes) for the rows of `tied_columns`."""
        cdef ArrayReader number_reader, reader
        cdef Slice field
        cdef Item *item
        cdef Cell *cell
        cdef Buffer raw
        cdef int32_t _i, j, column
        cdef bytes array
        if numbers is None:
            return
        buffer_init(&raw)
        try:
            for column, array in zip(columns, arrays, strict=True):
                checked(open_array(&number_reader, numbers, len(numbers)))
                checked(open_array(&reader, array, len(array)))
                if reader.n != number_reader.n:
                    checked(-1)
                for _i in range(number_reader.n):
                    item = &self.items[
                        <int32_t>self.asked[next_number(&number_reader, len(self.asked))]
                    ]
                    next_checked(&reader, &field)
                    for j in range(item.state.n_cells):
                        cell = &item.state.cells[j]
                        if (
                            cell.column != column
                            or cell.value_length >= 0
                            or not is_live_cell(cell)
                        ):
                            continue
                        cell.value = &NO_BYTES
                        cell.value_length = 0
                        if field.length >= 0:
                            buffer_clear(&raw)
                            value_from_pg(
                                self.relation.columns[column].type,
                                field.data, field.length, &raw,
                            )
                            cell.value = copied(&self.arena, raw.data, raw.length)
                            cell.value_length = <int32_t>raw.length
        finally:
            buffer_free(&raw)

    # -- what is to be written

    def gone_keys(self):
        """Array of key records of the rows to delete; None for none."""
        return self._keys_of([i for i in range(self.n_items) if self.items[i].outcome == GONE])

    def new_rows(self, Py_ssize_t piece_bytes=PY_SSIZE_T_MAX):
        """COPY BINARY data of the rows to insert, in key order; None for none.

        At most one row more than `piece_bytes`: called again it goes on, and returns None when all
        was given. So PostgreSQL inserts one piece while the next one is made.
        """
        cdef Buffer out
        cdef int32_t i
        if self.counts[NEW] == 0 or self.written > self.n_items:
            return None
        buffer_init(&out)
        try:
            with nogil:
                if self.written == 0:
                    put_bytes(&out, COPY_SIGNATURE, 11)
                    put_i32(&out, 0)
                    put_i32(&out, 0)
                for i in range(self.written, self.n_items):
                    if out.length > piece_bytes:
                        break
                    self.written += 1
                    if self.items[i].outcome == NEW:
                        put_row_tuple(
                            self.relation, &self.items[i].merged, self.now_s, &self.scratch, &out
                        )
                if self.written == self.n_items and out.length <= piece_bytes:
                    self.written += 1
                    put_i16(&out, -1)
            return taken(&out)
        finally:
            buffer_free(&out)

    def changed_rows(self):
        """(array of row records, list of int8[] masks, attributes) of the rows to update; or None.

        `attributes` are the indexes of the attributes that any row changes. Bit b of mask m of a
        row says that it changes attribute m * MASK_BITS + b of that list; without masks every row
        changes them all.
        """
        cdef Buffer rows
        cdef Buffer mask
        cdef int32_t i, n = 0, bit
        cdef uint8_t *changed
        cdef int64_t word
        cdef bint masked = False
        if self.counts[CHANGED] == 0:
            return None
        changed = <uint8_t *>calloc(self.relation.n_attributes + 1, 1)
        buffer_init(&rows)
        buffer_init(&mask)
        try:
            if changed == NULL:
                raise MemoryError
            memset(self.wanted, 0, self.relation.n_attributes)
            for i in range(self.n_items):
                if self.items[i].outcome == CHANGED:
                    self._note_changes(&self.items[i], self.wanted)
            attributes = [i for i in range(self.relation.n_attributes) if self.wanted[i]]
            put_array_header(&rows, self.relation.row_type_oid, self.counts[CHANGED])
            for i in range(self.n_items):
                if self.items[i].outcome != CHANGED:
                    continue
                memset(changed, 0, self.relation.n_attributes)
                if self._note_changes(&self.items[i], changed) != len(attributes):
                    masked = True
                put_row_record(
                    self.relation, &self.items[i].merged, changed, self.now_s,
                    &self.scratch, &rows,
                )
            masks = []
            if masked:
                for first in range(0, len(attributes), MASK_BITS):
                    part = attributes[first:first + MASK_BITS]
                    buffer_clear(&mask)
                    put_array_header(&mask, INT8_OID, self.counts[CHANGED])
                    for i in range(self.n_items):
                        if self.items[i].outcome != CHANGED:
                            continue
                        memset(changed, 0, self.relation.n_attributes)
                        self._note_changes(&self.items[i], changed)
                        word = 0
                        for bit, n in enumerate(part):
                            if changed[n]:
                                word |= <int64_t>1 << bit
                        put_i32(&mask, 8)
                        put_i64(&mask, word)
                    masks.append(taken(&mask))
            return taken(&rows), masks, attributes
        finally:
            free(changed)
            buffer_free(&rows)
            buffer_free(&mask)

    def dead_rows(self):
        """Tombstones to keep: (pk bytea[], ck bytea[], state bytea[], purge second int8[]).

        Rows that leave the mirror and rows that never came to be in it; None for none.
        """
        cdef Buffer keys, clusterings, states, purges
        cdef Item *item
        cdef int32_t i, n = 0
        cdef Py_ssize_t start
        buffer_init(&keys)
        buffer_init(&clusterings)
        buffer_init(&states)
        buffer_init(&purges)
        try:
            put_array_header(&keys, BYTEA_OID, 0)
            put_array_header(&clusterings, BYTEA_OID, 0)
            put_array_header(&states, BYTEA_OID, 0)
            put_array_header(&purges, INT8_OID, 0)
            for i in range(self.n_items):
                item = &self.items[i]
                if not leaves_tombstone(item):
                    continue
                put_i32(&keys, item.incoming.partition_key_length)
                put_bytes(&keys, item.incoming.partition_key, item.incoming.partition_key_length)
                put_i32(&clusterings, item.incoming.clustering_length)
                put_bytes(&clusterings, item.incoming.clustering, item.incoming.clustering_length)
                start = states.length
                put_i32(&states, 0)
                encode_state(self.relation, &item.merged, self.now_s, &states)
                patch_array_count(&states, start, <int32_t>(states.length - start - 4))
                put_i32(&purges, 8)
                put_i64(&purges, purge_time(&item.merged, self.relation.gc_grace_seconds))
                n += 1
            if n == 0:
                return None
            return tuple(
                [finished(&keys, n), finished(&clusterings, n), finished(&states, n),
                 finished(&purges, n)]
            )
        finally:
            buffer_free(&keys)
            buffer_free(&clusterings)
            buffer_free(&states)
            buffer_free(&purges)

    def expiries(self):
        """(pk bytea[], ck bytea[], second int8[]) of rows written that change at that second.

        The second is that of the row's next expiry: something of it dies then without a mutation;
        or DOUBTED (parsers.selected). None for none.
        """
        cdef Buffer keys, clusterings, seconds
        cdef Item *item
        cdef int64_t due
        cdef int32_t i, n = 0
        buffer_init(&keys)
        buffer_init(&clusterings)
        buffer_init(&seconds)
        try:
            put_array_header(&keys, BYTEA_OID, 0)
            put_array_header(&clusterings, BYTEA_OID, 0)
            put_array_header(&seconds, INT8_OID, 0)
            for i in range(self.n_items):
                item = &self.items[i]
                if item.known or not (
                    item.outcome == NEW
                    or item.outcome == CHANGED
                    or (item.exists and item.incoming.mutations == 0 and item.outcome == SAME)
                ):
                    continue
                due = next_expiry(&item.merged, self.now_s)
                if due == INT64_MAX:
                    continue
                put_i32(&keys, item.incoming.partition_key_length)
                put_bytes(&keys, item.incoming.partition_key, item.incoming.partition_key_length)
                put_i32(&clusterings, item.incoming.clustering_length)
                put_bytes(&clusterings, item.incoming.clustering, item.incoming.clustering_length)
                put_i32(&seconds, 8)
                put_i64(&seconds, due)
                n += 1
            if n == 0:
                return None
            return finished(&keys, n), finished(&clusterings, n), finished(&seconds, n)
        finally:
            buffer_free(&keys)
            buffer_free(&clusterings)
            buffer_free(&seconds)

    def partition_tombstones(self):
        """New ones to keep: (pk bytea[], state bytea[], purge second int8[]); None for none."""
        cdef Buffer keys, states, purges
        cdef PartitionItem *item
        cdef int32_t i, n = 0
        cdef Py_ssize_t start
        cdef bint ranges = not self.relation.static
        buffer_init(&keys)
        buffer_init(&states)
        buffer_init(&purges)
        try:
            put_array_header(&keys, BYTEA_OID, 0)
            put_array_header(&states, BYTEA_OID, 0)
            put_array_header(&purges, INT8_OID, 0)
            for i in range(self.n_partitions):
                item = &self.partitions[i]
                if not item.novel:
                    continue
                put_i32(&keys, item.fresh.key_length)
                put_bytes(&keys, item.fresh.key, item.fresh.key_length)
                start = states.length
                put_i32(&states, 0)
                encode_partition(&item.fresh, ranges, &states)
                patch_array_count(&states, start, <int32_t>(states.length - start - 4))
                put_i32(&purges, 8)
                put_i64(
                    &purges,
                    newest_deletion_time(&item.fresh, ranges) + self.relation.gc_grace_seconds,
                )
                n += 1
            if n == 0:
                return None
            return finished(&keys, n), finished(&states, n), finished(&purges, n)
        finally:
            buffer_free(&keys)
            buffer_free(&states)
            buffer_free(&purges)

    def raised_watermarks(self):
        """bucket -> (newest dead row µs or None, newest partition tombstone µs or None)."""
        cdef int32_t i, bucket
        cdef int64_t newest
        cdef int64_t rows[16]
        cdef int64_t partitions[16]
        for i in range(16):
            rows[i] = INT64_MIN
            partitions[i] = INT64_MIN
        for i in range(self.n_items):
            if leaves_tombstone(&self.items[i]):
                newest = newest_of_row(&self.items[i].merged)
                bucket = self.items[i].bucket
                if newest > rows[bucket]:
                    rows[bucket] = newest
        for i in range(self.n_partitions):
            if self.partitions[i].novel:
                newest = newest_timestamp(&self.partitions[i].fresh, not self.relation.static)
                bucket = self.partitions[i].bucket
                if newest > partitions[bucket]:
                    partitions[bucket] = newest
        return {
            i: (
                rows[i] if rows[i] > self.row_watermarks[i] else None,
                partitions[i] if partitions[i] > self.partition_watermarks[i] else None,
            )
            for i in range(16)
            if rows[i] > self.row_watermarks[i] or partitions[i] > self.partition_watermarks[i]
        }


cdef const uint8_t *COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\0"


# As in parsers.selected.
cdef int64_t ASSUMED_LIVENESS_US = INT64_MIN + 1
cdef int64_t DOUBTED = -1


cdef inline bint is_live_cell(const Cell *cell) noexcept nogil:
    return not cell.flags & (CELL_COMPLEX_DELETION | 1)


cdef int64_t next_expiry(const Row *row, int64_t now_s) noexcept nogil:
    """The next second at which a live part of the row expires; INT64_MAX for never.

    DOUBTED where the row shows by nothing but a liveness that a snapshot assumed: whether it exists
    only Cassandra can tell.
    """
    cdef int64_t due = INT64_MAX
    cdef int32_t i
    cdef bint doubted = row.liveness_us == ASSUMED_LIVENESS_US
    if row.liveness_us != INT64_MIN and row.liveness_ttl_s and row.liveness_expiry_s > now_s:
        due = row.liveness_expiry_s
    for i in range(row.n_cells):
        if cell_is_live(&row.cells[i], now_s):
            doubted = False
            if row.cells[i].flags & CELL_EXPIRING and row.cells[i].deletion_time_s < due:
                due = row.cells[i].deletion_time_s
    return DOUBTED if doubted else due


cdef bint leaves_tombstone(const Item *item) noexcept nogil:
    return item.outcome == DEAD or (item.outcome == GONE and not says_nothing(&item.merged))


cdef const uint8_t *copied(
    Arena *arena, const uint8_t *bytes, Py_ssize_t length
) except NULL nogil:
    cdef uint8_t *place = <uint8_t *>arena_alloc(arena, length + 1)
    cdef Py_ssize_t i
    for i in range(length):
        place[i] = bytes[i]
    return place


cdef Cell *copied_cells(Arena *arena, const Row *row) except NULL nogil:
    cdef Cell *cells = <Cell *>arena_alloc(arena, row.n_cells * <Py_ssize_t>sizeof(Cell))
    if row.n_cells > 0:
        memcpy(cells, row.cells, row.n_cells * <Py_ssize_t>sizeof(Cell))
    return cells


cdef bytes taken(Buffer *buffer):
    return buffer.data[:buffer.length]


cdef bytes finished(Buffer *array, int32_t n):
    """An array whose number of items was not known when it was begun."""
    patch_array_count(array, 12, n)
    return taken(array)


cdef int checked(int status) except -1:
    if status < 0:
        raise SchemaMismatch(
            "PostgreSQL answered with an array that can't be read",
            hint="this is a defect of cdc-tail: report it with the PostgreSQL version",
        )
    return 0


cdef int open_pair(
    ArrayReader *numbers, bytes number_bytes, ArrayReader *states, bytes state_bytes
) except -1:
    checked(open_array(numbers, number_bytes, len(number_bytes)))
    checked(open_array(states, state_bytes, len(state_bytes)))
    return checked(0 if numbers.n == states.n else -1)


cdef int next_checked(ArrayReader *reader, Slice *item) except -1:
    return checked(next_item(reader, item))


cdef int32_t next_number(ArrayReader *reader, Py_ssize_t limit) except -1:
    """The next number of an answer as an index from 0."""
    cdef Slice item
    cdef int64_t number
    checked(next_item(reader, &item))
    checked(0 if item.length == 4 else -1)
    number = <int32_t>be32(item.data)
    checked(0 if 1 <= number <= limit else -1)
    return <int32_t>(number - 1)
