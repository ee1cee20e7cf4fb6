"""Random histories of small tables in which everything collides: few keys, few timestamps.

`merged.py` has what the reference makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key
from random import Random

from parsers.cql_file import parse_cql
from parsers.decoder import Batch, decode_kept
from parsers.position import Position
from parsers.schema import Column, Table
from sinks.postgres.typemap import pg_type
from tests.reference.counters import Shard, write_context
from tests.reference.encode import encode_mutation
from tests.reference.model import (
    EXPIRED_LIVENESS_TTL,
    Cell,
    Deletion,
    Liveness,
    Marker,
    Mutation,
    PartitionUpdate,
    Row,
)
from tests.reference.order import Order
from tests.reference.schema import RefColumn, RefTable
from tests.reference.types import parse_type
from tests.reference.versions import LOG_VERSIONS
from tests.support.memory_mirror import MemoryMirror
from tests.support.tables import IDS

US = 1_700_000_000_000_000
NOW = 1_790_000_000
LOG_VERSION = 8

_CQL = f"""
CREATE TYPE ks.pair (a int, b text);
CREATE TABLE ks.everything (
    k int, c int, d text, s int static, t set<text> static,
    v int, w text, x decimal, l list<int>, m map<text, int>, z set<int>, p pair,
    PRIMARY KEY (k, c, d)
) WITH CLUSTERING ORDER BY (c DESC, d ASC) AND ID = {IDS[0]};
CREATE TABLE ks.counts (k int, c int, n counter, s counter static, PRIMARY KEY (k, c))
 WITH ID = {IDS[1]};
CREATE TABLE ks.inexact (k int, c varint, d inet, v time, PRIMARY KEY (k, c, d))
 WITH CLUSTERING ORDER BY (c ASC, d DESC) AND ID = {IDS[2]};
