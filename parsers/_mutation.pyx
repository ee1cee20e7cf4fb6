# cython: language_level=3, autotestdict=False, auto_pickle=False
"""One mutation's bytes to rows in C memory (format page, sections 5 and 6). It merges nothing.

Every function returns a Verdict, or -1 with MemoryError. Values stay where they are in the segment.
"""
from libc.stdint cimport (
    INT64_MAX,
    INT64_MIN,
    int32_t,
    int64_t,
    uint8_t,
    uint16_t,
    uint32_t,
    uint64_t,
)
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from parsers._arena cimport Arena, arena_alloc
from parsers._buffer cimport Buffer, buffer_free, buffer_init
from parsers._catalog cimport (
    DISCARD,
    DIVERT,
    EMPTIED,
    HASHED,
    MIRROR,
    SHOWN,
    SKIP,
    Catalog,
    ColumnCode,
    TableCode,
)
from parsers._clustering cimport canonical_values, put_clustering
from parsers._counter cimport check_counter
from parsers._cursor cimport (
    Cursor,
    Slice,
    be16,
    read_bytes,
    read_u8,
    read_u16,
    read_uvint,
    read_uvint_bytes,
)
from parsers._model cimport (
    CELL_COMPLEX_DELETION,
    CELL_COUNTER,
    CELL_ELEMENT,
    CELL_EXPIRING,
    CELL_TOMBSTONE,
    Bound,
    Cell,
    Deletion,
    RangeTombstone,
    Row,
)
from parsers._reconcile cimport shadow_row, sort_cells
from parsers._check cimport NULL_IN_KEY, Element, element_check, value_check

from parsers.formats import mutation_format
from parsers.masking import hashed

cdef enum:
    # partition update flags (5.2)
    IS_EMPTY = 0x01
    IS_REVERSED = 0x02          # of read responses only
    HAS_PARTITION_DELETION = 0x04
    HAS_STATIC_ROW = 0x08
    HAS_ROW_ESTIMATE = 0x10
    PARTITION_FLAGS = 0x1F
    # unfiltered flags (5.4)
    END_OF_PARTITION = 0x01
    IS_MARKER = 0x02
    HAS_TIMESTAMP = 0x04
    HAS_TTL = 0x08
    HAS_DELETION = 0x10
    HAS_ALL_COLUMNS = 0x20
    HAS_COMPLEX_DELETION = 0x40
    EXTENSION_FLAG = 0x80
    EXTENDED_IS_STATIC = 0x01
    EXTENDED_FLAGS = 0x03
    # cell flags (5.7)
    IS_DELETED = 0x01
    IS_EXPIRING = 0x02
    HAS_EMPTY_VALUE = 0x04
    USE_ROW_TIMESTAMP = 0x08
    USE_ROW_TTL = 0x10
    CELL_FLAGS = 0x1F
    # bound kinds (5.5)
    EXCL_END_BOUND = 0
    INCL_START_BOUND = 1
    EXCL_END_INCL_START_BOUNDARY = 2
    INCL_END_EXCL_START_BOUNDARY = 5
    INCL_END_BOUND = 6
    EXCL_START_BOUND = 7
    # hexadecimal digits of a hash
    MASKED_LENGTH = 64

cdef uint64_t TIMESTAMP_EPOCH = 1442880000000000
cdef uint64_t DELETION_TIME_EPOCH = 1442880000


cdef int decoding_init(Decoding *d, Arena *arena, int log_version) except -1:
    """Ready `d` for mutations of that log version. UnsupportedFormat for one that is not known."""
    rules = mutation_format(log_version)
    d.mutation_flags = rules.mutation_flags
    d.epoch = rules.epoch
    d.unsigned_deletion_time = rules.unsigned_deletion_time
    d.ties_by_value = rules.ties_by_value
    d.arena = arena
    return 0


cdef void decoding_free(Decoding *d) noexcept nogil:
    free(d.updates)
    free(d.rejections)
    free(d.cells)
    free(d.header)
    free(d.values)
    d.updates = NULL
    d.rejections = NULL
    d.cells = NULL
    d.header = NULL
    d.values = NULL


cdef inline int malformed(Decoding *d, const char *reason) noexcept nogil:
    d.reason = reason
    d.reason_at = d.cursor.position
    return MALFORMED


cdef void *grown(void *old, int32_t *capacity, int32_t wanted, Py_ssize_t size) except NULL nogil:
    """`old` grown to hold `wanted` items of `size` bytes."""
    cdef int64_t target = <int64_t>capacity[0] * 2
    cdef void *new
    if target < wanted:
        target = wanted
    if target < 16:
        target = 16
    new = realloc(old, <size_t>target * size)
    if new == NULL:
        with gil:
            raise MemoryError(f"no memory for {target * size} bytes of decoder scratch")
    capacity[0] = <int32_t>target
    return new


