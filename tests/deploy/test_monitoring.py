"""A real Prometheus over running sidecars: alerts fired on purpose, panels that show something."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cassandra import WriteTimeout

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.ports import free_ports
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.watch import SegmentFile, list_segments
from deploy.dashboards.files import FILES
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import one_value
from tests.support.monitoring import Alertmanager, Prometheus, Receivers
from tests.support.sidecar import Sidecar, wait_until

PADDING = "x" * 1500
SETTINGS = {
    # So little space that one segment fills most of it.
    "cassandra.cdc_total_space": "1MiB",
    "watch.on_lost_segment": "continue",
    "lease.ttl_seconds": 5,
    "lease.wait_seconds": 300,
}


def write(session: Any, first: int, rows: int) -> None:
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    left = list(range(first, first + rows))
    while left:
        some, left = left[:100], left[100:]
        for k, future in [(k, session.execute_async(insert, (k, PADDING))) for k in some]:
            try:
                future.result()
            except WriteTimeout:  # a busy machine; the same write again changes nothing
                left.append(k)


def on_its_own(node: CassandraNode, dsn: str, folder: Path) -> Sidecar:
    """A sidecar of another release, with a log of its own and no node that tells it tables."""
    release = folder / "release"
    release.mkdir()
    (release / "sitecustomize.py").write_text("import cdc_tail; cdc_tail.__version__ = '99.0.0'")
    settings = {
        "cassandra.cdc_raw": folder / "other_cdc_raw",
        "cassandra.port": free_ports(1)[0],
        "watch.skip_corrupt": True,
        "watch.keep_segments": True,
    }
    sidecar = Sidecar(node, dsn, folder, name="node2", settings=settings)
    sidecar.variables = {"PYTHONPATH": str(release)}
    return sidecar


def copy_damaged(segment: SegmentFile, folder: Path) -> None:
    """The segment alone in `folder`, its last mutation damaged; those before it can be read."""
    folder.mkdir()
    for file in (segment.path, segment.path.with_name(f"{segment.path.stem}_cdc.idx")):
        shutil.copy(file, folder)
    damaged = bytearray(segment.path.read_bytes())
    end = damaged.rindex(PADDING.encode())  # zeros fill the rest of the file
    damaged[end : end + 10] = b"y" * 10
    (folder / segment.path.name).write_bytes(damaged)


@pytest.mark.timeout(1200)
def test_alerts_fire_on_purpose_and_panels_show_data(
    new_cassandra_node: NodeFactory, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    space = Keyspace.create(node, "watched")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    with PostgresServer() as postgres, Receivers() as receivers:
        sidecar = Sidecar(node, postgres.dsn, tmp_path, settings=SETTINGS)
        second = Sidecar(node, postgres.dsn, tmp_path, settings=SETTINGS)
        third = on_its_own(node, postgres.create_database("other"), tmp_path)
        targets = [f"127.0.0.1:{one.port}" for one in (sidecar, second, third)]
        with (
            Alertmanager(tmp_path / "alertmanager", receivers.url) as alertmanager,
            Prometheus(tmp_path / "prometheus", targets, alertmanager.port) as prometheus,
            sidecar,
        ):

            def fired(*alerts: str) -> None:
                wait_until(lambda: set(alerts) <= prometheus.ever_fired(), prometheus, 60)

            def applied(rows: int) -> Callable[[], bool]:
                query = "SELECT count(*) FROM watched.t"
                return lambda: one_value(postgres.dsn, query) == rows

            sidecar.wait_live()
            write(space.session, 0, 200)
            wait_until(applied(200), sidecar)
            # The second is not started yet; the node's space is set to next to nothing.
            fired("CdcTailDown", "CdcRawNearlyFull")

            # One writer per node.
            second.start()
            fired("CdcTailLeaseNotHeld")
            second.stop()

            # PostgreSQL's text can't hold U+0000.
            space.session.execute("INSERT INTO t (k, v) VALUES (-1, 'a\x00b')")
            fired("CdcDeadLetters")

            # Somebody holds a lock on the mirror.
            with psycopg.connect(postgres.dsn) as connection:
                connection.execute("LOCK TABLE watched.t IN ACCESS EXCLUSIVE MODE")
                write(space.session, 200, 10)
                time.sleep(7)
            fired("CdcApplySlow")

            # PostgreSQL goes away while the node is written to, and segments are deleted by hand.
            postgres.stop()
            fired("CdcPostgresDown")
            for batch in range(10):
                write(space.session, 10_000 + 1000 * batch, 700)
                time.sleep(1)
            fired("CdcTailErrors", "CdcMirrorStale", "CdcBacklogGrowing", "CdcRawFillingUp")
            final = [one for one in list_segments(node.cdc_raw).segments if one.is_final]
            copy_damaged(final[-2], tmp_path / "other_cdc_raw")
            final[-1].path.unlink()
            postgres.start()
            fired("CdcSegmentsLost")

            # A damaged segment of tables that nobody tells it, before the first scrape.
            with third:
                fired("CdcDamagedBytesSkipped", "CdcMutationsParked", "CdcTailVersionsDiffer")

            for _ in range(4):
                sidecar.stop()
                sidecar.start().wait_live()
                time.sleep(2)
            fired("CdcTailRestarting")

            for dashboard in FILES.values():
                for row in dashboard.rows:
                    for panel in row.panels:
                        for query in panel.queries:
                            asked = query.expr.replace("$instance", ".*")
                            asked = asked.replace("$__rate_interval", "5m")
                            # Some need a write since the last start.
                            write(space.session, 300, 1)
                            assert_answers(prometheus, asked, panel.title)

            prometheus.scrape([])
            prometheus.reload()
            fired("CdcTailAbsent")

            wait_until(
                lambda: (
                    {"CdcTailDown", "CdcPostgresDown"} <= receivers.received.get("pager", set())
                ),
                alertmanager,
            )
            assert "CdcDeadLetters" in receivers.received["ticket"]
            assert prometheus.ever_fired() == prometheus.rules()


def assert_answers(prometheus: Prometheus, query: str, title: str) -> None:
    wait_until(lambda: prometheus.query(query), f"{title}: {query}", 60)
