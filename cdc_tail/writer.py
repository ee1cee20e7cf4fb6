"""The one connection to PostgreSQL of a process: lease, mirrors, batches.

Every call is one transaction. It reconnects when asked to, and decides neither what is written nor
when to try again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Final, TypeVar
from uuid import UUID

import psycopg
import structlog

from cdc_tail.database import Database
from cdc_tail.errors import (
    CheckpointWentBack,
    MirrorChanged,
    SinkConflict,
    SinkUnavailable,
)
from cdc_tail.failpoints import point
from cdc_tail.log import error_fields
from cdc_tail.mirrors import Mirrors, Prepared
from cdc_tail.work import Truncated, Work
from checkpoints.model import Checkpoint, Lease, SegmentProgress
from checkpoints.postgres import PostgresCheckpoints
from checkpoints.postgres import install as install_checkpoints
from parsers.decoder import Batch
from parsers.schema import Table
from sinks.base import Applied
from sinks.postgres import catalog as mirror_catalog
from sinks.postgres.applier import PostgresSink, translated
from sinks.postgres.catalog import Connection, load_mirrors
from sinks.postgres.forgotten import write_forgotten
from sinks.postgres.refusal import Refusal
from sinks.postgres.set_aside import (
    DeadLetter,
    counts,
    mark_retried,
    park,
    parked_table_ids,
    unpark,
    write_dead_letters,
)
from sinks.postgres.snapshots import Reason, doubted_rows, requested
from sinks.postgres.sweep import Sweeper
from sinks.postgres.truncate import Past, truncate, truncations_of, truncations_seen

log = structlog.get_logger()

_T = TypeVar("_T")

CONFLICTS_AT_MOST: Final = 10

_IS_DUE: Final = """
SELECT FROM (SELECT floor(extract(epoch FROM now()))::int8 AS now_s, %s::int[] AS mine) AS asked
 WHERE EXISTS (SELECT FROM cdc_tail.expiry
                WHERE due_at BETWEEN 0 AND now_s AND mirror_id = ANY (mine))
