"""Credentials that Vault hands out and takes away, on a real PostgreSQL, while changes flow.

Vault itself is the part of its API that is needed (tests/support/vault_api.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cdc_tail import config
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError, SecretsError, SinkUnavailable
from cdc_tail.keys import read_keys
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.settings import Settings
from cdc_tail.vault import postgres_credentials
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select
from tests.support.roles import create_roles, drop_roles, without_login
from tests.support.sidecar import Sidecar, wait_until
from tests.support.vault_api import VaultApi

LOGIN, PASSWORD = "cdc_tail_sidecar", "a-password-of-the-sidecar"
DYNAMIC = "database/creds/cdc-tail"


@pytest.fixture
def roles(database: str) -> Iterator[str]:
    """The database with the roles of deploy/sql/roles.sql; its superuser's URI."""
    create_roles(database, LOGIN, PASSWORD)
    yield database
    drop_roles(database, LOGIN)


@pytest.fixture
def vault(roles: str) -> Iterator[VaultApi]:
    with VaultApi(roles) as api:
        yield api


def settings(vault: VaultApi, **more: object) -> Settings:
    options: dict[str, Any] = {"vault.address": vault.url, "vault.token": vault.root_token}
    return config.load(environ={}, options=options | more)


def as_login(dsn: str, login: str = LOGIN, password: str = PASSWORD) -> str:
    """The same database as another role."""
    return psycopg.conninfo.make_conninfo(dsn, user=login, password=password)


def test_a_role_of_least_rights_makes_fills_and_evolves_the_mirror(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    roles: str,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    run = space.session.execute
    run("CREATE TABLE t (k int, c int, s text static, v text, PRIMARY KEY (k, c)) WITH cdc = true")
    kept = {"watch.keep_segments": True, "mirror.include": f"{space.name}.*"}
    sidecar = Sidecar(space.node, as_login(roles), tmp_path, settings=kept)
    with sidecar:
        sidecar.wait_live()
        for n in range(20):
            run(f"INSERT INTO t (k, c, s, v) VALUES ({n % 3}, {n}, 's', 'v{n}')")
        run("ALTER TABLE t ADD w int")
        run("UPDATE t SET w = 1 WHERE k = 0 AND c = 0")
        run("DELETE FROM t WHERE k = 1 AND c = 1")
        assert_mirror_equals_select(space.node, space.name, roles)
    with psycopg.connect(roles, autocommit=True) as connection:
        owners = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = ANY (%s)",
            ([space.name, "cdc_tail"],),
        ).fetchall()
        assert owners == [("cdc_tail",)]
        connection.execute("SET ROLE cdc_tail_reader")
        assert connection.execute(f"SELECT count(*) FROM {space.name}.t").fetchone() == (19,)
        for refused in (
            "SELECT raw FROM cdc_tail.dead_letter",
            f"DELETE FROM {space.name}.t",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused)
    assert PASSWORD not in sidecar.log_file.read_text()


def test_credentials_are_rotated_under_load_and_nothing_is_lost(
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
    roles: str,
    vault: VaultApi,
    tmp_path: Path,
) -> None:
    space = keyspace(cassandra_node("5.0"))
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    insert = space.session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    sidecar = Sidecar(
        space.node,
        without_login(roles),
        tmp_path,
        settings={
            "watch.keep_segments": True,
            "mirror.include": f"{space.name}.*",
            "vault.address": vault.url,
            "vault.auth": "approle",
            "vault.role_id": vault.role_id,
            "vault.secret_id": vault.secret_id,
            "vault.postgres_path": DYNAMIC,
        },
    )
    with sidecar:
        sidecar.wait_live()
        written = 0
        # Leases end for good after 8 s: three roles at least take part in this.
        while len(vault.issued) < 3:
            for _ in range(20):
                written += 1
                space.session.execute(insert, (written, f"value {written}"))
            if len(vault.issued) == 2:
                vault.forget_tokens()
            time.sleep(0.05)
        wait_until(lambda: sidecar.status()["mutations_since_start"] == written, sidecar)
        found = assert_mirror_equals_select(space.node, space.name, roles)
        assert found == {f"{space.name}.t": written}
        shown = "".join(sidecar.get(path)[1] for path in ("/status", "/metrics", "/"))
    said = shown + sidecar.log_file.read_text()
    hidden = [vault.secret_id, *(password for _, password in vault.issued)]
    assert [secret for secret in hidden if secret in said] == []
    assert any(line.get("event") == "credentials of PostgreSQL changed" for line in sidecar.log())


