"""SIGHUP to a running sidecar: a new level and new bounds, and the mirror goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psycopg

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select
from tests.support.roles import create_roles, drop_roles, without_login
from tests.support.sidecar import Sidecar, wait_until


def test_a_running_process_takes_over_batch_and_log(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    database: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    space.session.execute("CREATE TABLE things (id int PRIMARY KEY) WITH cdc = true")
    file = tmp_path / "cdc-tail.toml"
    file.write_text("[batch]\nmax_rows = 1000\n")
    settings = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    sidecar = Sidecar(space.node, database, tmp_path, settings=settings)
    sidecar.variables = {"CDC_TAIL_CONFIG": str(file)}
    with sidecar:
        sidecar.wait_live()
        file.write_text("[batch]\nmax_rows = 1\n[lease]\nttl_seconds = 60\n")
        os.kill(sidecar.pid, signal.SIGHUP)

        def told() -> list[dict[str, object]]:
            return [one for one in sidecar.log() if one["event"] == "settings read again"]

        wait_until(told, sidecar)
        (line,) = told()
        assert line["taken"] == ["batch.max_rows"]
        assert line["needs_restart"] == ["lease.ttl_seconds"]
        for number in range(20):
            space.session.execute("INSERT INTO things (id) VALUES (%s)", (number,))
        assert_mirror_equals_select(space.node, space.name, database)
        # One row is a full batch now.
        assert sidecar.metric("cdc_batch_rows_bucket", le="1.0") >= 20


def test_a_password_that_was_changed_is_taken_over(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    database: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    space.session.execute("CREATE TABLE things (id int PRIMARY KEY) WITH cdc = true")
    create_roles(database, "reload_login", "the first password")
    file = tmp_path / "cdc-tail.toml"
    login = '[postgres]\nuser = "reload_login"\npassword = "the {} password"\n'
    file.write_text(login.format("first"))
    settings = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    sidecar = Sidecar(space.node, without_login(database), tmp_path, settings=settings)
    # Which database stands in the settings; who logs in, in the file alone.
    found = psycopg.conninfo.conninfo_to_dict(str(sidecar.settings.pop("postgres.dsn")))
    for key, name in (("host", "host"), ("port", "port"), ("database", "dbname")):
        sidecar.settings[f"postgres.{key}"] = found[name]
    sidecar.variables = {"CDC_TAIL_CONFIG": str(file)}
    try:
        with sidecar:
            sidecar.wait_live()
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute("ALTER ROLE reload_login PASSWORD 'the second password'")
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'reload_login'"
                )
            space.session.execute("INSERT INTO things (id) VALUES (1)")
            wait_until(lambda: sidecar.metric("cdc_postgres_up") == 0, sidecar)
            file.write_text(login.format("second"))
            os.kill(sidecar.pid, signal.SIGHUP)
            wait_until(lambda: sidecar.metric("cdc_postgres_up") == 1, sidecar)
            assert_mirror_equals_select(space.node, space.name, database)
            assert "second" not in sidecar.log_file.read_text()
    finally:
        drop_roles(database, "reload_login")
