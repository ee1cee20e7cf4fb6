"""Tables and schema changes for tests, from CQL."""

from __future__ import annotations

from parsers.cql_file import parse_cql
from parsers.schema import Table
from parsers.schema_rows import table_updates
from parsers.schema_state import RawRow, Update

IDS = [f"{number:08x}-e74b-11f1-ab70-f30d2dddee5c" for number in range(1, 10)]
"""Table ids as CREATE TABLE makes them, each later than the one before."""


def table(cql: str) -> Table:
    """The one table of a CQL text."""
    (one,) = parse_cql(cql)
    return one


def create(cql: str, written_us: int) -> list[Update]:
    """The updates that a CREATE TABLE at that time writes."""
    return [update for one in parse_cql(cql) for update in table_updates(one, written_us)]


def drop(keyspace: str, name: str, columns: list[str], written_us: int) -> list[Update]:
    """The updates that a DROP TABLE at that time writes: deletions of every row."""
    deletion = (written_us, written_us // 1_000_000)
    return [
        Update(
            table="tables",
            pk=keyspace.encode(),
            rows=[RawRow(ck=[name.encode()], deletion=deletion)],
        ),
        Update(
            table="columns",
            pk=keyspace.encode(),
            rows=[
                RawRow(ck=[name.encode(), column.encode()], deletion=deletion) for column in columns
            ],
        ),
    ]
