"""The rows of `system_schema`, merged by timestamp from changes in any order.

It holds rows, not tables: schema_log derives those. Rules: Cassandra's reconciliation, without
expiry, as no schema cell has a TTL.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NotRequired, TypeAlias, TypedDict

from parsers.schema_values import Value, decode
from parsers.system_tables import SCHEMA_TABLES

NO_TIMESTAMP: Final = -(2**63)

DERIVED_FROM: Final = frozenset(
    {
        *("id", "flags", "cdc", "gc_grace_seconds", "default_time_to_live"),
        *("kind", "position", "type", "clustering_order", "column_name_bytes", "dropped_time"),
        *("field_names", "field_types"),
    }
)
"""The columns of `system_schema` that a table's definition depends on."""

Deletion: TypeAlias = tuple[int, int]
"""Timestamp in microseconds, local deletion time in seconds."""
Cell: TypeAlias = tuple[str, int, int, int, bytes | None]
"""Column name, timestamp in microseconds, TTL, local deletion time, value (None: a tombstone)."""


class RawRow(TypedDict):
    """One row of an update; `ck` holds the clustering values."""

    ck: Sequence[bytes | None]
    liveness: NotRequired[tuple[int, int, int] | None]
    deletion: NotRequired[Deletion | None]
    cells: NotRequired[Sequence[Cell]]


class RawRange(TypedDict):
    """A range tombstone between two clustering prefixes, each with whether it is inclusive."""

    start: tuple[Sequence[bytes], bool]
    end: tuple[Sequence[bytes], bool]
    deletion: Deletion


class Update(TypedDict):
    """One partition update of a table of `system_schema`, as the decoder hands it out."""

    table: str
    pk: bytes
    deletion: NotRequired[Deletion | None]
    ranges: NotRequired[Sequence[RawRange]]
    rows: NotRequired[Sequence[RawRow]]


Key: TypeAlias = tuple[bytes, ...]


@dataclass(slots=True)
class _Row:
    liveness_us: int = NO_TIMESTAMP
    deletion_us: int = NO_TIMESTAMP
    cells: dict[str, Cell] = field(default_factory=dict)

    def merge(self, row: RawRow) -> None:
        if liveness := row.get("liveness"):
            self.liveness_us = max(self.liveness_us, liveness[0])
        if deletion := row.get("deletion"):
            self.deletion_us = max(self.deletion_us, deletion[0])
        for cell in row.get("cells", ()):
            known = self.cells.get(cell[0])
            if known is None or _supersedes(cell, known):
                self.cells[cell[0]] = cell

    @property
    def written_us(self) -> int:
        """The greatest timestamp of anything written to the row."""
        return max([self.liveness_us, *(cell[1] for cell in self.cells.values())])

    def delete(self, timestamp_us: int) -> None:
        self.deletion_us = max(self.deletion_us, timestamp_us)


def _supersedes(cell: Cell, known: Cell) -> bool:
    """Whether `cell` wins: later, else the tombstone, else the greater value."""
    return (cell[1], cell[4] is None, cell[4] or b"") > (
        known[1],
        known[4] is None,
        known[4] or b"",
    )


@dataclass(slots=True)
class _Partition:
    deletion_us: int = NO_TIMESTAMP
    ranges: list[RawRange] = field(default_factory=list)
    rows: dict[Key, _Row] = field(default_factory=dict)

    def deleted_us(self, key: Key) -> int:
        """The greatest timestamp of the deletions that cover the row."""
        covering = (t["deletion"][0] for t in self.ranges if _covers(t, key))
        return max(self.deletion_us, self.rows[key].deletion_us, *covering)


def _covers(tombstone: RawRange, key: Key) -> bool:
    start, start_inclusive = tombstone["start"]
    end, end_inclusive = tombstone["end"]
    from_start, to_end = key[: len(start)], key[: len(end)]
    after = from_start > tuple(start) or (start_inclusive and from_start == tuple(start))
    before = to_end < tuple(end) or (end_inclusive and to_end == tuple(end))
    return after and before


@dataclass(frozen=True, slots=True)
class LiveRow:
    """A row that exists: clustering values as text, cells decoded, its newest timestamp."""

    key: tuple[str, ...]
    values: Mapping[str, Value]
    written_us: int


class SchemaState:
    """Merged rows of `system_schema`, by table and keyspace."""

    def __init__(self) -> None:
        self._partitions: dict[tuple[str, str], _Partition] = {}
        self._complete_until_us = NO_TIMESTAMP

    def merge(self, update: Update) -> None:
        """Merge one partition update; the order of updates makes no difference.

        Raises ValueError where it is of no table of `system_schema` or a key is null.
        """
        if update["table"] not in SCHEMA_TABLES:
            raise ValueError(f"system_schema has no table {update['table']!r}")
        name = update["table"], update["pk"].decode()
        partition = self._partitions.setdefault(name, _Partition())
        if deletion := update.get("deletion"):
            partition.deletion_us = max(partition.deletion_us, deletion[0])
        partition.ranges.extend(t for t in update.get("ranges", ()) if t not in partition.ranges)
        for raw in update.get("rows", ()):
            key = row_key(raw)
            row = partition.rows.get(key)
            if row is None:
                row = partition.rows[key] = _Row()
                row.merge(raw)
                if row.written_us <= self._complete_until_us:
                    row.delete(row.written_us)
            else:
                row.merge(raw)

    def complete(self, updates: Iterable[Update], until_us: int) -> None:
        """Merge updates that hold every row that exists.

        What they lack was deleted, as far as it was written up to `until_us`: rows that are here
        already, and such as may still come from an old log.
        """
        listed = set()
        for update in updates:
            self.merge(update)
            name = update["table"], update["pk"].decode()
            listed |= {(name, row_key(row)) for row in update.get("rows", ())}
        for name, partition in self._partitions.items():
            for key, row in partition.rows.items():
                if (name, key) not in listed and row.written_us <= until_us:
                    row.delete(row.written_us)
        self._complete_until_us = max(self._complete_until_us, until_us)

    def keyspaces(self) -> set[str]:
        """Keyspaces of which anything was ever seen, dropped ones included."""
        return {keyspace for _, keyspace in self._partitions}

    def rows(
        self, table: str, keyspace: str, first: Collection[str] | None = None
    ) -> Iterator[LiveRow]:
        """The rows of `system_schema.<table>` for the keyspace that exist, by clustering key.

        `first` restricts the first clustering value. Raises ValueError where a stored value can't
        be decoded.
        """
        partition = self._partitions.get((table, keyspace))
        if partition is None:
            return
        wanted = None if first is None else {name.encode() for name in first}
        types = {column.name: column.type for column in SCHEMA_TABLES[table].regulars}
        for key in sorted(k for k in partition.rows if wanted is None or k[0] in wanted):
            row, deleted_us = partition.rows[key], partition.deleted_us(key)
            live = {
                name: (written_us, value)
                for name, written_us, _, _, value in row.cells.values()
                if written_us > deleted_us and value is not None
            }
            if live or row.liveness_us > deleted_us:
                yield LiveRow(
                    tuple(part.decode() for part in key),
                    {
                        name: decode(types[name], value)
                        for name, (_, value) in live.items()
                        if name in DERIVED_FROM
                    },
                    max([row.liveness_us, *(written_us for written_us, _ in live.values())]),
                )


def row_key(row: RawRow) -> Key:
    """The clustering values of a row; raises ValueError where one is null."""
    key = tuple(part for part in row["ck"] if part is not None)
    if len(key) != len(row["ck"]):
        raise ValueError("a row of system_schema has a null in its key")
    return key
