"""From Cassandra's acknowledgement to a row that another PostgreSQL session sees, under load."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from benchmarks.context import Context
from benchmarks.process import CdcTail
from benchmarks.report import Goal, Measure
from benchmarks.traffic import KEYSPACE, Traffic
from cdc_tail.local.latency import percentile

SAMPLED_EVERY = 25
# A look takes CPU time that what is measured lacks. Latencies seem 2 ms longer than they are.
POLL_SECONDS = 0.004
DRAIN_SECONDS = 60


def measure(context: Context) -> list[Measure]:
    """With Cassandra's default sync period of 10 s: what is seen earlier was read live."""
    node = context.shared_node
    traffic = Traffic(node.session())
    seconds = context.size(20, 5)
    found = []
    for rate in (1_000, 5_000):
        dsn = context.database()
        commit = _commit_seconds(context.database())
        with sidecar(context, dsn), _Probe(dsn) as probe:
            traffic.run(rate, 2, lambda _: None)  # warm: JIT, plans, caches
            probe.wait_for_table()
            acks, reached = traffic.run(rate, seconds, probe.note)
            probe.drain()
        reference = statistics.median(acks) + commit
        note = f"{reached:,.0f} writes/s reached, {len(probe.latencies):,} looked up"
        for share, name, bound in ((0.5, "p50", 20), (0.99, "p99", 100)):
            found.append(
                Measure(
                    f"write to visible at {rate:,} writes/s, {name}",
                    1000 * percentile(probe.latencies, share),
                    "ms",
                    "median of Cassandra's ack + of a PostgreSQL commit",
                    1000 * reference,
                    Goal("value", at_most=bound),
                    note,
                )
            )
    return found


@contextmanager
def sidecar(context: Context, dsn: str) -> Iterator[CdcTail]:
    """`cdc-tail run` beside the shared node, while the `with` block runs."""
    node = context.shared_node
    settings = {
        "cassandra.host": node.address,
        "cassandra.port": node.native_port,
        "cassandra.cdc_raw": node.cdc_raw,
        "postgres.dsn": dsn,
        "mirror.include": f"{KEYSPACE}.*",
    }
    with CdcTail(context.folder(), "run", settings=settings) as process:
        process.wait_for(lambda: _knows_the_table(dsn))
        yield process
        process.stop()


def _knows_the_table(dsn: str) -> bool:
    with psycopg.connect(dsn) as conn:
        found = conn.execute(f"SELECT to_regclass('{KEYSPACE}.row')").fetchall()
    return found[0][0] is not None


def _commit_seconds(dsn: str) -> float:
    """Median time of one row inserted and committed, fsync and synchronous_commit on."""
    waits = []
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE one (n int PRIMARY KEY, text text)")
        for n in range(200):
            began = time.monotonic()
            conn.execute("INSERT INTO one VALUES (%s, 'text')", (n,), prepare=True)
            waits.append(time.monotonic() - began)
    return statistics.median(waits)


class _Probe:
    """Looks sampled rows up, all that wait at once, until each is seen; a context manager."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._waiting: dict[int, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, name="probe")
        self._failure: Exception | None = None
        self.latencies: list[float] = []

    def note(self, n: int) -> None:
        """A row was acknowledged."""
        if n % SAMPLED_EVERY == 0:
            with self._lock:
                self._waiting[n] = time.monotonic()

    def wait_for_table(self) -> None:
        """Wait until the mirror has rows, and begin to look."""
        with psycopg.connect(self._dsn, autocommit=True) as conn:
            while not conn.execute(f"SELECT FROM {KEYSPACE}.row LIMIT 1").fetchall():
                time.sleep(POLL_SECONDS)
        self._thread.start()

    def drain(self) -> None:
        """Wait until every sampled row was seen; TimeoutError where one never is."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._waiting and self._failure is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self._waiting)} rows are not in the mirror")
            time.sleep(POLL_SECONDS)
        if self._failure is not None:
            raise self._failure

    def _look(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as conn:
                statement = f"SELECT n FROM {KEYSPACE}.row WHERE n = ANY (%s)"
                while not self._stopping.is_set():
                    with self._lock:
                        waiting = list(self._waiting)
                    seen = conn.execute(statement, (waiting,)).fetchall() if waiting else []
                    now = time.monotonic()
                    with self._lock:
                        self.latencies += [now - self._waiting.pop(n) for (n,) in seen]
                    time.sleep(POLL_SECONDS)
        except psycopg.Error as error:
            self._failure = error

    def __enter__(self) -> _Probe:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
