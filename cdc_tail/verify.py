"""Compares Cassandra with the mirror, row by row, while both are in use; changes neither.

A row that differs is looked up again until the mirror has had time to catch up: what differs then
is a difference.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session
from cassandra.protocol import ResultMessage, _ProtocolHandler
from cassandra.query import BoundStatement, PreparedStatement, SimpleStatement
from psycopg import sql

from cdc_tail.errors import ConfigError, SinkUnavailable, SourceUnavailable
from cdc_tail.verify_values import from_cassandra, from_postgres, same
from parsers.values import compile_type, to_pg
from sinks.postgres.catalog import Connection, Mirror, MirrorColumn, load_mirrors
from sinks.postgres.keytype import key_type

log = structlog.get_logger()

PAGE_ROWS: Final = 1000
RANGES: Final = 32
RECHECK_SECONDS: Final = 0.5
_MIN_TOKEN, _MAX_TOKEN = -(2**63), 2**63 - 1

Row = tuple[bytes | None, ...]


class _RawRows(ResultMessage):  # type: ignore[misc]
    """A result whose values stay the bytes that Cassandra sent."""

    def recv_results_rows(
        self, f: Any, _version: int, user_type_map: Any, result_metadata: Any, _policy: Any
    ) -> None:
        self.recv_results_metadata(f, user_type_map)
        metadata = self.column_metadata or result_metadata
        count = int.from_bytes(f.read(4), signed=True)
        self.column_names = [column[2] for column in metadata]
        self.column_types = [column[3] for column in metadata]
        self.parsed_rows = [self.recv_row(f, len(metadata)) for _ in range(count)]


class _RawHandler(_ProtocolHandler):  # type: ignore[misc]
    message_types_by_opcode = _ProtocolHandler.message_types_by_opcode | {
        ResultMessage.opcode: _RawRows
    }


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that differs: "missing" or "extra" in the mirror, or "different" in `columns`."""

    table: str
    kind: str
    key: dict[str, Any]
    columns: dict[str, tuple[Any, Any]] = field(default_factory=dict)  # name: (Cassandra, mirror)

    def __str__(self) -> str:
        key = ", ".join(f"{name}={value}" for name, value in self.key.items())
        values = "; ".join(
            f"{name}: Cassandra {expected!r}, mirror {actual!r}"
            for name, (expected, actual) in self.columns.items()
        )
        return f"{self.kind}: {self.table} ({key}) {values}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON form."""
        return {
            "table": self.table,
            "kind": self.kind,
            "key": self.key,
            "columns": {
                name: {"cassandra": expected, "mirror": actual}
                for name, (expected, actual) in self.columns.items()
            },
        }


@dataclass(slots=True)
class Result:
    """What the comparison of one relation came to."""

    table: str
    relation: str
    rows: int = 0
    differences: list[Difference] = field(default_factory=list)


