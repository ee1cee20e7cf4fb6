"""Random mutations of given tables: every kind of row, cell, deletion and range, in log order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cmp_to_key
from random import Random

from tests.reference.counters import Shard, write_context
from tests.reference.generate.tables import USER_TYPES
from tests.reference.generate.values import Values, timeuuid
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
from tests.reference.order import Order, timeuuid_key
from tests.reference.reconcile import Clustering, merge_rows, supersedes
from tests.reference.schema import RefColumn, RefTable
from tests.reference.versions import LogVersion

_BASE_US = 1_700_000_000_000_000
_BASE_SECONDS = 1_795_000_000
_MAX_SIGNED = (1 << 31) - 2


@dataclass(frozen=True)
class _Cut:
    """A place between rows where a range may start or end: before or after all under a prefix."""

    prefix: Clustering
    after: bool


class Mutations:
    """Draws mutations of `tables`, all of one keyspace."""

    def __init__(self, choose: Random, version: LogVersion, tables: Sequence[RefTable]) -> None:
        self._choose = choose
        self._version = version
        self._tables = tables
        self._values = Values(choose, USER_TYPES)
        self._order = Order(USER_TYPES)

    def mutation(self) -> Mutation:
        """A mutation of one table, or of a few that have the same partition key columns."""
        choose = self._choose
        first = choose.choice(self._tables)
        key = self._key(first)
        chosen = [first]
        if choose.random() < 0.1:
            shape = [c.type for c in first.of_kind("partition_key")]
            chosen += [
                table
                for table in self._tables
                if table is not first and [c.type for c in table.of_kind("partition_key")] == shape
            ][:3]
        epoch = choose.getrandbits(choose.choice((1, 8, 40))) if self._version.table_epoch else None
        return Mutation(tuple(self._update(table, key, epoch) for table in chosen))

    def _key(self, table: RefTable) -> bytes:
        columns = table.of_kind("partition_key")
        values = [self._values.value(column.type) for column in columns]
        if len(values) == 1:
            return values[0] or self._values.value(columns[0].type, maybe_empty=False) or b"\x01"
        return b"".join(len(v).to_bytes(2, "big") + v + b"\0" for v in values)

    def _writetime_us(self) -> int:
        if self._choose.random() < 0.02:
            return self._choose.choice((-5, 0, 1, 1 << 62, -(1 << 62), 1442880000000000))
        return _BASE_US + self._choose.randrange(1 << 44)

    def _seconds(self) -> int:
        if self._choose.random() < 0.05:
            return self._choose.choice((1_442_880_000, _MAX_SIGNED))
        return _BASE_SECONDS + self._choose.randrange(10_000_000)

    def _deletion(self) -> Deletion:
        return Deletion(self._writetime_us(), self._seconds())

    def _expiry(self) -> tuple[int, int | None]:
        if self._choose.random() < 0.75:
            return 0, None
        expires = self._seconds()
        if self._version.unsigned_deletion_times and self._choose.random() < 0.2:
            # Cassandra itself does not read expirations 2^31 s or more after the least of an
            # update, nor deletions after 2038 where all times of an update are after 2038.
            expires = 3_000_000_000 + self._choose.randrange(1000)
        return self._choose.choice((1, 60, 86_400, 630_720_000)), expires

    def _liveness(self) -> Liveness | None:
        draw = self._choose.random()
        if draw < 0.3:
            return None
        if draw < 0.32:
            return Liveness(self._writetime_us(), EXPIRED_LIVENESS_TTL, self._seconds())
        return Liveness(self._writetime_us(), *self._expiry())

    def _update(self, table: RefTable, key: bytes, epoch: int | None) -> PartitionUpdate:
        choose = self._choose
        deletion = self._deletion() if choose.random() < 0.1 else None
        static_row = None
        statics = self._some(table.of_kind("static"))
        if statics:
            drawn = self._row(statics, (), static=True, counter="counter" in table.flags)
            static_row = _unshadowed(drawn, deletion)
        regulars = self._some(table.of_kind("regular"))
        unfiltereds = tuple(self._unfiltereds(table, regulars, deletion))
        return PartitionUpdate(
            table.id,
            f"{table.keyspace}.{table.name}",
            key,
            deletion,
            static_row,
            unfiltereds,
            _names(statics) if static_row else (),
            _names(regulars) if deletion or static_row or unfiltereds else (),
            epoch,
        )

    def _some(self, columns: Sequence[RefColumn]) -> list[RefColumn]:
        """A part of the columns in the order of a header: simple ones before complex ones."""
        share = self._choose.choice((0, 0.1, 0.5, 0.9, 1, 1))
        chosen = [column for column in columns if self._choose.random() < share]
        return sorted(chosen, key=lambda column: (column.complex, column.name))

    def _unfiltereds(
        self, table: RefTable, columns: Sequence[RefColumn], outer: Deletion | None
    ) -> Iterator[Row | Marker]:
        choose = self._choose
        types = [column.type for column in table.clustering]
        counter = "counter" in table.flags
        if not types:
            if choose.random() < 0.9:
                drawn = self._row(columns, (), static=False, counter=counter)
                row = _unshadowed(drawn, outer)
                yield from (row,) if row else ()
            return

        def clustering(count: int) -> Clustering:
            return tuple(self._values.value(type_) for type_ in types[:count])

        compare = self._order.of_clustering(table.clustering)

        def place(item: Clustering | _Cut) -> tuple[Clustering, int]:
            return (item.prefix, 1 if item.after else -1) if isinstance(item, _Cut) else (item, 0)

        def before(left: Clustering | _Cut, right: Clustering | _Cut) -> int:
            (a, a_side), (b, b_side) = place(left), place(right)
            found = compare(a, b)
            if found or len(a) == len(b):
                return found or a_side - b_side
            return a_side if len(a) < len(b) else -b_side

        items: list[Clustering | _Cut] = [
            clustering(len(types)) for _ in range(choose.choice((0, 1, 1, 1, 2, 5)))
        ]
        if choose.random() < 0.25:
            for _ in range(choose.choice((2, 2, 3, 6))):
                prefix = clustering(choose.randrange(len(types) + 1))
                if choose.random() < 0.3 and items and not isinstance(items[0], _Cut):
                    prefix = items[0][: len(prefix)]
                items.append(_Cut(prefix, choose.random() < 0.5))
        items.sort(key=cmp_to_key(before))
        unique = [item for i, item in enumerate(items) if i == 0 or before(items[i - 1], item) != 0]
        last_cut = max((i for i, item in enumerate(unique) if isinstance(item, _Cut)), default=0)
        opened: Deletion | None = None
        for index, item in enumerate(unique):
            if not isinstance(item, _Cut):
                drawn = self._row(columns, item, static=False, counter=counter)
                row = _unshadowed(drawn, opened or outer)
                yield from (row,) if row else ()
                continue
            closed = opened
            opened = self._deletion() if index != last_cut and choose.random() < 0.7 else None
            if not supersedes(opened, outer) or opened == closed:
                opened = None
            if closed and opened:
                kind = "INCL_END_EXCL_START" if item.after else "EXCL_END_INCL_START"
                yield Marker(f"{kind}_BOUNDARY", item.prefix, closed, opened)
            elif opened:
                yield Marker(_bound("START", not item.after), item.prefix, None, opened)
            elif closed:
                yield Marker(_bound("END", item.after), item.prefix, closed, None)

    def _row(
        self,
        columns: Sequence[RefColumn],
        clustering: Clustering,
        *,
        static: bool,
        counter: bool,
    ) -> Row:
        choose = self._choose
        liveness = None if static or counter else self._liveness()
        deletion = self._deletion() if not static and choose.random() < 0.07 else None
        share = choose.choice((0, 0.1, 0.5, 0.9, 1, 1))
        cells: list[Cell] = []
        complex_deletions: dict[str, Deletion] = {}
        for column in columns:
            if choose.random() >= share:
                continue
            if column.complex:
                if choose.random() < 0.2:
                    complex_deletions[column.name] = self._deletion()
                cells += self._elements(column, liveness)
            else:
                cells.append(self._cell(column, liveness, None))
        return Row(clustering, static, liveness, deletion, False, complex_deletions, tuple(cells))

    def _elements(self, column: RefColumn, liveness: Liveness | None) -> list[Cell]:
        count = self._choose.choice((0, 1, 2, 6))
        paths: list[bytes]
        if column.type.user:
            fields = range(len(USER_TYPES[column.type.name].types))
            drawn = sorted(self._choose.sample(fields, min(count, len(fields))))
            paths = [index.to_bytes(2, "big") for index in drawn]
        elif column.type.name == "list":
            paths = sorted((timeuuid(self._choose) for _ in range(count)), key=timeuuid_key)
        else:
            element = column.type.arguments[0]
            drawn_paths = [self._values.value(element, maybe_empty=False) for _ in range(count)]
            paths = self._distinct(column, drawn_paths)
        return [self._cell(column, liveness, path) for path in paths]

    def _distinct(self, column: RefColumn, paths: list[bytes]) -> list[bytes]:
        element = column.type.arguments[0]
        ordered = self._order.sorted(element, paths)
        return [
            path
            for i, path in enumerate(ordered)
            if i == 0 or self._order.compare(element, ordered[i - 1], path) != 0
        ]

    def _cell(self, column: RefColumn, liveness: Liveness | None, path: bytes | None) -> Cell:
        choose = self._choose
        same_time = liveness is not None and choose.random() < 0.7
        writetime_us = liveness.writetime_us if same_time and liveness else self._writetime_us()
        if choose.random() < 0.1:
            return Cell(column.name, writetime_us, 0, self._seconds(), True, path)
        if column.type.name == "counter":
            return Cell(column.name, writetime_us, value=self._context())
        ttl_seconds, expires = self._expiry()
        if same_time and liveness and liveness.ttl_seconds not in (0, EXPIRED_LIVENESS_TTL):
            ttl_seconds, expires = liveness.ttl_seconds, liveness.local_deletion_seconds
        type_ = column.type
        if path is None:
            value = self._values.value(type_)
        elif type_.user:
            value = self._values.value(
                USER_TYPES[type_.name].types[int.from_bytes(path, "big")], maybe_empty=False
            )
        else:
            last = type_.arguments[-1]
            value = b"" if type_.name == "set" else self._values.value(last, maybe_empty=False)
        return Cell(column.name, writetime_us, ttl_seconds, expires, False, path, value)

    def _context(self) -> bytes:
        count = self._choose.choice((1, 1, 2, 3))
        identities = {self._choose.randbytes(16) for _ in range(count)}
        return write_context(
            [
                Shard(
                    identity,
                    self._choose.choice(("global", "global", "remote")),
                    self._choose.randrange(1, 1 << 40),
                    self._choose.randrange(-(1 << 62), 1 << 62),
                )
                for identity in identities
            ]
        )


def _unshadowed(row: Row, outer: Deletion | None) -> Row | None:
    """The row as Cassandra would write it: without what the deletions around it and in it cover."""
    left = merge_rows([row], outer, frozenset())
    if left is None:
        return None
    kept = set(left.cells)
    return replace(left, cells=tuple(cell for cell in row.cells if cell in kept))


def _names(columns: Sequence[RefColumn]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)


def _bound(role: str, inclusive: bool) -> str:
    return f"{'INCL' if inclusive else 'EXCL'}_{role}_BOUND"
