"""A mirror in dicts: it answers RelationWork as PostgreSQL would, and keeps what that writes.

So that thousands of histories can be merged in seconds. What PostgreSQL itself makes of the same
bytes is seen in the integration tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from parsers._relation import Relation
from parsers._work import MASK_BITS, RelationWork
from parsers.cql_types import CqlType
from parsers.decoder import Batch, Catalog, CompiledTable
from parsers.schema import Column, Table
from tests.reference.encode import uvint, vint_bytes

Field = bytes | None
"""A field in PostgreSQL's binary form; None is NULL."""
Key = tuple[Field, ...]
Dead = tuple[bytes, bytes]
"""Partition key and clustering in the log's bytes."""


def array(items: Iterable[Field]) -> bytes | None:
    """What `array_agg` gives: None for no items."""
    found = list(items)
    if not found:
        return None
    body = b"".join(_sized(item) for item in found)
    return struct.pack(">5i", 1, 0, 0, len(found), 1) + body


def items(data: bytes) -> list[Field]:
    """The items of an array."""
    _, _, _, count, _ = struct.unpack_from(">5i", data)
    found, end = _fields(data, 20, count)
    assert end == len(data)
    return found


def record(data: Field) -> list[Field]:
    """The fields of a record."""
    assert data is not None
    (count,) = struct.unpack_from(">i", data)
    found = []
    position = 4
    for _ in range(count):
        (value,), position = _fields(data, position + 4, 1)
        found.append(value)
    assert position == len(data)
    return found


def copied(data: bytes, width: int) -> list[list[Field]]:
    """The tuples of COPY BINARY data."""
    assert data[:19] == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    position = 19
    rows = []
    while data[position : position + 2] != b"\xff\xff":
        assert struct.unpack_from(">h", data, position) == (width,)
        row, position = _fields(data, position + 2, width)
        rows.append(row)
    assert position + 2 == len(data)
    return rows


def least_scale(numeric: bytes) -> bytes:
    """A numeric field without its scale: its digits alone say how much it is."""
    return numeric[:6] + b"\0\0" + numeric[8:]


def _sized(item: Field) -> bytes:
    return b"\xff" * 4 if item is None else struct.pack(">i", len(item)) + item


def _fields(data: bytes, position: int, count: int) -> tuple[list[Field], int]:
    found: list[Field] = []
    for _ in range(count):
        (size,) = struct.unpack_from(">i", data, position)
        position += 4
        found.append(None if size < 0 else data[position : position + size])
        assert size < 0 or len(found[-1] or b"") == size
        position += max(size, 0)
    return found, position


