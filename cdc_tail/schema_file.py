"""A schema log seeded from a file of CQL; the file's statements are read elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from uuid import UUID

from cdc_tail.errors import ConfigError
from parsers.cql_file import parse_cql
from parsers.schema import Table
from parsers.schema_log import SchemaLog
from parsers.schema_rows import table_updates
from parsers.schema_state import RawRow, Update

# A UUID of version 1 counts 100 ns since this long before 1970.
_UUID_EPOCH_US: Final = 12_219_292_800_000_000


def written_us(table: Table) -> int:
    """The age of a definition that a file gives, in microseconds since 1970.

    Ids of tables are made when the table is created. So the definition wins over former tables of
    that name, and every change that the log tells of this one wins over the definition. An id
    given by hand says nothing; then whatever the log says goes before.
    """
    return table.id.time // 10 - _UUID_EPOCH_US if table.id.version == 1 else 0


def seed_from_file(log: SchemaLog, schema_file: Path) -> frozenset[UUID]:
    """Make the tables of a file known, and return their ids.

    Raises ConfigError naming the line of a mistake.
    """
    try:
        text = schema_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the schema file {schema_file} can't be read: {error}",
            hint="give a text file of CQL, as `cqlsh -e 'DESCRIBE KEYSPACE ks'` prints it",
        ) from error
    tables = parse_cql(text)
    for table in tables:
        log.apply(*table_updates(table, written_us(table)), _drops(table))
    return frozenset(table.id for table in tables)


def _drops(table: Table) -> Update:
    """Columns that the file says are dropped: the log must not bring them back by adding them."""
    live = {column.name for column in table.columns}
    return Update(
        table="columns",
        pk=table.keyspace.encode(),
        rows=[
            RawRow(
                ck=[table.name.encode(), one.name_bytes],
                deletion=(one.dropped_time_us, one.dropped_time_us // 1_000_000),
            )
            for one in table.dropped.values()
            if one.name not in live
        ],
    )
