"""A table of the cluster read by token range, as mutations; it writes nowhere.

A range that times out is read again in smaller pages and halves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from cassandra import DriverException, InvalidRequest
from cassandra.cluster import NoHostAvailable, Session
from cassandra.metadata import Murmur3Token
from cassandra.protocol import SyntaxException
from cassandra.query import PreparedStatement

from cdc_tail.errors import ConfigError, SchemaMismatch, SourceUnavailable
from cdc_tail.raw_rows import Page, RawReader
from parsers.encode import encoded_key
from parsers.schema import Column, Table
from parsers.selected import Selection, quoted, selectable
from parsers.selected_cells import AsOf, Timing

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


class RangeReader:
    """Reads what a SELECT list gives of a table, by token range; for any number of threads."""

    def __init__(
        self,
        reader: RawReader,
        table: Table,
        expressions: Sequence[str],
        *,
        page_rows: int,
        distinct: bool = False,
    ) -> None:
        """Raises SchemaMismatch where the cluster's table is another, SourceUnavailable."""
        self._table = table
        self._reader = reader
        self._page_rows = page_rows
        token = f"token({', '.join(quoted(column.name) for column in table.partition_key)})"
        names = ", ".join(expressions)
        self._select = f"SELECT {'DISTINCT ' * distinct}{names} FROM {source(table)}"
        self._prepared: dict[str, PreparedStatement] = {}
        self._scan = self._prepare(f"{self._select} WHERE {token} >= ? AND {token} <= ?")

    def _prepare(self, statement: str) -> PreparedStatement:
        try:
            return self._reader.prepare(statement)
        except (InvalidRequest, SyntaxException) as error:
            raise SchemaMismatch(
                f"the cluster's table differs from what is known of it: {error}",
                hint="it was altered a moment ago; try again",
                table=str(self._table),
            ) from error
        except (DriverException, NoHostAvailable) as error:
            raise SourceUnavailable(f"Cassandra does not answer: {error}") from error

    def pages(self, start: int, end: int) -> Iterator[tuple[Page, int]]:
        """The rows of the tokens from `start` to `end`, both included, page by page.

        With each page the token before which all is complete with it. Rows may come again where a
        page was not to be had at first. Raises SourceUnavailable after some tries.
        """
        pending = [(start, end)]
        page_rows = self._page_rows
        failures = 0
        while pending:
            low, high = pending.pop()
            try:
                for page, following in self._read(low, high, page_rows):
                    failures = 0
                    low = following
                    yield page, following
            except (DriverException, NoHostAvailable) as error:
                failures += 1
                if failures > RETRIES or isinstance(error, InvalidRequest):
                    raise SourceUnavailable(
                        f"the tokens {low} to {high} of {self._table} can't be read: {error}"
                    ) from error
                time.sleep(min(0.1 * 2**failures, 5))
                page_rows = max(MIN_PAGE_ROWS, page_rows // 2)
                middle = (low + high) // 2
                pending += [(middle + 1, high)] * (middle < high) + [(low, middle)]

    def _read(self, low: int, high: int, page_rows: int) -> Iterator[tuple[Page, int]]:
        """A page is held back until the next one is there: its last partition may go on."""
        bounds = [one.to_bytes(8, signed=True) for one in (low, high)]
        held: Page | None = None
        for page in self._reader.pages(self._scan, bounds, page_rows):
            if held is not None:
                if held.rows:
                    low = self.token(held.rows[-1])
                yield held, low
            held = page
        if held is not None:
            yield held, high + 1

    def token(self, row: Sequence[bytes | None]) -> int:
        """The token of a row, which begins with its partition key."""
        return token_of(encoded_key([v or b"" for v in row[: len(self._table.partition_key)]]))

    def rows_of(self, key: Sequence[bytes | None], *, only_first: bool = False) -> Page:
        """The rows with these values of the first columns of the primary key."""
        columns = self._table.primary_key[: len(key)]
        where = " AND ".join(f"{quoted(c.name)} = ?" for c in columns) + " LIMIT 1" * only_first
        statement = self._prepared.get(where)
        if statement is None:
            statement = self._prepare(f"{self._select} WHERE {where}")
            self._prepared[where] = statement
        try:
            return self._reader.rows(statement, [value or b"" for value in key])
        except (DriverException, NoHostAvailable) as error:
            raise SourceUnavailable(f"Cassandra does not answer: {error}") from error


class TableReader(RangeReader):
    """Reads a table with its writetimes and TTLs, as mutations."""

    def __init__(self, reader: RawReader, table: Table, *, page_rows: int) -> None:
        """Asks the node what it can select. Raises SourceUnavailable, SchemaMismatch."""
        columns = (*table.statics, *selectable(table.regulars))
        timings = {c.name: _timing(reader, table, c) for c in columns}
        self.selection = Selection(table, timings, reader.sole_host_id)
        super().__init__(reader, table, self.selection.expressions, page_rows=page_rows)

    def chunks(self, start: int, end: int) -> Iterator[Chunk]:
        """As `pages`, as mutations."""
        for page, following in self.pages(start, end):
            mutations = list(self.selection.mutations(page.rows, as_of(page)))
            yield Chunk(mutations, len(page.rows), following)


def _timing(reader: RawReader, table: Table, column: Column) -> Timing:
    """What the version selects of a column's times: multi-cell ones have them from 5.0 on."""
    if table.is_counter:
        return "writetime"
    return "both" if reader.times_elements or not column.is_complex else "none"


def source(table: Table) -> str:
    """The table's name as a statement has it."""
    return f"{quoted(table.keyspace)}.{quoted(table.name)}"


def token_of(partition_key: bytes) -> int:
    """The token of a serialized partition key."""
    token: int = Murmur3Token.hash_fn(partition_key)
    return token


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