"""


def _number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


# The values that columns may hold, by type; some tie in PostgreSQL and differ in Cassandra.
_VALUES: dict[str, Sequence[bytes]] = {
    "int": [_number(value) for value in (0, 1, -1, 1 << 30)] + [b""],
    "text": [b"", b"a", b"ab", "é".encode()],
    "decimal": [bytes(4) + b"\x0a", b"\0\0\0\1\x64", b"\xff\xff\xff\xff\x01"],
    "time": [(number * 500).to_bytes(8, "big") for number in (0, 1, 2, 3)],
    "varint": [b"\x00", b"\x01", b"\xff", b"\x01\x00"],
    "inet": [bytes((10, 0, 0, 1)), bytes(15) + b"\1", bytes((9, 9, 9, 9))],
}
_PATHS: dict[str, Sequence[bytes]] = {
    "list": [
        bytes([0, 0, 0, number]) + bytes.fromhex("e74b11f1ab70f30d2dddee5c") for number in (1, 2)
    ],
    "set": _VALUES["int"][:3],
    "map": [b"a", b"b"],
    "pair": [b"\0\0", b"\0\1"],
}


@dataclass(frozen=True)
class Subject:
    """A table as both decoders know it, and the version whose log tells of it."""

    table: Table
    reference: RefTable
    log_version: int = LOG_VERSION

    @property
    def by_value(self) -> bool:
        """Whether cells of one writetime are merged as 3.11 does."""
        return LOG_VERSIONS[self.log_version].ties_by_value

    def mirror(self) -> MemoryMirror:
        """An empty mirror, with the types that a column gets if nothing was chosen."""
        return MemoryMirror(self.table, {c.name: pg_type(c.type) for c in self.table.columns})

    def batch(self, mirror: MemoryMirror, mutations: Iterable[bytes]) -> Batch:
        """A batch of these mutations."""
        batch = Batch(mirror.catalog)
        for number, raw in enumerate(mutations, 1):
            place = Position(1, number)
            assert decode_kept(raw, batch, log_version=self.log_version, position=place) is None
        assert not batch.rejections
        return batch

    def encoded(self, update: PartitionUpdate) -> bytes:
        """The mutation of one update."""
        tables = {self.reference.id: self.reference}
        return encode_mutation(Mutation((update,)), LOG_VERSIONS[self.log_version], tables)


def subject_of(table: Table) -> Subject:
    """The table for both decoders."""
    columns = {
        c.name: RefColumn(c.name, c.kind, parse_type(str(c.type)), c.position, c.reversed)
        for c in table.columns
    }
    return Subject(table, RefTable(table.keyspace, table.name, table.id, columns))


EVERYTHING, COUNTS, INEXACT = map(subject_of, parse_cql(_CQL))
BY_VALUE = replace(EVERYTHING, log_version=6)
INEXACT_BY_VALUE = replace(INEXACT, log_version=6)


class History:
    """Draws updates of a table, of few keys and timestamps; `choose` makes every choice.

    Counters are not deleted: what such a deletion covers depends on the order in Cassandra, too.
    """

    def __init__(self, subject: Subject, choose: Random) -> None:
        self._subject = subject
        self._choose = choose
        self._counter = subject is COUNTS

    def updates(self, count: int) -> list[PartitionUpdate]:
        return [self._update() for _ in range(count)]

    def _us(self) -> int:
        return US + self._choose.randrange(6)

    def _deletion(self) -> Deletion:
        # Also of the same write: Cassandra has only seconds there.
        return Deletion(self._us(), NOW - self._choose.choice((3, 2)))

    def _expiry(self) -> tuple[int, int | None]:
        if self._counter or self._choose.random() < 0.6:
            return 0, None
        # 3.11 asks the clock which of two cells wins: there, what has expired depends on the order.
        first = NOW + 1 if self._subject.by_value else NOW - 1
        return self._choose.choice(((10, first), (10, NOW + 5), (20, NOW + 5), (20, NOW + 9)))

    def _update(self) -> PartitionUpdate:
        choose, table = self._choose, self._subject.table
        statics = self._columns(table.statics) if choose.random() < 0.3 else []
        regulars = self._columns(table.regulars)
        static_row = None
        if statics:
            complex_deletions, cells = self._cells(statics, None)
            static_row = Row((), True, None, None, False, complex_deletions, cells)
        unfiltereds: list[Row | Marker] = []
        rows = {self._clustering() for _ in range(choose.choice((0, 1, 1, 2)))}
        for clustering in sorted(rows):
            row = self._row(clustering, regulars)
            unfiltereds += [] if row.empty else [row]
        if not self._counter and choose.random() < 0.2:
            unfiltereds += self._range()
        return PartitionUpdate(
            table.id,
            str(table),
            _number(choose.randrange(2)),
            self._deletion() if not self._counter and choose.random() < 0.08 else None,
            None if static_row is None or static_row.empty else static_row,
            tuple(unfiltereds),
            tuple(column.name for column in statics),
            tuple(column.name for column in regulars),
        )

    def _columns(self, columns: Sequence[Column]) -> list[Column]:
        share = self._choose.choice((0.2, 0.5, 1))
        return [column for column in columns if self._choose.random() < share]

    def _clustering(self) -> tuple[bytes, ...]:
        choose = self._choose
        return tuple(
            choose.choice([v for v in _VALUES[str(c.type)][:3] if v or str(c.type) == "text"])
            for c in self._subject.table.clustering
        )

    def _row(self, clustering: tuple[bytes, ...], columns: Sequence[Column]) -> Row:
        choose = self._choose
        liveness = None
        if not self._counter and choose.random() < 0.5:
            liveness = Liveness(self._us(), *self._expiry())
            if choose.random() < 0.03:
                liveness = Liveness(self._us(), EXPIRED_LIVENESS_TTL, NOW - 1)
        deletion = self._deletion() if not self._counter and choose.random() < 0.15 else None
        complex_deletions, cells = self._cells(columns, liveness)
        return Row(clustering, False, liveness, deletion, False, complex_deletions, cells)

    def _cells(
        self, columns: Sequence[Column], liveness: Liveness | None
    ) -> tuple[dict[str, Deletion], tuple[Cell, ...]]:
        choose = self._choose
        complex_deletions = {}
        cells: list[Cell] = []
        for column in columns:
            kind = self._subject.reference.columns[column.name].type.name
            if not column.type.is_multicell:
                cells.append(self._cell(column.name, kind, None, liveness))
                continue
            if choose.random() < 0.3:
                complex_deletions[column.name] = self._deletion()
            paths = _PATHS[kind] if column.name != "t" else _VALUES["text"][1:3]
            for path in paths:
                if choose.random() < 0.5:
                    element = "text" if kind == "pair" and path == b"\0\1" else "int"
                    element = "none" if kind == "set" else element
                    cells.append(self._cell(column.name, element, path, liveness))
        return complex_deletions, tuple(cells)

    def _cell(self, name: str, kind: str, path: bytes | None, liveness: Liveness | None) -> Cell:
        choose = self._choose
        same = liveness is not None and choose.random() < 0.6
        writetime_us = liveness.writetime_us if same and liveness else self._us()
        if not self._counter and choose.random() < 0.15:
            return Cell(name, writetime_us, 0, NOW - choose.choice((3, 2)), True, path)
        if kind == "counter":
            return Cell(name, writetime_us, value=self._context())
        ttl_s, expires_s = self._expiry()
        if same and liveness and liveness.ttl_seconds != EXPIRED_LIVENESS_TTL:
            ttl_s, expires_s = liveness.ttl_seconds, liveness.local_deletion_seconds
        value = b"" if kind == "none" else choose.choice(_VALUES[kind])
        return Cell(name, writetime_us, ttl_s, expires_s, False, path, value)

    def _context(self) -> bytes:
        """Global shards of a few ids: the clock and the count of an id rise together."""
        choose = self._choose
        ids = choose.sample(range(3), choose.choice((1, 1, 2)))
        clocks = {number: choose.randrange(1, 4) for number in ids}
        return write_context(
            [Shard(bytes(15) + bytes([n]), "global", clocks[n], 7 * clocks[n]) for n in ids]
        )

    def _range(self) -> list[Marker]:
        """One range tombstone, or two that meet; bounds are prefixes, also empty ones."""
        choose = self._choose
        width = len(self._subject.table.clustering)
        compare = cmp_to_key(Order({}).of_clustering(self._subject.reference.clustering))
        places = sorted((self._clustering() for _ in range(3)), key=compare)
        start, middle, end = (place[: choose.randrange(width + 1)] for place in places)
        starts = "INCL_START" if not start or choose.random() < 0.5 else "EXCL_START"
        ends = "INCL_END" if not end or choose.random() < 0.5 else "EXCL_END"
        first = last = self._deletion()
        markers = [Marker(f"{starts}_BOUND", start, None, first)]
        if middle and choose.random() < 0.3:
            last = self._deletion()
            kind = choose.choice(("EXCL_END_INCL_START", "INCL_END_EXCL_START"))
            markers.append(Marker(f"{kind}_BOUNDARY", middle, first, last))
        return [*markers, Marker(f"{ends}_BOUND", end, last, None)]
