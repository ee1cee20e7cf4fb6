"""A mirror relation in memory that answers RelationWork as the applier and PostgreSQL would.

It holds fields in PostgreSQL's binary form as they came and understands none of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from parsers._batch import Batch
from parsers._work import MASK_BITS, RelationWork
from tests.fuzz.tables import JSONB_OID, NUMERIC_OID, Mirrored

Fields = tuple[bytes | None, ...]
Key = tuple[bytes | None, ...]

_K = TypeVar("_K")

_COPY_HEADER_BYTES = 19
# Few, so that a batch has several.
_ROUND_ROWS = 3
_I16, _I32 = struct.Struct(">h"), struct.Struct(">i")


class _Bytes:
    """A cursor; what is cut short is an error."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        assert 0 <= count <= len(self.data) - self.position, "the binary form is cut short"
        self.position += count
        return self.data[self.position - count : self.position]

    def i16(self) -> int:
        self.position += 2
        return int(_I16.unpack_from(self.data, self.position - 2)[0])

    def i32(self) -> int:
        self.position += 4
        return int(_I32.unpack_from(self.data, self.position - 4)[0])

    def field(self) -> bytes | None:
        length = self.i32()
        return None if length == -1 else self.take(length)

    def end(self) -> None:
        assert self.position == len(self.data), "bytes follow the binary form"


def items_of(array: bytes) -> list[bytes | None]:
    """The items of a binary array."""
    cursor = _Bytes(array)
    dimensions, has_null, _ = cursor.i32(), cursor.i32(), cursor.i32()
    assert dimensions == 1
    assert has_null in (0, 1)
    count, lower = cursor.i32(), cursor.i32()
    assert lower == 1
    items = [cursor.field() for _ in range(count)]
    cursor.end()
    return items


def array_of(oid: int, items: Iterable[bytes | None]) -> bytes | None:
    """A binary array as array_agg() makes it: None of no items."""
    listed = list(items)
    if not listed:
        return None
    body = b"".join(
        struct.pack(">i", -1) if item is None else struct.pack(">i", len(item)) + item
        for item in listed
    )
    return struct.pack(">5i", 1, None in listed, oid, len(listed), 1) + body


def record_of(item: bytes | None, oids: list[int]) -> Fields:
    """The fields of a record, which must have these types."""
    assert item is not None
    cursor = _Bytes(item)
    assert cursor.i32() == len(oids)
    fields = []
    for oid in oids:
        assert cursor.i32() == oid
        fields.append(cursor.field())
    cursor.end()
    return tuple(fields)


def rows_of(copied: bytes, n_fields: int) -> Iterator[Fields]:
    """The tuples of COPY BINARY data."""
    cursor = _Bytes(copied)
    assert cursor.take(_COPY_HEADER_BYTES) == b"PGCOPY\n\xff\r\n\0" + bytes(8)
    while (count := cursor.i16()) != -1:
        assert count == n_fields
        yield tuple(cursor.field() for _ in range(count))
    cursor.end()


def numbers_of(numbers: Iterable[int]) -> bytes | None:
    """An int4[] of numbers that count from 1."""
    return array_of(23, [struct.pack(">i", number + 1) for number in numbers])


class OneKey(Exception):
    """Two rows of Cassandra have one key in PostgreSQL.

    Partitions whose decimals differ in scale only (docs/type-mapping.md), or different bytes with
    the same JSON: a map with a key twice, a null of another length, which clients don't write.
    """


