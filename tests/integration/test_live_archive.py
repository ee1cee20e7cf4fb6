"""A sidecar whose PostgreSQL is away for long: segments leave cdc_raw, and come back in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.watch import list_segments
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

PADDING = "x" * 1500
ROWS = 2_500  # between three and four segments of 1 MiB


def write(session: Any, numbers: range) -> None:
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    for first in range(numbers.start, numbers.stop, 200):
        some = range(first, min(first + 200, numbers.stop))
        futures = [session.execute_async(insert, (k, PADDING)) for k in some]
        for future in futures:
            future.result()


def completed(node: CassandraNode) -> int:
    return sum(one.is_final for one in list_segments(node.cdc_raw).segments)


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)


def test_segments_wait_in_the_archive_while_postgresql_is_away(
    new_cassandra_node: NodeFactory, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    space = Keyspace.create(node, "archived")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    folder = tmp_path / "archive"
    settings = {"archive.url": f"file://{folder}", "archive.after_seconds": 1}
    with PostgresServer() as server, Sidecar(node, server.dsn, tmp_path, settings=settings) as side:
        side.wait_live()
        write(space.session, range(100))
        wait_until(lambda: mutations(server.dsn) == 100, side)

        server.stop()
        write(space.session, range(100, ROWS))
        wait_until(lambda: side.metric("cdc_archived_segments_total") >= 3, side)
        wait_until(lambda: completed(node) == 0, side)
        assert side.status()["archive_segments"] >= 3

        # Killed, it finds them again; and goes on moving what it could not read yet.
        side.kill()
        write(space.session, range(ROWS, 2 * ROWS))
        assert completed(node) >= 2
        side.start()
        wait_until(lambda: completed(node) == 0, side, seconds=60)
        held = list((folder / "node1").glob("*.json"))
        assert len(held) >= 6

        server.start()
        wait_until(lambda: mutations(server.dsn) == 2 * ROWS, side, seconds=60)
        assert assert_mirror_equals_select(node, space.name, server.dsn) == {
            f"{space.name}.t": 2 * ROWS
        }
        wait_until(lambda: side.metric("cdc_archive_segments") == 0, side)
        assert list((folder / "node1").iterdir()) == []
        assert side.status()["lost_segments"] == 0
        assert mutations(server.dsn) == 2 * ROWS
        assert side.stop() == 0
