"""Compares Cassandra with the mirror while both are in use: sums of rows first, then single rows.

A row that differs is looked up again until the mirror has had time to catch up: what differs then
is a difference. Nothing is changed, unless repair is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psycopg
from cassandra import DriverException
from cassandra.cluster import NoHostAvailable, Session

from cdc_tail.errors import ConfigError, SinkUnavailable, SourceUnavailable
from cdc_tail.raw_rows import RawReader
from cdc_tail.repair import Repairer
from cdc_tail.schema_source import refresh_schema
from cdc_tail.selecting import check_partitioner
from cdc_tail.verify_table import Comparison, Difference
from parsers._catalog import CompiledTable
from parsers.encode import decoded_key
from parsers.schema_log import SchemaLog
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import Connection, Mirror, load_mirrors, mirrors_of
from sinks.postgres.masks import column_masks
from sinks.postgres.target import Target, column_types
from sinks.postgres.truncate import truncations_seen

PAGE_ROWS: Final = 1000


@dataclass(slots=True)
class Result:
    """What the comparison of one relation came to."""

    table: str
    relation: str
    rows: int = 0
    rows_compared: int = 0  # one by one, because a sum differed
    repaired: int = 0
    differences: list[Difference] = field(default_factory=list)


class Verifier:
    """Compares the tables of a cluster with their mirrors in one database."""

    def __init__(
        self,
        session: Session,
        conn: Connection,
        *,
        settle_seconds: float = 15,
        consistency: str = "LOCAL_QUORUM",
        repair: bool = False,
        mask_key: bytes | None = None,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`settle_seconds` bounds how long a differing row may take to become equal.

        `conn` is this object's alone from now on; `on_rows` is told of compared rows; `mask_key` is
        mirror.mask_key. Raises SourceUnavailable where the cluster does not answer.
        """
        self._conn = conn
        self._settle_seconds = settle_seconds
        self._on_rows = on_rows
        self._repair = repair
        self._mask_key = mask_key
        check_partitioner(session)
        self._reader = RawReader(session, consistency)
        self._schema = SchemaLog()
        refresh_schema(session, self._schema)
        self._sink = PostgresSink(conn)
        self._sink.past_truncation_us = truncations_seen(conn)
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
        """Compare one relation with its table, and write the right rows where that is asked for.

        Raises SourceUnavailable or SinkUnavailable where one of them does not answer, ConfigError
        where Cassandra does not have the table.
        """
        with _answers():
            return self._verify(mirror)

    def settle(self, mirror: Mirror, rows: Sequence[tuple[bytes, bytes]]) -> int:
        """Write single rows as SELECT gives them, by partition key and clustering as serialized.

        Returns how many were written: a row that changes meanwhile is left to the log. Raises what
        `verify` raises.
        """
        with _answers():
            # Asked for in many calls: one attachment serves them all.
            attached = self._sink.targets().get(mirror.mirror_id)
            compiled, target = attached or self._attach(mirror)
            keys = [decoded_key(compiled.table, *one) for one in rows]
            return self._repairer(compiled, target).repair(keys)

    def _verify(self, mirror: Mirror) -> Result:
        compiled, target = self._attach(mirror)
        comparison = Comparison(
            self._reader,
            self._conn,
            compiled.table,
            target,
            page_rows=PAGE_ROWS,
            settle_seconds=self._settle_seconds,
            on_rows=self._on_rows,
        )
        found = comparison.run()
        result = Result(
            str(compiled.table),
            mirror.relation,
            comparison.rows,
            comparison.rows_compared,
            differences=[one.difference for one in found],
        )
        if self._repair and found:
            repairer = self._repairer(compiled, target)
            result.repaired = repairer.repair([one.key for one in found])
        return result

    def _repairer(self, compiled: CompiledTable, target: Target) -> Repairer:
        return Repairer(self._reader, self._sink, self._schema.schema, compiled, target)

    def _attach(self, mirror: Mirror) -> tuple[CompiledTable, Target]:
        table = self._schema.schema.by_id(mirror.table_id)
        if table is None:
            name = f"{mirror.keyspace}.{mirror.table_name}"
            raise ConfigError(
                f"Cassandra has no table {name} with the id {mirror.table_id}",
                hint="it was dropped; its mirror is kept, and can be dropped by hand",
            )
        with self._conn.transaction():
            mirrors = mirrors_of(self._conn, table)
            masks = column_masks(self._conn, mirrors, self._mask_key)
            compiled = CompiledTable(table, "mirror", column_types(table, mirrors), masks=masks)
            self._sink.attach(compiled, mirrors)
        return self._sink.targets()[mirror.mirror_id]


@contextmanager
def _answers() -> Iterator[None]:
    try:
        yield
    except (DriverException, NoHostAvailable) as error:
        raise SourceUnavailable(f"Cassandra does not answer: {error}") from error
    except psycopg.OperationalError as error:
        raise SinkUnavailable(f"PostgreSQL does not answer: {error}") from error
