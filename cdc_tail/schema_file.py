"""A schema log seeded from a file of CQL; the file's statements are read elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cdc_tail.errors import ConfigError
from parsers.cql_file import parse_cql
from parsers.schema_log import SchemaLog
from parsers.schema_rows import table_updates

# A definition from a file says nothing of its age: whatever the log says goes before it.
WRITTEN_US: Final = 0


def seed_from_file(log: SchemaLog, schema_file: Path) -> None:
    """Make the tables of a file known. Raises ConfigError naming the line of a mistake."""
    try:
        text = schema_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the schema file {schema_file} can't be read: {error}",
            hint="give a text file of CQL, as `cqlsh -e 'DESCRIBE KEYSPACE ks'` prints it",
        ) from error
    for table in parse_cql(text):
        log.apply(*table_updates(table, WRITTEN_US))
