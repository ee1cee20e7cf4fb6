"""The whole way of the data on this machine: a real node, a real mirror, traffic, and the proof.

It starts servers, the sidecar as a process of its own, and traffic; it measures how long a write
takes to become visible, and compares every row. It prints nothing: a `DemoView` does.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psycopg

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.errors import JarsUnavailable, LocalStackError
from cdc_tail.local.jars import class_path
from cdc_tail.local.latency import LatencyProbe, percentile
from cdc_tail.local.ports import free_ports
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.local.recording import compare, publish_segments, read_recording
from cdc_tail.local.shop import Shop
from cdc_tail.local.sidecar import Sidecar
from cdc_tail.local.traffic import TrafficReport, run_traffic

SEGMENT_MIB = 4
HEAP_MIB = 768
DRAIN_SECONDS = 60
# How long a row that differs may take to become equal before it counts.
SETTLE_SECONDS = 15
SHOWN_EVERY_SECONDS = 0.25
POLL_SECONDS = 0.01
SHARES = (0.5, 0.9, 0.99, 1.0)

_STOP_SCRIPT = """#!/bin/sh
# Stops what the demo left running, and removes it.
for one in {running}; do
    pid=${{one#*:}}
    while grep -q '{folder}' "/proc/$pid/cmdline" 2>/dev/null && kill -"${{one%:*}}" "$pid"; do
        sleep 0.5
    done
done
rm -rf '{folder}'
"""


class DemoView(Protocol):
    """Who shows the demo's progress."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """A step is under way while the `with` block runs."""

    def progress(self, done: int, total: int | None, detail: str) -> None:
        """How far the present step is; `detail` may be empty."""

    def tell(self, text: str) -> None:
        """Something to be read."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run. `recorded` starts no Cassandra and tails recorded segments instead."""

    series: str = "5.0"
    writes: int = 5_000
    writes_per_second: float = 500
    recorded: bool = False
    keep_running: bool = False
    seed: int = 1


@dataclass(frozen=True, slots=True)
class ComparedTable:
    """One mirror and its table: Cassandra's number of rows, and how many differ."""

    relation: str
    rows: int
    differing: int


@dataclass(slots=True)
class DemoResult:
    """What the demo measured.

    `events` are mutations that the sidecar applied in `seconds`, which run from the first write (or
    from when the segments appeared) until all was visible. Latencies run from Cassandra's
    acknowledgement to visibility; recorded traffic has none.
    """

    source: str
    recorded: bool
    writes: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: int = 0
    events: int = 0
    seconds: float = 0.0
    latencies_seconds: list[float] = field(default_factory=list)
    never_seen: int = 0
    tables: list[ComparedTable] = field(default_factory=list)
    where: Mapping[str, str] = field(default_factory=dict)
    stop_command: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether the mirror is Cassandra's SELECT and every looked-up write became visible."""
        return (
            not self.never_seen and bool(self.tables) and not any(t.differing for t in self.tables)
        )

    @property
    def events_per_second(self) -> float:
        """Mutations applied per second."""
        return self.events / self.seconds if self.seconds else 0.0

    def latency_seconds(self, share: float) -> float:
        """The latency that `share` of the looked-up writes did not exceed."""
        return percentile(self.latencies_seconds, share)


class Demo:
    """Runs once; everything it started ends with it, unless `keep_running` says otherwise."""

    def __init__(self, options: DemoOptions, view: DemoView) -> None:
        self._options = options
        self._view = view
        self._stack = ExitStack()
        self._folder = Path()
        self._running: list[CassandraNode | PostgresServer | Sidecar] = []

    def run(self) -> DemoResult:
        """Start, write, tail, compare. Raises what keeps any of it from working.

        Whatever ends it, also Ctrl-C at any moment, it leaves no process and no folder behind.
        """
        kept = False
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="cdc-tail-demo-"))
            self._stack.callback(shutil.rmtree, self._folder)
            # As root, PostgreSQL runs as another user, who must be able to enter.
            self._folder.chmod(0o755)
            result = self._run()
            if self._options.keep_running:
                result.stop_command = self._leave_running()
                kept = True
        finally:
            if not kept:
                with _undisturbed(), self._view.step("Stopping and removing everything"):
                    self._stack.close()
        return result

    def _run(self) -> DemoResult:
        recorded = self._options.recorded or not self._has_jars()
        with self._view.step("Starting PostgreSQL"):
            server = PostgresServer(
                directory=self._folder / "postgres", socket_directory=self._folder / "socket"
            )
            self._start(server)
            dsn = server.create_database("shop_mirror")
        return self._replay(dsn) if recorded else self._live(dsn)

    def _has_jars(self) -> bool:
        """Fetch Cassandra where it is not cached; False without a network."""
        view, series = self._view, self._options.series
        try:
            with view.step(f"Fetching Cassandra {series}"):
                class_path(series, lambda done, total: view.progress(done, total, "jars"))
        except JarsUnavailable as error:
            view.tell(
                "Cassandra's jars are not here and can't be downloaded: no network, it seems.\n"
                f"To have them, {error.hint}.\n"
                "Until then recorded segments of the same traffic take Cassandra's place."
            )
            return False
        return True

    def _live(self, dsn: str) -> DemoResult:
        """The node writes, the sidecar tails, both are compared."""
        options, view = self._options, self._view
        with view.step(f"Starting Cassandra {options.series}"):
            # The default sync period of 10 s: freshness must not come from a quick sync.
            node = CassandraNode(
                options.series,
                directory=self._folder / "cassandra",
                options=NodeOptions(commitlog_segment_size_mib=SEGMENT_MIB, heap_mib=HEAP_MIB),
            )
            self._start(node)
        with view.step("Creating the shop's tables"):
            shop = Shop(node.session(), seed=options.seed)
            shop.create()
        cassandra = (node.address, node.native_port)
        sidecar = self._start_sidecar(node.cdc_raw, dsn, cassandra)
        result = DemoResult(f"Cassandra {options.series}", recorded=False)
        result.where = _where(dsn, sidecar) | {"cqlsh": f"cqlsh {node.address} {node.native_port}"}
        with view.step("Writing to Cassandra, tailing into PostgreSQL"):
            self._write(shop, dsn, sidecar, result)
        with view.step("Comparing every row with Cassandra"):
            self._verify(node, dsn, result)
        return result

    def _replay(self, dsn: str) -> DemoResult:
        """Recorded segments appear, the sidecar tails them, the mirror is compared with SELECT."""
        recording = read_recording()
        cdc_raw = self._folder / "cdc_raw"
        cdc_raw.mkdir()
        sidecar = self._start_sidecar(cdc_raw, dsn, ("127.0.0.1", free_ports(1)[0]))
        result = DemoResult(f"recorded Cassandra {recording.release}", recorded=True)
        result.writes = recording.writes
        result.where = _where(dsn, sidecar)
        with self._view.step("Tailing recorded segments into PostgreSQL"):
            began = time.monotonic()
            publish_segments(cdc_raw)
            # A segment is discarded when all of it is committed.
            while any(cdc_raw.glob("*.log")):
                self._show(sidecar, result.writes.total())
                if time.monotonic() - began > DRAIN_SECONDS:
                    raise LocalStackError("cdc-tail has not applied the recorded segments")
                time.sleep(POLL_SECONDS)
            result.seconds = time.monotonic() - began
            result.events = self._show(sidecar, result.writes.total())
        with self._view.step("Comparing every row with Cassandra's recorded SELECT"):
            result.tables = [ComparedTable(*found) for found in compare(dsn, recording)]
        return result

    def _start(self, server: CassandraNode | PostgresServer | Sidecar) -> None:
        self._stack.enter_context(server)
        self._running.append(server)

    def _start_sidecar(self, cdc_raw: Path, dsn: str, cassandra: tuple[str, int]) -> Sidecar:
        with self._view.step("Starting cdc-tail"):
            sidecar = Sidecar(
                cdc_raw=cdc_raw,
                dsn=dsn,
                cassandra=cassandra,
                log_file=self._folder / "cdc-tail.log",
            )
            self._start(sidecar)
        self._view.tell(f"status page {sidecar.url}/   metrics {sidecar.url}/metrics")
        return sidecar

    def _write(self, shop: Shop, dsn: str, sidecar: Sidecar, result: DemoResult) -> None:
        stop = threading.Event()
        began = time.monotonic()
        with LatencyProbe(dsn, shop.keyspace) as probe, ThreadPoolExecutor(1) as writer:

            def write() -> TrafficReport:
                return run_traffic(
                    shop,
                    writes_per_second=self._options.writes_per_second,
                    writes=self._options.writes,
                    on_acknowledged=probe.note,
                    stop=stop,
                )

            try:
                writing = writer.submit(write)
                while not writing.done():
                    self._show(sidecar, self._options.writes)
                    time.sleep(SHOWN_EVERY_SECONDS)
                report = writing.result()
            finally:
                stop.set()
            probe.drain(DRAIN_SECONDS)
            result.seconds = time.monotonic() - began
        result.writes = report.writes
        result.failures = report.failures.total()
        result.latencies_seconds = probe.latencies_seconds
        result.never_seen = probe.never_seen
        result.events = self._show(sidecar, self._options.writes)

    def _show(self, sidecar: Sidecar, total: int) -> int:
        """Show how far the sidecar is; mutations applied."""
        status = sidecar.status()
        applied = int(status.get("mutations_since_start", 0))
        rate = float(status.get("mutations_per_second", 0))
        self._view.progress(applied, total, f"applied, {rate:,.0f}/s")
        return applied

    def _verify(self, node: CassandraNode, dsn: str, result: DemoResult) -> None:
        # The driver takes a while to load; the view should be up before.
        from cdc_tail.verify import Verifier

        compared = 0

        def note(rows: int) -> None:
            nonlocal compared
            compared += rows
            self._view.progress(compared, None, "rows")

        with psycopg.connect(dsn) as conn:
            verifier = Verifier(node.session(), conn, settle_seconds=SETTLE_SECONDS, on_rows=note)
            for mirror in verifier.mirrors():
                found = verifier.verify(mirror)
                result.tables.append(
                    ComparedTable(found.relation, found.rows, len(found.differences))
                )

    def _leave_running(self) -> str:
        """Let everything outlive us; the command that ends it."""
        # The sidecar first: it has nothing to wait for then.
        # PostgreSQL waits for its clients on TERM; who was started by a shell's & ignores INT.
        running = [
            f"{'INT' if isinstance(one, PostgresServer) else 'TERM'}:{one.pid}"
            for one in reversed(self._running)
        ]
        script = self._folder / "stop"
        script.write_text(
            _STOP_SCRIPT.format(running=" ".join(running), folder=self._folder), "utf-8"
        )
        for one in self._running:
            one.detach()
        self._stack.pop_all()
        return f"sh {script}"


def _where(dsn: str, sidecar: Sidecar) -> dict[str, str]:
    return {
        "psql": f"psql {dsn}",
        "status page": f"{sidecar.url}/",
        "metrics": f"{sidecar.url}/metrics",
        "log": str(sidecar.log_file),
    }


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No second Ctrl-C cuts short what the first one began."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    former = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, former):
            signal.signal(number, handler)
