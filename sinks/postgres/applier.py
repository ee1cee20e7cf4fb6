"""One batch, one transaction: locks, reads, merge, writes, checkpoint.

Who holds the lock on a bucket owns the rows of its partitions, so reading, deciding in C and
writing need no further locks, and several sidecars that apply the same rows wait for each other in
one order. What is decided, `parsers._work` decides; this module only asks and writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final, TypeAlias
from uuid import UUID

import psycopg

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
from sinks.postgres.binary import (
    ROUND_ROWS,
    Binary,
    BinaryDumper,
    Cursor,
    execute,
    fields,
    send,
)
from sinks.postgres.catalog import BUCKETS, Connection, Mirror
from sinks.postgres.refusal import Refusal, apply_by_halves, is_of_rows
from sinks.postgres.scan import scanned
from sinks.postgres.target import Target, make_target
from sinks.postgres.writes import write

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

# Of the locked buckets only those that have anything to tell come back one by one: a batch over a
# thousand mirrors locks ten thousand.
_LOCK_BUCKETS: Final = b"""
SELECT mirror_id, count(*)::int4, min(generation), max(generation),
       array_agg(bucket) FILTER (WHERE tells), array_agg(newest_dead_row_us) FILTER (WHERE tells),
       array_agg(newest_partition_us) FILTER (WHERE tells),
       array_agg(truncated_us) FILTER (WHERE tells),
       floor(extract(epoch FROM clock_timestamp()))::int8
  FROM (SELECT b.mirror_id, b.bucket, b.generation,
               b.newest_dead_row_us, b.newest_partition_us, b.truncated_us,
               num_nonnulls(b.newest_dead_row_us, b.newest_partition_us, b.truncated_us) > 0
               AS tells
          FROM cdc_tail.bucket b
          JOIN unnest($1::int4[], $2::int4[]) AS wanted (mirror_id, buckets)
            ON b.mirror_id = wanted.mirror_id AND wanted.buckets >> b.bucket & 1 = 1
         ORDER BY b.mirror_id, b.bucket
           FOR UPDATE OF b) AS locked
 GROUP BY mirror_id
"""

# What reads, inserts and updates stays prepared for every mirror, which halves PostgreSQL's time
# where a batch holds few rows of many. A statement takes about 16 KB of its session.
_PREPARED_EACH: Final = 3
_PREPARED_MORE: Final = 100

_READ_PARTITIONS: Final = b"""
SELECT array_agg(k.n::int4), array_agg(p.state)
  FROM unnest($1::bytea[]) WITH ORDINALITY AS k (pk, n)
  JOIN cdc_tail.partition_tombstone p ON p.mirror_id = $2 AND p.pk = k.pk
"""

_READ_DEAD: Final = b"""
SELECT array_agg(k.n::int4), array_agg(d.state)
  FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS k (pk, ck, n)
  JOIN cdc_tail.dead_row d ON d.mirror_id = $3 AND d.pk = k.pk AND d.ck = k.ck
