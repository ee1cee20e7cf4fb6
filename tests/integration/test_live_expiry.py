"""TTLs of a live mirror: what Cassandra stops showing at a second goes from the mirror then."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

LATE_SECONDS = 1.0  # a busy machine's; usually some hundredths
POLL_SECONDS = 0.01


@pytest.fixture
def space(cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]) -> Keyspace:
    made = keyspace(cassandra_node("5.0"))
    made.session.execute(
        "CREATE TABLE t (k int PRIMARY KEY, v text, tags set<text>) WITH cdc = true"
    )
    return made


@pytest.fixture
def sidecar(space: Keyspace, database: str, tmp_path: Path) -> Sidecar:
    settings = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    return Sidecar(space.node, database, tmp_path, settings=settings)


def test_at_its_second(space: Keyspace, sidecar: Sidecar, database: str) -> None:
    execute = space.session.execute
    with sidecar, psycopg.connect(database, autocommit=True) as connection:
        sidecar.wait_live()
        execute("INSERT INTO t (k, v) VALUES (1, 'row') USING TTL 4")
        execute("INSERT INTO t (k, v, tags) VALUES (2, 'stays', {'stays'})")
        execute("UPDATE t USING TTL 3 SET v = 'cell' WHERE k = 2")
        execute("UPDATE t USING TTL 5 SET tags = tags + {'element'} WHERE k = 2")
        execute("INSERT INTO t (k, v) VALUES (3, 'kept alive by the next') USING TTL 3")
        execute("UPDATE t USING TTL 1000 SET v = 'alive' WHERE k = 3")
        wait_until(lambda: sidecar.status()["mutations_since_start"] == 6, sidecar)

        def mirrored() -> dict[int, tuple[str | None, frozenset[str]]]:
            rows = connection.execute(f"SELECT k, v, tags FROM {space.name}.t".encode())
            return {k: (v, frozenset(tags or ())) for k, v, tags in rows}

        def selected() -> dict[int, tuple[str | None, frozenset[str]]]:
            return {r.k: (r.v, frozenset(r.tags or ())) for r in execute("SELECT * FROM t")}

        assert mirrored() == {
            1: ("row", frozenset()),
            2: ("cell", frozenset({"stays", "element"})),
            3: ("alive", frozenset()),
        }
        ended_at: dict[int, dict[str, float]] = {1: {}, 2: {}, 4: {}}
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not all(len(one) == 2 for one in ended_at.values()):
            for name, look in (("Cassandra", selected), ("mirror", mirrored)):
                rows, now = look(), time.monotonic()
                gone = {1: 1 not in rows, 2: rows[2][0] is None, 4: "element" not in rows[2][1]}
                for what, is_gone in gone.items():
                    if is_gone:
                        ended_at[what].setdefault(name, now)
            time.sleep(POLL_SECONDS)
        for what, ended in ended_at.items():
            assert abs(ended["mirror"] - ended["Cassandra"]) < LATE_SECONDS, (what, ended_at)
        assert (
            mirrored() == selected() == {2: (None, frozenset({"stays"})), 3: ("alive", frozenset())}
        )
        assert_mirror_equals_select(space.node, space.name, database)
        assert sidecar.metric("cdc_expired_rows_total") == 3


def test_while_nobody_was_there(space: Keyspace, sidecar: Sidecar, database: str) -> None:
    execute = space.session.execute
    with sidecar:
        sidecar.wait_live()
        for key in range(500):
            execute(f"INSERT INTO t (k, v) VALUES ({key}, 'gone soon') USING TTL 4")
        execute("INSERT INTO t (k, v) VALUES (1000, 'stays')")
        wait_until(lambda: sidecar.status()["mutations_since_start"] == 501, sidecar)
        assert sidecar.stop() == 0
        time.sleep(5)
        execute("UPDATE t SET v = 'again' WHERE k = 7")
        execute("UPDATE t USING TTL 2 SET v = 'for a while' WHERE k = 8")
        assert one_value(database, f"SELECT count(*) > 1 FROM {space.name}.t")
        sidecar.start().wait_live()
        wait_until(
            lambda: one_value(database, f"SELECT count(*) FROM {space.name}.t") == 2, sidecar
        )
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert rows == {f"{space.name}.t": 2}
