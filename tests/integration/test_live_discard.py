"""When a running sidecar deletes segments, and what it makes of a node that is restarted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.watch import SegmentFile, list_segments
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

ROWS = 2000  # of 1.5 kB: nearly three segments of 1 MiB
PADDING = "x" * 1500
KILLS_AT_MOST = 4


def write(session: Any, numbers: range) -> None:
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    for first in range(numbers.start, numbers.stop, 200):
        some = range(first, min(first + 200, numbers.stop))
        futures = [session.execute_async(insert, (k, PADDING)) for k in some]
        for future in futures:
            future.result()


def segments(node: CassandraNode) -> dict[str, SegmentFile]:
    return {one.path.name: one for one in list_segments(node.cdc_raw).segments}


def completed(node: CassandraNode) -> set[str]:
    return {name for name, one in segments(node).items() if one.is_final}


def assert_written_ones_are_there(node: CassandraNode) -> None:
    """The segment that Cassandra writes to, and the next one, keep their names in cdc_raw."""
    own = sorted(path.name for path in node.commitlog.glob("*.log"))
    assert set(own[-2:]) <= segments(node).keys()


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)


def test_segments_go_once_they_are_complete_and_committed(
    new_cassandra_node: NodeFactory, tmp_path: Path
) -> None:
    node = new_cassandra_node("4.1")
    space = Keyspace.create(node, "discard")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    with PostgresServer() as server:
        with Sidecar(node, server.dsn, tmp_path) as sidecar:
            sidecar.wait_live()
            write(space.session, range(ROWS))
            wait_until(lambda: mutations(server.dsn) == ROWS, sidecar)
            wait_until(lambda: sidecar.status()["segments_discarded"] >= 2, sidecar)
            wait_until(lambda: not completed(node), sidecar)
            assert_written_ones_are_there(node)

            server.stop()
            before = segments(node).keys()
            write(space.session, range(ROWS, 2 * ROWS))
            wait_until(lambda: len(completed(node)) >= 2, sidecar)
            time.sleep(2)
            assert before <= segments(node).keys()
            assert len(completed(node)) >= 2
            wait_until(lambda: sidecar.status()["backlog_segments"] >= 2, sidecar)
            assert sidecar.metric("cdc_backlog_depth") >= 2

            server.start()
            wait_until(lambda: mutations(server.dsn) == 2 * ROWS, sidecar)
            wait_until(lambda: not completed(node), sidecar)
            wait_until(lambda: sidecar.metric("cdc_backlog_depth") == 0, sidecar)
            assert_written_ones_are_there(node)
            indexes = {path.name for path in node.cdc_raw.glob("*_cdc.idx")}
            assert indexes <= {name.replace(".log", "_cdc.idx") for name in segments(node)}

        keeping = Sidecar(node, server.dsn, tmp_path, settings={"watch.keep_segments": True})
        with keeping:
            keeping.wait_live()
            write(space.session, range(ROWS))
            wait_until(lambda: mutations(server.dsn) == 3 * ROWS, keeping)
            wait_until(lambda: len(completed(node)) >= 2, keeping)
            time.sleep(2)
            kept = completed(node)
            assert len(kept) >= 2 and keeping.status()["segments_discarded"] == 0
        with sidecar:
            sidecar.wait_live()
            wait_until(lambda: not kept & segments(node).keys(), sidecar)
            # They were committed already: nothing of them was read again.
            assert mutations(server.dsn) == 3 * ROWS
            rows = assert_mirror_equals_select(node, "discard", server.dsn)
            assert rows == {"discard.t": 2 * ROWS}


@pytest.mark.parametrize("series", ["4.0", "5.0"])
def test_node_restarted_while_it_is_tailed(
    series: str, new_cassandra_node: NodeFactory, database: str, tmp_path: Path
) -> None:
    node = new_cassandra_node(series)
    space = Keyspace.create(node, "restart")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    with Sidecar(node, database, tmp_path) as sidecar:
        sidecar.wait_live()
        write(space.session, range(1000))
        wait_until(lambda: mutations(database) == 1000, sidecar)
        node.restart()
        assert sidecar.is_running, sidecar
        session = node.session("restart")
        write(session, range(900, 1500))
        session.execute("DELETE FROM t WHERE k = 0")
        rows = assert_mirror_equals_select(node, "restart", database)
        assert rows == {"restart.t": 1499}
        # What the stopped process left behind, with and without an index, is gone.
        wait_until(lambda: not completed(node), sidecar)
        assert_written_ones_are_there(node)
        status = sidecar.status()
        assert status["state"] == "live" and status["lost_segments"] == 0
        assert status["dead_letters"] == status["parked"] == 0
        assert mutations(database) == 1000 + 600 + 1


def test_node_killed_while_it_is_tailed(
    new_cassandra_node: NodeFactory, database: str, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    space = Keyspace.create(node, "crash")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    with Sidecar(node, database, tmp_path) as sidecar:
        sidecar.wait_live()
        write(space.session, range(ROWS))
        wait_until(lambda: mutations(database) == ROWS, sidecar)
        wait_until(lambda: sidecar.status()["segments_discarded"] >= 2, sidecar)
        # A killed node replays up to its last marker only, and it writes one every 100 ms.
        time.sleep(1)
        node.kill()
        node.start()
        session = node.session("crash")
        # Replay shows deleted segments once more: they are known, and not read again.
        session.execute("DELETE FROM t WHERE k = 0")
        session.execute("UPDATE t SET v = 'new' WHERE k = 1")
        rows = assert_mirror_equals_select(node, "crash", database)
        assert rows == {"crash.t": ROWS - 1}
        wait_until(lambda: not completed(node), sidecar)
        rows = assert_mirror_equals_select(node, "crash", database)
        assert rows == {"crash.t": ROWS - 1}
        status = sidecar.status()
        assert status["state"] == "live" and status["lost_segments"] == 0
        assert status["dead_letters"] == status["parked"] == status["forgotten_mutations"] == 0
        assert mutations(database) == ROWS + 2


def write_and_kill(node: CassandraNode, dsn: str, sidecar: Sidecar) -> None:
    """Write, kill the node at once, and start it again once the mirror has what was written."""
    before = mutations(dsn)
    written = before + 6
    session = node.session("forgets")
    write(session, range(before, before + 5))
    session.execute(f"INSERT INTO t (k, v) VALUES (-1, 'overwritten after {before}')")
    node.kill()
    wait_until(lambda: mutations(dsn) >= written, sidecar)
    node.start()
    wait_until(lambda: not sidecar.status()["backlog_segments"], sidecar)
    time.sleep(2)


@pytest.mark.long
@pytest.mark.timeout(300 * KILLS_AT_MOST)
def test_what_a_killed_node_forgets_is_told(
    new_cassandra_node: NodeFactory, postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    space = Keyspace.create(node, "forgets")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    marked_database = postgres.create_database("marked")
    live = Sidecar(node, database, tmp_path, settings={"watch.keep_segments": True})
    marked = Sidecar(
        node,
        marked_database,
        tmp_path,
        settings={"watch.keep_segments": True, "watch.read": "marked"},
    )
    with live, marked:
        live.wait_live()
        marked.wait_live()
        # Until the kill falls between a write and the marker behind it, one each 100 ms.
        for _ in range(KILLS_AT_MOST):
            write_and_kill(node, database, live)
            if live.status()["forgotten_mutations"]:
                break
        told = one_value(database, "SELECT count(*) FROM cdc_tail.forgotten WHERE table_name = 't'")
        assert told > 0, live
        assert told == live.status()["forgotten_mutations"]
        assert live.metric("cdc_forgotten_mutations_total") == told
        assert_mirror_equals_select(node, "forgets", marked_database)
        assert marked.status()["forgotten_mutations"] == 0

        # Nobody else has those writes, so they are to go; and what is written again is to stay.
        told_rows = live.command("verify", "--json")
        assert told_rows.returncode == 1, told_rows.stderr
        repaired = live.command("verify", "--repair")
        assert repaired.returncode == 0, repaired.stdout + repaired.stderr
        assert_mirror_equals_select(node, "forgets", database)
        write(node.session("forgets"), range(5))
        assert_mirror_equals_select(node, "forgets", database)
