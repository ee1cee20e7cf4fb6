"""Rows of a mirror written anew as SELECT gives them, where comparing found that they differ.

A row that changes between the looks at both sides is left to the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from psycopg import sql

from cdc_tail.errors import SchemaMismatch
from cdc_tail.mirror_keys import Key, MirrorKeys
from cdc_tail.own_mutations import add_mutation
from cdc_tail.raw_rows import RawReader
from cdc_tail.selecting import TableReader, as_of
from parsers._catalog import CompiledTable
from parsers._held import held_times
from parsers.decoder import Batch, build_catalog
from parsers.encode import Liveness, clustering_bytes, encoded_key
from parsers.schema import Schema, Table
from parsers.selected import Held, HeldCell
from parsers.selected_cells import AsOf
from sinks.postgres.applier import PostgresSink
from sinks.postgres.ddl import lock_buckets
from sinks.postgres.target import Target

ROWS_AT_ONCE: Final = 100

# What is doubted of a row is in doubt no longer, either.
_FORGET: Final = """
WITH gone AS (SELECT * FROM unnest(%s::bytea[], %s::bytea[]) AS u (pk, ck)),
     undue AS (DELETE FROM cdc_tail.expiry AS e USING gone
                WHERE (e.mirror_id, e.pk, e.ck) = (%s, gone.pk, gone.ck))
DELETE FROM cdc_tail.dead_row AS d USING gone
 WHERE (d.mirror_id, d.pk, d.ck) = (%s, gone.pk, gone.ck)
"""


class Repairer:
    """Writes single rows of one mirror relation anew."""

    def __init__(
        self,
        reader: RawReader,
        sink: PostgresSink,
        schema: Schema,
        compiled: CompiledTable,
        target: Target,
    ) -> None:
        """`compiled` is attached to the sink already."""
        self._table: Table = compiled.table
        self._compiled = compiled
        self._reader = TableReader(reader, self._table, page_rows=ROWS_AT_ONCE)
        self._sink = sink
        self._keys = MirrorKeys(sink.connection, target.mirror)
        self._target = target
        self._is_static = target.mirror.kind == "static"
        self._catalog = build_catalog([compiled], schema.all_by_id().values())

    def repair(self, keys: Sequence[Key]) -> int:
        """Make the rows of these primary keys what SELECT gives; returns how many were written.

        Raises what reading and applying raise.
        """
        return sum(
            self._some(keys[start : start + ROWS_AT_ONCE])
            for start in range(0, len(keys), ROWS_AT_ONCE)
        )

    def _some(self, keys: Sequence[Key]) -> int:
        before = self._states(keys)
        told = [self._select(key) for key in keys]
        conn = self._sink.connection
        batch = Batch(self._catalog)
        with conn.transaction():
            lock_buckets(conn, [self._target.mirror])
            now = self._states(keys)
            steady = [
                number for number in range(len(keys)) if now.get(number) == before.get(number)
            ]
            for number in steady:
                row, when = told[number]
                mutation = self._reader.selection.exactly(
                    keys[number], row, self._held(now.get(number)), when, static=self._is_static
                )
                if mutation is not None:
                    add_mutation(batch, mutation, self._table)
            self._forget([keys[number] for number in steady])
            self._sink.apply(batch, lambda _: None)
        return len(steady)

    def _select(self, key: Key) -> tuple[list[bytes | None] | None, AsOf]:
        """The row that SELECT gives, if it does."""
        page = self._reader.rows_of(key, only_first=True)
        return (page.rows[0] if page.rows else None), as_of(page)

    def _states(self, keys: Sequence[Key]) -> dict[int, bytes]:
        """The states of the rows that exist, by the number of their key."""
        query = sql.SQL("SELECT k.n, t.{} FROM {}").format(
            sql.Identifier(self._target.mirror.state_column), self._keys.rows
        )
        with self._sink.connection.transaction():
            rows = self._sink.connection.execute(query, [self._keys.array(keys)]).fetchall()
        return {int(number) - 1: bytes(state) for number, state in rows}

    def _held(self, state: bytes | None) -> Held:
        if state is None:
            return Held()
        try:
            newest_us, liveness, cells, newest = held_times(self._target.relation, state)
        except SchemaMismatch:  # somebody else's row: nothing is known of its times
            return Held()
        names = [column.name for column in self._compiled.columns]
        return Held(
            newest_us,
            None if liveness is None else Liveness(*liveness),
            [HeldCell(names[column], path, us, context) for column, path, us, context in cells],
            {names[column]: us for column, us in newest.items()},
        )

    def _forget(self, keys: Sequence[Key]) -> None:
        """Take the rows out, and what is kept of them: they are written from nothing."""
        conn = self._sink.connection
        mirror = self._target.mirror
        if not keys:
            return
        conn.execute(
            sql.SQL("DELETE FROM {} AS t USING {} WHERE {}").format(
                mirror.identifier, self._keys.keys, self._keys.matches
            ),
            [self._keys.array(keys)],
        )
        n = len(self._table.partition_key)
        conn.execute(
            _FORGET,
            (
                [encoded_key([value or b"" for value in key[:n]]) for key in keys],
                [clustering_bytes(self._table, key[n:]) if key[n:] else b"" for key in keys],
                mirror.mirror_id,
                mirror.mirror_id,
            ),
        )
