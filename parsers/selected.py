"""What a SELECT tells of a table's rows, as mutations that say the same; it runs no query.

docs/snapshot.md has the rules for what a SELECT does not tell, and why they are as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from parsers.cql_types import ListType, Native
from parsers.encode import (
    Cell,
    ColumnDelta,
    Deletion,
    Liveness,
    MutationEncoder,
    RowDelta,
    encoded_key,
)
from parsers.schema import Column, Table
from parsers.selected_cells import (
    AsOf,
    Expiry,
    Place,
    SelectedRow,
    Timing,
    completed_context,
    number_of,
    selected_columns,
)

ASSUMED_LIVENESS_US: Final = -(1 << 63) + 1
"""Older than any write: what is known of a row's own liveness wins over it, and any deletion."""
DOUBTED: Final = -1
"""The second at which a row falls due that only Cassandra can tell of: it shows by nothing but an
assumed liveness, or the log named an element of a list that was copied without its names."""

_ROWS_PER_MUTATION: Final = 100


class Selection:
    """One table's SELECT list, and its rows read back."""

    def __init__(
        self, table: Table, timings: dict[str, Timing], sole_owner: bytes | None = None
    ) -> None:
        """`timings`: which of WRITETIME and TTL the node's version selects of each column.

        `sole_owner` is the host id of the only node of a cluster: all counters are its own.
        """
        self._sole_owner = sole_owner
        if table.layout == "super":
            raise ValueError(f"{table} is a super column family")
        self.table = table
        self._is_static_compact = table.layout == "static_compact"
        self._encoder = MutationEncoder(table)
        self.expressions: list[str] = []
        """What to select, in order."""
        shown = table.partition_key if self._is_static_compact else table.primary_key
        self.expressions += [quoted(column.name) for column in shown]
        self._n_partition_key = len(table.partition_key)
        self._n_key = len(shown)
        self._statics = self._places(table.statics, timings)
        regulars = [] if self._is_static_compact else selectable(table.regulars)
        self._regulars = self._places(regulars, timings)
        self._has_hidden = table.layout == "dense" and not regulars
        self._has_liveness = table.layout == "cql" and not table.is_counter

    def _places(self, columns: Sequence[Column], timings: dict[str, Timing]) -> list[Place]:
        places = []
        for number, column in enumerate(columns):
            name = quoted(column.name)
            at = len(self.expressions)
            timing = timings[column.name]
            self.expressions.append(name)
            if timing != "none":
                self.expressions.append(f"writetime({name})")
            if timing == "both":
                self.expressions.append(f"ttl({name})")
            places.append(Place(number, column, at, timing))
        return places

    def key(self, row: SelectedRow) -> list[bytes | None]:
        """The primary key's values of a row."""
        return list(row[: self._n_key])

    def mutations(self, rows: Iterable[SelectedRow], as_of: AsOf) -> Iterator[bytes]:
        """Mutations that say what `rows` say, one partition each; rows of one follow each other."""
        key: list[bytes | None] | None = None
        static: RowDelta | None = None
        deltas: list[RowDelta] = []
        n = self._n_partition_key
        for row in rows:
            if row[:n] != key or len(deltas) == _ROWS_PER_MUTATION:
                if deltas or static:
                    yield self._encode(key, deltas, static)
                deltas = []
                # Every row of a partition repeats its static values: once is enough.
                static = self._static(row, as_of) if self._statics and row[:n] != key else None
                key = list(row[:n])
            if self._is_static_compact:
                continue
            clustering = row[n : self._n_key]
            if clustering and all(value is None for value in clustering):
                continue  # a partition that has nothing but static values
            deltas.append(self._row(clustering, row, as_of))
        if deltas or static:
            yield self._encode(key, deltas, static)

    def exactly(
        self, key: SelectedRow, row: SelectedRow | None, held: Held, as_of: AsOf, *, static: bool
    ) -> bytes | None:
        """A mutation that makes what is `held` of a row what SELECT gives; None for nothing to say.

        `row` None: SELECT does not give it. What is held beyond SELECT gets tombstones as old as
        itself, so that other copies of it stay dead and nothing else does.
        """
        places = self._statics if static or self._is_static_compact else self._regulars
        columns = [] if row is None else selected_columns(places, row, as_of, held.newest)[0]
        if self.table.is_counter:
            columns = self._counted(columns, places, held, as_of)
        partition_key = encoded_key([one or b"" for one in key[: self._n_partition_key]])
        if static or self._is_static_compact:
            columns = _with_tombstones(columns, places, held, as_of)
            if not columns:
                return None
            return self._encoder.encode(partition_key, (), RowDelta((), columns))
        clustering = key[self._n_partition_key :]
        if row is None:
            if held.newest_us is None:
                return None
            deletion = Deletion(held.newest_us, as_of.now_s)
            return self._encoder.encode(partition_key, [RowDelta(clustering, (), None, deletion)])
        told = self._row(clustering, row, as_of)
        if self._has_hidden:
            columns = list(told.columns)
        liveness = told.liveness
        if held.liveness is not None and liveness is not None:
            # That of the log says more than what is assumed, and no less than a bare row does.
            liveness = max(held.liveness, liveness)
        columns = _with_tombstones(columns, places, held, as_of)
        return self._encoder.encode(partition_key, [RowDelta(clustering, columns, liveness)])

    def _counted(
        self,
        columns: Sequence[ColumnDelta],
        places: Sequence[Place],
        held: Held,
        as_of: AsOf,
    ) -> list[ColumnDelta]:
        """Totals as counter contexts: what is held, and a shard of ours with what is missing."""
        names = {place.number: place.column.name for place in places}
        contexts = {one.column: one.context for one in held.cells}
        return [
            column._replace(
                cells=[
                    cell._replace(
                        value=completed_context(
                            contexts.get(names[column.number]) or b"",
                            number_of(cell.value or bytes(8)),
                            as_of.written_us,
                            self._sole_owner,
                        )
                    )
                    for cell in column.cells
                ]
            )
            for column in columns
        ]

    def _encode(
        self, key: list[bytes | None] | None, deltas: list[RowDelta], static: RowDelta | None
    ) -> bytes:
        return self._encoder.encode(encoded_key([one or b"" for one in key or ()]), deltas, static)

    def _static(self, row: SelectedRow, as_of: AsOf) -> RowDelta | None:
        columns, _ = selected_columns(self._statics, row, as_of)
        return RowDelta((), columns) if columns else None

    def _row(self, clustering: Sequence[bytes | None], row: SelectedRow, as_of: AsOf) -> RowDelta:
        columns, last = selected_columns(self._regulars, row, as_of)
        if self._has_hidden:
            columns = [ColumnDelta(0, [Cell(as_of.written_us, b"")])]
        liveness = None
        if self._has_liveness:
            liveness = self._liveness(bool(columns), last, as_of)
        return RowDelta(clustering, columns, liveness)

    def _liveness(self, has_values: bool, last: Expiry | None, as_of: AsOf) -> Liveness:
        if has_values:
            if last is None:
                return Liveness(ASSUMED_LIVENESS_US)
            return Liveness(ASSUMED_LIVENESS_US, *last)
        # Without values the row's own liveness is all that SELECT can show it by.
        ttl_s = self.table.default_ttl
        return Liveness(as_of.written_us, ttl_s, as_of.now_s + ttl_s if ttl_s else 0)