"""

# Statement, parameters, and what takes the arrays of the answer.
_Question: TypeAlias = tuple[bytes, list[object], Callable[..., None]]


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
        written = sum(map(len, self._targets.values()))
        self.connection.prepared_max = _PREPARED_MORE + _PREPARED_EACH * written

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
        works = self._works(batch)
        locked_at_s = self._lock(works, whole)
        point("sink.locked")
        self._read_rows(works)
        if now_s is None:
            now_s = locked_at_s
        if stored_until_us is not None:
            for _, work in works:
                work.delete_stored(stored_until_us)
        self._ask(_tombstones(works))
        for target, work in works:
            self._decide(target, work, now_s)
        point("sink.read")
        applied = write(self.connection, works)
        for target, work in works:
            scan = work.scan_keys()
            if scan is not None:
                applied += self._scan(target, work, scan, now_s)
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
            target.mirror.mirror_id: sum(1 << bucket for bucket in work.buckets())
            for target, work in works
        }
        wanted |= dict.fromkeys(whole, (1 << BUCKETS) - 1)
        if not wanted:
            return 0
        by_mirror = {target.mirror.mirror_id: (target, work) for target, work in works}
        found = execute(
            self.connection, _LOCK_BUCKETS, [list(wanted), list(wanted.values())]
        ).fetchall()
        if sum(row[1] for row in found) != sum(map(int.bit_count, wanted.values())):
            raise SchemaMismatch(
                "rows of cdc_tail.bucket are missing",
                hint="something else wrote cdc_tail.bucket; restore it from a backup",
            )
        for mirror_id, _, oldest, newest, *told, _ in found:
            if mirror_id not in by_mirror:
                continue
            target, work = by_mirror[mirror_id]
            if not oldest == newest == target.mirror.generation:
                raise MirrorChanged(
                    f"the mirror of {target.relation.table.table} has changed",
                    table=str(target.relation.table.table),
                )
            past_us = self.past_truncation_us.get(target.mirror.table_id)
            for bucket, dead_us, partition_us, truncated_us in _columns(told):
                is_past = truncated_us is None or (past_us is not None and past_us >= truncated_us)
                work.set_watermarks(
                    bucket, dead_us, partition_us, None if is_past else truncated_us
                )
        return int(found[-1][-1])

    def _read_rows(self, works: Sequence[tuple[Target, RelationWork]]) -> None:
        """The states of all rows, in rounds: one is looked up while the one before is taken in."""
        asked: list[tuple[RelationWork, int, Cursor]] = []
        with ExitStack() as stack:
            pipeline: psycopg.Pipeline | None = None
            for questions in _rounds(works):
                if pipeline is None:
                    pipeline = stack.enter_context(self.connection.pipeline())
                else:
                    pipeline.sync()
                answered = asked
                asked = [
                    (work, first, execute(self.connection, target.read_states, [Binary(keys)]))
                    for target, work, first, keys in questions
                ]
                send(self.connection)
                _load_rows(answered)
        _load_rows(asked)

    def _ask(self, questions: Iterable[_Question]) -> None:
        """Ask in one round trip, then hand the answers in."""
        asked: list[tuple[Callable[..., None], Cursor]] = []
        with ExitStack() as stack:
            for statement, parameters, load in questions:
                if not asked:
                    stack.enter_context(self.connection.pipeline())
                asked.append((load, execute(self.connection, statement, parameters)))
        for load, cursor in asked:
            load(*fields(cursor))

    def _decide(self, target: Target, work: RelationWork, now_s: int) -> None:
        if work.decide(now_s):
            tied, columns = work.tied_columns()
            statement = target.read_values(columns)
            numbers, *values = fields(execute(self.connection, statement, [Binary(tied)]))
            work.load_values(numbers, columns, values)
            work.decide(now_s)

    def _scan(self, target: Target, work: RelationWork, keys: bytes, now_s: int) -> Applied:
        """What deletions of the batch reach beside its own rows."""
        applied = Applied()
        for numbers, states, *clusterings in scanned(self.connection, target, keys):
            page = work.for_scan()
            page.load_scan(numbers, states, clusterings)
            page.decide(now_s)
            applied += write(self.connection, [(target, page)])
        return applied


def _rounds(
    works: Sequence[tuple[Target, RelationWork]],
) -> Iterator[list[tuple[Target, RelationWork, int, bytes]]]:
    """All rows of all relations: (…, number of the first, their keys).

    Many rows of one relation are a round; the rest of all relations is one, since PostgreSQL looks
    up what was sent of it while we send more.
    """
    rest = []
    for target, work in works:
        for first in range(0, work.n_items, ROUND_ROWS):
            keys = work.row_keys(first, ROUND_ROWS)
            assert keys is not None  # there are some from `first` on
            question = (target, work, first, keys)
            if work.n_items - first >= ROUND_ROWS:
                yield [question]
            else:
                rest.append(question)
    if rest:
        yield rest


def _load_rows(answered: Iterable[tuple[RelationWork, int, Cursor]]) -> None:
    for work, first, cursor in answered:
        numbers, states, places = fields(cursor)
        work.load_rows(numbers, states, places, first=first)


def _tombstones(works: Sequence[tuple[Target, RelationWork]]) -> Iterator[_Question]:
    """What is kept of deleted partitions and rows, where it matters; rows are known."""
    for target, work in works:
        mirror_id = target.mirror.mirror_id
        partitions = work.partition_keys()
        if partitions is not None:
            yield _READ_PARTITIONS, [Binary(partitions), mirror_id], work.load_partitions
        dead = work.dead_keys()
        if dead is not None:
            yield _READ_DEAD, [*map(Binary, dead), mirror_id], work.load_dead


def _columns(arrays: Sequence[list[Any] | None]) -> Iterator[tuple[Any, ...]]:
    """The rows of arrays of equal length; none where they are NULL."""
    return zip(*(array or () for array in arrays), strict=True)


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
