"""Rows that may have lived by a dropped column alone: Cassandra shows them no longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import sql

from parsers._rowkey import row_key
from parsers.decoder import Batch, CompiledTable, build_catalog
from parsers.schema import Table
from sinks.postgres import pages
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import Connection, Mirror
from sinks.postgres.masks import column_masks
from sinks.postgres.target import column_types

# Flags of a state's first byte (parsers/_state.pyx): an INSERT keeps the row, and for how long.
_LIVENESS: Final = 1
_LIVENESS_TTL: Final = 2


def decide_again(
    connection: Connection, table: Table, mirrors: Sequence[Mirror], mask_key: bytes | None
) -> None:
    """Let go of the rows that nothing keeps any more, in the caller's transaction.

    `mirrors` are those of the table as they are without the dropped columns, all of their buckets
    locked; `mask_key` is mirror.mask_key. Only rows without any value are looked at that no INSERT
    keeps for good.
    """
    masks = column_masks(connection, mirrors, mask_key)
    compiled = CompiledTable(table, "mirror", column_types(table, mirrors), masks=masks)
    catalog = build_catalog([compiled])
    sink = PostgresSink(connection)
    sink.attach(compiled, mirrors)
    for _, target in sink.targets().values():
        condition = _nothing_shown(target.mirror)
        after: list[bytes] | None = None
        while True:
            rows = pages.read_keys(connection, target, after, condition)
            batch = Batch(catalog)
            for *fields, state in rows:
                key = row_key(target.relation, state, fields)
                batch.touch(compiled, *key, target.relation.static)
            sink.apply(batch, lambda _: None)
            if len(rows) < pages.ROWS_AT_ONCE:
                break
            after = rows[-1][:-1]


def _nothing_shown(mirror: Mirror) -> sql.Composable:
    flags = sql.SQL("get_byte({}, 0)").format(sql.Identifier(mirror.state_column))
    conditions: list[sql.Composable] = [
        sql.SQL("{} IS NULL").format(sql.Identifier(column.name)) for column in mirror.columns
    ]
    conditions.append(
        sql.SQL("({flags} & {inserted} = 0 OR {flags} & {for_a_time} <> 0)").format(
            flags=flags, inserted=sql.Literal(_LIVENESS), for_a_time=sql.Literal(_LIVENESS_TTL)
        )
    )
    return sql.SQL(" AND ").join(conditions)