class HeldCell(NamedTuple):
    """A cell, or an element of a multi-cell column, that a mirror holds; a counter's context."""

    column: str
    path: bytes | None
    writetime_us: int
    context: bytes | None = None


class Held(NamedTuple):
    """What a mirror holds of a row, by the times of it."""

    newest_us: int | None = None
    liveness: Liveness | None = None
    cells: Sequence[HeldCell] = ()
    newest: Mapping[str, int] = MappingProxyType({})
    """Of what is held of each multi-cell column, deletions included."""


def quoted(name: str) -> str:
    """The name as an identifier of CQL."""
    return '"' + name.replace('"', '""') + '"'


def selectable(columns: Sequence[Column]) -> list[Column]:
    """Those that CQL shows: not the hidden column of a dense table."""
    return [column for column in columns if column.type != Native("empty")]


def _with_tombstones(
    columns: Sequence[ColumnDelta], places: Sequence[Place], held: Held, as_of: AsOf
) -> list[ColumnDelta]:
    """The columns, with a tombstone for each cell and element that is held and not among them.

    Of a list that SELECT does not give all elements go: those of the log have other names.
    """
    by_number = {column.number: column for column in columns}
    for place in places:
        newest_us = held.newest.get(place.column.name)
        if isinstance(place.column.type, ListType) and newest_us is not None:
            gone = ColumnDelta(place.number, (), Deletion(newest_us, as_of.now_s))
            by_number.setdefault(place.number, gone)
    numbers = {place.column.name: place.number for place in places}
    for cell in held.cells:
        number = numbers.get(cell.column)
        if number is None:
            continue
        told = by_number.get(number) or ColumnDelta(number, ())
        if told.deletion is not None or any(one.path == cell.path for one in told.cells):
            continue
        tombstone = Cell(cell.writetime_us, None, 0, as_of.now_s, cell.path)
        by_number[number] = told._replace(cells=[*told.cells, tombstone])
    return [by_number[number] for number in sorted(by_number)]
