# cython: language_level=3, autotestdict=False, auto_pickle=False
"""Entries of a segment, or mutations that were kept, decoded into a batch one after the other."""
from libc.stdint cimport int32_t, int64_t, uint8_t

from parsers._arena cimport ArenaMark, arena_mark, arena_rewind
from parsers._batch cimport Batch
from parsers._catalog cimport Catalog, CompiledTable
from parsers._check cimport reason_text
from parsers._mutation cimport (
    DECODED,
    DIVERTED,
    MALFORMED,
    SKIPPED,
    UNKNOWN_COLUMN,
    UNKNOWN_TABLE,
    Decoding,
    Rejection,
    decode_mutation,
    decoding_free,
    decoding_init,
)
from parsers._segment cimport CORRUPT, END, ENTRY, INCOMPLETE, Entry, SegmentReader

from parsers.position import Position
from parsers.view import Rejected

cimport cython


@cython.final
cdef class Decoder:
    """Reads entries of a segment into a batch until something asks for the caller."""

    cdef Decoding decoding
    cdef readonly int version

    def __cinit__(self, int log_version):
        decoding_init(&self.decoding, NULL, log_version)
        self.version = log_version

    def __dealloc__(self):
        decoding_free(&self.decoding)

    def fill(
        self, SegmentReader reader not None, Batch batch not None, *,
        int64_t max_events, int64_t max_bytes,
    ):
        """Decode entries until the batch is full or one needs the caller.

        `max_events` counts events of the batch, `max_bytes` its memory plus the mutations' bytes.
        Returns (what, mutation bytes or None, detail): "incomplete", "end", "corrupt", "full";
        "diverted", "unknown_table" (detail: id bytes), "unknown_column" (detail: table, name
        bytes), "malformed" (detail: table or None, reason). The entry is consumed in every case:
        the batch's position is behind it.
        """
        cdef Entry entry
        cdef int status = ENTRY
        cdef int verdict = DECODED
        cdef Catalog catalog = batch.catalog
        cdef ArenaMark mark
        cdef bint full = False
        self.decoding.arena = &batch.arena
        if reader not in batch.pins:
            batch.pins.append(reader)
        with nogil:
            while True:
                status = reader.next_entry(&entry)
                if status != ENTRY:
                    break
                mark = arena_mark(&batch.arena)
                verdict = decode_mutation(
                    &self.decoding, catalog, entry.mutation, entry.size, False
                )
                batch.offset = entry.end_offset
                if verdict == DECODED and self.decoding.n_updates > 0:
                    batch.mutations += 1
                    batch.bytes += entry.size
                    batch.absorb(&self.decoding, reader.segment_id, entry.end_offset)
                    if self.decoding.n_rejections > 0:
                        with gil:
                            self._note_rejections(
                                batch, reader.segment_id, entry.end_offset,
                                entry.mutation[:entry.size],
                            )
                    full = (
                        batch.events >= max_events
                        or batch.bytes + batch.arena.total >= max_bytes
                    )
                    if full:
                        break
                elif verdict == DECODED or verdict == SKIPPED:
                    arena_rewind(&batch.arena, mark)
                    batch.skipped += 1
                else:
                    arena_rewind(&batch.arena, mark)
                    break
        batch.segment_id = reader.segment_id
        if status != ENTRY:
            batch.offset = reader.position
            return {INCOMPLETE: "incomplete", END: "end", CORRUPT: "corrupt"}[status], None, None
        if full:
            return "full", None, None
        raw = entry.mutation[:entry.size]
        return describe(&self.decoding, catalog, verdict, raw)

    def add(
        self, bytes mutation not None, Batch batch not None, *,
        int64_t segment_id, int64_t offset,
    ):
        """Decode one mutation that was kept (parked, dead-lettered) into the batch.

        Returns None, or (what, mutation, detail) as `fill` does where it was not taken. The
        batch's position does not move: `segment_id` and `offset` say where the mutation stood.
        """
        cdef const uint8_t *data = mutation
        cdef Py_ssize_t size = len(mutation)
        cdef Catalog catalog = batch.catalog
        cdef ArenaMark mark = arena_mark(&batch.arena)
        cdef int verdict
        self.decoding.arena = &batch.arena
        with nogil:
            verdict = decode_mutation(&self.decoding, catalog, data, size, False)
        if verdict == DECODED or verdict == SKIPPED:
            if verdict == DECODED and self.decoding.n_updates > 0:
                batch.pins.append(mutation)
                batch.mutations += 1
                batch.bytes += size
                batch.absorb(&self.decoding, segment_id, offset)
                self._note_rejections(batch, segment_id, offset, mutation)
            return None
        arena_rewind(&batch.arena, mark)
        return describe(&self.decoding, catalog, verdict, mutation)

    cdef _note_rejections(self, Batch batch, int64_t segment_id, int64_t offset, bytes raw):
        cdef Rejection *rejection
        cdef int i
        for i in range(self.decoding.n_rejections):
            rejection = &self.decoding.rejections[i]
            compiled = <CompiledTable>batch.catalog.tables[rejection.table.index]
            batch.rejections.append(
                Rejected(
                    table=compiled.table,
                    position=Position(segment_id, offset),
                    log_version=self.version,
                    column=column_name(compiled, rejection.column),
                    reason=reason_text(rejection.reason),
                    partition_key=rejection.partition_key.data[:rejection.partition_key.length],
                    raw=raw,
                )
            )


cdef str column_name(CompiledTable compiled, int32_t column):
    if column < 0:
        return compiled.table.primary_key[-1 - column].name
    return compiled.columns[column].name


cdef describe(Decoding *d, Catalog catalog, int verdict, bytes raw):
    """What `fill` returns for a mutation that was not decoded."""
    table = None
    if d.table != NULL and d.table.columns != NULL:
        table = (<CompiledTable>catalog.tables[d.table.index]).table
    if verdict == DIVERTED:
        return "diverted", raw, None
    if verdict == UNKNOWN_TABLE:
        return "unknown_table", raw, d.detail.data[:d.detail.length]
    if verdict == UNKNOWN_COLUMN:
        return "unknown_column", raw, (table, d.detail.data[:d.detail.length])
    reason = d.reason.decode() if verdict == MALFORMED else "can't be decoded"
    return "malformed", raw, (table, f"it {reason} (byte {d.reason_at} of {len(raw)})")
