"""A running sidecar when PostgreSQL goes and comes, when it is stopped, and beside a second one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_tail.errors import CheckpointMoved
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

SOON_SECONDS = 10
FIXED_METRICS = (
    "cdc_events_processed_total",
    "cdc_processing_latency_seconds_count",
    "cdc_backlog_depth",
)
MakeSidecar = Callable[..., Sidecar]


@pytest.fixture
def space(cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]) -> Keyspace:
    made = keyspace(cassandra_node("5.0"))
    made.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    return made


@pytest.fixture
def beside(space: Keyspace, tmp_path: Path) -> MakeSidecar:
    """A sidecar that leaves the segments of the shared node alone."""

    def make(dsn: str, **settings: Any) -> Sidecar:
        kept = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
        return Sidecar(space.node, dsn, tmp_path, settings=kept | settings)

    return make


def write(space: Keyspace, numbers: range) -> None:
    insert = space.session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    futures = [space.session.execute_async(insert, (n, f"value {n}")) for n in numbers]
    for future in futures:
        future.result()


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)


def test_what_probes_metrics_and_status_say(
    space: Keyspace, beside: MakeSidecar, database: str
) -> None:
    with beside(database) as sidecar:
        sidecar.wait_live()
        write(space, range(100))
        wait_until(lambda: sidecar.status()["mutations_since_start"] == 100, sidecar)
        assert sidecar.get("/healthz") == (200, "ok")
        assert sidecar.get("/readyz") == (200, "ok")
        page = sidecar.get("/metrics")[1]
        assert all(f"\n{name} " in page for name in FIXED_METRICS)
        assert "# TYPE cdc_errors_total counter" in page
        assert sidecar.metric("cdc_events_processed_total") == 100
        assert sidecar.metric("cdc_processing_latency_seconds_count") > 0
        assert sidecar.metric("cdc_lease_held") == sidecar.metric("cdc_postgres_up") == 1

        status = sidecar.status()
        printed = sidecar.command("status", "--json")
        assert printed.returncode == 0, printed.stderr
        assert json.loads(printed.stdout).keys() == status.keys()
        assert status["node"] == "node1" and status["state"] == "live"
        assert status["pid"] == sidecar.pid and status["read"] == "live"
        assert status["mutations_total"] == 100 and status["tables"] == [f"{space.name}.t"]
        segment_id, _, offset = status["position"].partition(":")
        assert sidecar.metric("cdc_position_segment_id") == float(segment_id)
        assert f"-{segment_id}.log" in "".join(path.name for path in space.node.cdc_raw.iterdir())
        assert int(offset) > 0 and status["cdc_raw_bytes"] > 0
        assert status["cdc_raw_space_bytes"] == sidecar.metric("cdc_raw_space_bytes") > 0
        assert "cdc-tail" in sidecar.get("/")[1]
    stopped = sidecar.command("status", "--json")
    assert stopped.returncode == 1
    found = json.loads(stopped.stdout)
    assert found["state"] == "stopped" and found["mutations_total"] == 100
    assert found["lease_holder"] is None


def test_postgres_stopped_and_started_again(space: Keyspace, beside: MakeSidecar) -> None:
    with PostgresServer() as server, beside(server.dsn) as sidecar:
        sidecar.wait_live()
        write(space, range(200))
        wait_until(lambda: mutations(server.dsn) == 200, sidecar)
        before = sidecar.status()

        server.stop()
        write(space, range(150, 400))
        wait_until(lambda: sidecar.get("/readyz")[0] == 503, sidecar)
        assert sidecar.get("/readyz")[1] == "state is waiting_for_postgres"
        time.sleep(2)
        assert sidecar.is_running and sidecar.get("/healthz") == (200, "ok")
        away = sidecar.status()
        assert away["position"] == before["position"] and not away["postgres_up"]
        assert away["error"]["type"] == "SinkUnavailable"
        assert away["oldest_unapplied_age_seconds"] > 1
        assert sidecar.metric("cdc_errors_total", type="SinkUnavailable") >= 2
        assert sidecar.metric("cdc_postgres_up") == 0

        server.start()
        wait_until(lambda: sidecar.get("/readyz")[0] == 200, sidecar)
        rows = assert_mirror_equals_select(space.node, space.name, server.dsn)
        assert rows == {f"{space.name}.t": 400}
        wait_until(lambda: mutations(server.dsn) == 450, sidecar)
        assert sidecar.metric("cdc_postgres_up") == 1

        server.stop()
        write(space, range(10))
        wait_until(lambda: sidecar.get("/readyz")[0] == 503, sidecar)
        began = time.monotonic()
        assert sidecar.stop() == 0, str(sidecar)
        assert time.monotonic() - began < SOON_SECONDS


def test_started_before_postgres(space: Keyspace, beside: MakeSidecar) -> None:
    with PostgresServer() as server:
        server.stop()
        with beside(server.dsn) as sidecar:
            wait_until(lambda: sidecar.get("/readyz")[0] == 503, sidecar)
            wait_until(lambda: sidecar.status()["state"] == "waiting_for_postgres", sidecar)
            write(space, range(10))
            server.start()
            sidecar.wait_live()
            assert_mirror_equals_select(space.node, space.name, server.dsn)


@pytest.fixture
def held(beside: MakeSidecar, database: str) -> Iterator[Sidecar]:
    """A sidecar that holds the lease."""
    with beside(database) as sidecar:
        yield sidecar.wait_live()


def test_a_second_sidecar_is_refused_and_says_so(
    space: Keyspace, held: Sidecar, beside: MakeSidecar, database: str
) -> None:
    second = beside(database, **{"lease.wait_seconds": 0.5}).start()
    assert second.wait() == CheckpointMoved.exit_code
    said = second.log_file.read_text()
    holder = held.status()["lease_holder"]
    assert "does not hold the lease of node node1" in said and holder in said
    write(space, range(50))
    wait_until(lambda: held.status()["mutations_since_start"] == 50, held)
    assert one_value(database, "SELECT fencing_token FROM cdc_tail.checkpoint") == 1


def test_sigterm_in_traffic_gives_the_lease_to_the_next(
    space: Keyspace, held: Sidecar, beside: MakeSidecar, database: str
) -> None:
    with beside(database, **{"lease.wait_seconds": 60}) as second:
        wait_until(lambda: second.state() == "waiting_for_lease", second)
        assert second.get("/readyz")[0] == 503
        write(space, range(3000))
        began = time.monotonic()
        assert held.stop() == 0, str(held)
        assert time.monotonic() - began < SOON_SECONDS
        second.wait_live()
        assert time.monotonic() - began < SOON_SECONDS
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert rows == {f"{space.name}.t": 3000}
        wait_until(lambda: mutations(database) == 3000, second)
    assert one_value(database, "SELECT lease_holder FROM cdc_tail.checkpoint") is None
