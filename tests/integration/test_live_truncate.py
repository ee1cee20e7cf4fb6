"""TRUNCATE beside a running sidecar: in the midst of writes, and whatever the writetimes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cdc_tail import config
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.replay import Replay
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

MakeKeyspace = Callable[[CassandraNode], Keyspace]

TRUNCATES = 3
SYNC_SECONDS = 11  # commitlog_sync_period is 10
THE_FUTURE_US = 4_000_000_000_000_000


def series_name(series: str) -> str:
    return f"replayed_{series.replace('.', '_')}"


class Writes:
    """Rows written one after the other by a thread of their own, until the block ends."""

    def __init__(self, space: Keyspace) -> None:
        self._space = space
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.count = 0
        self.failed: Exception | None = None

    def _write(self) -> None:
        session = self._space.session
        insert = session.prepare("INSERT INTO t (p, c, v) VALUES (?, ?, ?)")
        old = session.prepare("INSERT INTO t (p, c, v) VALUES (?, ?, ?) USING TIMESTAMP ?")
        try:
            while not self._stop.is_set():
                self.count += 1
                n = self.count
                session.execute(insert, (n % 7, n, "present"))
                session.execute(old, (n % 7, -n, "long ago", n))
        except Exception as error:  # noqa: BLE001 (raised where the block ends)
            self.failed = error

    def __enter__(self) -> Writes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self.failed is not None:
            raise self.failed

    def go_on(self, sidecar: Sidecar) -> None:
        """Wait until some more were written."""
        seen = self.count
        wait_until(lambda: self.count > seen + 50 or self.failed is not None, sidecar)


@pytest.mark.parametrize("series", ["4.0", "5.0"])
def test_what_is_written_meanwhile_and_later_stays(
    series: str,
    cassandra_node: NodeFactory,
    keyspace: MakeKeyspace,
    database: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node(series))
    space.session.execute(
        "CREATE TABLE t (p int, c int, v text, s int static, PRIMARY KEY (p, c)) WITH cdc = true"
    )
    settings = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    with Sidecar(space.node, database, tmp_path, settings=settings) as sidecar:
        sidecar.wait_live()
        for statement in (
            f"INSERT INTO t (p, c, v) VALUES (1, 0, 'future') USING TIMESTAMP {THE_FUTURE_US}",
            f"DELETE FROM t USING TIMESTAMP {THE_FUTURE_US} WHERE p = 2",
            f"UPDATE t USING TIMESTAMP {THE_FUTURE_US} SET s = 1 WHERE p = 3",
        ):
            space.session.execute(statement)
        with Writes(space) as writes:
            for _ in range(TRUNCATES):
                writes.go_on(sidecar)
                space.session.execute("TRUNCATE t", timeout=60)
            writes.go_on(sidecar)
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert rows[f"{space.name}.t"] > 100
        with psycopg.connect(database) as connection:
            (found,) = connection.execute(
                f"SELECT count(*) FROM {space.name}.t WHERE v = 'long ago'".encode()
            ).fetchone() or (0,)
        assert found > 0
        assert one_value(database, "SELECT count(*) FROM cdc_tail.truncation") == TRUNCATES
    # What a replay reads first: the part of the log that Cassandra has synced.
    time.sleep(SYNC_SECONDS)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {series_name(series)}".encode())
    again = database.rpartition("/")[0] + "/" + series_name(series)
    for dsn in (again, again, database):
        options = {"postgres.dsn": dsn, "mirror.include": (f"{space.name}.*",)}
        Replay(config.load(environ={}, options=options), [space.node.cdc_raw]).run()
        assert_mirror_equals_select(space.node, space.name, dsn)
