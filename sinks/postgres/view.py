"""The view of a table with static columns that reads as Cassandra's SELECT does."""

from __future__ import annotations

from psycopg import sql

from sinks.postgres.catalog import Mirror, MirrorColumn
from sinks.postgres.relation import Ddl, describe, type_sql


def refresh_view(ddl: Ddl, rows: Mirror, static: Mirror, view: str) -> None:
    """Create or replace the view of both mirrors: every row with its partition's static columns.

    A partition that has static columns but no rows gives one row with NULL clustering columns.
    Columns that the view has already keep their places: PostgreSQL replaces no view otherwise.
    """
    # A FULL JOIN would say the same, but a condition on the partition key could not use the
    # primary keys through its COALESCE; both branches of a UNION ALL can.
    joined: dict[str, sql.Composable] = {}
    alone: dict[str, sql.Composable] = {}
    for column in rows.key:
        partition = column.kind == "partition_key"
        joined[column.name] = _of("r", column)
        alone[column.name] = _of("s", _static_key(static, column)) if partition else _null(column)
    for column in (*static.columns, *static.retired):
        joined[column.name] = alone[column.name] = _of("s", column)
    for column in (*rows.columns, *rows.retired):
        joined[column.name] = _of("r", column)
        alone[column.name] = _null(column)
    found = describe(ddl.connection, rows.relation_schema, view)
    names = [*(found.columns if found else ()), *joined]
    order = list(dict.fromkeys(name for name in names if name in joined))
    same_partition = sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(_of("s", _static_key(static, column)), _of("r", column))
        for column in rows.key
        if column.kind == "partition_key"
    )
    ddl.run(
        sql.SQL(
            "CREATE OR REPLACE VIEW {view} AS "
            "SELECT {joined} FROM {rows} r LEFT JOIN {static} s ON {same_partition} "
            "UNION ALL "
            "SELECT {alone} FROM {static} s "
            "WHERE NOT EXISTS (SELECT FROM {rows} r WHERE {same_partition})"
        ).format(
            view=sql.Identifier(rows.relation_schema, view),
            joined=_list(order, joined),
            alone=_list(order, alone),
            rows=rows.identifier,
            static=static.identifier,
            same_partition=same_partition,
        )
    )


def _static_key(static: Mirror, column: MirrorColumn) -> MirrorColumn:
    return static.key[column.position]


def _of(alias: str, column: MirrorColumn) -> sql.Composed:
    return sql.SQL("{}.{}").format(sql.SQL(alias), sql.Identifier(column.name))


def _null(column: MirrorColumn) -> sql.Composed:
    return sql.SQL("NULL::{}").format(type_sql(column.cql_type, column.pg_type))


def _list(order: list[str], expressions: dict[str, sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(expressions[name], sql.Identifier(name)) for name in order
    )
