"""A table of the cluster read by token range, as mutations; it writes nowhere.

A range that times out is read again in smaller pages and halves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cassandra import DriverException, InvalidRequest
from cassandra.cluster import NoHostAvailable, Session
from cassandra.protocol import SyntaxException
from cassandra.query import PreparedStatement

from cdc_tail.errors import ConfigError, SchemaMismatch, SourceUnavailable
from cdc_tail.raw_rows import Page, RawReader
from parsers.schema import Column, Table
from parsers.selected import AsOf, Selection, Timing, quoted, selectable

MIN_TOKEN: Final = -(2**63)
MAX_TOKEN: Final = 2**63 - 1
# What a SELECT shows may be a write that is younger, by its timestamp, than the read: clocks
# differ, and a write takes its time. What stands for an unknown writetime is older by this.
MARGIN_SECONDS: Final = 10
RETRIES: Final = 8
MIN_PAGE_ROWS: Final = 10
_PARTITIONER: Final = "Murmur3Partitioner"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a range as mutations. What is before the token `next` is complete."""

    mutations: list[bytes]
    rows: int
    next: int


class TableReader:
    """Reads one table; safe to use from several threads."""

    def __init__(self, reader: RawReader, table: Table, *, page_rows: int) -> None:
        """Asks the node what it can select. Raises SourceUnavailable, SchemaMismatch."""
        self.table = table
        self._reader = reader
        self._page_rows = page_rows
        columns = (*table.statics, *selectable(table.regulars))
        try:
            self.selection = Selection(table, {c.name: self._timing(c) for c in columns})
            partition = ", ".join(quoted(column.name) for column in table.partition_key)
            token = f"token({partition})"
            names = ", ".join([*self.selection.expressions, token])
            self._source = f"{quoted(table.keyspace)}.{quoted(table.name)}"
            self._scan = reader.prepare(
                f"SELECT {names} FROM {self._source} WHERE {token} >= ? AND {token} <= ?"
            )
        except (InvalidRequest, SyntaxException) as error:
            raise SchemaMismatch(
                f"the cluster's table differs from what is known of it: {error}",
                hint="it was altered a moment ago; try again",
                table=str(table),
            ) from error
        except (DriverException, NoHostAvailable) as error:
            raise SourceUnavailable(f"Cassandra does not answer: {error}") from error

    def _timing(self, column: Column) -> Timing:
        """What the version selects of a column's times: multi-cell ones have them from 5.0 on."""
        table, name = f"{quoted(self.table.keyspace)}.{quoted(self.table.name)}", column.name
        if self.table.is_counter:
            return "writetime"
        if not column.is_complex:
            return "both"
        try:
            self._reader.prepare(f"SELECT writetime({quoted(name)}) FROM {table}")
        except InvalidRequest:
            return "none"
        return "both"

    def chunks(self, start: int, end: int) -> Iterator[Chunk]:
        """The rows of the tokens from `start` to `end`, both included, page by page.

        Raises SourceUnavailable after some tries without success.
        """
        pending = [(start, end)]
        page_rows = self._page_rows
        failures = 0
        while pending:
            low, high = pending.pop()
            try:
                for chunk in self._read(low, high, page_rows):
                    failures = 0
                    low = chunk.next
                    yield chunk
            except (DriverException, NoHostAvailable) as error:
                failures += 1
                if failures > RETRIES or isinstance(error, InvalidRequest):
                    raise SourceUnavailable(
                        f"the tokens {low} to {high} of {self.table} can't be read: {error}"
                    ) from error
                time.sleep(min(0.1 * 2**failures, 5))
                page_rows = max(MIN_PAGE_ROWS, page_rows // 2)
                if low < high:
                    middle = (low + high) // 2
                    pending += [(middle + 1, high), (low, middle)]
                elif low == high:
                    pending.append((low, high))

    def _read(self, low: int, high: int, page_rows: int) -> Iterator[Chunk]:
        bounds = [one.to_bytes(8, signed=True) for one in (low, high)]
        held: Chunk | None = None
        for page in self._reader.pages(self._scan, bounds, page_rows):
            if held is not None:
                yield held
            held = self._chunk(page, low)
        if held is not None:
            yield Chunk(held.mutations, held.rows, high + 1)

    def _chunk(self, page: Page, low: int) -> Chunk:
        """A page's rows. The last partition may go on: its token is not complete."""
        mutations = list(self.selection.mutations(page.rows, as_of(page)))
        last = page.rows[-1][-1] if page.rows else None
        return Chunk(
            mutations, len(page.rows), low if last is None else int.from_bytes(last, signed=True)
        )

    def prepare_one(self, key_columns: int) -> PreparedStatement:
        """A statement that reads by the first so many columns of the primary key."""
        names = ", ".join(self.selection.expressions)
        where = " AND ".join(f"{quoted(c.name)} = ?" for c in self.table.primary_key[:key_columns])
        return self._reader.prepare(f"SELECT {names} FROM {self._source} WHERE {where}")


def as_of(page: Page) -> AsOf:
    """When a page was read."""
    return AsOf(page.now_s, (page.now_s - MARGIN_SECONDS) * 1_000_000)


def check_partitioner(session: Session) -> None:
    """Raises ConfigError where tokens are no numbers of 64 bits."""
    (row,) = session.execute("SELECT partitioner FROM system.local")
    if not str(row[0]).endswith(_PARTITIONER):
        raise ConfigError(f"the cluster has the {row[0]}: {_PARTITIONER} is needed to read it all")


def token_ranges(count: int) -> list[tuple[int, int]]:
    """The whole ring in so many ranges, each with its first and last token."""
    step = 2**64 // count
    starts = [MIN_TOKEN + number * step for number in range(count)]
    return [
        (start, MAX_TOKEN if number == count - 1 else start + step - 1)
        for number, start in enumerate(starts)
    ]


def estimated_bytes(session: Session, table: Table) -> int:
    """What the node believes to hold of a table in the ranges that are its own; 0: not known."""
    rows = session.execute(
        "SELECT mean_partition_size, partitions_count FROM system.size_estimates"
        " WHERE keyspace_name = %s AND table_name = %s",
        (table.keyspace, table.name),
    )
    return sum(row[0] * row[1] for row in rows)