cdef int decode_mutation(
    Decoding *d, Catalog catalog, const uint8_t *mutation, Py_ssize_t size, bint divert
) except -1 nogil:
    """Decode one mutation into `d.updates`.

    With `divert` also those of tables with the action "divert" are decoded, else DIVERTED is
    returned for them. After anything but DECODED the contents of `d.updates` mean nothing and the
    arena holds garbage: rewind it.
    """
    cdef Cursor *c = &d.cursor
    cdef uint8_t flags
    cdef uint64_t n, i
    cdef const uint8_t *table_id
    cdef const TableCode *table
    cdef int verdict
    c.base = mutation
    c.position = 0
    c.limit = size
    d.n_updates = 0
    d.n_rejections = 0
    d.table = NULL
    if d.mutation_flags and read_u8(c, &flags) < 0:
        return malformed(d, "ends in its flags")
    if read_uvint(c, &n) < 0:
        return malformed(d, "ends in its number of partition updates")
    # An update takes at least 18 bytes: id, key length, flags.
    if n == 0 or n > <uint64_t>size // 18 + 1:
        return malformed(d, "has an impossible number of partition updates")
    for i in range(n):
        if read_bytes(c, 16, &table_id) < 0:
            return malformed(d, "ends in a table id")
        table = catalog.find(table_id)
        d.table = table
        if table == NULL:
            d.detail.data = table_id
            d.detail.length = 16
            return UNKNOWN_TABLE
        if i == 0:
            if table.action == SKIP:
                return SKIPPED
            if n == 1 and table.action == DISCARD:
                return DECODED
        if table.action == DIVERT and not divert:
            return DIVERTED
        if d.n_updates == d.updates_capacity:
            d.updates = <Update *>grown(
                d.updates, &d.updates_capacity, d.n_updates + 1, sizeof(Update)
            )
        verdict = decode_update(d, table, &d.updates[d.n_updates])
        if verdict != DECODED:
            return verdict
        if table.action != DISCARD:
            d.n_updates += 1
    if c.position != c.limit:
        return malformed(d, "does not end at its size: the table's definition does not fit")
    return DECODED


cdef int decode_update(Decoding *d, const TableCode *table, Update *u) except -1 nogil:
    """One partition update (format page 5.2)."""
    cdef Cursor *c = &d.cursor
    cdef uint64_t value
    cdef uint8_t flags, row_flags, extended
    cdef int verdict
    cdef int32_t rejected
    cdef Row *row
    cdef Row **last
    cdef RangeTombstone **last_range
    cdef Bound open_bound
    cdef Deletion open_deletion
    cdef bint is_open = False
    u.table = table
    u.ranges = NULL
    u.rows = NULL
    u.deletion.timestamp_us = INT64_MIN
    u.deletion.local_time_s = INT64_MAX
    if d.epoch and read_uvint(c, &value) < 0:
        return malformed(d, "ends in an epoch")
    if read_uvint_bytes(c, &u.key) < 0:
        return malformed(d, "ends in a partition key")
    if read_u8(c, &flags) < 0:
        return malformed(d, "ends in the flags of a partition update")
    if flags & IS_REVERSED or flags > PARTITION_FLAGS:
        return malformed(d, "has impossible flags of a partition update")
    verdict = check_partition_key(d, table, &u.key)
    if verdict != DECODED:
        return verdict
    rejected = d.n_rejections
    if check_key_values(d, table, &u.key) < 0:
        return -1
    rejected = d.n_rejections - rejected
    if flags & IS_EMPTY:
        return DECODED
    if (
        read_uvint(c, &d.base_timestamp) < 0
        or read_uvint(c, &d.base_deletion_time) < 0
        or read_uvint(c, &d.base_ttl) < 0
    ):
        return malformed(d, "ends in its encoding statistics")
    # Differences are wrapped 64-bit values: always add modulo 2^64 (5.3).
    d.base_timestamp += TIMESTAMP_EPOCH
    d.base_deletion_time += DELETION_TIME_EPOCH
    d.n_static_header = 0
    d.n_regular_header = 0
    if flags & HAS_STATIC_ROW:
        verdict = decode_header(d, table, True)
        if verdict != DECODED:
            return verdict
    verdict = decode_header(d, table, False)
    if verdict != DECODED:
        return verdict
    if flags & HAS_PARTITION_DELETION:
        if read_deletion(d, &u.deletion) < 0:
            return malformed(d, "ends in a partition deletion")
    last = &u.rows
    if flags & HAS_STATIC_ROW:
        if (
            read_u8(c, &row_flags) < 0
            or read_u8(c, &extended) < 0
            or not row_flags & EXTENSION_FLAG
            or row_flags & (END_OF_PARTITION | IS_MARKER)
            or not extended & EXTENDED_IS_STATIC
            or extended > EXTENDED_FLAGS
        ):
            return malformed(d, "has no static row where one is announced")
        verdict = decode_row(d, table, &u.key, row_flags, True, &row)
        if verdict != DECODED:
            return verdict
        if row != NULL:
            last[0] = row
            last = &row.next
    if flags & HAS_ROW_ESTIMATE and read_uvint(c, &value) < 0:
        return malformed(d, "ends in its row estimate")
    last_range = &u.ranges
    while True:
        if read_u8(c, &row_flags) < 0:
            return malformed(d, "ends within a partition update")
        if row_flags == END_OF_PARTITION:
            break
        if row_flags == IS_MARKER:
            verdict = decode_marker(d, table, &is_open, &open_bound, &open_deletion, &last_range)
            if verdict != DECODED:
                return verdict
            continue
        if row_flags & (END_OF_PARTITION | IS_MARKER):
            return malformed(d, "has impossible flags of a row")
        extended = 0
        if row_flags & EXTENSION_FLAG and read_u8(c, &extended) < 0:
            return malformed(d, "ends in the flags of a row")
        if extended & EXTENDED_IS_STATIC or extended > EXTENDED_FLAGS:
            return malformed(d, "has a static row among its rows")
        verdict = decode_row(d, table, &u.key, row_flags, False, &row)
        if verdict != DECODED:
            return verdict
        if row != NULL:
            last[0] = row
            last = &row.next
    if is_open:
        return malformed(d, "ends a partition within a range tombstone")
    if rejected:
        # The key itself can't be stored: nothing of this partition can.
        u.rows = NULL
        u.ranges = NULL
        u.deletion.timestamp_us = INT64_MIN
    return DECODED


