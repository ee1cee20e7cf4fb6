"""`cdc-tail doctor` on a real node and a real PostgreSQL: what is well, and what is not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import NodeFactory
from tests.support.roles import create_roles, drop_roles, without_login
from tests.support.sidecar import Sidecar
from tests.support.vault_api import VaultApi


def examined(sidecar: Sidecar, *options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = sidecar.command("doctor", "--json", *options)
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1), done.stderr
    return done.returncode, {one["name"]: one for one in found["checks"]}


def test_a_stack_that_is_well(cassandra_node: NodeFactory, database: str, tmp_path: Path) -> None:
    code, checks = examined(Sidecar(cassandra_node("5.0"), database, tmp_path))
    assert code == 0
    for name in ("cdc_raw", "cassandra", "cdc_enabled", "schema", "postgres", "postgres rights"):
        assert checks[name]["verdict"] == "ok", checks[name]
    assert checks["commitlog_compression"]["found"] == "changes are seen live"
    assert checks["commitlog_sync"]["found"] == "periodic, every 10000ms"
    assert checks["cdc_total_space"]["verdict"] == "ok", checks["cdc_total_space"]
    # The tests' own role is a superuser: that deserves a word.
    assert checks["postgres role"]["verdict"] == "warning"
    assert "roles.sql" in checks["postgres role"]["change"]


@pytest.mark.parametrize(
    ("space", "change"), [("9MiB", "10 segments|refuse writes"), ("1PiB", "free space")]
)
def test_a_space_that_will_not_do_is_warned_of(
    cassandra_node: NodeFactory, database: str, tmp_path: Path, space: str, change: str
) -> None:
    node = cassandra_node("5.0", commitlog_segment_size_mib=1)
    sidecar = Sidecar(node, database, tmp_path, settings={"cassandra.cdc_total_space": space})
    code, checks = examined(sidecar)
    assert code == 0
    assert checks["cdc_total_space"]["verdict"] == "warning"
    assert re.search(change, checks["cdc_total_space"]["change"])


def test_what_is_wrong_is_named_with_what_to_change(
    cassandra_node: NodeFactory, database: str, tmp_path: Path
) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE ROLE doctor_weak LOGIN PASSWORD 'weak'")
        weak = psycopg.conninfo.make_conninfo(database, user="doctor_weak", password="weak")
        try:
            sidecar = Sidecar(cassandra_node("5.0"), weak, tmp_path)
            code, checks = examined(sidecar, "--cdc-raw", str(tmp_path / "none"))
        finally:
            connection.execute("DROP ROLE doctor_weak")
    assert code == 1
    assert checks["cdc_raw"]["verdict"] == "failed"
    assert checks["postgres rights"]["verdict"] == "failed"
    assert "GRANT CREATE ON DATABASE" in checks["postgres rights"]["change"]
    assert checks["cdc_raw_directory"]["verdict"] == "warning"
    assert checks["cassandra"]["verdict"] == "ok"


def test_what_is_away_ends_only_its_own_checks(cassandra_node: NodeFactory, tmp_path: Path) -> None:
    sidecar = Sidecar(
        cassandra_node("5.0"), "postgresql://127.0.0.1:1/none?connect_timeout=2", tmp_path
    )
    code, checks = examined(sidecar, "--cassandra-port", "1")
    assert code == 1
    assert checks["cdc_raw"]["verdict"] == "ok"
    assert checks["cassandra"]["verdict"] == checks["postgres"]["verdict"] == "failed"
    done = sidecar.command("doctor")
    assert done.returncode == 1
    assert "failed" in done.stdout


def test_vault_is_looked_at_and_its_lease_given_back(
    cassandra_node: NodeFactory, database: str, tmp_path: Path
) -> None:
    create_roles(database, "doctor_login", "a password of the login")
    try:
        with VaultApi(database, lease_seconds=300, max_seconds=600) as vault:
            sidecar = Sidecar(cassandra_node("5.0"), without_login(database), tmp_path)
            sidecar.settings |= {
                "vault.address": vault.url,
                "vault.auth": "approle",
                "vault.role_id": vault.role_id,
                "vault.secret_id": vault.secret_id,
                "vault.postgres_path": "database/creds/cdc-tail",
            }
            code, checks = examined(sidecar)
            assert code == 0, checks
            assert checks["vault policies"]["found"] == "default, cdc-tail"
            ((role, _),) = vault.issued
            assert checks["vault role"]["found"].endswith(role)
            assert checks["postgres role"]["verdict"] == "ok"
            with psycopg.connect(database) as connection:
                held = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
                assert held.fetchone() is None

            sidecar.settings |= {"vault.auth": "token", "vault.token": vault.root_token}
            code, checks = examined(sidecar)
            assert code == 0
            assert checks["vault policies"]["verdict"] == "warning"

            sidecar.settings["vault.token"] = "not the token"
            code, checks = examined(sidecar)
            assert code == 1
            assert checks["vault"]["verdict"] == checks["postgres"]["verdict"] == "failed"
    finally:
        drop_roles(database, "doctor_login")
