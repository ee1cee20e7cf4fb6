"""What a transaction is traced by: when its stages began and ended, and the place in the log.

This is the way of the data with tracing off, and it imports no OpenTelemetry; see otlp.py for on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from parsers.position import Position


@dataclass(slots=True)
class Stages:
    """When one transaction came through its stages, in nanoseconds since 1970; 0: not yet.

    capture: from the last look at the log that found nothing (`looked_ns`) to the one that found
    the first mutation (`found_ns`). decode: until the last mutation was in the batch
    (`decoded_ns`), of which `decoding_ns` were spent at work. merge: from `merging_ns`, asking
    PostgreSQL and writing rows, to `merged_ns`. commit: the checkpoint and the COMMIT.
    """

    looked_ns: int
    found_ns: int = 0
    decoded_ns: int = 0
    decoding_ns: int = 0
    merging_ns: int = 0
    merged_ns: int = 0


class Traced:
    """One transaction on its way to PostgreSQL, told to nobody."""

    def committed(self, stages: Stages, **counted: int) -> None:
        """It is in the database; `counted` says how much it was."""


class Tracing:
    """Traces of one process; of this class, none."""

    def __init__(self) -> None:
        self.stages = Stages(time.time_ns())

    def read(self, began_ns: int, *, found: bool) -> None:
        """A look at the log that began then has ended; `found`: the batch holds something now."""
        stages, now_ns = self.stages, time.time_ns()
        if not found:
            stages.looked_ns = now_ns
            return
        stages.found_ns = stages.found_ns or began_ns
        stages.decoded_ns = now_ns
        stages.decoding_ns += now_ns - began_ns

    @contextmanager
    def transaction(self, positions: list[Position]) -> Iterator[Traced]:
        """The transaction of what was read until now; log lines within carry its place.

        `positions`: where each of its segments is read to, the last one the newest.
        """
        place = {"position": str(positions[-1])} if positions else {}
        try:
            with structlog.contextvars.bound_contextvars(**place), self._traced(positions) as one:
                yield one
        finally:
            self.stages = Stages(time.time_ns())

    def stumbled(self, error: Exception) -> None:
        """What is traced now must be tried again."""

    def close(self) -> None:
        """Send what is left, within seconds."""

    @contextmanager
    def _traced(self, _: list[Position]) -> Iterator[Traced]:
        yield Traced()