cdef int check_partition_key(Decoding *d, const TableCode *table, const Slice *key) noexcept nogil:
    """A composite key must consist of exactly its components (5.2)."""
    cdef Slice component
    cdef int32_t at = 0
    cdef int _i
    if table.n_partition_key == 1:
        return DECODED
    for _i in range(table.n_partition_key):
        if key_component(key, &at, &component) < 0:
            return malformed(d, "has a composite partition key that is cut short")
        # The byte behind a component. Others than 0 stand in bounds of queries only.
        if key.data[at - 1] != 0:
            return malformed(d, "has a composite partition key that is the bound of a query")
    if at != key.length:
        return malformed(d, "has a composite partition key with too many bytes")
    return DECODED


cdef inline int key_component(const Slice *key, int32_t *at, Slice *component) noexcept nogil:
    """The component of a composite partition key at `at`, which moves on; -1 where cut short."""
    cdef int32_t length
    if key.length - at[0] < 3:
        return -1
    length = be16(key.data + at[0])
    if key.length - at[0] < 3 + length:
        return -1
    component.data = key.data + at[0] + 2
    component.length = length
    at[0] += 3 + length
    return 0


cdef int reject(
    Decoding *d, const TableCode *table, int32_t column, int32_t reason, const Slice *key
) except -1 nogil:
    cdef Rejection *rejection
    if d.n_rejections == d.rejections_capacity:
        d.rejections = <Rejection *>grown(
            d.rejections, &d.rejections_capacity, d.n_rejections + 1, sizeof(Rejection)
        )
    rejection = &d.rejections[d.n_rejections]
    rejection.table = table
    rejection.column = column
    rejection.reason = reason
    rejection.partition_key = key[0]
    d.n_rejections += 1
    return 0


cdef int check_key_values(Decoding *d, const TableCode *table, const Slice *key) except -1 nogil:
    """Reject a partition key that its PostgreSQL types can't hold."""
    cdef Slice component = key[0]
    cdef int32_t at = 0
    cdef int i, reason
    if not table.checked or table.action != MIRROR:
        return 0
    for i in range(table.n_partition_key):
        if table.n_partition_key > 1:
            key_component(key, &at, &component)
        reason = value_check(table.partition_key[i], component.data, component.length)
        if reason != 0:
            reject(d, table, -1 - i, reason, key)
    return 0


