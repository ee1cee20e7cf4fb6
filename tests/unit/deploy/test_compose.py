"""The stack of docker/compose.yaml: its files exist, its settings are settings, all is checked."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_tail.config import load

DOCKER = Path(__file__).parents[3] / "docker"
STACK: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = STACK["services"]


def filled(value: str) -> str:
    """A value as compose gives it when nothing is set outside: ${NAME:-default}."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def test_the_sidecar_understands_its_environment() -> None:
    environ = {name: filled(value) for name, value in SERVICES["cdc-tail"]["environment"].items()}
    settings = load(environ=environ)
    assert (settings.node, settings.cassandra.host) == ("cassandra", "cassandra")
    database = {k: filled(v) for k, v in SERVICES["postgres"]["environment"].items()}
    assert settings.postgres.database == database["POSTGRES_DB"]


def test_the_sidecars_login_is_what_vault_makes() -> None:
    environ = {name: filled(value) for name, value in SERVICES["cdc-tail"]["environment"].items()}
    setup = {name: filled(value) for name, value in SERVICES["vault-setup"]["environment"].items()}
    vault = load(environ=environ).vault
    assert vault.address == setup["VAULT_ADDR"] == "http://vault:8200"
    assert vault.token is not None
    assert vault.token.get_secret_value() == setup["SIDECAR_TOKEN"]
    server = {k: filled(v) for k, v in SERVICES["vault"]["environment"].items()}
    assert setup["VAULT_TOKEN"] == server["VAULT_DEV_ROOT_TOKEN_ID"]
    script = (DOCKER / "vault" / "setup.sh").read_text()
    engine, _, role = str(vault.postgres_path).split("/")
    assert f"secrets enable {engine}" in script
    assert f"write {engine}/roles/{role} " in script
    assert f'path "{vault.postgres_path}"' in (DOCKER / "vault" / "policy.hcl").read_text()
    database = {k: filled(v) for k, v in SERVICES["postgres"]["environment"].items()}
    assert setup["POSTGRES_PASSWORD"] == database["POSTGRES_PASSWORD"]
    assert f"username={database['POSTGRES_USER']} " in script
    assert f"/{database['POSTGRES_DB']}?" in script


def test_scripts_can_be_run() -> None:
    for script in (DOCKER / "postgres-roles.sh", DOCKER / "vault" / "setup.sh"):
        subprocess.run(["sh", "-n", script], check=True)
        assert os.access(script, os.X_OK)


def test_the_sidecar_is_locked_down() -> None:
    sidecar = SERVICES["cdc-tail"]
    assert sidecar["read_only"] and sidecar["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in sidecar["security_opt"]
    assert "USER 999:999" in (DOCKER / "Dockerfile").read_text()


def test_the_sidecar_shares_the_nodes_volume() -> None:
    assert SERVICES["cdc-tail"]["volumes"] == SERVICES["cassandra"]["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_exists_and_ports_are_open_to_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    for mount in service.get("volumes", []):
        source = mount.partition(":")[0]
        if source.startswith("."):
            assert (DOCKER / source).exists(), mount
            assert mount.endswith(":ro")
        else:
            assert source in STACK["volumes"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert ":latest" not in service["image"]


def test_configured_addresses_are_services() -> None:
    deploy = DOCKER.parent / "deploy"
    prometheus = yaml.safe_load((deploy / "prometheus" / "prometheus.yaml").read_text())
    targets = [
        target
        for job in prometheus["scrape_configs"] + prometheus["alerting"]["alertmanagers"]
        for group in job["static_configs"]
        for target in group["targets"]
    ]
    sources = yaml.safe_load(
        (deploy / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )
    targets += [one["url"].removeprefix("http://") for one in sources["datasources"]]
    assert targets
    assert {target.partition(":")[0] for target in targets} <= SERVICES.keys() | {"localhost"}