"""


class Writer:
    """Writes for one node. With a lease it moves the node's checkpoint in every transaction."""

    def __init__(
        self, database: Database, node: str, mirrors: Mirrors, *, max_idle_seconds: float = 30
    ) -> None:
        """A transaction of ours that is idle for longer than `max_idle_seconds` is ended."""
        self.node = node
        self._max_idle_seconds = max_idle_seconds
        self.mirrors = mirrors
        self.lease: Lease | None = None
        self._database = database
        self._generation = 0
        self._checkpoints = PostgresCheckpoints()
        self._sink: PostgresSink | None = None
        self.past: dict[UUID, Past] = {}  # of our log, by table id
        self._past_us: dict[UUID, int] = {}
        self._log: str | None = node
        self._mutations = 0  # in the database, as far as we know
        self._renewed_at = 0.0
        self._is_unsure = False

    @property
    def is_connected(self) -> bool:
        """Whether the connection was good when last used, and its credentials are not outdated."""
        return self._sink is not None and self._generation == self._database.generation

    @property
    def mutations_total(self) -> int:
        """Mutations of this node applied since its first start, as committed."""
        return self._mutations

    def connect(self) -> None:
        """Connect anew, take up the lease that we hold and tell the sink where rows go.

        Raises SinkUnavailable; CheckpointMoved if the lease was taken over meanwhile,
        CheckpointWentBack if the database lacks what we had committed.
        """
        self.close()
        # Before connecting: what is rotated meanwhile makes the new connection outdated, too.
        self._generation = self._database.generation
        self._sink = PostgresSink(self._database.connect())
        with self._transaction() as sink_conn:
            # A process that hangs between two statements must not hold locks for ever.
            sink_conn.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
                (f"{self._max_idle_seconds * 1000:.0f}ms",),
            )
            if self.lease is not None:
                self._checkpoints.renew(sink_conn, self.lease)
                self._check_not_behind(sink_conn)
            self.mirrors.attach(self._sink)
        self._sink.past_truncation_us = self._past_us

    def follow_log(self, name: str | None) -> None:
        """Batches come from the log of that name from now on, or (None) from what SELECT gives.

        From the start they come from the node's own log.
        """
        self._log = name
        self.read_truncations()

    def read_truncations(self) -> None:
        """Look up which TRUNCATEs our batches are past."""
        with self._transaction() as conn:
            if self._log is None:
                self._past_us = truncations_seen(conn)
            else:
                self.past = truncations_of(conn, self._log)
                self._past_us = {key: past.applied_us for key, past in self.past.items()}
        self._open_sink().past_truncation_us = self._past_us

    def _check_not_behind(self, conn: Connection) -> None:
        """What we take for committed must be there: else its segments would not be read again."""
        found = self._checkpoints.read(conn, self.node)
        counted = found.mutations if found else 0
        if counted < self._mutations:
            raise CheckpointWentBack(
                f"PostgreSQL has lost commits: it counts {counted} mutations of node {self.node}"
                f" and had counted {self._mutations}"
            )

    def install(self) -> None:
        """Create cdc-tail's own tables where they are missing."""
        with self._transaction() as conn:
            mirror_catalog.install(conn)
            install_checkpoints(conn)

    def acquire_lease(self, holder: str, ttl_seconds: float) -> Checkpoint:
        """Become the node's writer; CheckpointMoved while another process is."""
        with self._transaction() as conn:
            self.lease = self._checkpoints.acquire(conn, self.node, holder, ttl_seconds)
            found = self._checkpoints.read(conn, self.node)
        assert found is not None  # acquired in the same transaction
        self._mutations = found.mutations
        self._renewed_at = time.monotonic()
        return found

    def read_segments(self) -> dict[int, SegmentProgress]:
        """How far each segment of the node is applied."""
        with self._transaction() as conn:
            return self._checkpoints.read_segments(conn, self.node)

    def forget_segments(self, segment_ids: list[int]) -> None:
        """Drop what is known of segments whose files are gone, now and not with a later batch."""
        if self.lease is not None and segment_ids:
            with self._transaction() as conn:
                self._checkpoints.forget_segments(conn, self.lease, segment_ids)

    def renew_lease_if_due(self) -> None:
        """Extend the lease when a third of it has passed without a commit."""
        if self.lease is None:
            return
        if time.monotonic() - self._renewed_at >= self.lease.ttl_seconds / 3:
            with self._transaction() as conn:
                self._checkpoints.renew(conn, self.lease)
                point("lease.renewed")
            self._renewed_at = time.monotonic()

    def release_lease(self) -> None:
        """Give the lease back, so that the next process need not wait."""
        if self.lease is not None and self._sink is not None:
            with self._transaction() as conn:
                self._checkpoints.release(conn, self.lease)
                point("lease.released")
            self.lease = None

    def query(self, ask: Callable[[Connection], _T]) -> _T:
        """What `ask` reads (or writes), in a transaction of its own."""
        with self._transaction() as conn:
            return ask(conn)

    def under_lease(self, act: Callable[[Connection], _T]) -> _T:
        """What `act` does, in a transaction that only the holder of the lease can commit."""
        assert self.lease is not None
        with self._transaction() as conn:
            self._checkpoints.renew(conn, self.lease)
            return act(conn)

    def update_mirrors(self) -> None:
        """Bring the mirrors up to the schema known at a start."""
        with self._transaction():
            prepared = self.mirrors.prepare(self._open_sink(), None)
        self.mirrors.adopt(prepared, self._open_sink())
        self.read_truncations()

    def mirrored(self) -> dict[int, Table]:
        """By mirror id: the table whose rows are written there."""
        owners = self._open_sink().owners()
        return {mirror_id: compiled.table for mirror_id, (compiled, _) in owners.items()}

    def has_to_ask(self, reasons: Sequence[Reason]) -> bool:
        """Whether tables wait to be copied for these reasons, or rows are doubted."""
        mine = list(self.mirrored())
        with self._transaction() as conn:
            return bool(requested(conn, reasons) or doubted_rows(conn, mine, 1))

    def count_set_aside(self) -> tuple[int, int]:
        """Open dead letters and parked mutations of the node."""
        with self._transaction() as conn:
            return counts(conn, self.node)

    def tables_waited_for(self) -> list[str]:
        """Ids of the tables that parked mutations of the node wait for."""
        with self._transaction() as conn:
            return sorted(str(one) for one in parked_table_ids(conn, self.node))

    def apply(
        self,
        batch: Batch,
        work: Work,
        letters_of: Callable[[list[Refusal]], list[DeadLetter]] | None = None,
    ) -> Applied:
        """Apply a batch and its work in one transaction, and try once more where mirrors changed.

        Rows that PostgreSQL refuses are left out where `letters_of` says which mutations they come
        from; without it they are RowRejected.
        Raises SinkUnavailable where the outcome may be unknown. Called again then, with the same
        batch on a new connection, it first finds out whether that commit had succeeded.
        """
        sink = self._open_sink()
        if self._is_unsure and self._was_committed(batch):
            if work.schema_changed_at is not None:
                self.update_mirrors()
            return Applied()
        prepared: list[Prepared] = []
        mutations = batch.mutations - len(work.retried)
        truncated = sink.mirror_ids({one.truncation.table_id for one in work.truncated})

        def commit(_: Connection) -> None:
            work.merged_ns = time.time_ns()
            prepared[:] = self._commit(sink, work, mutations)

        refuse: Callable[[list[Refusal]], None] | None = None
        if letters_of is not None:

            def refuse(refusals: list[Refusal]) -> None:
                work.refused = letters_of(refusals)

        def act() -> Applied:
            work.refused = []
            work.merging_ns = time.time_ns()
            return sink.apply(batch, commit, refused=refuse, whole=truncated)

        try:
            applied = self._on_present_mirrors(act)
        except SinkUnavailable:
            self._is_unsure = True
            raise
        for one in prepared:
            self.mirrors.adopt(one, sink)
        if work.truncated:
            self.read_truncations()
        self._mutations += mutations
        self._renewed_at = time.monotonic()
        applied.dead_letters += len(work.letters) + len(work.refused)
        return applied

    def apply_rows(self, batch: Batch, commit: Callable[[Connection], None]) -> Applied:
        """Apply rows that come from no log, with what `commit` writes; no checkpoint moves."""
        sink = self._open_sink()
        return self._on_present_mirrors(lambda: sink.apply(batch, commit))

    def is_anything_due(self) -> bool:
        """Whether `expire` has anything to do; asked often, so in one round trip."""
        with self._transaction(piped=True) as conn:
            answer = conn.execute(_IS_DUE, (list(self.mirrored()),))
        return answer.fetchone() is not None

    def expire(self) -> Applied:
        """Let TTLs take effect, of some thousand rows at most: `rows` tells whether to go on."""
        sweeper = Sweeper(self._open_sink(), _tell_kept)
        return self._on_present_mirrors(lambda: sweeper.expire(self.mirrors.catalog))

    def purge(self) -> int:
        """Forget tombstones whose gc_grace is over, some thousand at most; returns how many."""
        sweeper = Sweeper(self._open_sink())
        return self._on_present_mirrors(sweeper.purge)

    def _on_present_mirrors(self, act: Callable[[], _T]) -> _T:
        """Do `act`, and once more where mirrors changed; without PostgreSQL the connection goes."""
        try:
            try:
                return act()
            except MirrorChanged:
                with self._transaction():
                    self.mirrors.attach(self._open_sink())
                return act()
        except SinkUnavailable:
            self.close()
            raise

    def despite_conflicts(self, act: Callable[[], _T]) -> _T:
        """Do `act`; again, on a new connection, where another transaction was in the way.

        For those who don't wait for PostgreSQL otherwise.
        """
        conflicts = 0
        while True:
            try:
                if not self.is_connected:
                    self.connect()
                return act()
            except SinkConflict as error:
                conflicts += 1
                if conflicts > CONFLICTS_AT_MOST:
                    raise
                log.info("trying again", **error_fields(error))

    def _was_committed(self, batch: Batch) -> bool:
        """Only the holder of the lease moves the count of mutations, so the count itself tells."""
        self._is_unsure = False
        if self.lease is None or batch.mutations == 0:
            return False
        with self._transaction() as conn:
            found = self._checkpoints.read(conn, self.node)
        if found is None or found.mutations == self._mutations:
            return False
        self._mutations = found.mutations
        return True

    def close(self) -> None:
        """Drop the connection; the lease stays ours until it expires."""
        if self._sink is not None:
            self._sink.connection.close()
            self._sink = None

    def _commit(self, sink: PostgresSink, work: Work, mutations: int) -> list[Prepared]:
        conn = sink.connection
        if work.retried:
            mark_retried(conn, self.node, work.retried)
        if work.letters or work.refused:
            letters = [*work.letters, *work.refused]
            write_dead_letters(conn, self.node, letters, self.mirrors.seal)
            point("commit.dead_letters")
        if work.parked:
            park(conn, self.node, work.parked, self.mirrors.seal)
            point("commit.parked")
        if work.unparked:
            unpark(conn, self.node, work.unparked)
            point("commit.unparked")
        for one in work.truncated:
            self._truncate(sink, one)
            point("commit.truncated")
        prepared = []
        if work.schema_changed_at is not None:
            prepared.append(self.mirrors.prepare(sink, work.schema_changed_at))
            point("commit.schema")
        if self.lease is None:
            return prepared
        if work.forgotten_writes:
            write_forgotten(conn, self.node, work.forgotten_writes)
        if work.forgotten:
            self._checkpoints.forget_segments(conn, self.lease, work.forgotten)
            point("commit.forgotten")
        # Last, so that the row of the checkpoint is locked only for the commit itself.
        if work.segments or mutations:
            self._checkpoints.write(conn, self.lease, work.segments, mutations=mutations)
            point("commit.before")
        return prepared

    def _truncate(self, sink: PostgresSink, truncated: Truncated) -> None:
        conn = sink.connection
        truncation = truncated.truncation
        mirrors = [one for one in load_mirrors(conn) if one.table_id == truncation.table_id]
        since = truncated.since
        assert self._log is not None  # SELECT tells of no TRUNCATE
        past, is_new = truncate(
            sink, mirrors, truncation, self._log, self.mirrors.catalog, keep_newer=since is None
        )
        sink.past_truncation_us[truncation.table_id] = past.applied_us
        if is_new and since is not None:
            for batch in since():
                sink.apply(batch, lambda _: None)

    def _open_sink(self) -> PostgresSink:
        if self._sink is None:
            raise SinkUnavailable("there is no connection to PostgreSQL")
        return self._sink

    @contextmanager
    def _transaction(self, *, piped: bool = False) -> Iterator[Connection]:
        """A transaction whose failure for want of PostgreSQL is SinkUnavailable.

        `piped`: in one round trip; answers can be fetched after it.
        """
        conn = self._open_sink().connection
        try:
            with conn.pipeline() if piped else nullcontext(), conn.transaction():
                yield conn
        # Internal ones are of the server's state: read-only since a failover, a full disk.
        except (psycopg.OperationalError, psycopg.InternalError) as error:
            self.close()
            raise translated(error) from error


def _tell_kept(refusals: list[Refusal]) -> None:
    for one in refusals:
        tables = sorted({str(compiled.table) for compiled, _ in one.part.touched_keys()})
        log.error("row kept, PostgreSQL refuses its change", table=tables[0], reason=one.reason)
