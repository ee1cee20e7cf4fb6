"""The whole way of the data on this machine: a real node, a real mirror, traffic, and the proof.

It starts servers, the sidecar as a process of its own, and traffic; it measures how long a write
takes to become visible, and lets `verify` compare every row. It prints nothing: `DemoView` does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg import sql

from cdc_tail.errors import CdcTailError
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.ports import free_ports
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.local.shop import Shop
from cdc_tail.local.traffic import Acknowledged, TrafficReport, run_traffic
from cdc_tail.status_source import ask_process

SEGMENT_MIB = 4
HEAP_MIB = 768
DRAIN_SECONDS = 60
SIDECAR_START_SECONDS = 60
POLL_SECONDS = 0.001
# A lookup of every write would be load of its own; these are enough for percentiles.
SAMPLED_EVERY = 5


class DemoView(Protocol):
    """Who shows the demo's progress."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """A step is under way while the `with` block runs."""

    def detail(self, text: str) -> None:
        """What the present step is doing."""

    def traffic(self, acknowledged: int, of: int, applied: int, rate: float) -> None:
        """How far the traffic is."""


@dataclass(slots=True)
class DemoResult:
    """What the demo measured; latencies run from Cassandra's acknowledgement to visibility."""

    report: TrafficReport
    latencies_seconds: list[float]
    tables: list[tuple[str, int, int]] = field(default_factory=list)  # name, rows, differing
    drain_seconds: float = 0.0
    never_seen: int = 0
    where: dict[str, str] = field(default_factory=dict)
    stop_command: str = ""

    @property
    def differing(self) -> int:
        """Rows that differ between Cassandra and the mirror."""
        return sum(differing for _, _, differing in self.tables)

    def percentile(self, share: float) -> float:
        """The latency that `share` of the sampled writes did not exceed, in seconds."""
        ordered = sorted(self.latencies_seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run."""

    series: str = "5.0"
    writes: int = 5_000
    writes_per_second: float = 500
    keep_running: bool = False
    seed: int = 1


class Demo:
    """Runs once; everything it started ends with it, unless `keep_running` says otherwise."""

    def __init__(self, options: DemoOptions, view: DemoView) -> None:
        self._options = options
        self._view = view
        self._folder = Path(tempfile.mkdtemp(prefix="cdc-tail-demo-"))
        # As root, PostgreSQL runs as another user, who must be able to enter.
        self._folder.chmod(0o755)
        self._sidecar_log = self._folder / "cdc-tail.log"

    def run(self) -> DemoResult:
        """Start, write, tail, compare. Raises what keeps any of it from working."""
        with ExitStack() as stack:
            view, options = self._view, self._options
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            with view.step("Starting PostgreSQL"):
                server = stack.enter_context(PostgresServer(directory=self._folder / "postgres"))
                dsn = server.create_database("shop_mirror")
            with view.step(f"Starting Cassandra {options.series}"):
                node = stack.enter_context(self._node())
            with view.step("Creating the shop's tables"):
                shop = Shop(node.session(), seed=options.seed)
                shop.create()
            with view.step("Starting cdc-tail beside the node"):
                process, url = self._start_sidecar(node, dsn)
                stack.callback(self._stop_sidecar, process)
            with view.step("Writing to Cassandra, tailing into PostgreSQL"):
                result = self._traffic(shop, dsn, url)
            with view.step("Comparing every row"):
                self._verify(node, dsn, result)
            result.where = {
                "psql": f"psql {dsn}",
                "status page": f"{url}/",
                "metrics": f"{url}/metrics",
                "cqlsh": f"cqlsh {node.address} {node.native_port}",
                "log": str(self._sidecar_log),
            }
            result.stop_command = (
                f"kill {process.pid} {node.pid} {server.pid}; rm -r {self._folder}"
            )
            if options.keep_running:
                server.detach()
                node.detach()
                stack.pop_all()
        return result

    def _node(self) -> CassandraNode:
        # The default sync period of 10 s: freshness must not come from a quick sync.
        options = NodeOptions(commitlog_segment_size_mib=SEGMENT_MIB, heap_mib=HEAP_MIB)
        return CassandraNode(
            self._options.series,
            directory=self._folder / "cassandra",
            options=options,
            progress=lambda done, total: self._view.detail(f"fetching jars {done}/{total}"),
        )

    def _start_sidecar(self, node: CassandraNode, dsn: str) -> tuple[subprocess.Popen[bytes], str]:
        port = free_ports(1)[0]
        url = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "CDC_TAIL_NODE": "demo",
            "CDC_TAIL_CASSANDRA_HOST": node.address,
            "CDC_TAIL_CASSANDRA_PORT": str(node.native_port),
            "CDC_TAIL_CASSANDRA_CDC_RAW": str(node.cdc_raw),
            "CDC_TAIL_POSTGRES_DSN": dsn,
            "CDC_TAIL_HTTP_PORT": str(port),
            "CDC_TAIL_LOG_FORMAT": "json",
        }
        with self._sidecar_log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "cdc_tail", "run"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + SIDECAR_START_SECONDS
        while (status := ask_process(url)) is None or status["state"] != "live":
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = self._sidecar_log.read_text(errors="replace")[-2000:]
                raise CdcTailError(f"cdc-tail did not start; it said:\n{said}")
            time.sleep(0.05)
        return process, url

    def _stop_sidecar(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _traffic(self, shop: Shop, dsn: str, url: str) -> DemoResult:
        options = self._options
        probe = LatencyProbe(dsn, shop.keyspace)
        stop = threading.Event()
        with probe:
            outcome: list[TrafficReport] = []
            writer = threading.Thread(
                target=lambda: outcome.append(
                    run_traffic(
                        shop,
                        writes_per_second=options.writes_per_second,
                        writes=options.writes,
                        on_acknowledged=probe.note,
                        stop=stop,
                    )
                ),
                name="traffic",
            )
            writer.start()
            try:
                while writer.is_alive():
                    self._show(probe, url)
                    writer.join(0.25)
            finally:
                stop.set()
                writer.join()
            (report,) = outcome
            began = time.monotonic()
            probe.drain(DRAIN_SECONDS)
            self._show(probe, url)
        drained = time.monotonic() - began
        return DemoResult(
            report,
            probe.latencies_seconds,
            drain_seconds=drained,
            never_seen=probe.never_seen,
        )

    def _show(self, probe: LatencyProbe, url: str) -> None:
        status: dict[str, Any] = ask_process(url) or {}
        self._view.traffic(
            probe.acknowledged,
            self._options.writes,
            int(status.get("mutations_since_start", 0)),
            float(status.get("mutations_per_second", 0)),
        )

    def _verify(self, node: CassandraNode, dsn: str, result: DemoResult) -> None:
        # The driver takes a while to load; the view should be up before.
        from cdc_tail.verify import Verifier

        with psycopg.connect(dsn) as conn:
            verifier = Verifier(node.session(), conn, settle_seconds=DRAIN_SECONDS)
            for mirror in verifier.mirrors():
                self._view.detail(mirror.relation)
                found = verifier.verify(mirror)
                result.tables.append((found.relation, found.rows, len(found.differences)))


class LatencyProbe:
    """Looks up acknowledged writes in the mirror, over a connection of its own, until visible."""

    def __init__(self, dsn: str, keyspace: str) -> None:
        self._conninfo = dsn
        self._keyspace = keyspace
        self._waiting: deque[Acknowledged] = deque()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, name="latency probe", daemon=True)
        self._deleted: set[tuple[Any, ...]] = set()
        self.acknowledged = 0
        self.latencies_seconds: list[float] = []

    def note(self, write: Acknowledged) -> None:
        """A write was acknowledged; called on the driver's thread."""
        self.acknowledged += 1
        if write.write.kind == "delete":
            self._deleted.add(_key(write))
        elif self.acknowledged % SAMPLED_EVERY == 0:
            self._waiting.append(write)

    @property
    def never_seen(self) -> int:
        """Sampled writes that did not become visible (yet)."""
        return len(self._waiting)

    def drain(self, seconds: float) -> None:
        """Wait until every sampled write was seen, at most so long."""
        deadline = time.monotonic() + seconds
        while self._waiting and time.monotonic() < deadline:
            time.sleep(0.01)

    def _look(self) -> None:
        with psycopg.connect(self._conninfo, autocommit=True) as conn:
            while not self._done.is_set():
                for _ in range(len(self._waiting)):
                    write = self._waiting.popleft()
                    if self._is_visible(conn, write):
                        waited = time.time() - write.acknowledged_at_seconds
                        self.latencies_seconds.append(max(0.0, waited))
                    elif _key(write) not in self._deleted:
                        self._waiting.append(write)
                time.sleep(POLL_SECONDS)

    def _is_visible(self, conn: psycopg.Connection[Any], write: Acknowledged) -> bool:
        """Whether the mirror's row is as new as the write."""
        key = write.write.key
        query = sql.SQL("SELECT max(revision) FROM {} WHERE {}").format(
            sql.Identifier(self._keyspace, write.write.table),
            sql.SQL(" AND ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in key
            ),
        )
        try:
            row = conn.execute(query, list(key.values())).fetchone()
        except psycopg.errors.UndefinedTable:
            return False
        return row is not None and row[0] is not None and row[0] >= write.write.revision

    def __enter__(self) -> LatencyProbe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _key(write: Acknowledged) -> tuple[Any, ...]:
    return (write.write.table, *write.write.key.values())
