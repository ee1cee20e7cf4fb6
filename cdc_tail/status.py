"""One snapshot of what the process is doing, rendered alike by command line and HTTP.

It is filled by the pipeline and read by other threads; it asks nobody anything.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import cdc_tail

State = Literal[
    "starting",  # settings read, nothing connected yet
    "waiting_for_lease",  # another process is this node's writer
    "catching_up",  # there is more to read
    "live",  # read to the end of the log
    "waiting_for_postgres",  # PostgreSQL is away; the position is kept
    "stopping",  # finishing the batch in hand
    "stopped",
    "failed",  # ended by `error`
]


@dataclass(frozen=True, slots=True)
class ErrorStatus:
    """The last error met: `type` is its class in the error tree."""

    type: str
    message: str
    hint: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """What the process is doing now. Times are UTC; ages and rates are as of `updated_at`."""

    node: str
    state: State = "starting"
    version: str = cdc_tail.__version__
    pid: int = 0
    started_at: datetime | None = None
    updated_at: datetime | None = None
    read: str = "live"
    position: str | None = None
    segment: str | None = None
    oldest_unapplied_age_seconds: float = 0.0
    mutations_total: int = 0
    mutations_since_start: int = 0
    mutations_per_second: float = 0.0
    backlog_segments: int = 0
    backlog_bytes: int = 0
    cdc_raw_bytes: int = 0
    cdc_raw_space_bytes: int | None = None
    cdc_raw_full_in_seconds: float | None = None
    segments_discarded: int = 0
    archive_segments: int = 0
    lost_segments: int = 0
    forgotten_mutations: int = 0
    dead_letters: int = 0
    parked: int = 0
    lease_holder: str | None = None
    fencing_token: int | None = None
    postgres_up: bool = False
    tables: tuple[str, ...] = ()
    error: ErrorStatus | None = None

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON form: these field names, times as ISO 8601."""
        return {name: _plain(value) for name, value in dataclasses.asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else value


class StatusBoard:
    """The place where the newest snapshot stands; safe to use from several threads."""

    def __init__(self, status: Status, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._status = status
        self._clock = clock
        self._touched = clock()

    def update(self, **changes: Any) -> Status:
        """Replace fields of the snapshot and mark it as fresh."""
        with self._lock:
            changes.setdefault("updated_at", datetime.now(UTC))
            self._status = dataclasses.replace(self._status, **changes)
            self._touched = self._clock()
            return self._status

    def snapshot(self) -> Status:
        """The newest snapshot."""
        with self._lock:
            return self._status

    def silent_seconds(self) -> float:
        """Seconds since the pipeline last reported: whether it is alive."""
        with self._lock:
            return self._clock() - self._touched


def not_healthy_because(board: StatusBoard, *, max_silence_seconds: float = 60) -> str | None:
    """Why the process should be restarted, or None while it is alive."""
    status = board.snapshot()
    if status.state == "failed":
        return f"failed: {status.error.message}" if status.error else "failed"
    silent = board.silent_seconds()
    if silent > max_silence_seconds:
        return f"the pipeline has not moved for {silent:.0f} s"
    return None


def not_ready_because(board: StatusBoard, *, max_age_seconds: float) -> str | None:
    """Why the mirror should not be relied on as fresh, or None while it is."""
    unhealthy = not_healthy_because(board)
    if unhealthy is not None:
        return unhealthy
    status = board.snapshot()
    if status.state not in ("live", "catching_up"):
        return f"state is {status.state}"
    if status.oldest_unapplied_age_seconds > max_age_seconds:
        return (
            f"the oldest unapplied change is {status.oldest_unapplied_age_seconds:.0f} s old"
            f" (limit {max_age_seconds:.0f} s)"
        )
    return None
