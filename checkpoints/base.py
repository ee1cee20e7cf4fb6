"""The seam between the pipeline and whatever keeps checkpoints; holds no implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from checkpoints.model import Checkpoint, Lease, SegmentProgress

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

    def read_segments(self, conn: ConnectionT_contra, node: str) -> Mapping[int, SegmentProgress]:
        """Return how far every segment is applied whose file may still be there, by its id."""

    def write(
        self,
        conn: ConnectionT_contra,
        lease: Lease,
        segments: Iterable[SegmentProgress],
        *,
        mutations: int = 0,
    ) -> None:
        """Move the checkpoint; CheckpointMoved if the token is stale: then roll back."""

    def forget_segments(
        self, conn: ConnectionT_contra, lease: Lease, segment_ids: Iterable[int]
    ) -> None:
        """Drop what is known of segments whose files are gone."""
