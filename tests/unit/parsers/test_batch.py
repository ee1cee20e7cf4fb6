"""Filling batches: when decoding stops and what is told, positions, rejections, catalogs."""

from __future__ import annotations

import gc
from pathlib import Path
from uuid import UUID

import pytest

from parsers.decoder import (
    Batch,
    Catalog,
    CompiledTable,
    Outcome,
    SegmentDecoder,
    build_catalog,
    decode_kept,
)
from parsers.position import Position
from parsers.schema import Table
from parsers.segment import SegmentReader
from parsers.system_tables import LOCAL_TABLE, SCHEMA_TABLES
from tests.reference.encode import encode_mutation
from tests.reference.model import Cell, Deletion, Liveness, Mutation, PartitionUpdate, Row
from tests.reference.versions import LOG_VERSIONS
from tests.support.histories import EVERYTHING, NOW, US, Subject, subject_of
from tests.support.memory_mirror import MemoryMirror
from tests.support.segments import SEGMENT_ID, segment_of
from tests.support.tables import IDS, table

LOG_VERSION = 8
PLENTY = 1 << 40
TEXTS = subject_of(
    table(f"CREATE TABLE ks.texts (k text PRIMARY KEY, v text, w int) WITH ID = {IDS[6]}")
)
OTHERS = subject_of(
    table(f"CREATE TABLE ks.others (k text PRIMARY KEY, v text, w int) WITH ID = {IDS[7]}")
)
TYPES = {"k": "text", "v": "text", "w": "int4"}


def update(subject: Subject, key: bytes, us: int = US, **values: bytes) -> PartitionUpdate:
    columns = [c.name for c in subject.table.regulars if c.name in values]
    cells = tuple(Cell(name, us, value=values[name]) for name in columns)
    row = Row(liveness=Liveness(us), cells=cells)
    return PartitionUpdate(
        subject.table.id, "", key, unfiltereds=(row,), regular_columns=tuple(columns)
    )


def encoded(*updates: PartitionUpdate) -> bytes:
    known = {one.reference.id: one.reference for one in (TEXTS, OTHERS, EVERYTHING)}
    return encode_mutation(Mutation(updates), LOG_VERSIONS[LOG_VERSION], known)


def written(key: bytes, us: int = US, **values: bytes) -> bytes:
    return encoded(update(TEXTS, key, us, **values))


def mirrored(table_: Table) -> CompiledTable:
    return CompiledTable(table_, "mirror", TYPES)


def reader_of(folder: Path, *mutations: bytes) -> SegmentReader:
    path = folder / f"CommitLog-{LOG_VERSION}-{SEGMENT_ID}.log"
    path.write_bytes(segment_of([mutations], version=LOG_VERSION).finish())
    reader = SegmentReader(path)
    reader.set_completed()
    return reader


def fill(
    folder: Path,
    batch: Batch,
    *mutations: bytes,
    max_events: int = 1 << 40,
    max_bytes: int = 1 << 40,
) -> list[Outcome]:
    """Every outcome up to the segment's end."""
    decoder = SegmentDecoder(reader_of(folder, *mutations))
    found = [decoder.fill(batch, max_events=max_events, max_bytes=max_bytes)]
    while found[-1].kind != "end":
        found.append(decoder.fill(batch, max_events=max_events, max_bytes=max_bytes))
    return found


def test_rows_of_one_key_are_one_row(tmp_path: Path) -> None:
    batch = Batch(build_catalog([mirrored(TEXTS.table)]))
    raw = [written(b"a", v=b"1"), written(b"b", v=b"1"), written(b"a", US + 1, w=bytes(4))]
    (outcome,) = fill(tmp_path, batch, *raw)
    assert outcome == Outcome("end")
    assert (len(batch), batch.events, batch.mutations, batch.skipped) == (2, 3, 3, 0)
    assert batch.bytes == sum(map(len, raw))
    assert (batch.min_writetime_us, batch.max_writetime_us) == (US, US + 1)
    assert [one.table for one in batch.touched()] == [TEXTS.table]
    assert batch.position is not None
    assert batch.position.segment_id == SEGMENT_ID
    assert batch.memory_bytes > 0
    batch.clear()
    assert (len(batch), batch.events, batch.bytes, batch.pins) == (0, 0, 0, [])
    assert batch.position is None
    assert batch.touched() == []


def test_a_full_batch_stops_behind_the_mutation_that_filled_it(tmp_path: Path) -> None:
    batch = Batch(build_catalog([mirrored(TEXTS.table)]))
    raw = [written(bytes([65 + i]), v=b"1") for i in range(5)]
    decoder = SegmentDecoder(reader_of(tmp_path, *raw))
    sizes = []
    while decoder.fill(batch, max_events=2, max_bytes=PLENTY).kind == "full":
        sizes.append(len(batch))
        batch.clear()
    assert (sizes, len(batch)) == ([2, 2], 1)


