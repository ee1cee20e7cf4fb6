"""The seam between the pipeline and whatever keeps checkpoints; holds no implementation."""

from __future__ import annotations

from typing import Protocol, TypeVar

from checkpoints.model import Checkpoint, Lease
from parsers.position import Position

ConnectionT_contra = TypeVar("ConnectionT_contra", contravariant=True)


class CheckpointStore(Protocol[ConnectionT_contra]):
    """Checkpoints and leases inside a transaction that the caller opened and will commit."""

    def read(self, conn: ConnectionT_contra, node: str) -> Checkpoint | None:
        """Return the node's checkpoint, or None if the node was never tailed."""

    def acquire(
        self, conn: ConnectionT_contra, node: str, holder: str, ttl_seconds: float
    ) -> Lease:
        """Take the node's lease with a new fencing token; CheckpointMoved while another has it."""

    def renew(self, conn: ConnectionT_contra, lease: Lease) -> None:
        """Extend the lease and bind it to this session; CheckpointMoved if it was taken over."""

    def release(self, conn: ConnectionT_contra, lease: Lease) -> None:
        """Give the lease back, so that the next holder need not wait; no error if already lost."""

    def write(
        self,
        conn: ConnectionT_contra,
        lease: Lease,
        position: Position,
        *,
        mutations: int = 0,
        finished: bool = False,
    ) -> None:
        """Move the checkpoint; CheckpointMoved if the token is stale: then roll back."""
