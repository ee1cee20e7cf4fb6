"""The shop's traffic as recorded once: segments, and what Cassandra's SELECT gave in the end.

For machines that can't fetch Cassandra. `python -m tests.tools.record_shop` makes it anew.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from cdc_tail.verify_values import from_cassandra, from_postgres, same
from parsers.descriptor import index_path
from sinks.postgres.catalog import Mirror, load_mirrors

SELECTED = "selected.json.gz"

Rows = list[list[bytes | None]]


@dataclass(frozen=True, slots=True)
class SelectedTable:
    """All rows of a table: per row one value per column, as the native protocol sends it."""

    columns: list[str]
    rows: Rows


@dataclass(frozen=True, slots=True)
class Recording:
    """What was written by (table, kind), and what SELECT said then, by table name."""

    release: str
    writes: Counter[tuple[str, str]]
    tables: Mapping[str, SelectedTable]


def recorded_folder() -> Traversable:
    """Where the recording is, inside the package."""
    return resources.files("cdc_tail.local") / "recorded"


def read_recording() -> Recording:
    """The recording without its segments."""
    content = json.loads(gzip.decompress((recorded_folder() / SELECTED).read_bytes()))
    return Recording(
        content["release"],
        Counter({(table, kind): count for table, kind, count in content["writes"]}),
        {
            name: SelectedTable(
                table["columns"],
                [
                    [None if v is None else base64.b64decode(v) for v in row]
                    for row in table["rows"]
                ],
            )
            for name, table in content["tables"].items()
        },
    )


def publish_segments(cdc_raw: Path) -> int:
    """Put the recorded segments into a folder as Cassandra leaves complete ones; their number.

    Each appears at once and whole, since a segment that Cassandra links to no more is final.
    """
    logs = sorted(one.name for one in recorded_folder().iterdir() if one.name.endswith(".log.gz"))
    for name in logs:
        content = gzip.decompress((recorded_folder() / name).read_bytes())
        target = cdc_raw / name.removesuffix(".gz")
        index_path(target).write_text(f"{len(content)}\nCOMPLETED\n")
        staging = target.with_suffix(".staging")
        staging.write_bytes(content)
        staging.replace(target)
    return len(logs)


def compare(dsn: str, recording: Recording) -> Iterator[tuple[str, int, int]]:
    """Per recorded table: the mirror's name, Cassandra's number of rows, and how many differ."""
    options = "-c timezone=UTC -c intervalstyle=iso_8601"
    with psycopg.connect(dsn, options=options) as conn:
        mirrors = {one.table_name: one for one in load_mirrors(conn) if not one.is_dropped}
        for name, table in recording.tables.items():
            mirror = mirrors.get(name)
            if mirror is None:
                yield name, len(table.rows), len(table.rows)
            else:
                yield mirror.relation, len(table.rows), _differing(conn, mirror, table)


def _differing(conn: psycopg.Connection[Any], mirror: Mirror, table: SelectedTable) -> int:
    """Rows that are missing, too many or different."""
    columns = (*mirror.key, *mirror.columns)
    places = [table.columns.index(column.cql_name) for column in columns]
    n_key = len(mirror.key)
    expected: dict[tuple[Any, ...], list[Any]] = {}
    for row in table.rows:
        values = [
            from_cassandra(column.cql_type, column.pg_type, row[place])
            for column, place in zip(columns, places)
        ]
        expected[tuple(values[:n_key])] = values
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(c.name)) for c in columns),
        mirror.identifier,
    )
    differing = 0
    for texts in conn.execute(query):
        held = [from_postgres(column.pg_type, text) for column, text in zip(columns, texts)]
        wanted = expected.pop(tuple(held[:n_key]), None)
        differing += wanted is None or not all(map(same, wanted, held))
    return differing + len(expected)
