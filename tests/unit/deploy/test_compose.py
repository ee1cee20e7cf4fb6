"""The stack of docker/compose.yaml: its files exist, its settings are settings, all is checked."""

from __future__ import annotations

import re
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
    assert settings.postgres.password is not None
    database = {k: filled(v) for k, v in SERVICES["postgres"]["environment"].items()}
    assert settings.postgres.user == database["POSTGRES_USER"]
    assert settings.postgres.database == database["POSTGRES_DB"]
    assert settings.postgres.password.get_secret_value() == database["POSTGRES_PASSWORD"]


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
