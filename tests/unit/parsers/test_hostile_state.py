"""A stored state that is not such as cdc-tail writes is refused before anything of it is used."""

from __future__ import annotations

import struct
from typing import Final

import pytest

from cdc_tail.errors import SchemaMismatch
from parsers._batch import Batch
from parsers._decoder import Decoder
from parsers._work import RelationWork
from tests.fuzz.store import array_of, items_of, numbers_of
from tests.fuzz.tables import Mirrored, Tables
from tests.reference.encode import encode_mutation, uvint, vint_bytes
from tests.reference.model import Cell, Deletion, Liveness, Mutation, PartitionUpdate, Row
from tests.reference.versions import LOG_VERSIONS

NOW_S: Final = 1_796_000_000
WRITTEN_US: Final = 1_700_000_000_000_000
ENTRIES, CLUSTERING = 16, 32
TOMBSTONE, EXPIRING, DELETION, COUNTER, EXPIRED, ELEMENT, VALUE, DIGEST = (1 << i for i in range(8))


@pytest.fixture(scope="module")
def tables() -> Tables:
    return Tables()


def entry(mirrored: Mirrored, column: str, flags: int, *fields: bytes) -> bytes:
    """One entry, written a microsecond after the epoch; `fields` as its flags ask."""
    return uvint(mirrored.cids[column]) + bytes([flags]) + uvint(2) + b"".join(fields)


def state(*entries: bytes, flags: int = ENTRIES, end: bytes = b"") -> bytes:
    return bytes([flags]) + uvint(len(entries)) + b"".join(entries) + end


def insert(tables: Tables, name: str, row: Row, deletion: Deletion | None = None) -> Batch:
    """A batch of one INSERT into a table of the keyspace `random`, partition b'k'."""
    (table,) = (t for t in tables.reference.values() if t.name == name and t.keyspace == "random")
    key = b"key" if name == "multi_cell" else bytes(8 if name == "chosen" else 4)
    update = PartitionUpdate(
        table.id,
        f"random.{name}",
        key,
        deletion,
        unfiltereds=(row,),
        regular_columns=tuple(cell.column for cell in row.cells),
    )
    batch = Batch(tables.catalog)
    raw = encode_mutation(Mutation((update,)), LOG_VERSIONS[7], tables.reference)
    assert Decoder(7).add(raw, batch, segment_id=1, offset=1) is None
    assert len(batch)
    return batch


def mirror(tables: Tables, name: str) -> Mirrored:
    (table,) = (t for t in tables.tables if t.name == name and t.keyspace == "random")
    return tables.mirrored[table.id][0]


def load(tables: Tables, name: str, batch: Batch, stored: bytes) -> None:
    work = RelationWork(batch, mirror(tables, name).relation)
    assert work.row_keys() is not None
    work.load_rows(numbers_of([0]), array_of(17, [stored]))
    work.decide(NOW_S)


MULTI: Final = Row((bytes(8),), liveness=Liveness(WRITTEN_US))
COUNTERS: Final = Row((bytes(8),), cells=(Cell("a", WRITTEN_US, value=bytes(2)),))
CHOSEN: Final = Row((), liveness=Liveness(WRITTEN_US))


@pytest.mark.parametrize(
    ("table", "row", "column", "flags", "fields", "reason"),
    [
        ("multi_cell", MULTI, "l", VALUE, [vint_bytes(b"")], "another kind"),
        ("chosen", CHOSEN, "as_text_a", ELEMENT, [vint_bytes(b"x")], "another kind"),
        ("multi_cell", MULTI, "st", ELEMENT, [vint_bytes(b"\xff")], "an element"),
        ("multi_cell", MULTI, "lf", ELEMENT | VALUE, [b"\x02xx", b"\x00"], "an element"),
        ("chosen", CHOSEN, "as_text_a", VALUE, [vint_bytes(b"xy")], "a value"),
        ("chosen", CHOSEN, "as_text_a", VALUE | DIGEST, [b"\x00"], "digest"),
        ("chosen", CHOSEN, "as_text_a", DIGEST, [b"1234567"], "digest"),
        ("chosen", CHOSEN, "as_text_a", DELETION, [uvint(2)], "the deletion of a column"),
        ("multi_cell", MULTI, "l", DELETION | ELEMENT, [uvint(2), b"\x00"], "the deletion"),
        ("chosen", CHOSEN, "as_text_a", TOMBSTONE | EXPIRING, [uvint(2), b"\x01"], "a tombstone"),
        ("chosen", CHOSEN, "as_text_a", EXPIRED, [], "a cell that can't expire"),
        ("chosen", CHOSEN, "as_text_a", COUNTER | VALUE, [vint_bytes(bytes(2))], "another kind"),
        ("counters", COUNTERS, "a", VALUE, [vint_bytes(bytes(2))], "another kind"),
        ("counters", COUNTERS, "a", COUNTER, [], "a counter"),
        ("counters", COUNTERS, "a", COUNTER | VALUE, [vint_bytes(bytes(7))], "a counter"),
    ],
)
def test_a_cell_that_can_not_be(
    tables: Tables, table: str, row: Row, column: str, flags: int, fields: list[bytes], reason: str
) -> None:
    stored = state(entry(mirror(tables, table), column, flags, *fields))
    with pytest.raises(SchemaMismatch, match=f"damaged: .*{reason}"):
        load(tables, table, insert(tables, table, row), stored)


