"""Values that are in PostgreSQL's binary form already, on their way in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from sinks.postgres.catalog import Connection

Cursor: TypeAlias = psycopg.RawCursor[Any]


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


def fields(cursor: Cursor) -> list[bytes | None]:
    """The fields of a one-row answer as they came: arrays in binary form, or None."""
    result = cursor.pgresult
    assert result is not None
    return [result.get_value(0, column) for column in range(result.nfields)]
