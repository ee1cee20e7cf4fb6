# cython: language_level=3, autotestdict=False, auto_pickle=False
"""One relation's share of a batch: merged with what the mirror holds, and what is to be written.

The applier asks the questions (`_questions`) and hands in the answers. The steps, in order:
`buckets`, `set_watermarks`, the questions, `decide`, for ties `load_values` and `decide` again,
then the parameters of the writes; at last `for_scan` for what deletions reach beside the batch.
"""
from cpython.pyport cimport PY_SSIZE_T_MAX
from libc.stdint cimport INT32_MAX, INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset

from parsers._buffer cimport (
    Buffer,
    buffer_free,
    buffer_init,
    put_bytes,
    put_i16,
    put_i32,
    put_i64,
)
from parsers._decision cimport judge, merge_item
from parsers._due cimport next_due
from parsers._emit cimport patch_array_count, put_array_header, put_row
from parsers._items cimport (
    CHANGED,
    DEAD,
    GONE,
    NEW,
    SAME,
    Item,
    PartitionItem,
    RelationItems,
    says_nothing,
)
from parsers._model cimport newest_writetime
from parsers._questions cimport Questions, taken
from parsers._ranges cimport encode_partition, newest_deletion_time, newest_timestamp
from parsers._state cimport encode_state, purge_time

cimport cython

BUCKETS = 16
MASK_BITS = 62

cdef uint32_t BYTEA_OID = 17
cdef uint32_t INT8_OID = 20
cdef uint32_t TID_OID = 27
cdef const uint8_t *COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\0"


@cython.final
cdef class RelationWork(Questions):
    """Decides what becomes of the rows and encodes the writes."""

    def decide(self, int64_t now_s):
        """Merge everything and say what becomes of each row, as it is at `now_s`.

        Returns how many rows wait for `load_values`.
        """
        cdef int32_t i, waiting = 0
        self.now_s = now_s
        self.written = 0
        self.updated = 0
        with nogil:
            for i in range(5):
                self.counts[i] = 0
            for i in range(self.n_items):
                if not self.items[i].known:
                    merge_item(self, &self.items[i])
                    waiting += self.items[i].undecided > 0
                    judge(self, &self.items[i])
                self.counts[self.items[i].outcome] += 1
        return waiting

    def counted(self):
        """Rows by outcome: (same, new, changed, gone, dead)."""
        return tuple(self.counts[i] for i in range(5))

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
                    self.written += 1
                    if self.items[i].outcome == NEW:
                        put_row(
                            self.relation, &self.items[i].merged, NULL, True,
                            self.now_s, &self.scratch, &out,
                        )
                    if out.length > piece_bytes:
                        break
                if self.written == self.n_items and out.length <= piece_bytes:
                    self.written += 1
                    put_i16(&out, -1)
            return taken(&out)
        finally:
            buffer_free(&out)

    def new_records(self):
        """The rows of `new_rows` as an array of row records; None for none."""
        cdef Buffer out
        cdef int32_t i
        if self.counts[NEW] == 0:
            return None
        buffer_init(&out)
        try:
            with nogil:
                memset(self.wanted, 1, self.relation.n_attributes)
                put_array_header(&out, self.relation.row_type_oid, self.counts[NEW])
                for i in range(self.n_items):
                    if self.items[i].outcome == NEW:
                        put_row(
                            self.relation, &self.items[i].merged, self.wanted, True,
                            self.now_s, &self.scratch, &out,
                        )
            return taken(&out)
        finally:
            buffer_free(&out)

    def changed_rows(self, int32_t most=INT32_MAX):
        """The next rows to update, at most `most`; None when all were given.

        (array of row records, list of int8[] masks, attributes, tid[] of where they lie, how many).
        `attributes` are the indexes of the attributes that any of these rows changes. Bit b of mask
        m of a row says that it changes attribute m * MASK_BITS + b of that list; without masks
        every row changes them all. The places are None where any row was loaded without its own.
        """
        cdef Buffer rows
        cdef Buffer places
        cdef Item *item
        cdef int32_t i, n_attributes, end = self.updated, n = 0
        cdef bint masked = False, placed = True
        buffer_init(&rows)
        buffer_init(&places)
        try:
            memset(self.wanted, 0, self.relation.n_attributes)
            while end < self.n_items and n < most:
                if self.items[end].outcome == CHANGED:
                    mark_changes(self, &self.items[end], self.wanted)
                    n += 1
                end += 1
            if n == 0:
                return None
            attributes = [i for i in range(self.relation.n_attributes) if self.wanted[i]]
            n_attributes = len(attributes)
            put_array_header(&rows, self.relation.row_type_oid, n)
            put_array_header(&places, TID_OID, n)
            with nogil:
                for i in range(self.updated, end):
                    item = &self.items[i]
                    if item.outcome != CHANGED:
                        continue
                    memset(self.wanted, 0, self.relation.n_attributes)
                    masked |= mark_changes(self, item, self.wanted) != n_attributes
                    put_row(
                        self.relation, &item.merged, self.wanted, False,
                        self.now_s, &self.scratch, &rows,
                    )
                    placed = placed and item.place.data != NULL
                    if placed:
                        put_i32(&places, item.place.length)
                        put_bytes(&places, item.place.data, item.place.length)
            masks = []
            if masked:
                for first in range(0, len(attributes), MASK_BITS):
                    masks.append(self._mask(attributes[first:first + MASK_BITS], n, end))
            self.updated = end
            return taken(&rows), masks, attributes, taken(&places) if placed else None, n
        finally:
            buffer_free(&rows)
            buffer_free(&places)

    cdef bytes _mask(self, list attributes, int32_t n, int32_t end):
        """int8[] of which of at most MASK_BITS attributes the rows to update up to `end` change."""
        cdef Buffer mask
        cdef Item *item
        cdef int32_t i, bit, attribute
        cdef int64_t word
        buffer_init(&mask)
        try:
            put_array_header(&mask, INT8_OID, n)
            for i in range(self.updated, end):
                item = &self.items[i]
                if item.outcome != CHANGED:
                    continue
                word = 0
                for bit, attribute in enumerate(attributes):
                    if changes_attribute(item, attribute):
                        word |= <int64_t>1 << bit
                put_i32(&mask, 8)
                put_i64(&mask, word)
            return taken(&mask)
        finally:
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

        The second is that of `next_due`. None for none.
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
                due = next_due(&item.merged, self.relation.columns, self.now_s)
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
                newest = newest_writetime(&self.items[i].merged)
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


cdef int32_t mark_changes(RelationItems work, const Item *item, uint8_t *changed) noexcept nogil:
    """Set the byte of each attribute that the row changes; how many these are."""
    cdef int32_t i, n = 0
    for i in range(work.relation.n_attributes):
        if changes_attribute(item, i):
            changed[i] = 1
            n += 1
    return n


cdef inline bint changes_attribute(const Item *item, int32_t attribute) noexcept nogil:
    return item.changes != NULL and item.changes[attribute >> 6] >> (attribute & 63) & 1


cdef bint leaves_tombstone(const Item *item) noexcept nogil:
    return item.outcome == DEAD or (item.outcome == GONE and not says_nothing(&item.merged))


cdef bytes finished(Buffer *array, int32_t n):
    """An array whose number of items was not known when it was begun."""
    patch_array_count(array, 12, n)
    return taken(array)
