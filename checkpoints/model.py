"""What a checkpoint and a lease are; knows no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from parsers.position import Position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a node's log is in PostgreSQL.

    `position` is the furthest one applied, None before the first; where to resume each segment is
    said by its SegmentProgress, because segments may appear, or end, out of order.
    `mutations` counts every mutation applied since the node's first start; it moves in the same
    transaction as the rows, so it never counts one twice.
    """

    node: str
    position: Position | None
    mutations: int
    fencing_token: int
    lease_holder: str | None
    lease_expires_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one node's checkpoint: only the holder of the newest token may commit."""

    node: str
    holder: str
    fencing_token: int
    ttl_seconds: float


@dataclass(frozen=True, slots=True)
class SegmentProgress:
    """How far one segment is applied, for as long as its file may still be there.

    `offset` is the logical end of the last entry applied. `finished` says that the segment is
    final and applied to its end: only then may its file go. `holds_changes` says that it was seen
    to hold mutations of CDC tables: such a file must not vanish before it is finished.
    """

    segment_id: int
    offset: int
    finished: bool = False
    holds_changes: bool = False
