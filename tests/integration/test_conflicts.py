"""Several processes that start at once, and transactions that are in each other's way."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc_tail import config
from cdc_tail.database import Database
from cdc_tail.errors import SinkConflict
from cdc_tail.mirrors import Mirrors
from cdc_tail.schema_file import seed_from_file
from cdc_tail.schema_guide import SchemaGuide
from cdc_tail.writer import CONFLICTS_AT_MOST, Writer
from parsers.schema_log import SchemaLog
from tests.support.sidecar import wait_until

PROCESSES = 6
TABLES = 8


def writer_of(dsn: str, node: str, schema: SchemaLog) -> Writer:
    settings = config.load(environ={}, options={"postgres.dsn": dsn, "node": node})
    return Writer(Database(settings), node, Mirrors(schema, settings.mirror, node))


@pytest.fixture
def writer(database: str) -> Any:
    with closing(writer_of(database, "n", SchemaLog())) as writer:
        writer.connect()
        yield writer


def shop(folder: Path) -> SchemaLog:
    file = folder / "shop.cql"
    file.write_text(
        "\n".join(
            f"CREATE TABLE shop.t{n} (k int, c int, s text static, v text, PRIMARY KEY (k, c))"
            f" WITH ID = 5bc52802-de25-35ed-aeab-188eecebb0{n:02x} AND cdc = true;"
            for n in range(TABLES)
        )
    )
    log = SchemaLog()
    seed_from_file(log, file)
    return log


def test_many_start_at_once(database: str, tmp_path: Path) -> None:
    """Each in an empty database: one makes tables and mirrors, none is refused or ended."""
    together = threading.Barrier(PROCESSES)

    def start(number: int) -> int:
        (tmp_path / str(number)).mkdir()
        schema = shop(tmp_path / str(number))
        with closing(writer_of(database, f"n{number}", schema)) as writer:
            together.wait()
            SchemaGuide(schema, None).bring_up(writer)
            return len(writer.mirrored())

    with ThreadPoolExecutor(PROCESSES) as pool:
        assert list(pool.map(start, range(PROCESSES))) == [2 * TABLES] * PROCESSES
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT script FROM cdc_tail.installed").fetchall()
        assert {name for (name,) in found} == {"mirror", "checkpoints"}


class Rival:
    """Locks two rows the other way round, and lets the other side find the deadlock."""

    def __init__(self, dsn: str) -> None:
        self._conn = psycopg.connect(dsn)
        self._conn.execute("SET deadlock_timeout = '10min'")
        self._conn.commit()
        self._watch = psycopg.connect(dsn, autocommit=True)
        self._thread = threading.Thread(target=self._lock_first)

    def lock_second(self) -> None:
        self._conn.execute("UPDATE pair SET v = v + 1 WHERE k = 2")

    def _lock_first(self) -> None:
        self._conn.execute("UPDATE pair SET v = v + 1 WHERE k = 1")
        self._conn.commit()

    def wait_for_first(self) -> None:
        """Returns once it waits."""
        self._thread.start()
        wait_until(self._is_waiting, "the rival does not wait", 30)

    def _is_waiting(self) -> bool:
        found = self._watch.execute(
            "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted",
            (self._conn.info.backend_pid,),
        ).fetchone()
        return found == (1,)

    def close(self) -> None:
        self._thread.join()
        self._conn.close()
        self._watch.close()


def make_pair(writer: Writer) -> None:
    writer.query(
        lambda conn: conn.execute(
            "CREATE TABLE pair AS SELECT k, 0 AS v FROM generate_series(1, 2) AS k"
        )
    )


def test_the_loser_of_a_deadlock_tries_again(database: str, writer: Writer) -> None:
    make_pair(writer)
    with closing(Rival(database)) as rival:
        rival.lock_second()
        tries = 0

        def both(conn: psycopg.Connection[Any]) -> None:
            nonlocal tries
            tries += 1
            conn.execute("UPDATE pair SET v = v + 10 WHERE k = 1")
            if tries == 1:
                rival.wait_for_first()
            conn.execute("UPDATE pair SET v = v + 10 WHERE k = 2")

        writer.despite_conflicts(lambda: writer.query(both))
    assert tries == 2
    found = writer.query(lambda conn: conn.execute("SELECT v FROM pair").fetchall())
    assert found == [(11,), (11,)]


def test_who_always_loses_is_told(writer: Writer) -> None:
    tries = 0

    def lose() -> None:
        nonlocal tries
        tries += 1
        raise SinkConflict("another transaction was in the way: deadlock detected")

    with pytest.raises(SinkConflict, match="deadlock"):
        writer.despite_conflicts(lose)
    assert tries == CONFLICTS_AT_MOST + 1
