"""A PostgreSQL with TLS of its own (a distribution's), which verifies us and is verified.

The suite's own build has none: there TLS stands in front of it (tests/integration/test_tls.py).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cdc_tail import config
from cdc_tail.database import Database
from cdc_tail.errors import SinkUnavailable
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import UNPRIVILEGED_USER, PostgresServer
from tests.conftest import NodeFactory
from tests.support.certificates import Authority, Pair
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.sidecar import Sidecar

# Over TCP with TLS and a password alone, and a certificate of our CA where that is asked for.
HBA = """
local all all trust
hostnossl all all all reject
hostssl all all all scram-sha-256 {}
"""


def programs() -> Path:
    """The newest PostgreSQL that Debian's or Ubuntu's packages installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not found:
        raise RuntimeError("no PostgreSQL with TLS: apt-get install postgresql")
    return max(found, key=lambda one: int(one.parts[-3])).parent


@pytest.fixture
def folder() -> Iterator[Path]:
    """For certificates, where the server's user may read them too."""
    made = Path(tempfile.mkdtemp(prefix="certificates-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def authority(folder: Path) -> Authority:
    return Authority(folder)


@contextmanager
def serving(
    folder: Path, authority: Authority, pair: Pair, hba: str = ""
) -> Iterator[PostgresServer]:
    hba_file = folder / "pg_hba.conf"
    hba_file.write_text(HBA.format(hba))
    if os.geteuid() == 0:
        shutil.chown(pair.key, UNPRIVILEGED_USER)
    settings = {
        "ssl": "on",
        "ssl_cert_file": str(pair.certificate),
        "ssl_key_file": str(pair.key),
        "ssl_ca_file": str(authority.ca),
        "hba_file": str(hba_file),
        "fsync": "off",
    }
    with PostgresServer(programs=programs(), settings=settings) as server:
        yield server


def database(server: PostgresServer, **tls: object) -> Database:
    options: dict[str, Any] = {f"postgres.tls.{name}": value for name, value in tls.items()}
    return Database(config.load(environ={}, options=options | {"postgres.dsn": server.dsn}))


@pytest.mark.parametrize("kind", ["expired", "other host", "unknown ca"])
def test_a_bad_certificate_is_refused(folder: Path, authority: Authority, kind: str) -> None:
    if kind == "unknown ca":
        pair = Authority(folder, "unknown-ca").issue("127.0.0.1")
    else:
        host = "127.0.0.1" if kind == "expired" else "elsewhere.example"
        pair = authority.issue(host, is_expired=kind == "expired")
    with serving(folder, authority, pair) as server:
        with pytest.raises(SinkUnavailable) as raised:
            database(server, mode="verify-full", ca=authority.ca).connect()
        assert "certificate" in f"{raised.value} {raised.value.hint}"
        with database(server, mode="require").connect() as connection:
            assert connection.pgconn.ssl_in_use


def test_changes_flow_over_mutual_tls(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    folder: Path,
    authority: Authority,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    space.session.execute("CREATE TABLE things (id int PRIMARY KEY) WITH cdc = true")
    own = authority.issue("sidecar", name="client")
    with serving(folder, authority, authority.issue("127.0.0.1"), "clientcert=verify-ca") as server:
        with pytest.raises(SinkUnavailable, match="certificate"):
            database(server, mode="verify-full", ca=authority.ca).connect()
        settings = {
            "watch.keep_segments": True,
            "mirror.include": f"{space.name}.*",
            "postgres.tls.mode": "verify-full",
            "postgres.tls.ca": authority.ca,
            "postgres.tls.certificate": own.certificate,
            "postgres.tls.key": own.key,
        }
        with Sidecar(space.node, server.dsn, tmp_path, settings=settings) as sidecar:
            sidecar.wait_live()
            for number in range(20):
                space.session.execute("INSERT INTO things (id) VALUES (%s)", (number,))
            assert_mirror_equals_select(space.node, space.name, server.socket_dsn)
            encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
            ours = "starts_with(application_name, 'cdc-tail')"
            assert one_value(server.socket_dsn, f"{encrypted} WHERE {ours}") is True