def test_bytes_fill_a_batch_too(tmp_path: Path) -> None:
    batch = Batch(build_catalog([mirrored(TEXTS.table)]))
    raw = [written(bytes([65 + i]), v=bytes(1000)[:999].replace(b"\0", b"x")) for i in range(5)]
    decoder = SegmentDecoder(reader_of(tmp_path, *raw))
    assert decoder.fill(batch, max_events=PLENTY, max_bytes=2500).kind == "full"
    assert len(batch) in (2, 3)


def test_what_needs_the_caller(tmp_path: Path) -> None:
    unknown = table(f"CREATE TABLE ks.t (k text PRIMARY KEY) WITH ID = {IDS[8]}")
    lacking = table(f"CREATE TABLE ks.others (k text PRIMARY KEY, v text) WITH ID = {IDS[7]}")
    catalog = build_catalog([mirrored(TEXTS.table)], [lacking])
    batch = Batch(catalog)
    schema_id = SCHEMA_TABLES["tables"].id
    raw = [
        written(b"a", v=b"1"),
        b"\1" + unknown.id.bytes + b"\1a\1",
        encoded(update(OTHERS, b"k", w=bytes(4))),  # alone it would be passed over unseen
        encoded(update(OTHERS, b"k", w=bytes(4)), update(TEXTS, b"k", v=b"2")),
        written(b"b", v=b"1")[:-1] + b"\7",
        b"\1" + schema_id.bytes + b"\2ks\1",
        b"\1" + LOCAL_TABLE.id.bytes + b"\5local\1",
        written(b"c", v=b"1"),
    ]
    outcomes = fill(tmp_path, batch, *raw)
    assert [outcome.kind for outcome in outcomes] == [
        "unknown_table",
        "unknown_column",
        "malformed",
        "diverted",
        "diverted",
        "end",
    ]
    assert outcomes[0].table_id == unknown.id
    assert (outcomes[1].table, outcomes[1].column) == (lacking, b"w")
    assert outcomes[2].table == TEXTS.table
    assert f"of {len(raw[4])})" in outcomes[2].reason
    assert [outcome.raw for outcome in outcomes[:-1]] == [raw[1], *raw[3:7]]
    # What was not taken has left nothing behind; what came after it was read.
    assert (len(batch), batch.mutations, batch.skipped) == (2, 2, 1)


def test_mutations_of_cassandras_own_tables_are_passed_over(tmp_path: Path) -> None:
    batches = UUID("919a4bc5-7a33-3573-b03e-13fc3f68b465")
    batch = Batch(build_catalog([mirrored(TEXTS.table)], extra_skipped=[OTHERS.table.id]))
    raw = [b"\1" + batches.bytes + b"anything", encoded(update(OTHERS, b"k"))]
    assert [one.kind for one in fill(tmp_path, batch, *raw)] == ["end"]
    assert (len(batch), batch.skipped) == (0, 2)


def test_rows_that_postgresql_cannot_hold_are_rejected_and_the_others_taken() -> None:
    batch = Batch(build_catalog([mirrored(TEXTS.table)]))
    raw = [
        written(b"a", v=b"nul \0"),
        written(b"b", v=b"bad utf-8 \xff", w=b"1234"),
        written(b"c", v=b"fine"),
        written(b"\0", v=b"a key"),
    ]
    for at, mutation in enumerate(raw, 1):
        place = Position(7, at)
        assert decode_kept(mutation, batch, log_version=LOG_VERSION, position=place) is None
    assert len(batch) == 1
    assert [(one.column, one.position.offset) for one in batch.rejections] == [
        ("v", 1),
        ("v", 2),
        ("k", 4),
    ]
    first = batch.rejections[0]
    assert first.table == TEXTS.table
    assert first.raw == raw[0]
    assert first.partition_key == b"a"
    assert "U+0000" in first.reason
    assert batch.position is None  # a kept mutation does not move it


def test_a_kept_mutation_that_is_still_not_known_is_given_back() -> None:
    batch = Batch(build_catalog([mirrored(TEXTS.table)]))
    raw = encoded(update(OTHERS, b"k"))
    refused = decode_kept(raw, batch, log_version=LOG_VERSION, position=Position(1, 1))
    assert refused == Outcome("unknown_table", raw, table_id=OTHERS.table.id)
    assert len(batch) == 0