def test_two_cells_in_one_place(tables: Tables) -> None:
    cell = entry(mirror(tables, "chosen"), "as_text_a", VALUE, vint_bytes(b"\0\0\0\0\1"))
    batch = insert(tables, "chosen", CHOSEN)
    load(tables, "chosen", batch, state(cell))
    with pytest.raises(SchemaMismatch, match="two cells in one place"):
        load(tables, "chosen", batch, state(cell, cell))


@pytest.mark.parametrize(
    "stored", [b"", b"\x01", b"\x08\xff", b"\x10", b"\x10\xff" + b"\xff" * 8, b"\x00\x00"]
)
def test_bytes_that_are_no_state(tables: Tables, stored: bytes) -> None:
    with pytest.raises(SchemaMismatch, match="damaged"):
        load(tables, "chosen", insert(tables, "chosen", CHOSEN), stored)


def test_a_row_without_a_state(tables: Tables) -> None:
    """A column of type bytea may be NULL, too."""
    work = RelationWork(insert(tables, "chosen", CHOSEN), mirror(tables, "chosen").relation)
    work.row_keys()
    with pytest.raises(SchemaMismatch, match="it is empty"):
        work.load_rows(numbers_of([0]), array_of(17, [None]))


def test_a_digest_in_a_dead_row(tables: Tables) -> None:
    batch = insert(tables, "chosen", CHOSEN)
    work = RelationWork(batch, mirror(tables, "chosen").relation)
    for bucket in work.buckets():
        work.set_watermarks(bucket, WRITTEN_US, None)
    work.row_keys()
    assert work.dead_keys() is not None
    digest = entry(mirror(tables, "chosen"), "as_text_a", DIGEST, bytes(8))
    with pytest.raises(SchemaMismatch, match="digest"):
        work.load_dead(numbers_of([0]), array_of(17, [state(digest)]))


def bound(kind: int, values: bytes, count: int) -> bytes:
    return bytes([kind]) + uvint(count) + vint_bytes(values)


@pytest.mark.parametrize(
    ("start", "fits"),
    [
        (bound(1, b"\0" + bytes(8), 1), True),
        (bound(1, b"\0" + bytes(8) * 2, 2), False),  # more values than clustering columns
        (bound(1, b"\0" + bytes(7), 1), False),
        (bound(1, b"\0" + bytes(9), 1), False),
        (bound(1, b"\3", 1), False),
        (bound(1, b"", 1), False),
    ],
)
def test_the_bounds_of_a_stored_range_tombstone(tables: Tables, start: bytes, fits: bool) -> None:
    work = RelationWork(insert(tables, "multi_cell", MULTI), mirror(tables, "multi_cell").relation)
    for bucket in work.buckets():
        work.set_watermarks(bucket, None, WRITTEN_US)
    asked = work.partition_keys()
    assert asked is not None
    assert items_of(asked) == [b"key"]
    deletion = struct.pack(">q", WRITTEN_US) + uvint(2)
    none = struct.pack(">q", -(1 << 63)) + uvint((1 << 64) - 2)
    stored = none + uvint(1) + start + bound(6, b"", 0) + deletion
    if fits:
        work.load_partitions(numbers_of([0]), array_of(17, [stored]))
        work.decide(NOW_S)
        assert work.counted()[1] == 0, "the range covers the row"
    else:
        with pytest.raises(SchemaMismatch, match="partition tombstone is damaged"):
            work.load_partitions(numbers_of([0]), array_of(17, [stored]))


@pytest.mark.parametrize("stored", [b"\0", b"\x20\x00", b"\x20\x02\x00\x00"])
def test_a_clustering_that_no_key_can_hold(tables: Tables, stored: bytes) -> None:
    """Where the clustering columns don't give it back, the state holds it: of `random.frozen`."""
    row = Row((b"\0\0\0\4\0\0\0\1", bytes(4)), liveness=Liveness(WRITTEN_US + 1))
    batch = insert(tables, "frozen", row, Deletion(WRITTEN_US, 1_700_000_000))
    work = RelationWork(batch, mirror(tables, "frozen").relation)
    assert work.relation.keeps_clustering
    work.row_keys()
    work.load_rows(None, None)
    assert work.partition_keys() is not None
    work.load_partitions(None, None)
    assert work.scan_keys() is not None
    with pytest.raises(SchemaMismatch, match="damaged: clustering"):
        work.load_scan(numbers_of([0]), array_of(17, [stored]), [])


PLACE: Final = bytes(4) + b"\0\1"


def changed(tables: Tables, places: bytes | None) -> RelationWork:
    """A work that changes a row, whose state says nothing yet."""
    work = RelationWork(insert(tables, "multi_cell", MULTI), mirror(tables, "multi_cell").relation)
    assert work.row_keys() is not None
    work.load_rows(numbers_of([0]), array_of(17, [b"\0"]), places)
    work.decide(NOW_S)
    assert work.counted()[2] == 1
    return work


def test_the_places_of_changed_rows(tables: Tables) -> None:
    assert items_of(places_of(changed(tables, array_of(27, [PLACE]))) or b"") == [PLACE]
    assert places_of(changed(tables, None)) is None


def places_of(work: RelationWork) -> bytes | None:
    told = work.changed_rows()
    assert told is not None and told[4] == 1 and work.changed_rows() is None
    return told[3]


@pytest.mark.parametrize("places", [[PLACE[:5]], [PLACE + b"\0"], [None], [PLACE, PLACE]])
def test_a_place_that_is_none(tables: Tables, places: list[bytes | None]) -> None:
    with pytest.raises(SchemaMismatch):
        changed(tables, array_of(27, places))
