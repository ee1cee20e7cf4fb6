"""Rows of a mirror found by keys as Cassandra has them."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from psycopg import sql

from parsers.values import compile_type, to_pg
from sinks.postgres.binary import Binary
from sinks.postgres.catalog import Connection, Mirror
from sinks.postgres.keytype import key_type

Key = Sequence[bytes | None]


class MirrorKeys:
    """Keys of one mirror relation, as parameters of statements."""

    def __init__(self, conn: Connection, mirror: Mirror) -> None:
        self._mirror = mirror
        self._conn = conn
        self._compiled = [compile_type(c.cql_type, c.pg_type, key=True) for c in mirror.key]
        self._oids = [self.oid(column.pg_type) for column in mirror.key]
        self._key_oid = self.oid(key_type(mirror).as_string(conn))

    @property
    def rows(self) -> sql.Composed:
        """The relation `t` joined with keys `k`, numbered by `n` from 1; takes `array`."""
        return sql.SQL("{} JOIN {} AS t ON {}").format(
            self.keys, self._mirror.identifier, self.matches
        )

    @property
    def keys(self) -> sql.Composed:
        """The keys `k`, numbered by `n` from 1; takes `array`."""
        return sql.SQL("unnest(%b::{}[]) WITH ORDINALITY AS k ({}, n)").format(
            key_type(self._mirror), sql.SQL(", ").join(self._fields)
        )

    @property
    def matches(self) -> sql.Composed:
        """Whether a row of `t` has the key `k`."""
        return sql.SQL(" AND ").join(
            sql.SQL("t.{} = k.{}").format(sql.Identifier(column.name), name)
            for column, name in zip(self._mirror.key, self._fields, strict=True)
        )

    @property
    def _fields(self) -> list[sql.Identifier]:
        return [sql.Identifier(f"k{number}") for number in range(len(self._mirror.key))]

    def array(self, keys: Sequence[Key]) -> Binary:
        """An array of key records in PostgreSQL's binary form."""
        parts = [struct.pack(">iiIii", 1, 0, self._key_oid, len(keys), 1)]
        for key in keys:
            record = struct.pack(">i", len(self._oids))
            for oid, compiled, value in zip(self._oids, self._compiled, key, strict=True):
                try:
                    field_bytes = to_pg(compiled, value or b"")
                except ValueError:  # no mirror can hold it: there is no row of that key
                    field_bytes = struct.pack(">i", -1)
                record += struct.pack(">I", oid) + field_bytes
            parts += [struct.pack(">i", len(record)), record]
        return Binary(b"".join(parts))

    def oid(self, name: str) -> int:
        """The oid of a type of PostgreSQL."""
        with self._conn.transaction():
            row = self._conn.execute("SELECT %s::regtype::oid", (name,)).fetchone()
        assert row is not None
        return int(row[0])
