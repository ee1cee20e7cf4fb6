"""The composite type of a mirror's primary key, in which keys are sent as one array."""

from __future__ import annotations

from psycopg import sql

from checkpoints.install import lock_ddl
from sinks.postgres.catalog import Connection, Mirror
from sinks.postgres.relation import type_sql
from sinks.postgres.typemap import is_collatable


def key_type_name(mirror: Mirror) -> str:
    """The type's name in the schema cdc_tail."""
    return f"key_{mirror.mirror_id}"


def key_type(mirror: Mirror) -> sql.Identifier:
    """The type, for composing statements."""
    return sql.Identifier("cdc_tail", key_type_name(mirror))


def ensure_key_type(connection: Connection, mirror: Mirror) -> int:
    """Create the type where it is missing; returns its oid.

    Fields are named k0, k1, …: a column's rename does not touch them, and types of key columns
    never change.
    """
    oid = _oid(connection, mirror)
    if oid is not None:
        return oid
    lock_ddl(connection)
    oid = _oid(connection, mirror)
    if oid is not None:
        return oid
    fields = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(f"k{number}"),
            type_sql(column.cql_type, column.pg_type),
            sql.SQL(' COLLATE "C"' if is_collatable(column.pg_type) else ""),
        )
        for number, column in enumerate(mirror.key)
    ]
    connection.execute(
        sql.SQL("CREATE TYPE {} AS ({})").format(key_type(mirror), sql.SQL(", ").join(fields))
    )
    oid = _oid(connection, mirror)
    assert oid is not None
    return oid


def _oid(connection: Connection, mirror: Mirror) -> int | None:
    row = connection.execute(
        "SELECT t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
        "WHERE n.nspname = 'cdc_tail' AND t.typname = %s",
        (key_type_name(mirror),),
    ).fetchone()
    return None if row is None else int(row[0])
