"""Writes that were applied live and forgotten by their node when it crashed; changes no mirror.

Written in the transaction that finishes their segment. Whether another replica still has them only
a comparison with Cassandra can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from parsers.position import Position
from parsers.schema import Table
from sinks.postgres.catalog import Connection


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One partition update behind a segment's last marker; `ordinal` counts those of a mutation."""

    position: Position
    ordinal: int
    table: Table
    partition_key: bytes


def write_forgotten(conn: Connection, node: str, updates: Sequence[Forgotten]) -> None:
    """Keep what a node forgot; what is known already stays as it is."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO cdc_tail.forgotten
                   (node, segment_id, "offset", ordinal, keyspace_name, table_name, partition_key)
            VALUES (%s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT DO NOTHING
            """,
            [
                (
                    node,
                    one.position.segment_id,
                    one.position.offset,
                    one.ordinal,
                    one.table.keyspace,
                    one.table.name,
                    one.partition_key,
                )
                for one in updates
            ],
        )