@dataclass
class MemoryRelation:
    """The rows (or static rows) of one table: fields by column, the state as `_cdc`."""

    compiled: CompiledTable
    static: bool
    numbers: Mapping[str, int] | None = None
    foreign: Mapping[str, tuple[CqlType, str]] | None = None
    rows: dict[Key, dict[str, Field]] = field(default_factory=dict)
    dead: list[tuple[Dead, bytes]] = field(default_factory=list)
    tombstones: list[tuple[bytes, bytes]] = field(default_factory=list)
    expiries: dict[Dead, int] = field(default_factory=dict)
    watermarks: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table: Table = self.compiled.table
        self.key = table.partition_key if self.static else table.primary_key
        self.columns = table.statics if self.static else table.regulars
        foreign = self.foreign or {}
        # The state stands amid the columns: nothing may rely on its place.
        self.names = [
            *(column.name for column in self.key),
            "_cdc",
            *(column.name for column in self.columns),
            *foreign,
        ]
        self.relation = Relation(
            self.compiled,
            static=self.static,
            attributes=[
                *((column.name, 1000 + i, "key") for i, column in enumerate(self.key)),
                (None, 17, "state"),
                *((column.name, 2000 + i, "column") for i, column in enumerate(self.columns)),
                *((name, 3000 + i, "column") for i, name in enumerate(foreign)),
            ],
            cids=cids(self.columns) if self.numbers is None else self.numbers,
            foreign=foreign,
            renewed={},
            row_type_oid=5000,
            key_type_oid=5001,
            gc_grace_seconds=table.gc_grace_seconds,
        )

    def place(self, fields: Iterable[Field]) -> Key:
        """Key fields as PostgreSQL compares them: a numeric whatever its scale."""
        return tuple(
            least_scale(value) if value is not None and str(column.type) == "decimal" else value
            for column, value in zip(self.key, fields, strict=False)
        )

    def wire(self, clustering: Iterable[bytes | None]) -> bytes:
        """A clustering in the log's bytes."""
        states, out = 0, b""
        for index, (column, value) in enumerate(
            zip(self.compiled.table.clustering, clustering, strict=False)
        ):
            states |= (2 if value is None else 0 if value else 1) << 2 * index
            if value:
                out += value if column.type.fixed_length is not None else vint_bytes(value)
        return uvint(states) + out if self.compiled.table.clustering and not self.static else b""

    def apply(self, batch: Batch, now_s: int) -> tuple[int, int, int, int, int]:
        """As PostgresSink does it; rows by outcome: (same, new, changed, gone, dead)."""
        work = RelationWork(batch, self.relation)
        for bucket in work.buckets():
            work.set_watermarks(bucket, *self.watermarks.get(bucket, (None, None)))
        self.read(work)
        if work.decide(now_s):
            asked, columns = work.tied_columns()
            found = self._existing(asked)
            names = [self.compiled.columns[column].name for column in columns]
            work.load_values(
                array(struct.pack(">i", number) for number, _ in found),
                columns,
                [array(row[name] for _, row in found) for name in names],
            )
            assert work.decide(now_s) == 0
        return self.write(work)

    def read(self, work: RelationWork) -> None:
        """Hand in what this holds of the rows and partitions of the work."""
        asked = work.row_keys()
        if asked is not None:
            found = self._existing(asked)
            work.load_rows(
                array(struct.pack(">i", number) for number, _ in found),
                array(row["_cdc"] for _, row in found),
            )
        partitions = work.partition_keys()
        if partitions is not None:
            self._read_partitions(work, items(partitions))
        dead = work.dead_keys()
        if dead is not None:
            wanted = zip(items(dead[0]), items(dead[1]), strict=True)
            fragments = [
                (number, state)
                for number, place in enumerate(wanted, 1)
                for held, state in self.dead
                if held == place
            ]
            work.load_dead(
                array(struct.pack(">i", number) for number, _ in fragments),
                array(state for _, state in fragments),
            )

    def _existing(self, asked: bytes) -> list[tuple[int, dict[str, Field]]]:
        keys = [self.place(record(item)) for item in items(asked)]
        assert len(set(keys)) == len(keys)
        return [(n, self.rows[key]) for n, key in enumerate(keys, 1) if key in self.rows]

    def _read_partitions(self, work: RelationWork, wanted: list[Field]) -> None:
        found = [
            (number, state)
            for number, partition_key in enumerate(wanted, 1)
            for held, state in self.tombstones
            if held == partition_key
        ]
        work.load_partitions(
            array(struct.pack(">i", number) for number, _ in found),
            array(state for _, state in found),
        )
        asked = work.scan_keys()
        if asked is None:
            return
        width = len(self.compiled.table.partition_key)
        rows = [
            (number, row)
            for number, item in enumerate(items(asked), 1)
            for key, row in self.rows.items()
            if key[:width] == self.place(record(item)[:width])
        ]
        clustering = [] if self.static else [c.name for c in self.compiled.table.clustering]
        work.load_scan(
            array(struct.pack(">i", number) for number, _ in rows),
            array(row["_cdc"] for _, row in rows),
            []
            if self.relation.keeps_clustering
            else [array(row[name] for _, row in rows) for name in clustering],
        )

    def write(self, work: RelationWork) -> tuple[int, int, int, int, int]:
        """Take what the work writes."""
        counts = work.counted()
        gone = work.gone_keys()
        gone_keys = [] if gone is None else [self.place(record(item)) for item in items(gone)]
        assert len(gone_keys) == counts[3]
        for key in gone_keys:
            del self.rows[key]
        self._update(work, counts[2])
        new = work.new_rows()
        tuples = [] if new is None else copied(new, len(self.names))
        assert len(tuples) == counts[1]
        for values in tuples:
            key = self.place(values[: len(self.key)])
            assert key not in self.rows
            self.rows[key] = dict(zip(self.names, values, strict=True))
        self._keep_tombstones(work, counts[4])
        return counts

    def _update(self, work: RelationWork, count: int) -> None:
        changes = work.changed_rows()
        if changes is None:
            assert count == 0
            return
        records, masks, attributes, _, changed = changes
        assert changed == count
        rows = [record(item) for item in items(records)]
        bits = [[int.from_bytes(item or b"") for item in items(mask)] for mask in masks]
        assert len(rows) == count
        for index, values in enumerate(rows):
            row = self.rows[self.place(values[: len(self.key)])]
            row["_cdc"] = values[self.names.index("_cdc")]
            for number, attribute in enumerate(attributes):
                if masks and not bits[number // MASK_BITS][index] >> number % MASK_BITS & 1:
                    continue
                row[self.names[attribute]] = values[attribute]

    def _keep_tombstones(self, work: RelationWork, count: int) -> None:
        dead = work.dead_rows()
        if dead is not None:
            keys, clusterings, states, _ = map(items, dead)
            assert len(keys) >= count
            for place in zip(keys, clusterings, states, strict=True):
                assert None not in place
                self.dead.append((place[:2], place[2]))  # type: ignore[arg-type]
        expiries = work.expiries()
        if expiries is not None:
            for key, clustering, due in zip(*map(items, expiries), strict=True):
                assert key is not None
                assert clustering is not None
                self.expiries[key, clustering] = int.from_bytes(due or b"", signed=True)
        tombstones = work.partition_tombstones()
        if tombstones is not None:
            for key, state in zip(items(tombstones[0]), items(tombstones[1]), strict=True):
                assert key is not None
                assert state is not None
                self.tombstones.append((key, state))
        for bucket, raised in work.raised_watermarks().items():
            held = self.watermarks.get(bucket, (None, None))
            rows_us, partitions_us = (
                max((us for us in pair if us is not None), default=None)
                for pair in zip(held, raised, strict=True)
            )
            self.watermarks[bucket] = (rows_us, partitions_us)


def cids(columns: Iterable[Column]) -> dict[str, int]:
    """Numbers of columns as a mirror gives them: in no order that decides anything, with gaps."""
    names = sorted((column.name for column in columns), key=lambda name: name[::-1])
    return {name: 3 * index + 1 for index, name in enumerate(names)}


class MemoryMirror:
    """A table's mirror: its rows, and its static rows where it has static columns."""

    def __init__(
        self,
        table: Table,
        pg_types: Mapping[str, str],
        *,
        numbers: Mapping[str, int] | None = None,
        foreign: Mapping[str, tuple[CqlType, str]] | None = None,
    ) -> None:
        """`numbers` are the cids of columns; `foreign` columns are those of a newer definition."""
        self.compiled = CompiledTable(table, "mirror", pg_types)
        self.catalog = Catalog([self.compiled])
        self.rows = MemoryRelation(self.compiled, False, numbers, foreign)
        self.statics = MemoryRelation(self.compiled, True, numbers) if table.statics else None

    @property
    def relations(self) -> list[MemoryRelation]:
        return [self.rows, *([self.statics] if self.statics else [])]

    def apply(self, batch: Batch, now_s: int) -> int:
        """Apply a batch; how many rows it changed."""
        return sum(sum(relation.apply(batch, now_s)[1:]) for relation in self.relations)

    def expire(self, now_s: int) -> int:
        """Let what is due expire; how many rows changed."""
        batch = Batch(self.catalog)
        for relation in self.relations:
            for (partition_key, clustering), due_s in list(relation.expiries.items()):
                if due_s <= now_s:
                    del relation.expiries[partition_key, clustering]
                    batch.touch(self.compiled, partition_key, clustering, relation.static)
        return self.apply(batch, now_s)