class Verifier:
    """Compares the tables of a cluster with their mirrors in one database."""

    def __init__(
        self,
        session: Session,
        conn: Connection,
        *,
        settle_seconds: float = 15,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`settle_seconds` bounds how long a differing row may take to become equal.

        `session` is used by this object alone from now on; `on_rows` is told of compared rows.
        """
        self._session = session
        self._session.client_protocol_handler = _RawHandler
        self._conn = conn
        self._settle_seconds = settle_seconds
        self._on_rows = on_rows
        conn.execute("SET timezone = 'UTC'")
        conn.execute("SET intervalstyle = 'iso_8601'")
        conn.execute("SET bytea_output = 'hex'")
        conn.execute("SET datestyle = 'ISO, YMD'")
        conn.commit()

    def mirrors(self, wanted: Sequence[str] = ()) -> list[Mirror]:
        """The mirrors of existing tables, or of those named "keyspace.table".

        Raises ConfigError for a table that has no mirror.
        """
        found = [one for one in load_mirrors(self._conn) if not one.is_dropped]
        self._conn.commit()
        names = {f"{one.keyspace}.{one.table_name}" for one in found}
        for name in wanted:
            if name not in names:
                raise ConfigError(
                    f"{name} has no mirror", hint=f"mirrored: {', '.join(sorted(names)) or 'none'}"
                )
        return [one for one in found if not wanted or f"{one.keyspace}.{one.table_name}" in wanted]

    def verify(self, mirror: Mirror) -> Result:
        """Compare one relation with its table.

        Raises SourceUnavailable or SinkUnavailable where one of them does not answer.
        """
        try:
            return _Comparison(self, mirror, self._session, self._conn).run()
        except (DriverException, NoHostAvailable) as error:
            raise SourceUnavailable(f"Cassandra does not answer: {error}") from error
        except psycopg.OperationalError as error:
            raise SinkUnavailable(f"PostgreSQL does not answer: {error}") from error

    @property
    def settle_seconds(self) -> float:
        """How long a differing row may take to become equal."""
        return self._settle_seconds

    def note_rows(self, rows: int) -> None:
        """So many more rows are compared."""
        self._on_rows(rows)


class _Comparison:
    """One relation against its table."""

    def __init__(
        self, verifier: Verifier, mirror: Mirror, session: Session, conn: Connection
    ) -> None:
        self._verifier = verifier
        self._mirror = mirror
        self._session = session
        self._conn = conn
        self._table = f"{mirror.keyspace}.{mirror.table_name}"
        self._columns = (*mirror.key, *mirror.columns)
        self._n_key = len(mirror.key)
        self._compiled = [compile_type(c.cql_type, c.pg_type, key=True) for c in mirror.key]
        self._oids = [self._oid(column.pg_type) for column in mirror.key]
        self._key_oid = self._oid(key_type(mirror).as_string(conn))
        self._seen: set[int] = set()
        names = ", ".join(_quoted(column.cql_name) for column in self._columns)
        keys = [c for c in mirror.key if c.kind == "partition_key"]
        partition = ", ".join(_quoted(column.cql_name) for column in keys)
        distinct = "DISTINCT " if mirror.kind == "static" else ""
        self._scan = (
            f"SELECT {distinct}{names} FROM {_quoted(mirror.keyspace)}.{_quoted(mirror.table_name)}"
            f" WHERE token({partition}) >= %s AND token({partition}) <= %s"
        )
        self._one: PreparedStatement = session.prepare(
            f"SELECT {distinct}{names} FROM {_quoted(mirror.keyspace)}.{_quoted(mirror.table_name)}"
            " WHERE " + " AND ".join(f"{_quoted(column.cql_name)} = ?" for column in mirror.key)
        )

    def run(self) -> Result:
        result = Result(self._table, self._mirror.relation)
        suspects: list[Row] = []
        for page in self._pages():
            suspects += [row for row, found in self._compare(page) if found is not None]
            result.rows += len(page)
            self._verifier.note_rows(len(page))
        result.differences += self._settle(suspects)
        result.differences += self._extra()
        return result

    def _pages(self) -> Iterator[list[Row]]:
        """All rows of the table that the relation should hold, range by range of the ring."""
        step = (_MAX_TOKEN - _MIN_TOKEN) // RANGES
        for number in range(RANGES):
            low = _MIN_TOKEN + number * step
            high = _MAX_TOKEN if number == RANGES - 1 else low + step - 1
            rows: list[Row] = []
            statement = SimpleStatement(self._scan, fetch_size=PAGE_ROWS)
            for row in self._session.execute(statement, (low, high)):
                if self._belongs(row):
                    rows.append(tuple(row))
                if len(rows) == PAGE_ROWS:
                    yield rows
                    rows = []
            if rows:
                yield rows

    def _belongs(self, row: Row) -> bool:
        """Whether the relation should have a row for this one of SELECT.

        SELECT shows a partition that has nothing but static values as a row without clustering;
        and static values of a partition may all be null, which no static row stands for.
        """
        if self._mirror.kind == "static":
            return any(value is not None for value in row[self._n_key :])
        return all(value is not None for value in row[: self._n_key])

    def _compare(self, rows: Sequence[Row]) -> list[tuple[Row, Difference | None]]:
        """What differs between rows of Cassandra and the mirror's rows of the same keys."""
        held = self._mirror_rows([row[: self._n_key] for row in rows])
        compared: list[tuple[Row, Difference | None]] = []
        for number, row in enumerate(rows, 1):
            texts = held.get(number)
            if texts is None:
                compared.append((row, Difference(self._table, "missing", self._key(row))))
                continue
            self._seen.add(hash(texts[: self._n_key]))
            other = {}
            for column, raw, text in zip(self._columns, row, texts, strict=True):
                expected = from_cassandra(column.cql_type, column.pg_type, raw)
                actual = from_postgres(column.pg_type, text)
                if not same(expected, actual):
                    other[column.cql_name] = (_shown(expected), _shown(actual))
            difference = Difference(self._table, "different", self._key(row), other)
            compared.append((row, difference if other else None))
        return compared

    def _settle(self, suspects: list[Row]) -> list[Difference]:
        """Look at differing rows again, in both, until they are equal or the time is over."""
        deadline = time.monotonic() + self._verifier.settle_seconds
        differences: list[Difference] = []
        while suspects:
            differences = []
            again: list[Row] = []
            for start in range(0, len(suspects), PAGE_ROWS):
                present = [
                    (row, self._reread(row[: self._n_key]))
                    for row in suspects[start : start + PAGE_ROWS]
                ]
                rows = [now for _, now in present if now is not None]
                found = [one for one in self._compare(rows) if one[1] is not None]
                again += [row for row, _ in found]
                differences += [one for _, one in found if one is not None]
                # Deleted since: the look for extra rows tells whether the mirror knows.
                for row, now in present:
                    if now is None:
                        self._forget(row)
            suspects = again
            if not suspects or time.monotonic() >= deadline:
                break
            time.sleep(RECHECK_SECONDS)
        return differences

    def _reread(self, key: Row) -> Row | None:
        bound = BoundStatement(self._one)
        bound.values = list(key)
        for row in self._session.execute(bound):
            if self._belongs(row):
                return tuple(row)
        return None

    def _forget(self, row: Row) -> None:
        held = self._mirror_rows([row[: self._n_key]]).get(1)
        if held is not None:
            self._seen.discard(hash(held[: self._n_key]))

    def _extra(self) -> list[Difference]:
        """Rows of the mirror that Cassandra does not have."""
        deadline = time.monotonic() + self._verifier.settle_seconds
        while True:
            extra = [texts for texts in self._mirror_keys() if hash(texts) not in self._seen]
            if not extra:
                return []
            # Written or deleted while we looked: go through Cassandra's keys once more.
            for page in self._pages():
                for texts in self._mirror_rows([row[: self._n_key] for row in page]).values():
                    self._seen.add(hash(texts[: self._n_key]))
            still = set(self._mirror_keys())
            extra = [one for one in extra if hash(one) not in self._seen and one in still]
            if not extra or time.monotonic() >= deadline:
                return [Difference(self._table, "extra", self._text_key(one)) for one in extra]
            time.sleep(RECHECK_SECONDS)

    def _mirror_keys(self) -> Iterator[tuple[str | None, ...]]:
        names = sql.SQL(", ").join(
            sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in self._mirror.key
        )
        query = sql.SQL("SELECT {} FROM {}").format(names, self._mirror.identifier)
        with self._conn.transaction(), self._conn.cursor("cdc_tail_verify") as cursor:
            cursor.itersize = 10_000
            cursor.execute(query)
            for row in cursor:
                yield tuple(row)

    def _mirror_rows(self, keys: Sequence[Row]) -> dict[int, tuple[str | None, ...]]:
        """Texts of the mirror's rows by the number of their key in `keys`, from 1."""
        if not keys:
            return {}
        fields = [sql.Identifier(f"k{number}") for number in range(self._n_key)]
        query = sql.SQL(
            "SELECT k.n, {columns} FROM unnest(%b::{type}[]) WITH ORDINALITY AS k ({fields}, n)"
            " JOIN {relation} AS t ON {on}"
        ).format(
            columns=sql.SQL(", ").join(
                sql.SQL("t.{}::text").format(sql.Identifier(c.name)) for c in self._columns
            ),
            type=key_type(self._mirror),
            fields=sql.SQL(", ").join(fields),
            relation=self._mirror.identifier,
            on=sql.SQL(" AND ").join(
                sql.SQL("t.{} = k.{}").format(sql.Identifier(column.name), name)
                for column, name in zip(self._mirror.key, fields, strict=True)
            ),
        )
        with self._conn.transaction(), self._conn.cursor() as cursor:
            cursor.execute(query, [_Binary(self._key_array(keys))])
            return {row[0]: tuple(row[1:]) for row in cursor}

    def _key_array(self, keys: Sequence[Row]) -> bytes:
        """An array of key records in PostgreSQL's binary form."""
        parts = [struct.pack(">iiIii", 1, 0, self._key_oid, len(keys), 1)]
        for key in keys:
            record = struct.pack(">i", self._n_key)
            for oid, compiled, value in zip(self._oids, self._compiled, key, strict=True):
                try:
                    field_bytes = to_pg(compiled, value or b"")
                except ValueError:  # no mirror can hold it: a row of that key is missing
                    field_bytes = struct.pack(">i", -1)
                record += struct.pack(">I", oid) + field_bytes
            parts += [struct.pack(">i", len(record)), record]
        return b"".join(parts)

    def _oid(self, name: str) -> int:
        with self._conn.transaction():
            row = self._conn.execute("SELECT %s::regtype::oid", (name,)).fetchone()
        assert row is not None
        return int(row[0])

    def _key(self, row: Row) -> dict[str, Any]:
        return {
            column.cql_name: _shown(from_cassandra(column.cql_type, column.pg_type, value))
            for column, value in zip(self._mirror.key, row, strict=False)
        }

    def _text_key(self, texts: Sequence[str | None]) -> dict[str, Any]:
        named: Iterator[tuple[MirrorColumn, str | None]] = zip(self._mirror.key, texts, strict=True)
        return {column.cql_name: _shown(from_postgres(column.pg_type, t)) for column, t in named}


class _Binary:
    """A parameter in binary form; its cast tells the type."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class _BinaryDumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY

    def dump(self, obj: _Binary) -> bytes:
        return obj.data


psycopg.adapters.register_dumper(_Binary, _BinaryDumper)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _shown(value: Any) -> Any:
    """The value as JSON can show it."""
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
