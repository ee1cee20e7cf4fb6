"""Compares a mirror with what Cassandra's SELECT gave, as the golden cases keep it."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

from cdc_tail.verify_values import from_cassandra, from_postgres, same
from sinks.postgres.catalog import Mirror, MirrorColumn, load_mirrors

Row = dict[str, Any]


def differences(dsn: str, keyspace: str, expected: dict[str, Any]) -> list[str]:
    """How the mirrors differ from `expected["tables"]`, in words; empty when they are equal."""
    found: list[str] = []
    with psycopg.connect(dsn) as conn:
        for setting in ("timezone = 'UTC'", "intervalstyle = 'iso_8601'", "bytea_output = 'hex'"):
            conn.execute(f"SET {setting}".encode())
        mirrors = [one for one in load_mirrors(conn) if not one.is_dropped]
        for table, content in expected["tables"].items():
            own = {
                one.kind: one
                for one in mirrors
                if (one.keyspace, one.table_name) == (keyspace, table)
            }
            if not own:
                found.append(f"{table} has no mirror")
                continue
            found += _compare(conn, table, own["rows"], content)
            if "static" in own:
                found += _compare(conn, table, own["static"], content)
    return found


def _compare(
    conn: psycopg.Connection, table: str, mirror: Mirror, content: dict[str, Any]
) -> list[str]:
    rows: list[Row] = content["rows"]
    selected = set(content["columns"])
    # A column that Cassandra has dropped may stay in the mirror.
    columns = (*mirror.key, *(one for one in mirror.columns if one.cql_name in selected))
    held = {key_of(columns, mirror, row): row for row in _mirror_rows(conn, mirror, columns)}
    wanted: dict[tuple[str, ...], list[Any]] = {}
    for row in rows:
        values = [_expected(row, column) for column in columns]
        key = values[: len(mirror.key)]
        if any(value is None for value in key):
            continue  # SELECT's row of a partition that has only static values
        if mirror.kind == "static" and all(v is None for v in values[len(mirror.key) :]):
            continue
        wanted[key_of(columns, mirror, values)] = values
    found = [f"{table} {mirror.kind}: extra row {key}" for key in held.keys() - wanted.keys()]
    found += [f"{table} {mirror.kind}: missing row {key}" for key in wanted.keys() - held.keys()]
    for both in wanted.keys() & held.keys():
        for column, expected, actual in zip(columns, wanted[both], held[both], strict=True):
            if not same(expected, actual):
                found.append(
                    f"{table} {mirror.kind} {both} {column.cql_name}: {expected!r} != {actual!r}"
                )
    return found


def key_of(columns: tuple[MirrorColumn, ...], mirror: Mirror, values: list[Any]) -> tuple[str, ...]:
    return tuple(repr(value) for value in values[: len(mirror.key)])


def _expected(row: Row, column: MirrorColumn) -> Any:
    cell = row["key"].get(column.cql_name) or row["cells"][column.cql_name]
    raw = bytes.fromhex(cell["hex"]) if "hex" in cell else None
    return from_cassandra(column.cql_type, column.pg_type, raw)


def _mirror_rows(
    conn: psycopg.Connection, mirror: Mirror, columns: tuple[MirrorColumn, ...]
) -> list[list[Any]]:
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c.name)) for c in columns),
        mirror.identifier,
    )
    return [
        [from_postgres(column.pg_type, text) for column, text in zip(columns, row, strict=True)]
        for row in conn.execute(query)
    ]
