"""A running sidecar whose clock jumps, that hangs, can't log, or whose segment somebody took."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdc_tail.errors import CheckpointGap, CheckpointMoved
from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

DAY_SECONDS = 86_400
MakeSidecar = Callable[..., Sidecar]


@pytest.fixture
def space(cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]) -> Keyspace:
    made = keyspace(cassandra_node("5.0"))
    made.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    return made


@pytest.fixture
def beside(space: Keyspace, database: str, tmp_path: Path) -> MakeSidecar:
    """A sidecar that leaves the segments of the shared node alone."""

    def make(**settings: Any) -> Sidecar:
        kept = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
        return Sidecar(space.node, database, tmp_path, settings=kept | settings)

    return make


def write(space: Keyspace, numbers: range, using: str = "") -> None:
    for number in numbers:
        space.session.execute(f"INSERT INTO t (k, v) VALUES ({number}, 'v') {using}")


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)


@pytest.mark.parametrize("jump_seconds", [DAY_SECONDS, -DAY_SECONDS], ids=["ahead", "back"])
def test_the_clock_jumps_by_a_day(
    jump_seconds: int, space: Keyspace, beside: MakeSidecar, database: str, tmp_path: Path
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    space.session.execute("ALTER TABLE t WITH gc_grace_seconds = 3600")
    with beside().with_clock(clock) as sidecar:
        sidecar.wait_live()
        write(space, range(10), "USING TTL 7200")
        for number in range(5):
            space.session.execute(f"DELETE FROM t USING TIMESTAMP 2000 WHERE k = {100 + number}")
        wait_until(lambda: mutations(database) == 15, sidecar)
        clock.write_text(str(jump_seconds))
        write(space, range(10, 20), "USING TTL 7200")
        write(space, range(20, 25), "USING TTL 1")
        # What is dead stays dead: its tombstones are younger than gc_grace_seconds.
        write(space, range(100, 105), "USING TIMESTAMP 1000")
        wait_until(lambda: mutations(database) == 35, sidecar)
        wait_until(
            lambda: one_value(database, "SELECT count(*) FROM cdc_tail.expiry") == 20, sidecar
        )
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert rows == {f"{space.name}.t": 20}
        # Nobody's clock but PostgreSQL's says whose the lease is.
        second = beside(**{"lease.wait_seconds": 1}).with_clock(clock).start()
        assert second.wait(60) == CheckpointMoved.exit_code, second
        assert sidecar.state() == "live"
        # A process that starts with the wrong clock applies what the right one would.
        assert sidecar.stop() == 0
        with sidecar:
            sidecar.wait_live()
            space.session.execute("ALTER TABLE t ADD w int")
            space.session.execute("UPDATE t SET w = 1 WHERE k = 1")
            assert_mirror_equals_select(space.node, space.name, database)


@pytest.mark.parametrize("place", ["batch.read", "commit.before"])
def test_a_holder_that_hung_can_not_commit_any_more(
    place: str, space: Keyspace, beside: MakeSidecar, database: str
) -> None:
    write(space, range(5))
    first = beside(**{"lease.ttl_seconds": 4}).start(f"{place}=stop")
    try:
        wait_until(lambda: is_stopped(first), first)
        with beside(**{"lease.ttl_seconds": 4, "lease.wait_seconds": 60}) as second:
            second.wait_live()
            write(space, range(5, 20))
            wait_until(lambda: mutations(database) == 20, second)
            os.kill(first.pid, signal.SIGCONT)
            assert first.wait(60) == CheckpointMoved.exit_code, first
            assert "does not hold the lease" in first.log_file.read_text()
            write(space, range(20, 30))
            wait_until(lambda: mutations(database) == 30, second)
            rows = assert_mirror_equals_select(space.node, space.name, database)
            assert rows == {f"{space.name}.t": 30}
            assert second.status()["error"] is None, second
    finally:
        if first.is_running:
            first.kill()
    assert one_value(database, "SELECT fencing_token FROM cdc_tail.checkpoint") == 2


def is_stopped(sidecar: Sidecar) -> bool:
    status = Path(f"/proc/{sidecar.pid}/status").read_text()
    return "\nState:\tT" in status


def test_a_full_disk_under_the_log_stops_nothing(
    space: Keyspace, beside: MakeSidecar, database: str
) -> None:
    sidecar = beside()
    sidecar.log_file = Path("/dev/full")
    with sidecar:
        sidecar.wait_live()
        write(space, range(20))
        space.session.execute("ALTER TABLE t ADD w int")
        write(space, range(20, 40))
        assert_mirror_equals_select(space.node, space.name, database)
        assert sidecar.stop() == 0


def test_a_segment_that_was_not_finished_is_gone_at_the_start(
    new_cassandra_node: NodeFactory, database: str, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    space = Keyspace.create(node, "gap")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    sidecar = Sidecar(node, database, tmp_path)
    with sidecar:
        sidecar.wait_live()
        write(space, range(10))
        wait_until(lambda: mutations(database) == 10, sidecar)
        position = sidecar.status()["position"]
        assert sidecar.stop() == 0
    write(space, range(10, 20))
    segment_id = position.split(":")[0]
    node.stop()
    for path in node.cdc_raw.glob(f"*-{segment_id}*"):
        path.unlink()
    node.start()
    # Cassandra's replay links anew what it has in its log: that, too, is taken from us.
    for path in node.cdc_raw.glob(f"*-{segment_id}*"):
        path.unlink()
    sidecar.start()
    assert sidecar.wait(60) == CheckpointGap.exit_code, sidecar
    told = sidecar.log_file.read_text()
    assert position in told and "--accept-gap" in told and "cdc-tail snapshot" in told
    # Nothing is accepted by trying again.
    sidecar.start()
    assert sidecar.wait(60) == CheckpointGap.exit_code, sidecar
    sidecar.start(options=("--accept-gap",))
    try:
        sidecar.wait_live()
        assert sidecar.status()["lost_segments"] == 1
        assert sidecar.metric("cdc_lost_segments_total") == 1
        session = node.session("gap")
        for number in range(30):
            session.execute(f"INSERT INTO t (k, v) VALUES ({number}, 'again')")
        assert_mirror_equals_select(node, "gap", database)
    finally:
        sidecar.stop()
    # Accepted once, it is not met again.
    with sidecar:
        sidecar.wait_live()
        assert sidecar.status()["lost_segments"] == 0
