"""The keys and states of a mirror's rows, some thousand at a time, in the order of the key."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql

from sinks.postgres.binary import Binary
from sinks.postgres.catalog import Connection
from sinks.postgres.target import Target

ROWS_AT_ONCE: Final = 5_000
EVERY: Final = sql.SQL("true")


def read_keys(
    connection: Connection,
    target: Target,
    after: list[bytes] | None,
    condition: sql.Composable = EVERY,
) -> list[list[bytes]]:
    """The next ROWS_AT_ONCE rows after a key: key columns, then state, as binary fields.

    Only those that fulfil the condition. `after` are a row's key columns, None for the first page.
    Fewer rows: there are no more.
    """
    cursor = psycopg.RawCursor(connection)
    parameters = [ROWS_AT_ONCE, *map(Binary, after or ())]
    cursor.execute(
        target.read_keys(is_first=after is None, condition=condition), parameters, binary=True
    )
    result = cursor.pgresult
    assert result is not None
    return [
        [result.get_value(row, column) or b"" for column in range(result.nfields)]
        for row in range(result.ntuples)
    ]
