"""Prometheus' and Alertmanager's own checks of the configuration that we ship."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.monitoring import DEPLOY
from tests.tools.programs import program


def run(name: str, *arguments: str, folder: str) -> str:
    done = subprocess.run(
        [program(name), *arguments],
        cwd=DEPLOY / folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_the_configuration_and_the_rules() -> None:
    assert "SUCCESS" in run("promtool", "check", "config", "prometheus.yaml", folder="prometheus")


def test_every_rule_fires_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", "alerts.test.yaml", folder="prometheus")


def test_a_wrong_rule_fails_the_rule_test(tmp_path: Path) -> None:
    for name in ("alerts.yaml", "alerts.test.yaml"):
        text = (DEPLOY / "prometheus" / name).read_text()
        (tmp_path / name).write_text(text.replace("cdc_parked > 0", "cdc_parked > 100"))
    done = subprocess.run(
        [program("promtool"), "test", "rules", "alerts.test.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "CdcMutationsParked" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("alertname=CdcTailDown severity=critical", "pager"),
        ("alertname=CdcMirrorStale severity=warning", "ticket"),
        ("alertname=CdcTailVersionsDiffer severity=info", "chat"),
        ("alertname=SomethingElse", "ticket"),
    ],
)
def test_alerts_go_to_the_receiver_of_their_severity(labels: str, receiver: str) -> None:
    run("amtool", "check-config", "alertmanager.yaml", folder="alertmanager")
    said = run(
        "amtool",
        "config",
        "routes",
        "test",
        "--config.file=alertmanager.yaml",
        f"--verify.receivers={receiver}",
        *labels.split(),
        folder="alertmanager",
    )
    assert receiver in said