@dataclass
class Store:
    """What one mirror and its tombstones hold."""

    mirrored: Mirrored
    rows: dict[Key, Fields] = field(default_factory=dict)
    dead: dict[tuple[bytes | None, bytes | None], list[bytes]] = field(default_factory=dict)
    partitions: dict[bytes | None, list[bytes]] = field(default_factory=dict)
    watermarks: dict[int, tuple[int | None, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.oids = [oid for _, oid, _ in self.mirrored.attributes]
        self.n_key = sum(role == "key" for _, _, role in self.mirrored.attributes)
        self.n_partition_key = self.n_key - self.mirrored.n_clustering
        key_oids = self.oids[: self.n_key]
        self.may_share_key = (
            JSONB_OID in key_oids or NUMERIC_OID in key_oids[: self.n_partition_key]
        )
        self.state_at = [role for _, _, role in self.mirrored.attributes].index("state")
        types = {column.name: str(column.type) for column in self.mirrored.relation.table.columns}
        self.hidden = [
            role == "state" or (name is not None and types.get(name) == "counter")
            for name, _, role in self.mirrored.attributes
        ]
        self.place = {name: at for at, (name, _, _) in enumerate(self.mirrored.attributes)}

    def shown(self) -> set[Fields]:
        """The rows as people see them, without states and counters.

        A state may come to the same in fewer bytes, and the local shards of counters, which no
        supported release writes, add up each time.
        """
        return {
            tuple(field for field, hidden in zip(fields, self.hidden, strict=True) if not hidden)
            for fields in self.rows.values()
        }

    def apply(self, batch: Batch, now_s: int) -> None:
        """Do with the batch what the applier does."""
        relation = self.mirrored.relation
        work = RelationWork(batch, relation)
        if not (work.n_items or work.n_partitions):
            return
        for bucket in work.buckets():
            work.set_watermarks(bucket, *self.watermarks.get(bucket, (None, None)))
        for first in range(0, work.n_items, _ROUND_ROWS):
            asked = self._keys(work.row_keys(first, _ROUND_ROWS) or b"")
            found = [(at, self.rows[key]) for at, key in enumerate(asked) if key in self.rows]
            work.load_rows(
                numbers_of(at for at, _ in found),
                array_of(17, [fields[self.state_at] for _, fields in found]),
                first=first,
            )
        partitions = work.partition_keys()
        if partitions is not None:
            self._load(work.load_partitions, items_of(partitions), self.partitions)
            scan = work.scan_keys()
            if scan is not None:
                self._scan(work, self._keys(scan))
        dead = work.dead_keys()
        if dead is not None:
            pairs = list(zip(*map(items_of, dead), strict=True))
            self._load(work.load_dead, pairs, self.dead)
        if work.decide(now_s):
            self._break_ties(work)
            work.decide(now_s)
        self._write(work)

    def _keys(self, records: bytes) -> list[Key]:
        oids = self.oids[: self.n_key]
        return [self._key(record_of(item, oids)) for item in items_of(records)]

    def _key(self, fields: Fields) -> Key:
        """The key of a row, in which numerics of another scale are the same."""
        return tuple(
            field[:6] + bytes(2) + field[8:] if oid == NUMERIC_OID and field is not None else field
            for field, oid in zip(fields[: self.n_key], self.oids)
        )

    @staticmethod
    def _load(
        load: Callable[[bytes | None, bytes | None], None],
        asked: list[_K],
        stored: dict[_K, list[bytes]],
    ) -> None:
        found = [(at, state) for at, key in enumerate(asked) for state in stored.get(key, ())]
        load(numbers_of(at for at, _ in found), array_of(17, [state for _, state in found]))

    def _scan(self, work: RelationWork, asked: list[Key]) -> None:
        n = self.n_partition_key
        found = [
            (at, fields)
            for at, wanted in enumerate(asked)
            for key, fields in self.rows.items()
            if key[:n] == wanted[:n]
        ]
        clusterings = []
        if not work.relation.keeps_clustering and not work.relation.static:
            clusterings = [
                array_of(self.oids[column], [fields[column] for _, fields in found])
                for column in range(n, self.n_key)
            ]
        work.load_scan(
            numbers_of(at for at, _ in found),
            array_of(17, [fields[self.state_at] for _, fields in found]),
            clusterings,
        )

    def _break_ties(self, work: RelationWork) -> None:
        tied, columns = work.tied_columns()
        if tied is None:
            return
        rows = [self.rows[key] for key in self._keys(tied)]
        places = [self.place[work.relation.table.columns[column].name] for column in columns]
        work.load_values(
            numbers_of(range(len(rows))),
            columns,
            [array_of(self.oids[at], [fields[at] for fields in rows]) for at in places],
        )

    def _write(self, work: RelationWork) -> None:
        _, new, changed, gone, _ = work.counted()
        gone_keys = work.gone_keys()
        doomed = [] if gone_keys is None else self._keys(gone_keys)
        assert len(doomed) == gone
        for key in doomed:
            self._held(key)
            del self.rows[key]
        while (changes := work.changed_rows(_ROUND_ROWS)) is not None:
            records, masks, attributes, _, count = changes
            assert len(items_of(records)) == count
            self._update(records, masks, attributes)
            changed -= count
        assert changed == 0
        copied = work.new_rows()
        added = [] if copied is None else list(rows_of(copied, len(self.oids)))
        assert len(added) == new
        for fields in added:
            key = self._key(fields)
            if key in self.rows and self.may_share_key:
                raise OneKey
            assert key not in self.rows, "a row is inserted twice"
            self.rows[key] = fields
        dead = work.dead_rows()
        if dead is not None:
            for pk, ck, state, _ in zip(*map(items_of, dead), strict=True):
                assert state is not None
                self.dead.setdefault((pk, ck), []).append(state)
        tombstones = work.partition_tombstones()
        if tombstones is not None:
            for pk, state, _ in zip(*map(items_of, tombstones), strict=True):
                assert state is not None
                self.partitions.setdefault(pk, []).append(state)
        for bucket, raised in work.raised_watermarks().items():
            known = self.watermarks.get(bucket, (None, None))
            self.watermarks[bucket] = tuple(  # type: ignore[assignment]
                old if value is None else value for old, value in zip(known, raised, strict=True)
            )

    def _held(self, key: Key) -> Fields:
        if key not in self.rows and self.may_share_key:
            raise OneKey
        return self.rows[key]

    def _update(self, records: bytes, masks: list[bytes], attributes: list[int]) -> None:
        rows = [record_of(item, self.oids) for item in items_of(records)]
        words = [[int.from_bytes(item or b"") for item in items_of(mask)] for mask in masks]
        for number, fields in enumerate(rows):
            key = self._key(fields)
            held = list(self._held(key))
            held[self.state_at] = fields[self.state_at]
            for at, attribute in enumerate(attributes):
                mask = words[at // MASK_BITS][number] if words else -1
                if mask >> at % MASK_BITS & 1:
                    held[attribute] = fields[attribute]
            self.rows[key] = tuple(held)

    def feed(self, batch: Batch, now_s: int, rows: list[bytes], more: list[list[bytes]]) -> None:
        """Give the work states that are not ours and let it write all it would.

        `rows` are row states, `more` those of dead rows and of partitions. Stores nothing.
        """
        dead_states, partition_states = more
        work = RelationWork(batch, self.mirrored.relation)
        for bucket in work.buckets():
            work.set_watermarks(bucket, (1 << 63) - 1, (1 << 63) - 1)
        keys = work.row_keys()
        if keys is not None:
            count = min(len(items_of(keys)), len(rows))
            work.load_rows(numbers_of(range(count)), array_of(17, rows[:count]))
        partitions = work.partition_keys()
        if partitions is not None:
            at = len(items_of(partitions))
            numbers = [number % at for number in range(len(partition_states))]
            work.load_partitions(numbers_of(numbers), array_of(17, partition_states))
            scan = work.scan_keys()
            if scan is not None and keys is not None:
                self._feed_scan(work, len(items_of(scan)), self._keys(keys), rows)
        dead = work.dead_keys()
        if dead is not None:
            at = len(items_of(dead[0]))
            numbers = [number % at for number in range(len(dead_states))]
            work.load_dead(numbers_of(numbers), array_of(17, dead_states))
        if work.decide(now_s):
            tied, columns = work.tied_columns()
            if tied is not None:
                nulls: list[bytes | None] = [None] * len(items_of(tied))
                arrays = [array_of(25, nulls) for _ in columns]
                work.load_values(numbers_of(range(len(nulls))), columns, arrays)
            work.decide(now_s)
        work.gone_keys()
        work.changed_rows()
        work.new_rows()
        work.dead_rows()
        work.partition_tombstones()
        work.raised_watermarks()

    def _feed_scan(
        self, work: RelationWork, asked: int, keys: list[Key], rows: list[bytes]
    ) -> None:
        count = min(len(keys), len(rows))
        clusterings = []
        if not work.relation.keeps_clustering and not work.relation.static:
            clusterings = [
                array_of(self.oids[column], [key[column] for key in keys[:count]])
                for column in range(self.n_partition_key, self.n_key)
            ]
        numbers = [number % asked for number in range(count)]
        work.load_scan(numbers_of(numbers), array_of(17, rows[:count]), clusterings)
