"""Values that are in PostgreSQL's binary form already, on their way in."""

from __future__ import annotations

from psycopg.adapt import Dumper
from psycopg.pq import Format


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
