"""Checkpoints and leases in PostgreSQL, written inside the caller's transaction; never commits.

A lease is a row with an expiry and a fencing token. Whoever takes it over raises the token, and
every write names the token it was given: a former holder's transaction finds no row and must roll
back, whatever its clock or network did meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from cdc_tail.errors import CheckpointMoved
from cdc_tail.failpoints import point
from checkpoints.install import install_script
from checkpoints.model import Checkpoint, Lease, SegmentProgress
from parsers.position import Position

Connection = psycopg.Connection[Any]

_READ = """
SELECT segment_id, "offset", mutations, fencing_token, lease_holder, lease_expires_at, updated_at
  FROM cdc_tail.checkpoint
 WHERE node = %(node)s
"""

# Free means: never taken, given back, expired, or its session has ended (a killed process). A
# session of another role shows no start time to us; then its pid alone must do.
_ACQUIRE = """
INSERT INTO cdc_tail.checkpoint AS held
       (node, fencing_token, lease_holder, lease_expires_at, lease_backend_pid,
        lease_backend_started_at)
SELECT %(node)s, 1, %(holder)s, clock_timestamp() + make_interval(secs => %(ttl)s),
       pg_backend_pid(), (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
    ON CONFLICT (node) DO UPDATE
   SET fencing_token = held.fencing_token + 1,
       lease_holder = excluded.lease_holder,
       lease_expires_at = excluded.lease_expires_at,
       lease_backend_pid = excluded.lease_backend_pid,
       lease_backend_started_at = excluded.lease_backend_started_at
 WHERE held.lease_holder IS NULL
    OR held.lease_expires_at <= clock_timestamp()
    OR held.lease_backend_pid = pg_backend_pid()
    OR NOT EXISTS (
       SELECT FROM pg_stat_activity AS session
        WHERE session.pid = held.lease_backend_pid
          AND (session.backend_start IS NULL
               OR session.backend_start = held.lease_backend_started_at))
RETURNING held.fencing_token
"""

_RENEW = """
UPDATE cdc_tail.checkpoint
   SET lease_expires_at = clock_timestamp() + make_interval(secs => %(ttl)s),
       lease_backend_pid = pg_backend_pid(),
       lease_backend_started_at =
           (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
 WHERE node = %(node)s AND fencing_token = %(token)s AND lease_holder IS NOT NULL
"""

_RELEASE = """
UPDATE cdc_tail.checkpoint
   SET lease_holder = NULL, lease_expires_at = NULL, lease_backend_pid = NULL,
       lease_backend_started_at = NULL
 WHERE node = %(node)s AND fencing_token = %(token)s
"""

# The furthest position only: a segment that appeared late does not move it back.
_WRITE = """
UPDATE cdc_tail.checkpoint
   SET (segment_id, "offset") = (
           SELECT segment_id, "offset"
             FROM (VALUES (segment_id, "offset"), (%(segment_id)s::bigint, %(offset)s::bigint))
                  AS known (segment_id, "offset")
            ORDER BY segment_id DESC NULLS LAST, "offset" DESC NULLS LAST
            LIMIT 1),
       mutations = mutations + %(mutations)s,
       lease_expires_at = clock_timestamp() + make_interval(secs => %(ttl)s),
       updated_at = clock_timestamp()
 WHERE node = %(node)s AND fencing_token = %(token)s AND lease_holder IS NOT NULL
"""

_WRITE_SEGMENTS = """
INSERT INTO cdc_tail.segment AS known (node, segment_id, "offset", finished, holds_changes)
SELECT %(node)s, * FROM unnest(%(ids)s::bigint[], %(offsets)s::bigint[], %(finished)s::bool[],
                               %(holds)s::bool[])
    ON CONFLICT (node, segment_id) DO UPDATE
   SET "offset" = excluded."offset", finished = excluded.finished,
       holds_changes = known.holds_changes OR excluded.holds_changes
"""

_READ_SEGMENTS = """
SELECT segment_id, "offset", finished, holds_changes FROM cdc_tail.segment WHERE node = %(node)s
"""

# Only the holder of the lease, so that a former one can't make the present one forget.
_FORGET_SEGMENTS = """
DELETE FROM cdc_tail.segment USING cdc_tail.checkpoint AS owned
 WHERE segment.node = %(node)s AND segment.segment_id = ANY (%(ids)s)
   AND owned.node = segment.node AND owned.fencing_token = %(token)s
"""


def install(conn: Connection) -> None:
    """Create the checkpoint table if it is missing, in the caller's transaction."""
    script = resources.files(__package__).joinpath("schema.sql").read_bytes()
    install_script(conn, "checkpoints", script)


class PostgresCheckpoints:
    """The `CheckpointStore` whose rows live beside the mirror."""

    def read(self, conn: Connection, node: str) -> Checkpoint | None:
        """Return the node's checkpoint, or None if the node was never tailed."""
        with conn.cursor(row_factory=tuple_row) as cursor:
            row = cursor.execute(_READ, {"node": node}).fetchone()
        if row is None:
            return None
        segment_id, offset, mutations, token, holder, expires_at, updated_at = row
        return Checkpoint(
            node=node,
            position=None if segment_id is None else Position(segment_id, offset),
            mutations=mutations,
            fencing_token=token,
            lease_holder=holder,
            lease_expires_at=expires_at,
            updated_at=updated_at,
        )

    def acquire(self, conn: Connection, node: str, holder: str, ttl_seconds: float) -> Lease:
        """Take the node's lease with a new fencing token.

        Waits while the present holder has a transaction open on the checkpoint, so that the
        position read afterwards is its last one. Raises CheckpointMoved, naming the holder, while
        the lease is neither expired nor orphaned; the caller must then roll back at once, because
        the refusal locks the row until the transaction ends.
        """
        with conn.cursor(row_factory=tuple_row) as cursor:
            taken = cursor.execute(
                _ACQUIRE, {"node": node, "holder": holder, "ttl": ttl_seconds}
            ).fetchone()
        if taken is None:
            raise self._moved(conn, node, holder)
        return Lease(node=node, holder=holder, fencing_token=taken[0], ttl_seconds=ttl_seconds)

    def renew(self, conn: Connection, lease: Lease) -> None:
        """Extend the lease and bind it to this session; CheckpointMoved if it was taken over."""
        if self._update(conn, _RENEW, lease) == 0:
            raise self._moved(conn, lease.node, lease.holder)

    def release(self, conn: Connection, lease: Lease) -> None:
        """Give the lease back, so that the next holder need not wait; no error if already lost."""
        self._update(conn, _RELEASE, lease)

    def read_segments(self, conn: Connection, node: str) -> dict[int, SegmentProgress]:
        """Return how far every segment is applied whose file may still be there, by its id."""
        with conn.cursor(row_factory=tuple_row) as cursor:
            rows = cursor.execute(_READ_SEGMENTS, {"node": node}).fetchall()
        return {row[0]: SegmentProgress(*row) for row in rows}

    def write(
        self,
        conn: Connection,
        lease: Lease,
        segments: Iterable[SegmentProgress],
        *,
        mutations: int = 0,
    ) -> None:
        """Move the checkpoint to the end of `segments` and extend the lease.

        Runs in the caller's transaction. Without segments only `mutations` counts, as for those
        that had been parked. Raises CheckpointMoved when the token is stale; the caller must then
        roll back its rows.
        """
        moved = sorted(segments, key=lambda one: one.segment_id)
        if not moved and not mutations:
            raise ValueError("a checkpoint moves with at least one segment or mutation")
        updated = self._update(
            conn,
            _WRITE,
            lease,
            segment_id=moved[-1].segment_id if moved else None,
            offset=moved[-1].offset if moved else None,
            mutations=mutations,
        )
        if updated == 0:
            raise self._moved(conn, lease.node, lease.holder)
        point("checkpoint.moved")
        self._update(
            conn,
            _WRITE_SEGMENTS,
            lease,
            ids=[one.segment_id for one in moved],
            offsets=[one.offset for one in moved],
            finished=[one.finished for one in moved],
            holds=[one.holds_changes for one in moved],
        )

    def forget_segments(self, conn: Connection, lease: Lease, segment_ids: Iterable[int]) -> None:
        """Drop what is known of segments whose files are gone; nothing if the lease is lost."""
        self._update(conn, _FORGET_SEGMENTS, lease, ids=list(segment_ids))

    def _update(self, conn: Connection, statement: str, lease: Lease, **values: object) -> int:
        idle = conn.info.transaction_status == TransactionStatus.IDLE
        if conn.autocommit and idle:
            raise ValueError("a checkpoint is written inside a transaction, never by autocommit")
        with conn.cursor() as cursor:
            cursor.execute(
                statement.encode(),
                {
                    "node": lease.node,
                    "token": lease.fencing_token,
                    "ttl": lease.ttl_seconds,
                    **values,
                },
            )
            return cursor.rowcount

    def _moved(self, conn: Connection, node: str, holder: str) -> CheckpointMoved:
        now = self.read(conn, node)
        if now is None or now.lease_holder is None:
            state = "nobody holds it now"
        else:
            state = f"{now.lease_holder} holds it until {now.lease_expires_at:%H:%M:%S %Z}"
        return CheckpointMoved(
            f"{holder} does not hold the lease of node {node}: {state}",
            hint=(
                "one process per node may tail; stop the other one, or give this one a name of"
                " its own with --node if it tails another node"
            ),
        )
