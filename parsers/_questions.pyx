# cython: language_level=3, autotestdict=False, auto_pickle=False
"""What is asked of the mirror about the rows of a batch, and its answers.

Questions and answers are PostgreSQL's binary arrays; numbers count the items of a question from 1.
In order: `row_keys`, `partition_keys`, `dead_keys`, each with its `load_…`; `tied_columns` once a
decision has found ties; `scan_keys` last, whose rows are loaded into works of their own.
"""
from libc.stdint cimport INT32_MAX, INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from parsers._arena cimport Arena, arena_alloc
from parsers._buffer cimport Buffer, buffer_clear, buffer_free, buffer_init, put_bytes, put_i32
from parsers._clustering cimport canonical_values, put_clustering
from parsers._cursor cimport Slice, be32
from parsers._emit cimport ArrayReader, next_item, open_array, put_array_header, put_key_record
from parsers._items cimport Item, PartitionItem, RelationItems, empty_row, keep_key
from parsers._model cimport CELL_COMPLEX_DELETION, CELL_COUNTER, Cell, RangeTombstone, Row
from parsers._ranges cimport decode_partition, knows_range
from parsers._reconcile cimport deletion_supersedes, merge_rows
from parsers._state cimport damaged, decode_state, knows_write
from parsers._state_check cimport check_clustering
from parsers._values cimport value_from_pg

from cdc_tail.errors import SchemaMismatch

cdef uint32_t BYTEA_OID = 17
cdef uint8_t NO_BYTES = 0
cdef int32_t TID_BYTES = 6       # block u32, offset u16


cdef class Questions(RelationItems):
    """Asks about the rows and partitions of one relation."""

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

    def for_scan(self):
        """A work that sees the same tombstones and holds no rows: for `load_scan` of some of them.

        A partition may have any number of rows in the mirror: they are decided and written page by
        page, each page by such a work, after this one is written.
        """
        return type(self)(self.batch, self.relation, self)

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

    def row_keys(self, int32_t first=0, int32_t most=INT32_MAX):
        """Array of key records of the rows from `first` on, at most `most`; None for none."""
        cdef Buffer out
        cdef int32_t i, n = min(most, self.n_items - first)
        if n <= 0:
            return None
        buffer_init(&out)
        try:
            with nogil:
                put_array_header(&out, self.relation.key_type_oid, n)
                for i in range(first, first + n):
                    put_key_record(
                        self.relation, self.items[i].incoming, False, &self.scratch, &out
                    )
            return taken(&out)
        finally:
            buffer_free(&out)

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

    def load_rows(self, bytes numbers, bytes states, bytes places=None, int32_t first=0):
        """The states of those rows of `row_keys` that the mirror holds, asked from `first` on.

        `places` (tid[]) tells where these rows lie, for `changed_rows`.
        """
        cdef ArrayReader number_reader, state_reader, place_reader
        cdef Slice state
        cdef Item *item
        cdef int32_t _i
        if numbers is None:
            return
        self.pins.append(states)
        open_pair(&number_reader, numbers, &state_reader, states)
        if places is not None:
            self.pins.append(places)
            open_pair(&number_reader, numbers, &place_reader, places)
        for _i in range(number_reader.n):
            item = &self.items[first + next_number(&number_reader, self.n_items - first)]
            next_checked(&state_reader, &state)
            if item.exists:
                raise SchemaMismatch(
                    f"two rows of {self.relation.table.table} share a primary key",
                    hint="the mirror's primary key was dropped; restore it",
                )
            item.exists = True
            item.stored = state
            if places is not None:
                next_checked(&place_reader, &item.place)
                checked(0 if item.place.length == TID_BYTES else -1)
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


cdef inline bint is_live_cell(const Cell *cell) noexcept nogil:
    return not cell.flags & (CELL_COMPLEX_DELETION | 1)


cdef const uint8_t *copied(
    Arena *arena, const uint8_t *bytes, Py_ssize_t length
) except NULL nogil:
    cdef uint8_t *place = <uint8_t *>arena_alloc(arena, length + 1)
    cdef Py_ssize_t i
    for i in range(length):
        place[i] = bytes[i]
    return place


cdef bytes taken(Buffer *buffer):
    return buffer.data[:buffer.length]


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
