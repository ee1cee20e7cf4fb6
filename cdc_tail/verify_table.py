"""One mirror relation held against its table; see verify.py for what it promises."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from psycopg import sql

from cdc_tail.errors import SchemaMismatch
from cdc_tail.mirror_keys import MirrorKeys
from cdc_tail.raw_rows import RawReader
from cdc_tail.selecting import RangeReader, token_of, token_ranges
from cdc_tail.verify_checksum import RowSums
from cdc_tail.verify_keys import KeySums, bucket_of
from cdc_tail.verify_masks import expected_value
from cdc_tail.verify_values import from_cassandra, from_postgres, same
from parsers._rowkey import row_key
from parsers.encode import clustering_bytes, decoded_key, encoded_key
from parsers.schema import Table
from parsers.selected import quoted
from sinks.postgres.catalog import Connection
from sinks.postgres.pages import ROWS_AT_ONCE, read_keys
from sinks.postgres.target import Target

RANGES: Final = 32
RECHECK_SECONDS: Final = 0.5

Row = Sequence[bytes | None]
# A state that says nothing: for a row whose own state is damaged.
_BARE_STATE: Final = b"\0"


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


@dataclass(frozen=True, slots=True)
class Found:
    """A difference, and the row's key as Cassandra has it."""

    difference: Difference
    key: Row


