"""A change of one mirror's columns against another sidecar's batch, each waiting for the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

# The sidecar's: PostgreSQL ends the transaction that has waited for so long first.
OURS = "5s"
OTHERS = "120s"

LOCK = """
SELECT FROM cdc_tail.bucket JOIN cdc_tail.mirror USING (mirror_id)
 WHERE table_name = %s ORDER BY mirror_id, bucket FOR UPDATE OF bucket
"""
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def test_a_deadlock_of_columns_and_rows_is_tried_again(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    database: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    execute = space.session.execute
    for name in ("altered", "written"):
        execute(f"CREATE TABLE {name} (k int PRIMARY KEY, v int) WITH cdc = true")
    dsn = f"{database}{'&' if '?' in database else '?'}options=-cdeadlock_timeout%3D{OURS}"
    settings = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    with (
        Sidecar(space.node, dsn, tmp_path, settings=settings) as sidecar,
        psycopg.connect(database) as other,
    ):
        sidecar.wait_live()
        execute("INSERT INTO altered (k, v) VALUES (0, 0)")
        wait_until(lambda: mutations(database) == 1, sidecar)
        other.execute(f"SET deadlock_timeout = '{OTHERS}'".encode())
        other.execute(LOCK, ("altered",))
        # Stopped meanwhile, so that it takes the rows and the column in one transaction.
        os.kill(sidecar.pid, signal.SIGSTOP)
        try:
            for k in range(50):
                execute(f"INSERT INTO written (k, v) VALUES ({k}, {k})")
            execute("ALTER TABLE altered ADD w int")
            execute("INSERT INTO altered (k, w) VALUES (0, 1)")
        finally:
            os.kill(sidecar.pid, signal.SIGCONT)
        # It owns the rows of `written` and waits for those of `altered`; now the other way round.
        wait_until(lambda: one_value(database, BLOCKED, other.info.backend_pid), sidecar)
        other.execute(LOCK, ("written",))
        # It has these because the sidecar's transaction was ended, and nothing of it is left.
        assert mutations(database) == 1
        other.rollback()
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert rows == {f"{space.name}.altered": 1, f"{space.name}.written": 50}
        wait_until(lambda: one_value(database, DEADLOCKS) == 1, sidecar)
        wait_until(lambda: mutations(database) == 52, sidecar)
        assert sidecar.metric("cdc_errors_total", type="SinkConflict") >= 1
        assert sidecar.status()["dead_letters"] == 0
        assert sidecar.stop() == 0


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)
