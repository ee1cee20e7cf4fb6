"""The schema of a live cluster, read from `system_schema` with the driver.

It reads rows with their writetimes, not the driver's own model of a schema: so they merge with
the changes that the commit log tells of, and table ids come with them.
"""

from __future__ import annotations

from typing import Any, Final

from cassandra import DriverException
from cassandra.cluster import EXEC_PROFILE_DEFAULT, NoHostAvailable, Session
from cassandra.query import SimpleStatement, dict_factory

from cdc_tail.errors import SourceUnavailable
from parsers.schema_log import SchemaLog, TableName
from parsers.schema_rows import make_row
from parsers.schema_state import DERIVED_FROM, RawRow, Update
from parsers.schema_values import Value
from parsers.system_tables import SCHEMA_TABLES

_TABLES: Final = ("types", "tables", "views", "columns", "dropped_columns")

# Clocks of coordinators differ, and a change takes its time to arrive here: what is missing is
# taken as dropped only where it was written longer ago than this.
_SETTLED_SECONDS: Final = 60

_FETCH_SIZE: Final = 1000
_TIMEOUT_SECONDS: Final = 30.0


def refresh_schema(session: Session, log: SchemaLog) -> set[TableName]:
    """Bring `log` up to the schema of the cluster; returns the tables that changed.

    Raises SourceUnavailable where the cluster does not answer.
    """
    settled_us = settled_until_us(session)
    return log.refresh(read_schema(session), settled_us)


def settled_until_us(session: Session) -> int:
    """Until when (writetime, microseconds) what `read_schema` lacks from now on was dropped.

    Raises SourceUnavailable where the cluster does not answer.
    """
    # The node's clock, as near as can be to those that made the timestamps; never ours.
    (row,) = _query(session, "SELECT toUnixTimestamp(now()) AS now_ms FROM system.local")
    return int(row["now_ms"] - _SETTLED_SECONDS * 1000) * 1000


def read_schema(session: Session) -> list[Update]:
    """Every row of `system_schema` that a table's definition depends on, with its writetimes.

    Raises SourceUnavailable where the cluster does not answer.
    """
    rows: dict[tuple[str, str], list[RawRow]] = {}
    for table in _TABLES:
        for row in _select(session, table):
            rows.setdefault((table, row["keyspace_name"]), []).append(_raw(table, row))
    return [
        Update(table=table, pk=keyspace.encode(), rows=of_keyspace)
        for (table, keyspace), of_keyspace in rows.items()
    ]


def _select(session: Session, table: str) -> list[dict[str, Any]]:
    definition = SCHEMA_TABLES[table]
    existing = _columns(session, table)
    selected = [column.name for column in definition.primary_key]
    for column in definition.regulars:
        if column.name in DERIVED_FROM & existing:
            is_time = str(column.type) == "timestamp"
            value = f"toUnixTimestamp({column.name})" if is_time else column.name
            selected += [
                f"{value} AS {column.name}",
                f"writetime({column.name}) AS {column.name}_us",
            ]
    return _query(session, f"SELECT {', '.join(selected)} FROM system_schema.{table}")


def _columns(session: Session, table: str) -> set[str]:
    """The columns that this version's table has: `cdc`, for one, is not everywhere."""
    rows = _query(
        session,
        "SELECT column_name FROM system_schema.columns "
        f"WHERE keyspace_name = 'system_schema' AND table_name = '{table}'",
    )
    return {row["column_name"] for row in rows}


def _query(session: Session, text: str) -> list[dict[str, Any]]:
    profile = session.execution_profile_clone_update(EXEC_PROFILE_DEFAULT, row_factory=dict_factory)
    statement = SimpleStatement(text, fetch_size=_FETCH_SIZE)
    try:
        return list(session.execute(statement, timeout=_TIMEOUT_SECONDS, execution_profile=profile))
    except (DriverException, NoHostAvailable) as error:
        raise SourceUnavailable(f"system_schema can't be read: {error}") from error


def _raw(table: str, row: dict[str, Any]) -> RawRow:
    values: dict[str, Value] = {}
    written_us: dict[str, int] = {}
    for name, value in row.items():
        if name in DERIVED_FROM and value is not None:
            is_scalar = isinstance(value, str | bytes) or not hasattr(value, "__iter__")
            values[name] = value if is_scalar else list(value)
            written_us[name] = row[f"{name}_us"]
    key = tuple(row[column.name] for column in SCHEMA_TABLES[table].clustering)
    return make_row(table, key, written_us, values)