cdef int decode_header(Decoding *d, const TableCode *table, bint static) except -1 nogil:
    """The column names of one kind, as indexes of `table.columns` (5.3)."""
    cdef Cursor *c = &d.cursor
    cdef uint64_t n, i
    cdef int32_t first = d.n_static_header
    cdef int32_t begin = 0 if static else table.n_statics
    cdef int32_t end = begin + (table.n_statics if static else table.n_regulars)
    cdef int32_t hint = begin
    cdef int32_t index
    cdef Slice name
    if read_uvint(c, &n) < 0:
        return malformed(d, "ends in its column names")
    if n > <uint64_t>(c.limit - c.position):
        return malformed(d, "has an impossible number of columns")
    if first + <int64_t>n > d.header_capacity:
        d.header = <uint16_t *>grown(
            d.header, &d.header_capacity, <int32_t>(first + n), sizeof(uint16_t)
        )
    for i in range(n):
        if read_uvint_bytes(c, &name) < 0:
            return malformed(d, "ends in its column names")
        index = find_column(table, static, begin, hint, end, &name)
        if index < 0:
            d.detail = name
            return UNKNOWN_COLUMN
        # Names come in the table's own order, so the next is near and is no name from before.
        if index < hint and names_before(&d.header[first], <int32_t>i, index):
            return malformed(d, "names a column twice")
        hint = index + 1
        d.header[first + <int32_t>i] = <uint16_t>index
    if static:
        d.n_static_header = <int32_t>n
    else:
        d.n_regular_header = <int32_t>n
    return DECODED


cdef bint names_before(const uint16_t *header, int32_t n, int32_t index) noexcept nogil:
    cdef int32_t i
    for i in range(n):
        if header[i] == index:
            return True
    return False


cdef inline bint has_name(const ColumnCode *column, const Slice *name) noexcept nogil:
    return (
        column.name_length == name.length
        and memcmp(column.name, name.data, name.length) == 0
    )


cdef int32_t find_column(
    const TableCode *table,
    bint static,
    int32_t begin,
    int32_t hint,
    int32_t end,
    const Slice *name,
) noexcept nogil:
    """Index of the column of that name and kind, -1 where there is none."""
    cdef int32_t i
    for i in range(hint, end):
        if has_name(&table.columns[i], name):
            return i
    for i in range(begin, hint if hint < end else end):
        if has_name(&table.columns[i], name):
            return i
    for i in range(table.n_statics + table.n_regulars, table.n_columns):
        if table.ghost_static[i - table.n_statics - table.n_regulars] == static and has_name(
            &table.columns[i], name
        ):
            return i
    return -1


cdef inline int read_timestamp(Decoding *d, int64_t *out) noexcept nogil:
    cdef uint64_t value
    if read_uvint(&d.cursor, &value) < 0:
        return -1
    out[0] = <int64_t>(value + d.base_timestamp)
    return 0


cdef inline int read_deletion_time(Decoding *d, int64_t *out) noexcept nogil:
    """Local deletion time in seconds; INT64_MAX for "none" (6.4)."""
    cdef uint64_t value
    cdef uint32_t raw
    if read_uvint(&d.cursor, &value) < 0:
        return -1
    raw = <uint32_t>(value + d.base_deletion_time)
    if d.unsigned_deletion_time:
        out[0] = INT64_MAX if raw == <uint32_t>0xFFFFFFFF else <int64_t>raw
    else:
        out[0] = INT64_MAX if raw == 0x7FFFFFFF else <int64_t><int32_t>raw
    return 0


cdef inline int read_ttl(Decoding *d, int32_t *out) noexcept nogil:
    cdef uint64_t value
    if read_uvint(&d.cursor, &value) < 0:
        return -1
    out[0] = <int32_t>(value + d.base_ttl)
    return 0


cdef inline int read_deletion(Decoding *d, Deletion *out) noexcept nogil:
    """Timestamp first, then local deletion time. A live one is known by its timestamp alone."""
    if read_timestamp(d, &out.timestamp_us) < 0 or read_deletion_time(d, &out.local_time_s) < 0:
        return -1
    if out.timestamp_us == INT64_MIN:
        out.local_time_s = INT64_MAX
    return 0


cdef int next_clustering_value(
    Cursor *c, const TableCode *table, int i, uint64_t *header, Slice *value
) noexcept nogil:
    """Clustering value `i`, those before it having been read with the same `header` (5.5).

    As `skip_clustering`, for one value.
    """
    if i % 32 == 0 and read_uvint(c, header) < 0:
        return -1
    value.data = c.base + c.position
    value.length = 0
    if header[0] & 2:
        if header[0] & 1:
            return -1
        value.data = NULL
        value.length = -1
    elif not header[0] & 1:
        if table.clustering[i].fixed_length >= 0:
            value.length = table.clustering[i].fixed_length
            if read_bytes(c, value.length, &value.data) < 0:
                return -1
        elif read_uvint_bytes(c, value) < 0:
            return -1
        if value.length == 0:
            return -1       # an empty value is told in the header
    header[0] >>= 2
    return 0


