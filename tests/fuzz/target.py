"""What one fuzzed input does: a segment is read, or mutations and states are decoded and merged.

Mutations of `system_schema` go into a schema log of the input's own, as a sidecar's would.

segment     0x80.., u8 options, the file's bytes
pieces      u8 log version, u8 options, then pieces: u8 kind, u16 length, bytes
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Final

from cdc_tail.errors import (
    SchemaMismatch,
    SecretsError,
    SegmentCorrupt,
    UnknownTable,
    UnsupportedFormat,
)
from parsers._batch import Batch
from parsers._catalog import CompiledTable
from parsers._decoder import Decoder
from parsers.decoder import SegmentDecoder, schema_updates, truncations, view_mutation
from parsers.schema_log import SchemaLog
from parsers.segment import ReadResult, SegmentReader, damaged_bytes, skip_damage
from tests.fuzz.store import OneKey, Store
from tests.fuzz.tables import Tables
from tests.reference.mutation import read_mutation
from tests.reference.versions import LOG_VERSIONS
from tests.support.decoded import of_reference, of_views

SEGMENT: Final = 0x80
LIVE, COMPLETED, SKIP_DAMAGE, GROW, CUT = 1, 2, 4, 8, 16
VERSIONS: Final = tuple(sorted(LOG_VERSIONS))
FIRST, SECOND, ROW_STATE, DEAD_STATE, PARTITION_STATE = range(5)
LATE: Final = 1
"""Option of pieces: the present is after every TTL that a seed has."""

KEYS: Final = {"fuzz": b"0123456789abcdef"}
MAX_SECTION_BYTES: Final = 1 << 20
# Bounds a run, not the decoder: what a batch may hold before it is applied.
_MAX_EVENTS, _MAX_BYTES = 1000, 1 << 22
_NOW_S, _LATE_S = 1_796_000_000, 1_900_000_000


def pieces_of(body: bytes) -> list[tuple[int, bytes]]:
    """(kind, bytes) of the pieces; the last one may be cut short."""
    pieces = []
    at = 0
    while at + 3 <= len(body):
        length = int.from_bytes(body[at + 1 : at + 3])
        pieces.append((body[at] % 5, body[at + 3 : at + 3 + length]))
        at += 3 + length
    return pieces


def joined(pieces: list[tuple[int, bytes]]) -> bytes:
    """The inverse of `pieces_of`."""
    return b"".join(
        bytes([kind]) + len(piece).to_bytes(2) + piece
        for kind, piece in pieces
        if len(piece) < 1 << 16
    )


class Target:
    """Runs inputs. `guard_end` has reads behind the end of bytes reported, where it can."""

    def __init__(
        self,
        *,
        guard_end: Callable[[bytes], bytes] = lambda data: data,
        compare_one_in: int = 1,
    ) -> None:
        self.tables = Tables()
        self._guard_end = guard_end
        self._compare_one_in = compare_one_in
        self.compared = 0

    def run(self, data: bytes) -> None:
        """Returns, whatever the input; an exception is a finding."""
        if len(data) < 2:
            return
        if data[0] & SEGMENT:
            with segment_file(data[2:], grow=bool(data[1] & GROW)) as (path, grow):
                self._read(path, grow, data[1])
            return
        with contextlib.suppress(OneKey):
            self._pieces(VERSIONS[data[0] % len(VERSIONS)], data[1], pieces_of(data[2:]))

    # -- segments

    def _read(self, path: str, grow: Callable[[int], None], options: int) -> None:
        mode = "live" if options & LIVE else "synced"
        try:
            reader = SegmentReader(
                path,
                mode=mode,  # type: ignore[arg-type]
                keys=KEYS,
                max_section_bytes=MAX_SECTION_BYTES,
            )
        except (UnsupportedFormat, SecretsError):  # of a key that nobody has
            return
        with reader, contextlib.suppress(SegmentCorrupt, UnsupportedFormat, SecretsError, OneKey):
            batch = Batch(self.tables.catalog)
            log = SchemaLog()
            self._fill(reader, batch, log, options & SKIP_DAMAGE)
            grow(-1 if options & CUT else 1)
            if options & COMPLETED:
                reader.set_completed()
            self._fill(reader, batch, log, options & SKIP_DAMAGE)
            reader.check_intact()
            self._apply(batch, _NOW_S, {})
            reader.release_sections()

    def _fill(self, reader: SegmentReader, batch: Batch, log: SchemaLog, skip: int) -> None:
        if reader.header is None and reader.read()[0] != ReadResult.INCOMPLETE:
            return  # one entry less: the version is known only now
        if reader.header is None:
            return
        decoder = SegmentDecoder(reader)
        position = -1
        while True:
            outcome = decoder.fill(batch, max_events=_MAX_EVENTS, max_bytes=_MAX_BYTES)
            assert reader.position >= position, "the position went back"
            position = reader.position
            if outcome.kind == "diverted":
                self._change_schema(outcome.raw, reader.version, log)
            elif outcome.kind == "corrupt":
                damaged_bytes(reader)
                if not skip or not skip_damage(reader):
                    return
            elif outcome.kind in ("incomplete", "end", "full"):
                return

    # -- the schema

    def _change_schema(self, mutation: bytes, version: int, log: SchemaLog) -> None:
        try:
            views = view_mutation(mutation, self.tables.catalog, version)
        except (SegmentCorrupt, UnknownTable):
            return
        truncations(views)
        updates = schema_updates(views)
        try:
            changed = log.apply(*updates)
        except ValueError:
            return
        tables = list(log.schema)
        for table in tables:
            if (table.keyspace, table.name) in changed:
                with contextlib.suppress(ValueError):
                    CompiledTable(table, "divert")
        # Two names of one id, which no node gives, change places at every look.
        if len({table.id for table in tables}) == len(tables):
            assert not log.apply(*updates), "the same schema change again changes tables"

    # -- mutations and states

    def _pieces(self, version: int, options: int, pieces: list[tuple[int, bytes]]) -> None:
        now_s = _LATE_S if options & LATE else _NOW_S
        decoder = Decoder(version)
        batches = [Batch(self.tables.catalog), Batch(self.tables.catalog)]
        states: list[list[bytes]] = [[], [], []]
        log = SchemaLog()
        for number, (kind, piece) in enumerate(pieces):
            if kind >= ROW_STATE:
                states[kind - ROW_STATE].append(piece)
                continue
            mutation = self._guard_end(piece)
            self._view(mutation, version)
            stop = decoder.add(mutation, batches[kind], segment_id=1, offset=number + 1)
            if stop is not None and stop[0] == "diverted":
                self._change_schema(mutation, version, log)
        stores: dict[object, Store] = {}
        for batch in batches:
            self._apply(batch, now_s, stores)
            before = [store.shown() for store in stores.values()]
            self._apply(batch, now_s, stores)
            after = [store.shown() for store in stores.values()]
            assert after == before, "the same batch again changes rows"
        if any(states):
            for batch in batches:
                for store in self._stores(batch, {}):
                    with contextlib.suppress(SchemaMismatch):
                        store.feed(batch, now_s, states[0], states[1:])

    def _view(self, mutation: bytes, version: int) -> None:
        try:
            views = view_mutation(mutation, self.tables.plain_catalog, version)
        except (SegmentCorrupt, UnknownTable):
            return
        if zlib.crc32(mutation) % self._compare_one_in:
            return
        rules = LOG_VERSIONS[version]
        # The reference takes more: it knows fewer rules that Cassandra never breaks.
        said = read_mutation(mutation, rules, self.tables.reference)
        self.compared += 1
        assert of_views(views) == of_reference(said, rules, self.tables.reference)

    def _stores(self, batch: Batch, stores: dict[object, Store]) -> Iterator[Store]:
        for compiled in batch.touched():
            for number, mirrored in enumerate(self.tables.mirrored[compiled.table.id]):
                yield stores.setdefault((compiled.table.id, number), Store(mirrored))

    def _apply(self, batch: Batch, now_s: int, stores: dict[object, Store]) -> None:
        for store in self._stores(batch, stores):
            store.apply(batch, now_s)


@contextlib.contextmanager
def segment_file(data: bytes, *, grow: bool) -> Iterator[tuple[str, Callable[[int], None]]]:
    """A file of `data`, of its first half at first if it is to grow.

    Yields its path and a function: 1 completes the file, -1 cuts it.
    """
    half = len(data) // 2 if grow else len(data)
    fd = os.memfd_create("segment")
    try:
        os.write(fd, data[:half])

        def change(direction: int) -> None:
            if direction < 0:
                os.ftruncate(fd, half // 2)
            else:
                os.pwrite(fd, data[half:], half)

        yield f"/proc/self/fd/{fd}", change
    finally:
        os.close(fd)
