"""A running sidecar beside a running node: every kind of change, and tables that come and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar, wait_until

MakeKeyspace = Callable[[CassandraNode], Keyspace]

TABLES = (
    "CREATE TYPE point (x int, y int)",
    """CREATE TABLE things (p int, c text, v int, w text, s int static,
        tags set<text>, steps list<int>, names map<text, int>, at point,
        PRIMARY KEY (p, c)) WITH CLUSTERING ORDER BY (c DESC) AND cdc = true""",
    "CREATE TABLE hits (page text PRIMARY KEY, n counter) WITH cdc = true",
    "CREATE TABLE users (id int PRIMARY KEY, name text) WITH cdc = true",
    "CREATE TABLE private (id int PRIMARY KEY, name text)",
)
CHANGES = (
    "INSERT INTO things (p, c, v, w) VALUES (1, 'a', 1, 'one')",
    "INSERT INTO things (p, c, v, w) VALUES (1, 'b', 2, 'two')",
    "INSERT INTO things (p, c) VALUES (1, 'key only')",
    "INSERT INTO things (p, s) VALUES (1, 7)",
    "INSERT INTO things (p, s) VALUES (2, 8)",  # nothing but static
    "UPDATE things SET v = 3 WHERE p = 1 AND c = 'b'",
    "UPDATE things USING TIMESTAMP 5 SET v = 99 WHERE p = 1 AND c = 'b'",  # older
    "UPDATE things SET w = null WHERE p = 1 AND c = 'b'",
    (
        "UPDATE things SET tags = {'x', 'y'}, steps = [1, 2, 3], names = {'k': 1},"
        " at = {x: 1, y: 2} WHERE p = 1 AND c = 'a'"
    ),
    (
        "UPDATE things SET tags = tags + {'z'}, steps = [0] + steps, names['l'] = 2, at.y = 5"
        " WHERE p = 1 AND c = 'a'"
    ),
    "UPDATE things SET tags = tags - {'x'}, steps = steps - [2] WHERE p = 1 AND c = 'a'",
    "UPDATE things SET steps[0] = 40 WHERE p = 1 AND c = 'a'",
    "DELETE names['k'] FROM things WHERE p = 1 AND c = 'a'",
    "INSERT INTO things (p, c, v) VALUES (3, 'a', 1)",
    "INSERT INTO things (p, c, v) VALUES (3, 'b', 1)",
    "INSERT INTO things (p, c, v) VALUES (3, 'c', 1)",
    "INSERT INTO things (p, c, v) VALUES (3, 'd', 1)",
    "DELETE FROM things WHERE p = 3 AND c = 'a'",  # row
    "DELETE FROM things WHERE p = 3 AND c > 'b' AND c <= 'c'",  # range
    "DELETE v FROM things WHERE p = 3 AND c = 'd'",  # cell
    "INSERT INTO things (p, c, v, s) VALUES (4, 'a', 1, 1)",
    "DELETE FROM things WHERE p = 4",  # partition
    "INSERT INTO things (p, c, v) VALUES (4, 'b', 2)",
    "INSERT INTO things (p, c, v) VALUES (5, 'a', 1) IF NOT EXISTS",
    "INSERT INTO things (p, c, v) VALUES (5, 'a', 2) IF NOT EXISTS",  # does not apply
    "UPDATE things SET v = 3 WHERE p = 5 AND c = 'a' IF v = 1",
    "INSERT INTO things (p, c, v) VALUES (6, 'a', 1) USING TTL 100000",
    "UPDATE hits SET n = n + 5 WHERE page = 'home'",
    "UPDATE hits SET n = n - 2 WHERE page = 'home'",
    "UPDATE hits SET n = n + 1 WHERE page = 'gone'",
    "DELETE FROM hits WHERE page = 'gone'",
    (
        "BEGIN BATCH INSERT INTO users (id, name) VALUES (1, 'Ada');"
        " INSERT INTO private (id, name) VALUES (1, 'not mirrored');"
        " INSERT INTO things (p, c, v) VALUES (7, 'batch', 1);"
        " UPDATE things SET s = 1 WHERE p = 7; APPLY BATCH"
    ),
    (
        "BEGIN UNLOGGED BATCH INSERT INTO users (id, name) VALUES (2, 'Bo');"
        " DELETE FROM users WHERE id = 1; APPLY BATCH"
    ),
)


@pytest.fixture
def beside(database: str, tmp_path: Path) -> Callable[..., Sidecar]:
    """A sidecar of one keyspace, which leaves the segments of the shared node alone."""

    def make(space: Keyspace, max_rows: int = 20_000) -> Sidecar:
        settings = {
            "watch.keep_segments": True,
            "mirror.include": f"{space.name}.*",
            "batch.max_rows": max_rows,
        }
        return Sidecar(space.node, database, tmp_path, settings=settings)

    return make


# Batches of one row are full each, and give their memory back when the log is read to its end.
@pytest.mark.parametrize(("series", "max_rows"), [("4.0", 20_000), ("4.1", 1), ("5.0", 20_000)])
def test_every_kind_of_change(
    series: str,
    max_rows: int,
    cassandra_node: NodeFactory,
    keyspace: MakeKeyspace,
    beside: Callable[..., Sidecar],
    database: str,
) -> None:
    space = keyspace(cassandra_node(series))
    execute = space.session.execute
    with beside(space, max_rows) as sidecar:
        sidecar.wait_live()
        for statement in (*TABLES, *CHANGES):
            execute(statement)
        rows = assert_mirror_equals_select(space.node, space.name, database)
        assert rows == {
            f"{space.name}.things": 10,
            f"{space.name}.hits": 1,
            f"{space.name}.users": 1,
        }
        verified = sidecar.command("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert f'{space.name}.things -> "{space.name}"."things": 9 rows, equal' in verified.stdout
        status = sidecar.status()
        assert status["dead_letters"] == 0
        assert status["tables"] == sorted(rows)
        assert not one_value(
            database,
            "SELECT count(*) FROM pg_class WHERE relname = 'private'",
        )

        execute("UPDATE users SET name = 'changed behind the mirror' WHERE id = 2")
        assert_mirror_equals_select(space.node, space.name, database)
        with psycopg.connect(database) as connection:
            connection.execute(f"UPDATE {space.name}.users SET name = 'wrong'".encode())
        verified = sidecar.command("verify", "--settle-seconds", "0.5")
        assert verified.returncode == 1
        assert f"different: {space.name}.users (id=2) name:" in verified.stdout


@pytest.mark.parametrize("series", ["4.0", "5.0"])
def test_tables_that_come_change_and_go(
    series: str,
    cassandra_node: NodeFactory,
    keyspace: MakeKeyspace,
    beside: Callable[..., Sidecar],
    database: str,
) -> None:
    space = keyspace(cassandra_node(series))
    execute, name = space.session.execute, space.name
    execute("CREATE TABLE kept (k int PRIMARY KEY, a int) WITH cdc = true")
    execute("INSERT INTO kept (k, a) VALUES (1, 1)")
    with beside(space) as sidecar:
        sidecar.wait_live()
        assert_mirror_equals_select(space.node, name, database)

        execute("ALTER TABLE kept ADD b text")
        execute("INSERT INTO kept (k, a, b) VALUES (2, 2, 'two')")
        execute("CREATE TABLE later (k int PRIMARY KEY, v text) WITH cdc = true")
        execute("INSERT INTO later (k, v) VALUES (1, 'created while running')")
        assert_mirror_equals_select(space.node, name, database)

        execute("DROP TABLE later")
        execute("CREATE TABLE later (k int PRIMARY KEY, other int) WITH cdc = true")
        execute("INSERT INTO later (k, other) VALUES (5, 6)")
        execute("CREATE TABLE quiet (k int PRIMARY KEY, v int)")
        execute("INSERT INTO quiet (k, v) VALUES (1, 1)")
        execute("DROP TABLE kept")
        assert_mirror_equals_select(space.node, name, database)
        wait_until(lambda: sidecar.status()["tables"] == [f"{name}.later"], sidecar)
        # A dropped table's mirror stays as it was; re-created, the former one is set aside.
        assert one_value(database, f"SELECT count(*) FROM {name}.kept") == 2
        aside = one_value(
            database,
            "SELECT relation_name FROM cdc_tail.mirror"
            " WHERE table_name = 'later' AND dropped_at IS NOT NULL",
        )
        assert aside.startswith("later__dropped_")
        assert one_value(database, f"SELECT v FROM {name}.{aside}") == "created while running"

        execute("ALTER TABLE quiet WITH cdc = true")
        execute("INSERT INTO quiet (k, v) VALUES (2, 2)")
        wait_until(lambda: f"{name}.quiet" in sidecar.status()["tables"], sidecar)
        wait_until(lambda: one_value(database, f"SELECT v FROM {name}.quiet") == 2, sidecar)
        assert sidecar.is_running and sidecar.status()["dead_letters"] == 0