cdef int skip_clustering(
    Cursor *c, const TableCode *table, int count, Slice *values
) noexcept nogil:
    """Move past `count` clustering values (5.5), noting each in `values` unless that is NULL.

    A null value has length -1. Returns -1 where the bytes do not suffice, or are not those that
    Cassandra writes: equal clusterings have equal bytes.
    """
    cdef uint64_t header = 0
    cdef Slice value
    cdef int i
    for i in range(count):
        if next_clustering_value(c, table, i, &header, &value) < 0:
            return -1
        if values != NULL:
            values[i] = value
        if header != 0 and (i == count - 1 or i % 32 == 31):
            return -1
    return 0


cdef int check_clustering(Decoding *d, const TableCode *table, const Slice *key) except -1 nogil:
    """Reject a clustering (its values are in `d.values`) that its PostgreSQL types can't hold."""
    cdef int i, reason
    for i in range(table.n_clustering):
        # A null component (COMPACT STORAGE only) has no place in a primary key.
        reason = NULL_IN_KEY
        if d.values[i].length >= 0:
            reason = value_check(table.clustering[i], d.values[i].data, d.values[i].length)
        if reason != 0:
            reject(d, table, -1 - table.n_partition_key - i, reason, key)
    return 0


cdef int unify_clustering(Decoding *d, const TableCode *table, Row *row) except -1 nogil:
    """Give a row (its clustering values are in `d.values`) the one form of equal clusterings."""
    cdef Buffer wire
    cdef uint8_t *kept
    if not canonical_values(table, d.values, d.arena):
        return 0
    row.shown = row.clustering
    row.shown_length = row.clustering_length
    buffer_init(&wire)
    try:
        put_clustering(table, d.values, &wire)
        kept = <uint8_t *>arena_alloc(d.arena, wire.length)
        memcpy(kept, wire.data, wire.length)
        row.clustering = kept
        row.clustering_length = <int32_t>wire.length
    finally:
        buffer_free(&wire)
    return 0


cdef int decode_row(
    Decoding *d, const TableCode *table, const Slice *key, uint8_t flags, bint static, Row **out
) except -1 nogil:
    """One row after its flags (5.4). `out` is NULL where it was rejected or has nothing to say."""
    cdef Cursor *c = &d.cursor
    cdef Row row
    cdef Slice clustering
    cdef Py_ssize_t start
    cdef int verdict
    cdef int32_t rejections = d.n_rejections
    cdef int32_t first = 0 if static else d.n_static_header
    cdef int32_t n_header = d.n_static_header if static else d.n_regular_header
    cdef int i
    cdef bint mirrored = table.action == MIRROR and table.checked
    cdef Deletion none
    out[0] = NULL
    row.partition_key = key.data
    row.partition_key_length = key.length
    row.relation = 2 * table.index + static
    row.hash = 0
    row.next = NULL
    row.offset = 0
    row.mutations = 1
    clustering.data = c.base + c.position
    clustering.length = 0
    if not static:
        start = c.position
        if table.n_clustering > d.values_capacity:
            d.values = <Slice *>grown(
                d.values, &d.values_capacity, table.n_clustering, sizeof(Slice)
            )
        if skip_clustering(c, table, table.n_clustering, d.values) < 0:
            return malformed(d, "ends in a clustering")
        clustering.length = <int32_t>(c.position - start)
        if mirrored:
            check_clustering(d, table, key)
    row.clustering = clustering.data
    row.clustering_length = clustering.length
    row.shown = NULL
    row.shown_length = 0
    if mirrored and table.equal_clusterings and not static and d.n_rejections == rejections:
        unify_clustering(d, table, &row)
    row.liveness_us = INT64_MIN
    row.liveness_ttl_s = 0
    row.liveness_expiry_s = INT64_MAX
    row.deletion.timestamp_us = INT64_MIN
    row.deletion.local_time_s = INT64_MAX
    if flags & HAS_TIMESTAMP:
        if read_timestamp(d, &row.liveness_us) < 0:
            return malformed(d, "ends in the liveness of a row")
        if row.liveness_us == INT64_MIN:
            return malformed(d, "has a row of a timestamp that means none")
        if flags & HAS_TTL:
            # a row has its ttl first, a cell its deletion time
            if (
                read_ttl(d, &row.liveness_ttl_s) < 0
                or read_deletion_time(d, &row.liveness_expiry_s) < 0
            ):
                return malformed(d, "ends in the TTL of a row")
            if row.liveness_ttl_s <= 0:
                return malformed(d, "has a row with an impossible TTL")
    elif flags & HAS_TTL:
        return malformed(d, "has a row with a TTL and no timestamp")
    if flags & HAS_DELETION and read_deletion(d, &row.deletion) < 0:
        return malformed(d, "ends in the deletion of a row")
    d.n_cells = 0
    if flags & HAS_ALL_COLUMNS:
        for i in range(n_header):
            verdict = decode_column(
                d, table, &table.columns[d.header[first + i]], d.header[first + i],
                &row, (flags & HAS_COMPLEX_DELETION) != 0, mirrored, key,
            )
            if verdict != DECODED:
                return verdict
    else:
        verdict = decode_subset(d, table, first, n_header, &row, flags, mirrored, key)
        if verdict != DECODED:
            return verdict
    if d.n_rejections != rejections:
        return DECODED
    if (
        d.n_cells == 0
        and row.liveness_us == INT64_MIN
        and row.deletion.timestamp_us == INT64_MIN
    ):
        return DECODED      # all its cells were of dropped columns
    row.n_cells = d.n_cells
    row.cells = NULL
    row.digest = 0
    if d.n_cells > 0:
        row.cells = <Cell *>arena_alloc(d.arena, d.n_cells * <Py_ssize_t>sizeof(Cell))
        memcpy(row.cells, d.cells, d.n_cells * sizeof(Cell))
        if sort_cells(row.cells, row.n_cells):
            return malformed(d, "has two cells for one place of a row")
    if table.action == MIRROR and (
        row.deletion.timestamp_us != INT64_MIN or flags & HAS_COMPLEX_DELETION
    ):
        none.timestamp_us = INT64_MIN
        none.local_time_s = INT64_MAX
        shadow_row(&row, &none)
    out[0] = <Row *>arena_alloc(d.arena, sizeof(Row))
    out[0][0] = row
    return DECODED