class Comparison:
    """One relation against its table."""

    def __init__(
        self,
        reader: RawReader,
        conn: Connection,
        table: Table,
        target: Target,
        *,
        page_rows: int,
        settle_seconds: float,
        on_rows: Callable[[int], None],
    ) -> None:
        mirror = target.mirror
        self._mirror = mirror
        self._target = target
        self._cql_table = table
        self._conn = conn
        self._settle_seconds = settle_seconds
        self._on_rows = on_rows
        self._page_rows = page_rows
        self._table = f"{mirror.keyspace}.{mirror.table_name}"
        self._columns = (*mirror.key, *mirror.columns)
        self._n_key = len(mirror.key)
        self._n_partition_key = len(table.partition_key)
        self._keys = MirrorKeys(conn, mirror)
        self._masks = target.relation.table.masks
        self._sums = RowSums(self._columns, self._keys.oid, self._masks)
        self._reader = RangeReader(
            reader,
            table,
            [quoted(column.cql_name) for column in self._columns],
            page_rows=page_rows,
            distinct=mirror.kind == "static",
        )
        self.rows = 0
        self.rows_compared = 0

    def run(self) -> list[Found]:
        """The rows that differ. Raises what the driver and psycopg raise."""
        suspects: list[Row] = []
        seen = KeySums()
        for start, end in token_ranges(RANGES):
            for page, _ in self._reader.pages(start, end):
                rows = [row for row in page.rows if self._belongs(row)]
                self._note_keys(seen, rows)
                suspects += self._differing(rows)
                self.rows += len(rows)
                self._on_rows(len(rows))
        return self._settle(suspects) + self._extra(seen)

    def _note_keys(self, seen: KeySums, rows: Sequence[Row]) -> None:
        last: Row | None = None
        token = 0
        n = self._n_partition_key
        for row in rows:
            if row[:n] != last:
                last = row[:n]
                partition_key = self._partition_key(row)
                token = token_of(partition_key)
            seen.add(token, (partition_key, self._clustering(row)))

    def _partition_key(self, key: Row) -> bytes:
        return encoded_key([value or b"" for value in key[: self._n_partition_key]])

    def _clustering(self, key: Row) -> bytes:
        values = key[self._n_partition_key : self._n_key]
        return clustering_bytes(self._cql_table, values) if values else b""

    def _belongs(self, row: Row) -> bool:
        """Whether the relation should have a row for this one of SELECT.

        SELECT shows a partition that has nothing but static values as a row without clustering;
        and static values of a partition may all be null, which no static row stands for.
        """
        if self._mirror.kind == "static":
            return any(value is not None for value in row[self._n_key :])
        return all(value is not None for value in row[: self._n_key])

    def _differing(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that differ, looked at one by one only where the sum of all does."""
        expected = self._sums.add(rows) if rows else 0
        if not rows or (
            expected is not None
            and self._sum([self._key_of(r) for r in rows]) == (len(rows), expected)
        ):
            return []
        self.rows_compared += len(rows)
        return [row for row, found in self._compare(rows) if found is not None]

    def _key_of(self, row: Row) -> Row:
        return row[: self._n_key]

    def _compare(self, rows: Sequence[Row]) -> list[tuple[Row, Difference | None]]:
        """What differs between rows of Cassandra and the mirror's rows of the same keys."""
        held = self._mirror_rows([self._key_of(row) for row in rows])
        compared: list[tuple[Row, Difference | None]] = []
        for number, row in enumerate(rows, 1):
            texts = held.get(number)
            if texts is None:
                compared.append((row, Difference(self._table, "missing", self._key(row))))
                continue
            other = {}
            for column, raw, text in zip(self._columns, row, texts, strict=True):
                expected = expected_value(column, self._masks.get(column.cql_name), raw)
                actual = from_postgres(column.pg_type, text)
                if not same(expected, actual):
                    other[column.cql_name] = (_shown(expected), _shown(actual))
            difference = Difference(self._table, "different", self._key(row), other)
            compared.append((row, difference if other else None))
        return compared

    def _settle(self, suspects: list[Row]) -> list[Found]:
        """Look at differing rows again, in both, until they are equal or the time is over."""
        deadline = time.monotonic() + self._settle_seconds
        while suspects:
            found: list[Found] = []
            for start in range(0, len(suspects), self._page_rows):
                keys = [self._key_of(row) for row in suspects[start : start + self._page_rows]]
                found += self._look_again(keys)
            if not found or time.monotonic() >= deadline:
                return found
            suspects = [one.key for one in found]
            time.sleep(RECHECK_SECONDS)
        return []

    def _look_again(self, keys: Sequence[Row]) -> list[Found]:
        """What differs now of the rows with these keys."""
        now = [(key, self._reread(key)) for key in keys]
        rows = [row for _, row in now if row is not None]
        found = [
            Found(difference, self._key_of(row))
            for row, difference in (self._compare(rows) if rows else ())
            if difference is not None
        ]
        gone = [key for key, row in now if row is None]
        for number in self._mirror_rows(gone):
            key = gone[number - 1]
            found.append(Found(Difference(self._table, "extra", self._key(key)), key))
        return found

    def _reread(self, key: Row) -> Row | None:
        page = self._reader.rows_of(key)
        return next((row for row in page.rows if self._belongs(row)), None)

    def _extra(self, seen: KeySums) -> list[Found]:
        """Rows of the mirror that Cassandra does not have."""
        held = KeySums()
        for token, serialized in self._mirror_keys():
            held.add(token, serialized)
        buckets = seen.differing(held)
        if not buckets:
            return []
        suspects = []
        for token, serialized in self._mirror_keys():
            if bucket_of(token) in buckets:
                key = decoded_key(self._cql_table, *serialized)
                if self._reread(key) is None:
                    suspects.append(key)
        return self._settle(list(suspects))

    def _mirror_keys(self) -> Iterator[tuple[int, tuple[bytes, bytes]]]:
        """Tokens and serialized keys of all rows of the mirror, in the order of its key."""
        after: list[bytes] | None = None
        while True:
            with self._conn.transaction():
                rows = read_keys(self._conn, self._target, after)
            for *fields, state in rows:
                try:
                    key = row_key(self._target.relation, state, fields)
                except SchemaMismatch:  # the rest of the row is then to be repaired, too
                    key = row_key(self._target.relation, _BARE_STATE, fields)
                yield token_of(key[0]), key
            if len(rows) < ROWS_AT_ONCE:
                return
            after = rows[-1][:-1]

    def _sum(self, keys: Sequence[Row]) -> tuple[int, int]:
        """How many rows the mirror has of these keys, and the sum of them."""
        query = sql.SQL("SELECT count(*), coalesce({}, 0) FROM {}").format(
            self._sums.expression("t"), self._keys.rows
        )
        with self._conn.transaction():
            row = self._conn.execute(query, [self._keys.array(keys)]).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def _mirror_rows(self, keys: Sequence[Row]) -> dict[int, tuple[str | None, ...]]:
        """Texts of the mirror's rows by the number of their key in `keys`, from 1."""
        if not keys:
            return {}
        query = sql.SQL("SELECT k.n, {} FROM {}").format(
            sql.SQL(", ").join(
                sql.SQL("t.{}::text").format(sql.Identifier(c.name)) for c in self._columns
            ),
            self._keys.rows,
        )
        with self._conn.transaction(), self._conn.cursor() as cursor:
            cursor.execute(query, [self._keys.array(keys)])
            return {row[0]: tuple(row[1:]) for row in cursor}

    def _key(self, row: Row) -> dict[str, Any]:
        return {
            column.cql_name: _shown(from_cassandra(column.cql_type, column.pg_type, value))
            for column, value in zip(self._mirror.key, row, strict=False)
        }


def _shown(value: Any) -> Any:
    """The value as JSON can show it."""
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
