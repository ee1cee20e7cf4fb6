"""Rows that were there before the log was read, copied from a real node: SELECT is the judge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.schema_source import read_schema
from cdc_tail.selecting import MARGIN_SECONDS
from cdc_tail.snapshot import Progress, Snapshots, Stopped
from tests.conftest import NodeFactory
from tests.support.copied import copy_all, differences_of, settings_for
from tests.support.keyspace import Keyspace
from tests.support.node_log import Logged, Node, mutations_of
from tests.support.random_cql import TYPES, RandomTable, execute, random_statements, random_tables
from tests.support.sidecar import Sidecar, wait_until

SEED = 11
TABLES = 8
STATEMENTS = 400


@pytest.fixture(params=["5.0", "4.0"])
def ks(
    request: pytest.FixtureRequest,
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
) -> Keyspace:
    return keyspace(cassandra_node(request.param))


def write(ks: Keyspace, tables: list[RandomTable], count: int) -> None:
    for statement in random_statements(tables, count):
        execute(ks.session, statement)


@pytest.fixture
def tables(ks: Keyspace) -> list[RandomTable]:
    made = random_tables(SEED, TABLES)[:-1]
    for statement in (*TYPES, *(table.cql for table in made)):
        ks.session.execute(statement)
    return made


# Where nothing but SELECT is needed, on the others, too.
@pytest.mark.parametrize("ks", ["5.0", "4.1", "4.0", "3.11"], indirect=True)
def test_what_is_copied_is_what_select_gives(
    ks: Keyspace, tables: list[RandomTable], database: str
) -> None:
    write(ks, tables, STATEMENTS)
    time.sleep(3)  # short TTLs are over
    done = copy_all(ks, database)
    assert differences_of(ks, database) == {}
    assert sum(one.rows for one in done.values()) > 50
    again = copy_all(ks, database)
    assert differences_of(ks, database) == {}
    assert not any(one.applied.inserted for one in again.values())


def test_the_log_goes_on_where_the_copy_was(
    cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace], database: str
) -> None:
    ks = keyspace(cassandra_node("5.0"))
    tables = random_tables(SEED + 1, TABLES)[:-1]
    for table in tables:
        # No write from the future: a tombstone of one can't be selected, and covers what comes.
        table.writetimes_us = table.writetimes_us[:-1]
    for statement in (*TYPES, *(table.cql for table in tables)):
        ks.session.execute(statement)
    write(ks, tables, STATEMENTS // 2)
    time.sleep(3)  # short TTLs are over
    before = len(log_of(ks))
    with Snapshots(settings_for(ks.node, database, ks.name)) as work:
        copy_each(work)
        for table in tables:
            table.writetimes_us = ()
        write(ks, tables, STATEMENTS // 2)
        time.sleep(3)
        with Node(database, int(time.time()), max_events=7, keyspaces={ks.name}) as node:
            node.learn_cluster(read_schema(ks.session))
            node.take(log_of(ks)[before:])
        work.settle_doubts()
    assert differences_of(ks, database) == {}


def test_elements_of_a_copied_list_that_the_log_names_are_asked_for(
    ks: Keyspace, database: str
) -> None:
    ks.session.execute(
        "CREATE TABLE l (p int, c int, v list<int>, s list<text> static, PRIMARY KEY (p, c))"
        " WITH cdc = true"
    )
    for c in range(6):
        ks.session.execute(f"INSERT INTO l (p, c, v) VALUES (1, {c}, [1, 2, 1, 3])")
    ks.session.execute("UPDATE l USING TIMESTAMP 5 SET s = ['a', 'b'] WHERE p = 1")
    before = len(log_of(ks))
    with Snapshots(settings_for(ks.node, database, ks.name)) as work:
        copy_each(work)
        later_us = time.time_ns() // 1000 + 60_000_000
        for change in (
            f"UPDATE l USING TIMESTAMP {later_us} SET v[1] = 5 WHERE p = 1 AND c = 0",
            "DELETE v[0] FROM l WHERE p = 1 AND c = 1",
            "UPDATE l SET v = v - [1] WHERE p = 1 AND c = 2",
            "UPDATE l SET v = v - [1, 2, 3] WHERE p = 1 AND c = 3",
            f"UPDATE l USING TIMESTAMP {later_us} SET s[0] = 'c' WHERE p = 1",
        ):
            ks.session.execute(change)
        unnoticed = 2  # what only adds to a list names nothing that was copied
        ks.session.execute("UPDATE l SET v = v + [4] WHERE p = 1 AND c = 4")
        ks.session.execute("UPDATE l SET v = [4] + v WHERE p = 1 AND c = 5")
        with Node(database, int(time.time()), max_events=1, keyspaces={ks.name}) as node:
            node.learn_cluster(read_schema(ks.session))
            node.take(log_of(ks)[before:])
            assert work.settle_doubts() == 7 - unnoticed
            assert differences_of(ks, database) == {}
            assert work.settle_doubts() == 0
            # All of it a second time, from before the copy: what was asked for stays.
            node.take(log_of(ks))
        work.settle_doubts()
        assert differences_of(ks, database) == {}


def log_of(ks: Keyspace) -> list[Logged]:
    return mutations_of(sorted(ks.node.cdc_raw.glob("*.log")), live=True)


def test_an_interrupted_copy_goes_on(
    ks: Keyspace, tables: list[RandomTable], database: str
) -> None:
    write(ks, tables, STATEMENTS // 4)
    time.sleep(3)
    stopping = threading.Event()

    def stop_once_there_are_rows(now: Progress) -> None:
        if now.rows:
            stopping.set()

    settings = settings_for(ks.node, database, ks.name, parallel=2)
    with (
        Snapshots(settings, stop_once_there_are_rows, stopping) as work,
        pytest.raises(Stopped),
    ):
        copy_each(work)
    done = copy_all(ks, database)
    assert sum(one.is_resumed for one in done.values()) == 1
    assert differences_of(ks, database) == {}


def copy_each(work: Snapshots) -> None:
    for table in work.tables():
        work.copy(table)


MAKE_PEOPLE = (
    """CREATE TABLE people (k int, c int, a int, b text, s set<int>, PRIMARY KEY (k, c))"""
)
PEOPLE = (
    "INSERT INTO people (k, c, a) VALUES (1, 1, 1)",
    "UPDATE people SET a = 1 WHERE k = 1 AND c = 2",
    "INSERT INTO people (k, c) VALUES (1, 3)",
    "UPDATE people SET a = 1, b = 'x', s = {1, 2} WHERE k = 1 AND c = 4",
    "INSERT INTO people (k, c, a) VALUES (1, 5, 1)",
    "INSERT INTO people (k, c, a, b) VALUES (2, 1, 5, 'old') USING TIMESTAMP 1000",
    "UPDATE people USING TTL 7 SET a = 1 WHERE k = 2 AND c = 2",
    "INSERT INTO people (k, c, b, s) VALUES (2, 3, 'y', {3})",
)
AFTER = (
    "DELETE a FROM people WHERE k = 1 AND c = 1",  # was inserted: stays
    "DELETE a FROM people WHERE k = 1 AND c = 2",  # was updated into being: goes
    "UPDATE people SET a = null, b = null, s = null WHERE k = 1 AND c = 4",
    "DELETE FROM people WHERE k = 1 AND c = 5",
    "UPDATE people USING TIMESTAMP 999 SET b = 'older' WHERE k = 2 AND c = 1",
    "UPDATE people USING TIMESTAMP 1001 SET a = 6 WHERE k = 2 AND c = 1",
    "UPDATE people SET s = s + {4} WHERE k = 2 AND c = 3",
    "UPDATE people SET s = s - {3} WHERE k = 2 AND c = 3",
)


def test_a_table_that_gets_cdc_later_is_copied_and_then_tailed(
    ks: Keyspace, database: str, tmp_path: Path
) -> None:
    ks.session.execute("CREATE TABLE tailed (k int PRIMARY KEY, v int) WITH cdc = true")
    ks.session.execute(MAKE_PEOPLE)
    for statement in PEOPLE:
        ks.session.execute(statement)
    settings = {"watch.keep_segments": True, "mirror.include": f"{ks.name}.*"}
    with Sidecar(ks.node, database, tmp_path, settings=settings) as sidecar:
        sidecar.wait_live()
        ks.session.execute("ALTER TABLE people WITH cdc = true")
        ks.session.execute("INSERT INTO tailed (k, v) VALUES (1, 1)")
        wait_until(lambda: finished(database) == ["people"], sidecar, 60)
        for statement in AFTER:
            ks.session.execute(statement)
        wait_until(lambda: not differences_of(ks, database), sidecar, 60)
        kept = {key for (key,) in rows(database, f"SELECT c FROM {ks.name}.people WHERE k = 1")}
        assert kept == {1, 3}


def finished(dsn: str) -> list[str]:
    found = rows(dsn, "SELECT table_name FROM cdc_tail.snapshot WHERE finished_at IS NOT NULL")
    return sorted(name for (name,) in found)


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode()).fetchall()


def test_counters_are_copied_and_counted_on(ks: Keyspace, database: str, tmp_path: Path) -> None:
    ks.session.execute("CREATE TABLE hits (k int, c int, n counter, PRIMARY KEY (k, c))")
    count_up(ks, 3)
    ks.session.execute("ALTER TABLE hits WITH cdc = true")
    time.sleep(MARGIN_SECONDS + 1)  # what was counted a moment ago is left to the log
    copy_all(ks, database)
    assert differences_of(ks, database) == {}
    settings = {"watch.keep_segments": True, "mirror.include": f"{ks.name}.*"}
    with Sidecar(ks.node, database, tmp_path, settings=settings) as sidecar:
        sidecar.wait_live()
        count_up(ks, 2)
        wait_until(lambda: not differences_of(ks, database), sidecar, 60)


def count_up(ks: Keyspace, by: int) -> None:
    for key in range(4):
        ks.session.execute(f"UPDATE hits SET n = n + {by + key} WHERE k = 1 AND c = {key}")


def test_what_was_deleted_in_a_gap_goes_too(ks: Keyspace, database: str) -> None:
    ks.session.execute(MAKE_PEOPLE + " WITH cdc = true")
    for statement in PEOPLE:
        if "TTL" not in statement:
            ks.session.execute(statement)
    with Snapshots(settings_for(ks.node, database, ks.name)) as work:
        (table,) = work.tables()
        work.copy(table)
        for statement in AFTER:
            ks.session.execute(statement)
        done = work.copy(table, remove_missing=True)
    assert done is not None
    assert done.repaired > 0
    assert differences_of(ks, database) == {}
    (dead,) = rows(database, "SELECT count(*) FROM cdc_tail.dead_row")
    assert dead[0] > 0  # later copies of the old writes stay dead
