# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Tables compiled for the decoder: table id -> what its bytes mean and what becomes of them."""
from libc.stdint cimport INT64_MIN, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from parsers._crc32 cimport crc32_update
from parsers._types cimport (
    CODEC_DECIMAL,
    KIND_MAP,
    KIND_SET,
    KIND_TUPLE,
    KIND_UDT,
    CompiledType,
    TypeNode,
    compile_masked,
    compile_type,
)

cimport cython

ACTIONS = {"mirror": MIRROR, "discard": DISCARD, "skip": SKIP, "divert": DIVERT}


@cython.final
cdef class CompiledTable:
    """One table for the decoder.

    `pg_types` names the PostgreSQL type of each column; a value that this type can't hold is
    rejected when it is decoded, and the cells of a non-key column that is not named are void.
    Without it nothing is checked (inspect, tests). `masks` (parsers.masking) hide the values of
    columns: what is decoded has none but masked ones.
    """

    def __cinit__(self, table, str action, pg_types=None, str nul="reject", masks=None):
        cdef TableCode *code = &self.code
        cdef CompiledType compiled
        cdef bytes name, mask_key
        cdef int i
        self.table = table
        self.masks = dict(masks or {})
        cdef bytes table_id = table.id.bytes
        memcpy(code.id, <const uint8_t *>table_id, 16)
        code.action = ACTIONS[action]
        code.checked = pg_types is not None

        def compile_column(column, key):
            # Without a mapping only the layout is asked of the compiled type; any type has a text.
            pg_type = pg_types.get(column.name, "text") if pg_types is not None else "text"
            if not key and column.name in self.masks:
                return compile_masked(column.type, pg_type, self.masks[column.name])
            return compile_type(column.type, pg_type, key=key, nul=nul)

        self.key_types = tuple(compile_column(c, True) for c in table.primary_key)
        code.n_partition_key = len(table.partition_key)
        code.n_clustering = len(table.clustering)
        code.partition_key = <const TypeNode **>calloc(len(self.key_types), sizeof(TypeNode *))
        code.reversed = <uint8_t *>calloc(code.n_clustering + 1, 1)
        if code.partition_key == NULL or code.reversed == NULL:
            raise MemoryError
        code.clustering = code.partition_key + code.n_partition_key
        for i, compiled in enumerate(self.key_types):
            code.partition_key[i] = compiled.node
        for i, column in enumerate(table.clustering):
            code.reversed[i] = column.reversed
            code.equal_clusterings |= (
                code.clustering[i].codec == CODEC_DECIMAL
                or code.clustering[i].kind == KIND_TUPLE
                or code.clustering[i].kind == KIND_UDT
            )

        current = {(c.kind == "static", c.name_bytes) for c in table.statics + table.regulars}
        ghosts = tuple(
            c
            for c in table.dropped.values()
            if c.kind in ("static", "regular")
            and (c.kind == "static", c.name_bytes) not in current
        )
        self.columns = tuple(table.statics + table.regulars) + ghosts
        code.n_statics = len(table.statics)
        code.n_regulars = len(table.regulars)
        code.n_columns = len(self.columns)
        if code.n_columns > 65535:
            raise ValueError(f"table {table} has {code.n_columns} columns; 65535 are the limit")
        code.columns = <ColumnCode *>calloc(code.n_columns + 1, sizeof(ColumnCode))
        code.ghost_static = <uint8_t *>calloc(len(ghosts) + 1, 1)
        if code.columns == NULL or code.ghost_static == NULL:
            raise MemoryError
        types = []
        keys = []
        for i, column in enumerate(self.columns):
            is_ghost = i >= code.n_statics + code.n_regulars
            if is_ghost:
                compiled = compile_type(column.type, "text")
                code.ghost_static[i - code.n_statics - code.n_regulars] = column.kind == "static"
            else:
                compiled = compile_column(column, False)
            types.append(compiled)
            dropped = table.dropped.get(column.name_bytes)
            name = column.name_bytes
            code.columns[i].name = <const uint8_t *>name     # kept alive by self.keep
            code.columns[i].name_length = len(column.name_bytes)
            code.columns[i].tag = crc32_update(0, <const uint8_t *>name, len(name))
            code.columns[i].type = compiled.node
            code.columns[i].fixed_length = (
                -1 if column.type.fixed_length is None else column.type.fixed_length
            )
            code.columns[i].complex = column.type.is_multicell
            code.columns[i].counter = str(column.type) == "counter"
            code.columns[i].ghost = is_ghost or (
                pg_types is not None and column.name not in pg_types
            )
            if column.name in self.masks and not is_ghost:
                mask = self.masks[column.name]
                mask_key = mask.key
                keys.append(mask_key)
                code.columns[i].mask = HASHED if mask.kind == "hash" else EMPTIED
                code.columns[i].mask_key = <const uint8_t *>mask_key
                code.columns[i].mask_key_length = len(mask_key)
                code.columns[i].names_by_value = code.columns[i].complex and (
                    compiled.node.kind == KIND_SET or compiled.node.kind == KIND_MAP
                )
            code.columns[i].dropped_us = (
                INT64_MIN if dropped is None else dropped.dropped_time_us
            )
        self.column_types = tuple(types)
        self.keep = (*keys, *(column.name_bytes for column in self.columns))

    def __dealloc__(self):
        free(self.code.partition_key)
        free(self.code.reversed)
        free(self.code.columns)
        free(self.code.ghost_static)


