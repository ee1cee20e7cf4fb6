"""Tables as the decoder and the mirror need them: immutable definitions and snapshots of them.

It derives nothing from a log (see schema_log) and asks no cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from parsers.cql_types import CqlType

ColumnKind = Literal["partition_key", "clustering", "static", "regular"]
Layout = Literal["cql", "static_compact", "dense", "super"]

KEY_KINDS: Final[frozenset[str]] = frozenset({"partition_key", "clustering"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `position` counts within its kind for key columns and is -1 for the others."""

    name: str
    name_bytes: bytes
    kind: ColumnKind
    position: int
    type: CqlType
    reversed: bool = False

    @property
    def is_complex(self) -> bool:
        """Whether it is stored as one cell per element."""
        return self.kind not in KEY_KINDS and self.type.is_multicell


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column that was dropped: cells with a writetime of `dropped_time_us` or less are void."""

    name: str
    name_bytes: bytes
    kind: ColumnKind
    type: CqlType
    dropped_time_us: int


def storage_order(column: Column) -> tuple[bool, int, bytes]:
    """Sort key of Cassandra's column order: simple ones first, then complex ones, by name.

    `ColumnMetadata.comparisonOrder` keeps the first six bytes of the name with the top bit flipped
    but compares them unsigned, so that names from byte 0x80 on come before ASCII names.
    """
    prefix = int.from_bytes(column.name_bytes[:6].ljust(6, b"\0"))
    return column.is_complex, prefix ^ 1 << 47, column.name_bytes


@dataclass(frozen=True)
class Table:
    """A table (or materialized view) as of one moment.

    `partition_key` and `clustering` are in key order, `statics` and `regulars` in storage order.
    `dropped` is keyed by the column's name in bytes; a column that was added again stands there
    and among the columns.
    """

    keyspace: str
    name: str
    id: UUID
    partition_key: tuple[Column, ...]
    clustering: tuple[Column, ...] = ()
    statics: tuple[Column, ...] = ()
    regulars: tuple[Column, ...] = ()
    cdc: bool = False
    gc_grace_seconds: int = 864_000
    default_ttl: int = 0
    flags: frozenset[str] = frozenset({"compound"})
    dropped: Mapping[bytes, DroppedColumn] = field(
        default_factory=lambda: MappingProxyType({}), hash=False
    )
    is_view: bool = False

    def __post_init__(self) -> None:
        if not self.partition_key:
            raise ValueError(f"table {self.keyspace}.{self.name} has no partition key")
        object.__setattr__(self, "statics", tuple(sorted(self.statics, key=storage_order)))
        object.__setattr__(self, "regulars", tuple(sorted(self.regulars, key=storage_order)))
        object.__setattr__(self, "dropped", MappingProxyType(dict(self.dropped)))

    def __str__(self) -> str:
        return f"{self.keyspace}.{self.name}"

    @property
    def primary_key(self) -> tuple[Column, ...]:
        """Partition key, then clustering columns."""
        return self.partition_key + self.clustering

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns: primary key, statics, regulars."""
        return self.primary_key + self.statics + self.regulars

    def column(self, name: str) -> Column | None:
        """The column of that name, None where there is none."""
        return next((column for column in self.columns if column.name == name), None)

    @property
    def is_counter(self) -> bool:
        """Whether the table holds counters."""
        return "counter" in self.flags

    @property
    def layout(self) -> Layout:
        """How rows are stored: as CQL shows them, or in a form of COMPACT STORAGE.

        In "static_compact" the user's columns are the statics of a partition without rows, and
        clustering and regular columns are hidden. In "dense" there is one regular column, hidden
        where its type is `empty`.
        """
        if "super" in self.flags:
            return "super"
        if "dense" in self.flags:
            return "dense"
        return "cql" if "compound" in self.flags else "static_compact"


class Schema:
    """An immutable snapshot of tables, by id and by name.

    A table that was dropped or replaced under its name is still found by its id, because mutations
    that were built before the drop may follow it in the log.
    """

    def __init__(self, tables: Iterable[Table] = (), *, dropped: Iterable[Table] = ()) -> None:
        self._by_name = {(table.keyspace, table.name): table for table in tables}
        current = {table.id: table for table in self._by_name.values()}
        self._dropped = {t.id: t for t in dropped if t.id not in current}
        self._by_id = self._dropped | current

    def __iter__(self) -> Iterator[Table]:
        """The tables that exist, without the dropped ones."""
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Schema):
            return NotImplemented
        return self._by_name == other._by_name and self._dropped == other._dropped

    __hash__ = None  # type: ignore[assignment]

    def by_id(self, table_id: UUID) -> Table | None:
        """The table of that id, also a dropped one; None where it is not known."""
        return self._by_id.get(table_id)

    def by_name(self, keyspace: str, name: str) -> Table | None:
        """The table that exists under that name now."""
        return self._by_name.get((keyspace, name))

    def is_dropped(self, table_id: UUID) -> bool:
        """Whether the id is known as that of a table that no longer exists."""
        return table_id in self._dropped

    def dropped(self) -> Iterator[Table]:
        """The tables that are known by id but don't exist any more."""
        return iter(self._dropped.values())

    def all_by_id(self) -> Mapping[UUID, Table]:
        """Every known table by id, the dropped ones included."""
        return MappingProxyType(self._by_id)

    def with_table(self, table: Table) -> Schema:
        """A snapshot with the table added, or replaced where its name exists already."""
        replaced = self._by_name.get((table.keyspace, table.name))
        return Schema(
            (self._by_name | {(table.keyspace, table.name): table}).values(),
            dropped=[*self._dropped.values(), *([replaced] if replaced else ())],
        )

    def without(self, keyspace: str, name: str) -> Schema:
        """A snapshot in which that table is dropped; the same one where it did not exist."""
        gone = self._by_name.get((keyspace, name))
        if gone is None:
            return self
        remaining = (table for table in self if table is not gone)
        return Schema(remaining, dropped=[*self._dropped.values(), gone])
