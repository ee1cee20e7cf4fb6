"""The history of table definitions in PostgreSQL, by the position from which on each holds.

An old segment can then be decoded with the schema of its time, also after the table is dropped and
while no Cassandra node answers. It works in the caller's transaction and never commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from parsers.position import Position
from parsers.schema import Schema, Table
from parsers.schema_json import table_from_json, table_to_json
from parsers.schema_log import SchemaLog
from parsers.schema_rows import table_updates
from sinks.postgres.catalog import Connection


@dataclass(frozen=True, slots=True)
class Definition:
    """A table as of some moment; `written_us` is the newest timestamp of its schema rows."""

    table: Table
    written_us: int
    is_dropped: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A definition, and where in which node's log it was met."""

    node: str
    position: Position
    recorded_at: datetime
    definition: Definition


def record(
    connection: Connection, node: str, position: Position, before: Schema, log: SchemaLog
) -> int:
    """Keep the definitions in which `log` differs from `before`; returns how many these are.

    `position` is the end of the mutation that brought them. Recording them again changes nothing.
    """
    changed = [
        (
            node,
            position.segment_id,
            position.offset,
            table.keyspace,
            table.name,
            table_id,
            log.schema.is_dropped(table_id),
            log.written_us((table.keyspace, table.name)),
            Jsonb(table_to_json(table)),
        )
        for table_id, table in log.schema.all_by_id().items()
        if before.by_id(table_id) != table
        or before.is_dropped(table_id) != log.schema.is_dropped(table_id)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO cdc_tail.schema_history (node, segment_id, "offset", keyspace_name,
                table_name, table_id, dropped, written_us, definition)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT DO NOTHING
            """,
            changed,
        )
    return len(changed)


def definitions(
    connection: Connection, node: str | None = None, until: Position | None = None
) -> list[Definition]:
    """The newest definition of every table, those that are dropped included.

    With `node` and `until` what held at that position of the node's log; else what any node knows.
    """
    rows = connection.execute(
        """
        SELECT DISTINCT ON (table_id) definition, written_us, dropped
        FROM cdc_tail.schema_history
        WHERE coalesce(node = %(node)s, true)
          AND coalesce((segment_id, "offset") <= (%(segment_id)s::bigint, %(offset)s::bigint), true)
        ORDER BY table_id, dropped DESC, written_us DESC, segment_id DESC, "offset" DESC
        """,
        {
            "node": node,
            "segment_id": until.segment_id if until else None,
            "offset": until.offset if until else None,
        },
    )
    return [
        Definition(table_from_json(definition), written_us, dropped)
        for definition, written_us, dropped in rows
    ]


def entries(connection: Connection) -> list[Entry]:
    """All that is recorded, by table and node, in the order of each node's log."""
    rows = connection.execute(
        """
        SELECT node, segment_id, "offset", recorded_at, definition, written_us, dropped
        FROM cdc_tail.schema_history
        ORDER BY keyspace_name, table_name, table_id, node, segment_id, "offset"
        """
    )
    return [
        Entry(
            node,
            Position(segment_id, offset),
            recorded_at,
            Definition(table_from_json(definition), written_us, dropped),
        )
        for node, segment_id, offset, recorded_at, definition, written_us, dropped in rows
    ]


def seed(log: SchemaLog, known: list[Definition]) -> None:
    """Make these definitions known to `log`: later changes win over them, earlier ones lose."""
    for definition in known:
        if not definition.is_dropped:
            log.apply(*table_updates(definition.table, definition.written_us))
    log.restore(definition.table for definition in known if definition.is_dropped)