@cython.final
cdef class Catalog:
    """Every known table by id. Immutable: a schema change makes a new catalog.

    `tables` are CompiledTables, which may stand in other catalogs too; ids in `skipped` are those
    of tables whose mutations are passed over without a look.
    """

    def __cinit__(self, tables, skipped=()):
        cdef CompiledTable compiled
        cdef uint32_t size = 16
        cdef uint32_t index = 0
        cdef TableCode *code
        cdef bytes id_bytes
        self.tables = list(tables)
        skipped = list(skipped)
        while size < 4 * (len(self.tables) + len(skipped)):
            size *= 2
        self.mask = size - 1
        self.slots = <TableCode **>calloc(size, sizeof(TableCode *))
        # The catalog's own copies: an index counts in one catalog only.
        self.codes = <TableCode *>calloc(len(self.tables) + len(skipped) + 1, sizeof(TableCode))
        if self.slots == NULL or self.codes == NULL:
            raise MemoryError
        for compiled in self.tables:
            code = &self.codes[index]
            code[0] = compiled.code
            code.index = index
            if self.find(code.id) != NULL:
                raise ValueError(f"table {compiled.table} stands twice in the catalog")
            self._insert(code)
            index += 1
        for table_id in skipped:
            code = &self.codes[index]
            id_bytes = table_id.bytes
            memcpy(code.id, <const uint8_t *>id_bytes, 16)
            code.action = SKIP
            if self.find(code.id) == NULL:
                self._insert(code)
                index += 1

    cdef void _insert(self, TableCode *code) noexcept:
        cdef uint32_t slot = slot_of(code.id) & self.mask
        while self.slots[slot] != NULL:
            slot = (slot + 1) & self.mask
        self.slots[slot] = code

    cdef const TableCode *find(self, const uint8_t *table_id) noexcept nogil:
        """The table of these 16 bytes, or NULL."""
        cdef uint32_t slot = slot_of(table_id) & self.mask
        while self.slots[slot] != NULL:
            if memcmp(self.slots[slot].id, table_id, 16) == 0:
                return self.slots[slot]
            slot = (slot + 1) & self.mask
        return NULL

    def __dealloc__(self):
        free(self.slots)
        free(self.codes)


cdef inline uint32_t slot_of(const uint8_t *table_id) noexcept nogil:
    """Both halves count: time-based ids differ in the first bytes, 6.0's fixed ones in the last."""
    cdef uint32_t first, last
    memcpy(&first, table_id, 4)
    memcpy(&last, table_id + 12, 4)
    return (first * <uint32_t>2654435761) ^ (last * <uint32_t>2246822519) ^ (first >> 15)
