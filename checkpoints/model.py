"""What a checkpoint and a lease are; knows no database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from parsers.position import Position


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a node's log is in PostgreSQL.

    `position` is the logical end of the last entry applied, None before the first one.
    `finished` says that the whole segment of `position` is applied, so that its file may be gone.
    `mutations` counts every mutation applied since the node's first start; it moves in the same
    transaction as the rows, so it never counts one twice.
    """

    node: str
    position: Position | None
    finished: bool
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