cdef int decode_subset(
    Decoding *d, const TableCode *table, int32_t first, int32_t n_header, Row *row,
    uint8_t flags, bint mirrored, const Slice *key
) except -1 nogil:
    """The cells of a row that has not all columns of the header (5.6)."""
    cdef Cursor *c = &d.cursor
    cdef uint64_t encoded, index, next_index
    cdef int64_t i, present
    cdef int verdict
    cdef bint complex_deletion = (flags & HAS_COMPLEX_DELETION) != 0
    cdef bint listed_present
    cdef Cursor indexes
    if read_uvint(c, &encoded) < 0:
        return malformed(d, "ends in a column subset")
    if encoded == 0 or n_header < 64:
        if n_header < 64 and encoded >> n_header:
            return malformed(d, "has a column subset beyond its columns")
        for i in range(n_header):
            if encoded == 0 or not (encoded >> i) & 1:
                verdict = decode_column(
                    d, table, &table.columns[d.header[first + i]], d.header[first + i],
                    row, complex_deletion, mirrored, key,
                )
                if verdict != DECODED:
                    return verdict
        return DECODED
    # 64 columns or more: indexes of the present or of the missing ones, whichever are fewer
    if encoded > <uint64_t>n_header:
        return malformed(d, "misses more columns than it has")
    present = n_header - <int64_t>encoded
    listed_present = present < n_header // 2
    indexes = c[0]
    i = present if listed_present else <int64_t>encoded
    while i > 0:
        if read_uvint(c, &index) < 0:
            return malformed(d, "ends in a column subset")
        i -= 1
    i = 0
    next_index = 0
    if listed_present:
        while i < present:
            read_uvint(&indexes, &index)
            if index >= <uint64_t>n_header or index < next_index:
                return malformed(d, "has a column subset out of order")
            next_index = index + 1
            verdict = decode_column(
                d, table, &table.columns[d.header[first + <int32_t>index]],
                d.header[first + <int32_t>index], row, complex_deletion, mirrored, key,
            )
            if verdict != DECODED:
                return verdict
            i += 1
        return DECODED
    while i <= <int64_t>encoded:
        if i < <int64_t>encoded:
            read_uvint(&indexes, &index)
            if index >= <uint64_t>n_header or index < next_index:
                return malformed(d, "has a column subset out of order")
        else:
            index = n_header
        while next_index < index:
            verdict = decode_column(
                d, table, &table.columns[d.header[first + <int32_t>next_index]],
                d.header[first + <int32_t>next_index], row, complex_deletion, mirrored, key,
            )
            if verdict != DECODED:
                return verdict
            next_index += 1
        next_index = index + 1
        i += 1
    return DECODED


cdef Cell *new_cell(Decoding *d) except NULL nogil:
    if d.n_cells == d.cells_capacity:
        d.cells = <Cell *>grown(d.cells, &d.cells_capacity, d.n_cells + 1, sizeof(Cell))
    d.n_cells += 1
    return &d.cells[d.n_cells - 1]