def test_a_static_role_is_read_again_when_its_password_changes(roles: str, vault: VaultApi) -> None:
    def rotate(password: str) -> None:
        vault.static_password = password
        with psycopg.connect(roles, autocommit=True) as connection:
            connection.execute(f"ALTER ROLE {LOGIN} PASSWORD '{password}'")

    vault.static_role = LOGIN
    rotate("first")
    chosen = settings(
        vault,
        **{"vault.postgres_path": "database/static-creds/cdc-tail"},
        **{"postgres.dsn": without_login(roles)},
    )
    credentials = postgres_credentials(chosen)
    assert credentials is not None
    database = Database(chosen, credentials)
    with credentials:
        database.connect().close()
        before = database.generation
        rotate("second")
        wait_until(lambda: database.generation > before, vault)
        with database.connect() as connection:
            assert connection.execute("SELECT session_user, current_user").fetchone() == (
                LOGIN,
                "cdc_tail",
            )


def test_what_postgres_refuses_is_asked_for_again(roles: str, vault: VaultApi) -> None:
    vault.kv["secret/data/postgres"] = {"username": LOGIN, "password": "outdated"}
    chosen = settings(
        vault,
        **{"vault.postgres_path": "secret/data/postgres", "postgres.dsn": without_login(roles)},
    )
    credentials = postgres_credentials(chosen)
    assert credentials is not None
    database = Database(chosen, credentials)
    with credentials:
        with pytest.raises(SinkUnavailable) as raised:
            database.connect()
        assert "postgres.password" in raised.value.hint
        vault.kv["secret/data/postgres"] = {"username": LOGIN, "password": PASSWORD}
        database_answers = []

        def answers() -> bool:
            try:
                database.connect().close()
            except SinkUnavailable as error:
                database_answers.append(error)
                return False
            return True

        wait_until(answers, database_answers)


def test_kubernetes_login_and_keys_of_the_log(vault: VaultApi, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(vault.jwt + "\n")
    vault.kv["secret/data/keys"] = {"my:1": "00112233445566778899aabbccddeeff"}
    chosen = config.load(
        environ={"VAULT_ADDR": vault.url},
        options={
            "vault.auth": "kubernetes",
            "vault.kubernetes_role": "cdc-tail",
            "vault.kubernetes_token_file": token,
            "vault.keys_path": "secret/data/keys",
        },
    )
    assert read_keys(chosen) == {"my:1": bytes.fromhex("00112233445566778899aabbccddeeff")}


def test_what_vault_refuses_names_the_cure(vault: VaultApi) -> None:
    for more, kind, said in (
        ({"vault.token": "wrong", "vault.postgres_path": DYNAMIC}, SecretsError, "policy"),
        ({"vault.postgres_path": "secret/data/none"}, SecretsError, "secret/data/NAME"),
        ({"vault.auth": "approle", "vault.postgres_path": DYNAMIC}, ConfigError, "vault.role_id"),
        (
            {"vault.address": "http://127.0.0.1:1", "vault.postgres_path": DYNAMIC},
            SecretsError,
            "vault.address",
        ),
    ):
        with pytest.raises(kind) as raised:
            Database(settings(vault, **more)).conninfo()
        assert said in f"{raised.value} {raised.value.hint}"
    vault.is_sealed = True
    with pytest.raises(SecretsError, match="sealed"):
        Database(settings(vault, **{"vault.postgres_path": DYNAMIC})).conninfo()
