"""Paced traffic for the shop: writes at a chosen rate, each reported when it is acknowledged."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cdc_tail.local.shop import Shop, Write

MOST_IN_FLIGHT = 256
ACKNOWLEDGE_TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that Cassandra confirmed; times are `time.time()` seconds of this machine.

    To measure write-to-visible latency, look `write` up in the mirror and compare with
    `acknowledged_at_seconds`.
    """

    write: Write
    sent_at_seconds: float
    acknowledged_at_seconds: float


@dataclass
class TrafficReport:
    """What was written: acknowledged writes by (table, kind), rows touched, failures, duration."""

    writes: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    acknowledge_seconds: list[float] = field(default_factory=list)
    duration_seconds: float = 0.0

    @property
    def acknowledged(self) -> int:
        return self.writes.total()

    @property
    def writes_per_second(self) -> float:
        return self.acknowledged / self.duration_seconds if self.duration_seconds else 0.0


def run_traffic(
    shop: Shop,
    *,
    writes_per_second: float,
    writes: int,
    on_acknowledged: Callable[[Acknowledged], None] | None = None,
    stop: threading.Event | None = None,
    evolve: bool = True,
) -> TrafficReport:
    """Send `writes` random writes at an even rate and wait until all are answered.

    `on_acknowledged` is called on the driver's own thread, so it must be quick. Half-way a column
    is added to a table if `evolve` says so. `stop` ends the sending early. A rate that Cassandra
    can't follow is slowed to what it can (at most MOST_IN_FLIGHT are open), so the report's rate
    may be lower than the one asked for. Failed writes are counted by their error's name.
    """
    report = TrafficReport()
    room = threading.Semaphore(MOST_IN_FLIGHT)
    report_lock = threading.Lock()
    began = time.monotonic()
    for number in range(writes):
        if stop is not None and stop.is_set():
            break
        if evolve and not shop.evolved and number * 2 >= writes:
            shop.evolve()
        delay_seconds = began + number / writes_per_second - time.monotonic()
        if delay_seconds > 0:
            time.sleep(delay_seconds)
        room.acquire()
        _send(shop, report, report_lock, room, on_acknowledged)
    for _ in range(MOST_IN_FLIGHT):
        if not room.acquire(timeout=ACKNOWLEDGE_TIMEOUT_SECONDS):
            raise TimeoutError(f"a write was not answered in {ACKNOWLEDGE_TIMEOUT_SECONDS} s")
    report.duration_seconds = time.monotonic() - began
    return report


def _send(
    shop: Shop,
    report: TrafficReport,
    report_lock: threading.Lock,
    room: threading.Semaphore,
    on_acknowledged: Callable[[Acknowledged], None] | None,
) -> None:
    write = shop.next_write()
    sent_at_seconds = time.time()

    def acknowledged(_: Any) -> None:
        now_seconds = time.time()
        try:
            with report_lock:
                report.writes[write.table, write.kind] += 1
                report.rows += write.rows
                report.acknowledge_seconds.append(now_seconds - sent_at_seconds)
            if on_acknowledged is not None:
                on_acknowledged(Acknowledged(write, sent_at_seconds, now_seconds))
        finally:
            room.release()

    def failed(error: Exception) -> None:
        with report_lock:
            report.failures[type(error).__name__] += 1
        room.release()

    shop.session.execute_async(write.statement).add_callbacks(acknowledged, failed)
