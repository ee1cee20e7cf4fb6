"""All rows of some partitions of a mirror, page by page, however many there are."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg import sql
from psycopg.pq.abc import PGresult

from sinks.postgres.binary import Binary
from sinks.postgres.catalog import Connection
from sinks.postgres.target import Target

# A page takes some megabytes here: rows with long states (large collections) come fewer at a time.
MOST_ROWS: Final = 5_000
PAGE_BYTES: Final = 4 << 20


def scanned(connection: Connection, target: Target, keys: bytes) -> Iterator[list[bytes | None]]:
    """Pages as `RelationWork.load_scan` takes them: numbers, states, clustering columns.

    `keys` are those of `RelationWork.scan_keys`. Shows the rows as they are when it is begun,
    whatever is written meanwhile, and needs a transaction around it. Raises psycopg.Error.
    """
    name = sql.Identifier(f"scan_{target.mirror.mirror_id}")
    declare = sql.SQL("DECLARE {} NO SCROLL CURSOR FOR {}").format(name, target.scan_partitions)
    rows = MOST_ROWS
    # Together: most partitions fit into the first page, which then costs one round trip.
    with connection.pipeline():
        psycopg.RawCursor(connection).execute(declare, [Binary(keys)])
        page = _fetch(connection, name, rows)
    while True:
        result = page.pgresult
        assert result is not None
        if result.ntuples:
            arrays = _arrays(result)
            yield [*arrays]
            size = sum(map(len, arrays))
            is_last = result.ntuples < rows
            rows = max(1, min(MOST_ROWS, PAGE_BYTES * result.ntuples // size))
        if not result.ntuples or is_last:
            break
        page = _fetch(connection, name, rows)
    connection.execute(sql.SQL("CLOSE {}").format(name))


def _fetch(connection: Connection, name: sql.Identifier, rows: int) -> psycopg.RawCursor[object]:
    cursor = psycopg.RawCursor(connection)
    statement = sql.SQL("FETCH FORWARD {} FROM {}").format(sql.Literal(rows), name)
    return cursor.execute(statement, binary=True)


def _arrays(result: PGresult) -> list[bytes]:
    """The columns of a result as arrays, which are NULL nowhere."""
    head = struct.pack(">5i", 1, 0, 0, result.ntuples, 1)
    size = struct.Struct(">i").pack
    arrays = []
    for column in range(result.nfields):
        fields = [result.get_value(row, column) or b"" for row in range(result.ntuples)]
        arrays.append(head + b"".join(part for one in fields for part in (size(len(one)), one)))
    return arrays
