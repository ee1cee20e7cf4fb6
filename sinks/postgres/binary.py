"""Values that are in PostgreSQL's binary form already, on their way in and out."""

from __future__ import annotations

import select
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from sinks.postgres.catalog import Connection

Cursor: TypeAlias = psycopg.RawCursor[Any]

# So many rows are looked up or updated by a statement. PostgreSQL is busy with it while we take in
# the answer to the one before, or make the next one: 10 % of the time of updates.
ROUND_ROWS: Final = 4096


class Binary:
    """A parameter that is in PostgreSQL's binary form already; its cast tells the type."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class BinaryDumper(Dumper):
    """How psycopg sends it; to be registered with the connection."""

    format = Format.BINARY

    def dump(self, obj: Binary) -> bytes:
        return obj.data


def execute(connection: Connection, statement: bytes, parameters: Sequence[object]) -> Cursor:
    """Execute a prepared statement with parameters $1, $2, …; its answer is in binary form."""
    return psycopg.RawCursor(connection).execute(statement, parameters, prepare=True, binary=True)


def send(connection: Connection) -> None:
    """Hand over all that was executed in the open pipeline, without waiting for answers.

    What psycopg leaves in libpq's buffer stays there until the next call, while PostgreSQL waits
    for the rest of a statement. Answers are taken in meanwhile: else both sides might wait for the
    other one to read.
    """
    pgconn = connection.pgconn
    poll = select.poll()
    poll.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    while pgconn.flush():
        if any(event & ~select.POLLOUT for _, event in poll.poll()):
            pgconn.consume_input()


def fields(cursor: Cursor) -> list[bytes | None]:
    """The fields of a one-row answer as they came: arrays in binary form, or None."""
    result = cursor.pgresult
    assert result is not None
    return [result.get_value(0, column) for column in range(result.nfields)]