cdef int decode_column(
    Decoding *d, const TableCode *table, const ColumnCode *column, uint16_t index, Row *row,
    bint complex_deletion, bint mirrored, const Slice *key
) except -1 nogil:
    """One column of a row: a cell, or deletion and elements of a multi-cell column."""
    cdef Cell *cell
    cdef Deletion deletion
    cdef uint64_t n
    cdef int verdict
    if not column.complex:
        return decode_cell(d, table, column, index, row, mirrored, key)
    if complex_deletion:
        if read_deletion(d, &deletion) < 0:
            return malformed(d, "ends in the deletion of a multi-cell column")
        if (
            deletion.timestamp_us != INT64_MIN
            and not column.ghost
            and deletion.timestamp_us > column.dropped_us
        ):
            cell = new_cell(d)
            cell.writetime_us = deletion.timestamp_us
            cell.deletion_time_s = deletion.local_time_s
            cell.value = NULL
            cell.value_length = -1
            cell.path = NULL
            cell.path_length = 0
            cell.ttl_s = 0
            cell.column = index
            cell.flags = CELL_COMPLEX_DELETION
            cell.unused = 0
    if read_uvint(&d.cursor, &n) < 0:
        return malformed(d, "ends in the number of elements of a multi-cell column")
    # A cell with a path takes at least two bytes.
    if n > <uint64_t>(d.cursor.limit - d.cursor.position):
        return malformed(d, "has an impossible number of elements")
    while n > 0:
        verdict = decode_cell(d, table, column, index, row, mirrored, key)
        if verdict != DECODED:
            return verdict
        n -= 1
    return DECODED


cdef int decode_cell(
    Decoding *d, const TableCode *table, const ColumnCode *column, uint16_t index, Row *row,
    bint mirrored, const Slice *key
) except -1 nogil:
    """One cell (5.7)."""
    cdef Cursor *c = &d.cursor
    cdef uint8_t flags
    cdef Cell cell
    cdef Cell *place
    cdef Slice bytes
    cdef Element element
    cdef int reason
    if read_u8(c, &flags) < 0:
        return malformed(d, "ends in the flags of a cell")
    if flags > CELL_FLAGS or (
        flags & IS_DELETED and flags & (IS_EXPIRING | HAS_EMPTY_VALUE) != HAS_EMPTY_VALUE
    ):
        return malformed(d, "has impossible flags of a cell")
    if flags & USE_ROW_TTL and (not flags & IS_EXPIRING or row.liveness_ttl_s == 0):
        return malformed(d, "has a cell with the TTL of a row that has none")
    cell.writetime_us = row.liveness_us
    cell.deletion_time_s = INT64_MAX
    cell.ttl_s = 0
    cell.column = index
    cell.flags = 0
    cell.unused = 0
    cell.path = NULL
    cell.path_length = 0
    if not flags & USE_ROW_TIMESTAMP and read_timestamp(d, &cell.writetime_us) < 0:
        return malformed(d, "ends in the timestamp of a cell")
    if cell.writetime_us == INT64_MIN:
        return malformed(d, "has a cell of a timestamp that means none")
    if flags & (IS_DELETED | IS_EXPIRING):
        if flags & USE_ROW_TTL:
            cell.deletion_time_s = row.liveness_expiry_s
            cell.ttl_s = row.liveness_ttl_s
        else:
            if read_deletion_time(d, &cell.deletion_time_s) < 0:
                return malformed(d, "ends in the deletion time of a cell")
            if flags & IS_EXPIRING and read_ttl(d, &cell.ttl_s) < 0:
                return malformed(d, "ends in the TTL of a cell")
            if flags & IS_EXPIRING and cell.ttl_s <= 0:
                return malformed(d, "has a cell with an impossible TTL")
        cell.flags = CELL_TOMBSTONE if flags & IS_DELETED else CELL_EXPIRING
    if column.complex:
        if read_uvint_bytes(c, &bytes) < 0:
            return malformed(d, "ends in the path of an element")
        cell.path = bytes.data
        cell.path_length = bytes.length
        cell.flags |= CELL_ELEMENT
    bytes.data = c.base + c.position
    bytes.length = 0
    if not flags & HAS_EMPTY_VALUE:
        if column.fixed_length >= 0:
            bytes.length = column.fixed_length
            if read_bytes(c, bytes.length, &bytes.data) < 0:
                return malformed(d, "ends in a value")
        elif read_uvint_bytes(c, &bytes) < 0:
            return malformed(d, "ends in a value")
    if flags & IS_DELETED:
        bytes.data = NULL
        bytes.length = -1
    cell.value = bytes.data
    cell.value_length = bytes.length
    if column.counter and not flags & IS_DELETED:
        if bytes.length > 0 and check_counter(bytes.data, bytes.length) < 0:
            return malformed(d, "has a counter that is no counter context")
        cell.flags |= CELL_COUNTER
    if column.ghost or cell.writetime_us <= column.dropped_us:
        return DECODED
    if column.mask != SHOWN:
        mask_cell(d, column, &cell)
    if mirrored and column.mask != EMPTIED and not flags & IS_DELETED:
        if column.complex:
            element.path = cell.path
            element.path_length = cell.path_length
            element.value = cell.value
            element.value_length = cell.value_length
            reason = element_check(column.type, &element)
        else:
            reason = value_check(column.type, cell.value, cell.value_length)
        if reason != 0:
            reject(d, table, index, reason, key)
    place = new_cell(d)
    place[0] = cell
    return DECODED


