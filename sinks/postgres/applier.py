"""One batch, one transaction: locks, reads, merge, writes, checkpoint.

Who holds the lock on a bucket owns the rows of its partitions, so reading, deciding in C and
writing need no further locks, and several sidecars that apply the same rows wait for each other in
one order. What is decided, `parsers._work` decides; this module only asks and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from cdc_tail.errors import (
    MirrorChanged,
    RowRejected,
    SchemaMismatch,
    SinkConflict,
    SinkUnavailable,
    first_line,
)
from cdc_tail.failpoints import point
from parsers._work import RelationWork
from parsers.decoder import Batch, CompiledTable
from sinks.base import Applied
from sinks.postgres.binary import Binary, BinaryDumper
from sinks.postgres.catalog import BUCKETS, Connection, Mirror
from sinks.postgres.refusal import Refusal, apply_by_halves, is_of_rows
from sinks.postgres.scan import scanned
from sinks.postgres.target import Target, make_target

# Every statement looks rows up by their whole key, so a plain index scan per key is right whatever
# the planner believes of sizes. Left to itself it hashes the whole relation (64 ms for 20,000 keys
# among 200,000 rows, and growing with them), or scans by bitmap (42 ms) where this takes 30 ms.
# Generic plans: no planning over and over with arrays of megabytes.
_SESSION: Final = """
SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off;
SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off
"""

# The class of SQLSTATE of deadlocks.
_ROLLED_BACK: Final = "40"
# COPY data is made and sent in pieces: PostgreSQL inserts one while we make the next.
_COPY_BYTES: Final = 1 << 17

_LOCK_BUCKETS: Final = b"""
SELECT b.mirror_id, b.bucket, b.generation,
       b.newest_dead_row_us, b.newest_partition_us, b.truncated_us,
       floor(extract(epoch FROM clock_timestamp()))::int8
  FROM cdc_tail.bucket b
  JOIN unnest($1::int4[], $2::int2[]) AS wanted (mirror_id, bucket) USING (mirror_id, bucket)
 ORDER BY b.mirror_id, b.bucket
   FOR UPDATE OF b
"""

_READ_PARTITIONS: Final = b"""
SELECT array_agg(k.n::int4), array_agg(p.state)
  FROM unnest($1::bytea[]) WITH ORDINALITY AS k (pk, n)
  JOIN cdc_tail.partition_tombstone p ON p.mirror_id = $2 AND p.pk = k.pk
"""

_KEEP_EXPIRIES: Final = b"""
INSERT INTO cdc_tail.expiry (mirror_id, pk, ck, due_at)
SELECT $4, pk, ck, due
  FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS new (pk, ck, due)
    ON CONFLICT (mirror_id, pk, ck) DO UPDATE SET due_at = excluded.due_at
"""

_READ_DEAD: Final = b"""
SELECT array_agg(k.n::int4), array_agg(d.state)
  FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS k (pk, ck, n)
  JOIN cdc_tail.dead_row d ON d.mirror_id = $3 AND d.pk = k.pk AND d.ck = k.ck
"""

_KEEP_DEAD: Final = b"""
INSERT INTO cdc_tail.dead_row (mirror_id, pk, ck, state, purge_at)
SELECT $5, pk, ck, state, to_timestamp(purge)
  FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[]) AS new (pk, ck, state, purge)
"""

_KEEP_PARTITIONS: Final = b"""
INSERT INTO cdc_tail.partition_tombstone (mirror_id, pk, state, purge_at)
SELECT $4, pk, state, to_timestamp(purge)
  FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS new (pk, state, purge)
"""

_RAISE_WATERMARKS: Final = b"""
UPDATE cdc_tail.bucket b
   SET newest_dead_row_us = greatest(b.newest_dead_row_us, new.dead_us),
       newest_partition_us = greatest(b.newest_partition_us, new.partition_us)
  FROM unnest($2::int2[], $3::int8[], $4::int8[]) AS new (bucket, dead_us, partition_us)
 WHERE b.mirror_id = $1 AND b.bucket = new.bucket
