"""What the sidecar costs the node beside it: CPU and memory when idle, write latency under load."""

from __future__ import annotations

import statistics
import time

from benchmarks.context import Context
from benchmarks.latency import sidecar
from benchmarks.report import Goal, Measure
from benchmarks.traffic import Traffic
from cdc_tail.local.latency import percentile

WRITES_PER_SECOND = 1_000
SETTLE_SECONDS = 3


def measure(context: Context) -> list[Measure]:
    """Idle first; then the same writes with and without the sidecar, in turn."""
    traffic = Traffic(context.shared_node.session())
    return [*_idle(context), _impact(context, traffic)]


def _idle(context: Context) -> list[Measure]:
    seconds = context.size(60, 10)
    with sidecar(context, context.database()) as process:
        time.sleep(SETTLE_SECONDS)
        watched = process.process
        before = watched.cpu_times()
        time.sleep(seconds)
        after = watched.cpu_times()
        resident = watched.memory_info().rss
    used = after.user + after.system - before.user - before.system
    return [
        Measure("idle CPU", 100 * used / seconds, "% of a core", goal=Goal("value", at_most=1)),
        Measure("idle memory", resident / 2**20, "MiB", goal=Goal("value", at_most=80)),
    ]


def _impact(context: Context, traffic: Traffic) -> Measure:
    seconds = context.size(15, 4)
    rounds = context.size(6, 2)
    traffic.run(WRITES_PER_SECOND, SETTLE_SECONDS, lambda _: None)
    without, beside = [], []
    for number in range(rounds):
        # ABBA: what drifts (compaction, the page cache) meets both alike.
        for is_beside in (False, True) if number % 2 == 0 else (True, False):
            if is_beside:
                with sidecar(context, context.database()):
                    beside.append(_p99(traffic, seconds))
            else:
                without.append(_p99(traffic, seconds))
    return Measure(
        f"Cassandra's write p99 at {WRITES_PER_SECOND:,} writes/s with the sidecar",
        1000 * statistics.median(beside),
        "ms",
        "without it",
        1000 * statistics.median(without),
        Goal("ratio", at_most=1.03),
        f"median of {rounds} rounds of {seconds} s each",
    )


def _p99(traffic: Traffic, seconds: float) -> float:
    time.sleep(SETTLE_SECONDS)
    waits, _ = traffic.run(WRITES_PER_SECOND, seconds, lambda _: None)
    return percentile(waits, 0.99)