cdef int mask_cell(Decoding *d, const ColumnCode *column, Cell *cell) except -1 nogil:
    """Take the column's values out of a cell, before anything keeps or compares them."""
    if cell.value_length >= 0:
        if column.mask == HASHED:
            cell.value = masked_bytes(d, column, cell.value, cell.value_length)
            cell.value_length = MASKED_LENGTH
        else:
            cell.value_length = 0
    if column.names_by_value:
        cell.path = masked_bytes(d, column, cell.path, cell.path_length)
        cell.path_length = MASKED_LENGTH
    return 0


cdef const uint8_t *masked_bytes(
    Decoding *d, const ColumnCode *column, const uint8_t *data, int32_t length
) except NULL nogil:
    cdef uint8_t *kept = <uint8_t *>arena_alloc(d.arena, MASKED_LENGTH)
    put_digits(column, data, length, kept)
    return kept


cdef int put_digits(
    const ColumnCode *column, const uint8_t *data, int32_t length, uint8_t *out
) except -1 with gil:
    cdef bytes digits = hashed(column.mask_key[:column.mask_key_length], data[:length])
    memcpy(out, <const uint8_t *>digits, MASKED_LENGTH)
    return 0


cdef int read_bound_values(
    Decoding *d, const TableCode *table, Bound *bound
) noexcept nogil:
    cdef Cursor *c = &d.cursor
    cdef Py_ssize_t start
    if read_u8(c, &bound.kind) < 0 or read_u16(c, &bound.count) < 0:
        return malformed(d, "ends in the bound of a range tombstone")
    if bound.count > table.n_clustering:
        return malformed(d, "has a range tombstone bound of too many values")
    start = c.position
    if skip_clustering(c, table, bound.count, NULL) < 0:
        return malformed(d, "ends in the bound of a range tombstone")
    bound.values = c.base + start
    bound.length = <int32_t>(c.position - start)
    return DECODED


cdef int decode_marker(
    Decoding *d, const TableCode *table, bint *is_open, Bound *open_bound,
    Deletion *open_deletion, RangeTombstone ***last
) except -1 nogil:
    """A range-tombstone marker after its flags; a range is complete at its end bound (5.4, 5.5)."""
    cdef Bound bound
    cdef Deletion ending, starting
    cdef RangeTombstone *ranged
    cdef int verdict = read_bound_values(d, table, &bound)
    cdef bint ends, starts
    if verdict != DECODED:
        return verdict
    ends = bound.kind in (
        EXCL_END_BOUND, INCL_END_BOUND,
        EXCL_END_INCL_START_BOUNDARY, INCL_END_EXCL_START_BOUNDARY,
    )
    starts = bound.kind in (
        INCL_START_BOUND, EXCL_START_BOUND,
        EXCL_END_INCL_START_BOUNDARY, INCL_END_EXCL_START_BOUNDARY,
    )
    if not ends and not starts:
        return malformed(d, "has a range tombstone bound of an impossible kind")
    if ends and read_deletion(d, &ending) < 0:
        return malformed(d, "ends in the deletion of a range tombstone")
    if starts and read_deletion(d, &starting) < 0:
        return malformed(d, "ends in the deletion of a range tombstone")
    if ends != is_open[0]:
        return malformed(d, "has range tombstone bounds that do not pair")
    if ends and (
        ending.timestamp_us != open_deletion.timestamp_us
        or ending.local_time_s != open_deletion.local_time_s
    ):
        return malformed(d, "has a range tombstone that ends as another one")
    if ends:
        ranged = <RangeTombstone *>arena_alloc(d.arena, sizeof(RangeTombstone))
        ranged.start = open_bound[0]
        ranged.end = bound
        ranged.deletion = open_deletion[0]
        ranged.next = NULL
        last[0][0] = ranged
        last[0] = &ranged.next
    if starts:
        open_bound[0] = bound
        open_deletion[0] = starting
    is_open[0] = starts
    return DECODED
