"""The manifest of change files in PostgreSQL; works in the caller's transaction, never commits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg

from checkpoints.install import install_script

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class ChangeFile:
    """One file: `path` below the archive's root, what is in it, its size once it is written."""

    path: str
    keyspace: str
    table: str
    hour: str
    changes: int
    min_writetime_us: int
    max_writetime_us: int
    size_bytes: int | None = None


def install(conn: Connection) -> None:
    """Create the manifest's tables where they are missing."""
    script = resources.files(__package__).joinpath("manifest.sql").read_bytes()
    install_script(conn, "parquet", script)


def announce(conn: Connection, node: str, files: Sequence[ChangeFile]) -> None:
    """Say which files are about to be written."""
    with conn.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO cdc_tail.parquet_file (path, node, keyspace_name, table_name, hour,
                changes, min_writetime_us, max_writetime_us)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    one.path,
                    node,
                    one.keyspace,
                    one.table,
                    one.hour,
                    one.changes,
                    one.min_writetime_us,
                    one.max_writetime_us,
                )
                for one in files
            ],
        )


def commit(
    conn: Connection,
    node: str,
    files: Sequence[ChangeFile],
    offsets: Mapping[int, int],
    forgotten: Iterable[int],
) -> None:
    """The files are whole; segments stand in them up to `offsets`; `forgotten` ones are gone."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "UPDATE cdc_tail.parquet_file SET size_bytes = %s, committed_at = now()"
            " WHERE path = %s",
            [(one.size_bytes, one.path) for one in files],
        )
        cursor.executemany(
            """
            INSERT INTO cdc_tail.parquet_segment (node, segment_id, "offset") VALUES (%s, %s, %s)
            ON CONFLICT (node, segment_id) DO UPDATE SET "offset" = excluded."offset"
            """,
            [(node, segment_id, offset) for segment_id, offset in offsets.items()],
        )
        cursor.execute(
            "DELETE FROM cdc_tail.parquet_segment WHERE node = %s AND segment_id = ANY (%s)",
            (node, list(forgotten)),
        )


def read_offsets(conn: Connection, node: str) -> dict[int, int]:
    """How far each segment of the node stands in committed files."""
    rows = conn.execute(
        'SELECT segment_id, "offset" FROM cdc_tail.parquet_segment WHERE node = %s', (node,)
    )
    return dict(rows.fetchall())


def unfinished(conn: Connection, node: str) -> list[str]:
    """Paths of files that were announced and never committed."""
    rows = conn.execute(
        "SELECT path FROM cdc_tail.parquet_file WHERE node = %s AND committed_at IS NULL", (node,)
    )
    return [path for (path,) in rows]


def forget_unfinished(conn: Connection, node: str, paths: Sequence[str]) -> None:
    """Files announced and never committed are removed."""
    conn.execute(
        "DELETE FROM cdc_tail.parquet_file"
        " WHERE node = %s AND committed_at IS NULL AND path = ANY (%s)",
        (node, list(paths)),
    )