"""


class PostgresSink:
    """Applies batches over one connection.

    A table's rows are taken once its mirrors were handed to `attach`.
    """

    def __init__(self, connection: Connection) -> None:
        """`connection` is this sink's own, and not in autocommit mode. Raises psycopg.Error."""
        self.connection = connection
        connection.adapters.register_dumper(Binary, BinaryDumper)
        with connection.transaction():
            connection.execute(_SESSION)
        self._targets: dict[CompiledTable, list[Target]] = {}
        # By table id: the time (microseconds) of the last TRUNCATE that the batches to come are
        # past. Where a table's mirrors have seen a later one, they say nothing up to that.
        self.past_truncation_us: dict[UUID, int] = {}

    def attach(self, compiled: CompiledTable, mirrors: Iterable[Mirror]) -> None:
        """Write rows of `compiled` into these mirrors from now on, in the caller's transaction."""
        self._targets[compiled] = [
            make_target(self.connection, compiled, mirror) for mirror in mirrors
        ]

    def keep_only(self, compiled: Iterable[CompiledTable]) -> None:
        """Forget every other table: definitions that no batch will be decoded with any more."""
        wanted = set(compiled)
        self._targets = {one: kept for one, kept in self._targets.items() if one in wanted}

    def targets(self) -> dict[int, tuple[CompiledTable, Target]]:
        """By mirror id: the table attached to it and the mirror as it is written."""
        return {
            target.mirror.mirror_id: (compiled, target)
            for compiled, targets in self._targets.items()
            for target in targets
        }

    def mirror_ids(self, table_ids: Collection[UUID]) -> list[int]:
        """The mirrors attached to these tables."""
        return [
            mirror_id
            for mirror_id, (compiled, _) in self.targets().items()
            if compiled.table.id in table_ids
        ]

    def owners(self) -> dict[int, tuple[CompiledTable, bool]]:
        """By mirror id: the table attached to it, and whether the mirror holds its static rows."""
        return {
            target.mirror.mirror_id: (compiled, bool(target.relation.static))
            for compiled, targets in self._targets.items()
            for target in targets
        }

    def apply(
        self,
        batch: Batch,
        commit: Callable[[Connection], None],
        *,
        now_s: int | None = None,
        refused: Callable[[list[Refusal]], None] | None = None,
        stored_until_us: int | None = None,
        whole: Collection[int] = (),
    ) -> Applied:
        """Merge the batch into the mirrors and commit, with what `commit` writes.

        `now_s` (epoch seconds) decides what has expired; PostgreSQL's present by default, because
        what a wrong local clock let expire would not come back. With `refused` the rows that
        PostgreSQL refuses are left out, and told to it before `commit` is called. Of the rows that
        are stored, what was written up to `stored_until_us` is deleted. `whole` are ids of mirrors
        of which `commit` changes every bucket: they are locked in one order with those of the
        batch.

        Raises SinkUnavailable where the same batch may succeed later, SchemaMismatch where a mirror
        has changed (attach it again), RowRejected where PostgreSQL refuses a value.
        """
        try:
            try:
                with self.connection.transaction():
                    applied = self._apply(batch, now_s, stored_until_us, whole)
                    commit(self.connection)
                return applied
            except psycopg.Error as error:
                if refused is None or len(batch) == 0 or not is_of_rows(error):
                    raise
            with self.connection.transaction():
                # All at once and first, as everybody takes them; the parts take them again.
                self._lock(self._works(batch), whole)
                applied, refusals = apply_by_halves(
                    self.connection,
                    batch,
                    lambda part: self._apply(part, now_s, stored_until_us),
                )
                refused(refusals)
                commit(self.connection)
            return applied
        except psycopg.Error as error:
            raise translated(error) from error

    def _apply(
        self,
        batch: Batch,
        now_s: int | None,
        stored_until_us: int | None,
        whole: Collection[int] = (),
    ) -> Applied:
        applied = Applied()
        works = self._works(batch)
        locked_at_s = self._lock(works, whole)
        point("sink.locked")
        self._read_rows(works)
        for target, work in works:
            if stored_until_us is not None:
                work.delete_stored(stored_until_us)
            part = self._apply_relation(target, work, locked_at_s if now_s is None else now_s)
            table = f"{target.mirror.keyspace}.{target.mirror.table_name}"
            part.by_table[table] = part.inserted + part.updated + part.deleted
            applied += part
        return applied

    def _works(self, batch: Batch) -> list[tuple[Target, RelationWork]]:
        """The touched relations, in the order of their locks."""
        works = []
        for compiled in batch.touched():
            targets = self._targets.get(compiled)
            if targets is None:
                raise SchemaMismatch(f"no mirror is attached for {compiled.table}")
            for target in targets:
                work = RelationWork(batch, target.relation)
                if work.n_items or work.n_partitions:
                    works.append((target, work))
        works.sort(key=lambda pair: pair[0].mirror.mirror_id)
        return works

    def _lock(self, works: Sequence[tuple[Target, RelationWork]], whole: Collection[int]) -> int:
        """Own the buckets of the works and all of the mirrors in `whole`; PostgreSQL's time then.

        Epoch seconds; 0 if there is nothing to lock.
        """
        wanted = {
            (target.mirror.mirror_id, bucket) for target, work in works for bucket in work.buckets()
        }
        wanted |= {(mirror_id, bucket) for mirror_id in whole for bucket in range(BUCKETS)}
        if not wanted:
            return 0
        by_mirror = {target.mirror.mirror_id: (target, work) for target, work in works}
        rows = self._execute(
            _LOCK_BUCKETS, [[pair[0] for pair in wanted], [pair[1] for pair in wanted]]
        ).fetchall()
        if len(rows) != len(wanted):
            raise SchemaMismatch(
                "rows of cdc_tail.bucket are missing",
                hint="something else wrote cdc_tail.bucket; restore it from a backup",
            )
        for mirror_id, bucket, generation, dead_us, partition_us, truncated_us, _ in rows:
            if mirror_id not in by_mirror:
                continue
            target, work = by_mirror[mirror_id]
            if generation != target.mirror.generation:
                raise MirrorChanged(
                    f"the mirror of {target.relation.table.table} has changed",
                    table=str(target.relation.table.table),
                )
            past_us = self.past_truncation_us.get(target.mirror.table_id)
            is_past = truncated_us is None or (past_us is not None and past_us >= truncated_us)
            work.set_watermarks(bucket, dead_us, partition_us, None if is_past else truncated_us)
        return int(rows[0][-1])

    def _read_rows(self, works: Sequence[tuple[Target, RelationWork]]) -> None:
        """Ask for the states of all rows of all relations in one round trip."""
        asked = []
        with self.connection.pipeline():
            for target, work in works:
                keys = work.row_keys()
                if keys is not None:
                    asked.append((work, self._execute(target.read_states, [Binary(keys)])))
        for work, cursor in asked:
            work.load_rows(*_fields(cursor))

    def _apply_relation(self, target: Target, work: RelationWork, now_s: int) -> Applied:
        mirror_id = target.mirror.mirror_id
        partitions = work.partition_keys()
        if partitions is not None:
            work.load_partitions(*self._arrays(_READ_PARTITIONS, [Binary(partitions), mirror_id]))
        dead = work.dead_keys()
        if dead is not None:
            work.load_dead(*self._arrays(_READ_DEAD, [*map(Binary, dead), mirror_id]))
        if work.decide(now_s):
            tied, columns = work.tied_columns()
            numbers, *values = self._arrays(target.read_values(columns), [Binary(tied)])
            work.load_values(numbers, columns, values)
            work.decide(now_s)
        point("sink.read")
        applied = self._write(target, work)
        scan = work.scan_keys()
        if scan is not None:
            for numbers, states, *clusterings in scanned(self.connection, target, scan):
                page = work.for_scan()
                page.load_scan(numbers, states, clusterings)
                page.decide(now_s)
                applied += self._write(target, page)
        return applied

    def _write(self, target: Target, work: RelationWork) -> Applied:
        same, new, changed, gone, dead = work.counted()
        mirror_id = target.mirror.mirror_id
        gone_keys = work.gone_keys()
        if gone_keys is not None:
            self._expect(gone, target.delete, [Binary(gone_keys)], target)
            point("sink.deleted")
        if changed:
            self._update(target, work, changed)
            point("sink.updated")
        if new:
            with self.connection.cursor() as cursor, cursor.copy(target.copy) as copy:
                while (data := work.new_rows(_COPY_BYTES)) is not None:
                    copy.write(data)
                    point("sink.copying")
            point("sink.copied")
        dead_rows = work.dead_rows()
        if dead_rows is not None:
            self._execute(_KEEP_DEAD, [*map(Binary, dead_rows), mirror_id])
            point("sink.dead_rows")
        expiries = work.expiries()
        if expiries is not None:
            self._execute(_KEEP_EXPIRIES, [*map(Binary, expiries), mirror_id])
            point("sink.expiries")
        tombstones = work.partition_tombstones()
        if tombstones is not None:
            self._execute(_KEEP_PARTITIONS, [*map(Binary, tombstones), mirror_id])
            point("sink.tombstones")
        raised = work.raised_watermarks()
        if raised:
            self._execute(
                _RAISE_WATERMARKS,
                [
                    mirror_id,
                    list(raised),
                    [dead_us for dead_us, _ in raised.values()],
                    [partition_us for _, partition_us in raised.values()],
                ],
            )
            point("sink.watermarks")
        return Applied(
            inserted=new,
            updated=changed,
            deleted=gone,
            unchanged=same,
            dead=dead,
            partition_tombstones=0 if tombstones is None else work.n_partitions,
        )

    def _update(self, target: Target, work: RelationWork, rows: int) -> None:
        """Write the changed rows where their states were read, which spares a second look-up.

        Others may update columns of their own, which moves a row: then all are written by key.
        """
        changes = work.changed_rows()
        assert changes is not None  # as they were counted
        records, masks, attributes = changes
        parameters = [Binary(records), *map(Binary, masks)]
        places = work.changed_places()
        if places is not None:
            in_place = target.update(attributes, len(masks), in_place=True)
            if self._execute(in_place, [*parameters, Binary(places)]).rowcount == rows:
                return
        self._expect(rows, target.update(attributes, len(masks)), parameters, target)

    def _execute(
        self, statement: bytes | sql.Composed, parameters: Sequence[object]
    ) -> psycopg.RawCursor[Any]:
        cursor = psycopg.RawCursor(self.connection)
        return cursor.execute(statement, parameters, prepare=True, binary=True)

    def _arrays(
        self, statement: bytes | sql.Composed, parameters: Sequence[object]
    ) -> list[bytes | None]:
        return _fields(self._execute(statement, parameters))

    def _expect(
        self,
        rows: int,
        statement: bytes | sql.Composed,
        parameters: Sequence[object],
        target: Target,
    ) -> None:
        """Execute a statement that must touch exactly so many rows."""
        touched = self._execute(statement, parameters).rowcount
        if touched != rows:
            raise SchemaMismatch(
                f"{rows} rows were to be written, {touched} were there",
                hint="something else writes the mirror; `cdc-tail verify` finds what differs",
                table=str(target.relation.table.table),
            )


def _fields(cursor: psycopg.RawCursor[Any]) -> list[bytes | None]:
    """The fields of a one-row answer as they came: arrays in binary form, or None."""
    result = cursor.pgresult
    assert result is not None
    return [result.get_value(0, column) for column in range(result.nfields)]


def translated(error: psycopg.Error) -> SinkUnavailable | RowRejected | SchemaMismatch:
    """The error of ours for one of PostgreSQL's."""
    message = first_line(error)
    if is_of_rows(error):
        return RowRejected(f"PostgreSQL refuses a row: {message}")
    if isinstance(error, psycopg.ProgrammingError):
        return SchemaMismatch(f"PostgreSQL refuses a statement: {message}")
    if (error.sqlstate or "").startswith(_ROLLED_BACK):
        return SinkConflict(f"another transaction was in the way: {message}")
    return SinkUnavailable(f"PostgreSQL failed: {message}")
