"""PostgreSQL fails over to its standby, or its disk is full, under a running sidecar."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from cdc_tail.errors import CheckpointWentBack
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

FILE_LIMIT_BYTES = 20 << 20  # more than a segment of PostgreSQL's own log, which is made first


@pytest.fixture(scope="module")
def node() -> Iterator[CassandraNode]:
    options = NodeOptions(commitlog_segment_size_mib=1, heap_mib=640)
    with CassandraNode("5.0", options=options) as started:
        yield started


def space_of(node: CassandraNode, name: str) -> Keyspace:
    made = Keyspace.create(node, name)
    made.session.execute("CREATE TABLE t (k int PRIMARY KEY, v blob) WITH cdc = true")
    return made


def write(space: Keyspace, numbers: range, size_bytes: int = 10) -> None:
    insert = space.session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    for number in numbers:
        space.session.execute(insert, (number, secrets.token_bytes(size_bytes)))


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)


def either_of(primary: PostgresServer, standby: PostgresServer) -> str:
    """Connection URI of whichever of the two takes writes."""
    account = urlsplit(primary.dsn).netloc.rpartition("@")[0]
    hosts = f"{primary.address}:{primary.port},{standby.address}:{standby.port}"
    return f"postgresql://{account}@{hosts}/postgres?target_session_attrs=read-write"


@pytest.mark.timeout(300)
def test_failed_over_to_a_synchronous_standby(node: CassandraNode, tmp_path: Path) -> None:
    space = space_of(node, "failed_over")
    with PostgresServer() as primary, primary.standby() as standby:
        with psycopg.connect(primary.dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        found = "SELECT sync_state FROM pg_stat_replication"
        wait_until(lambda: one_value(primary.dsn, found) == "sync", "no standby")
        settings = {"mirror.include": "failed_over.*"}
        dsn = either_of(primary, standby)
        with Sidecar(node, dsn, tmp_path, settings=settings) as sidecar:
            sidecar.wait_live()
            write(space, range(200))
            wait_until(lambda: mutations(primary.dsn) == 200, sidecar)
            primary.kill()
            write(space, range(150, 400))
            wait_until(lambda: not sidecar.status()["postgres_up"], sidecar)
            standby.promote()
            wait_until(lambda: mutations(standby.dsn) == 450, sidecar, 60)
            write(space, range(400, 500))
            rows = assert_mirror_equals_select(node, "failed_over", standby.dsn)
            assert rows == {"failed_over.t": 500}
            assert mutations(standby.dsn) == 550
            assert sidecar.stop() == 0, sidecar


@pytest.mark.timeout(300)
def test_failed_over_to_a_standby_that_was_behind(node: CassandraNode, tmp_path: Path) -> None:
    space = space_of(node, "behind")
    with PostgresServer() as primary, primary.standby() as standby:
        settings = {"mirror.include": "behind.*", "watch.keep_segments": True}
        dsn = either_of(primary, standby)
        with Sidecar(node, dsn, tmp_path, settings=settings) as sidecar:
            sidecar.wait_live()
            write(space, range(100))
            wait_until(lambda: mutations(standby.dsn) == 100, sidecar)
            standby.stop()
            write(space, range(100, 200))
            wait_until(lambda: mutations(primary.dsn) == 200, sidecar)
            primary.kill()
            standby.start()
            standby.promote()
            # It must not go on as if the database had what it has acknowledged.
            assert sidecar.wait(60) == CheckpointWentBack.exit_code, sidecar
            sidecar.start().wait_live()
            rows = assert_mirror_equals_select(node, "behind", standby.dsn)
            assert rows == {"behind.t": 200}
            assert mutations(standby.dsn) == 200
            assert sidecar.stop() == 0, sidecar


@pytest.mark.long
@pytest.mark.timeout(300)
def test_postgres_can_write_no_more(node: CassandraNode, tmp_path: Path) -> None:
    space = space_of(node, "disk_full")
    with PostgresServer() as server:
        server.limit_file_size(FILE_LIMIT_BYTES)
        with Sidecar(
            node, server.dsn, tmp_path, settings={"mirror.include": "disk_full.*"}
        ) as sidecar:
            sidecar.wait_live()
            for first in range(0, 3000, 100):
                write(space, range(first, first + 100), 10_000)
                if not sidecar.status()["postgres_up"]:
                    break
            wait_until(lambda: not sidecar.status()["postgres_up"], sidecar)
            status = sidecar.status()
            assert status["state"] == "waiting_for_postgres"
            assert "could not extend file" in status["error"]["message"], sidecar
            written = first + 100
            write(space, range(written, written + 50))
            before = mutations(server.dsn)
            assert before < written
            assert sidecar.get("/healthz")[0] == 200 and sidecar.get("/readyz")[0] == 503
            server.limit_file_size(None)
            wait_until(lambda: mutations(server.dsn) == written + 50, sidecar, 60)
            rows = assert_mirror_equals_select(node, "disk_full", server.dsn)
            assert rows == {"disk_full.t": written + 50}
            assert sidecar.status()["dead_letters"] == 0
            assert sidecar.stop() == 0, sidecar