def test_a_table_may_stand_in_several_catalogs() -> None:
    """Each numbers its own: what a batch of the first one holds is not another table's now."""
    mirror = EVERYTHING.mirror()
    first = mirror.catalog
    row = Row((bytes(4), b"d"), liveness=Liveness(US))
    deletion = Deletion(US - 1, NOW)
    raw = encoded(PartitionUpdate(EVERYTHING.table.id, "", bytes(4), deletion, unfiltereds=(row,)))
    batch = EVERYTHING.batch(mirror, [raw])
    later = Catalog([mirrored(TEXTS.table), mirrored(OTHERS.table), mirror.compiled])
    assert batch.touched() == [mirror.compiled]
    assert mirror.apply(batch, NOW) == 1
    mirror.catalog = later
    batch = EVERYTHING.batch(mirror, [raw])
    assert batch.touched() == [mirror.compiled]
    assert mirror.apply(batch, NOW) == 0
    assert first.tables == [mirror.compiled]


def test_a_batch_of_another_catalog_is_refused() -> None:
    mirror = EVERYTHING.mirror()
    batch = Batch(build_catalog([mirrored(TEXTS.table)]))
    with pytest.raises(ValueError, match=r"ks\.everything is not in the batch's catalog"):
        mirror.apply(batch, NOW)


def test_a_table_stands_once_in_a_catalog() -> None:
    with pytest.raises(ValueError, match=r"ks\.texts stands twice"):
        Catalog([mirrored(TEXTS.table), mirrored(TEXTS.table)])
    # Cassandra's own and what is mirrored win over what is passed over.
    Catalog([mirrored(TEXTS.table)], [TEXTS.table.id])
    build_catalog([mirrored(TEXTS.table)], [TEXTS.table, *SCHEMA_TABLES.values()])


def test_catalogs_in_reference_cycles_are_collected() -> None:
    for _ in range(50):
        catalog = build_catalog([mirrored(TEXTS.table)])
        batch = Batch(catalog)
        batch.pins.append([batch, catalog])
    del catalog, batch
    gc.collect()


def test_thousands_of_rows_and_partitions_are_told_apart() -> None:
    """Also while the batch's hash tables grow."""
    mirror = MemoryMirror(TEXTS.table, TYPES)
    keys = [f"key {i}".encode() for i in range(3000)]
    raw = [written(key, v=key) for key in keys] + [written(key, w=bytes(4)) for key in keys]
    raw += [
        encoded(PartitionUpdate(TEXTS.table.id, "", key, deletion=Deletion(US - 1, NOW)))
        for key in keys
    ]
    batch = TEXTS.batch(mirror, raw)
    assert (len(batch), batch.events) == (6000, 9000)
    mirror.apply(batch, NOW)
    assert {row["v"]: row["w"] for row in mirror.rows.rows.values()} == {
        key: bytes(4) for key in keys
    }


def test_parts_of_a_batch_have_its_rows_and_no_more() -> None:
    batch = Batch(build_catalog([mirrored(TEXTS.table), mirrored(OTHERS.table)]))
    deleted = PartitionUpdate(TEXTS.table.id, "", b"gone", deletion=Deletion(US, NOW))
    for mutation in (
        *(written(b"row%d" % number, v=b"x") for number in range(2_000)),
        encoded(deleted),
        encoded(update(OTHERS, b"row7")),
    ):
        assert (
            decode_kept(mutation, batch, log_version=LOG_VERSION, position=Position(1, 2)) is None
        )
    names = [batch.part([item]).touched_keys() for item in range(len(batch))]
    assert len(batch) == len(names) == 2_002
    assert set().union(*names) == batch.touched_keys() and all(len(one) == 1 for one in names)
    part = batch.part(range(0, 2_002, 2))
    del batch  # the part keeps what it needs
    gc.collect()
    assert len(part) == 1_001 and part.mutations == 0
    with pytest.raises(IndexError, match="no item 1001"):
        part.part([1_001])


def test_what_batches_share() -> None:
    catalog = build_catalog([mirrored(TEXTS.table), mirrored(OTHERS.table)])
    one, other = Batch(catalog), Batch(catalog)
    for batch, mutations in (
        (one, [written(b"a"), written(b"b"), encoded(update(OTHERS, b"c"))]),
        (other, [written(b"b", US + 1), written(b"c"), encoded(update(OTHERS, b"a"))]),
    ):
        for mutation in mutations:
            decode_kept(mutation, batch, log_version=LOG_VERSION, position=Position(1, 2))
    assert {(c.table.name, key) for c, key in one.shared(other)} == {("texts", b"b")}
    assert one.shared(other) == other.shared(one)
    with pytest.raises(ValueError, match="different catalogs"):
        one.shared(Batch(build_catalog()))
