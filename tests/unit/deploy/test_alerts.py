"""Alert rules: on metrics that exist, with a runbook, a rule test and a severity that is routed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.promql import metrics_of, unknown_metrics

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
PROMETHEUS = ROOT / "deploy" / "prometheus"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


RULES = {
    rule["alert"]: rule
    for group in load(PROMETHEUS / "alerts.yaml")["groups"]
    for rule in group["rules"]
}


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_asks_for_metrics_that_exist(alert: str) -> None:
    assert metrics_of(RULES[alert]["expr"])
    assert not unknown_metrics(RULES[alert]["expr"])


@pytest.mark.parametrize("alert", RULES)
def test_every_alert_has_a_runbook(alert: str) -> None:
    url = RULES[alert]["annotations"]["runbook_url"]
    assert url == f"docs/runbooks/{alert}.md"
    text = (ROOT / url).read_text(encoding="utf-8")
    assert text.startswith(f"# {alert}\n")
    for part in ("## What it means", "## What to do"):
        assert part in text


def test_every_runbook_has_an_alert_and_a_place_in_the_index() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"index"}
    assert pages == set(RULES)
    index = (RUNBOOKS / "index.md").read_text(encoding="utf-8")
    assert all(f"({alert}.md)" in index for alert in RULES)


def test_every_alert_is_tested_firing() -> None:
    fired = {
        case["alertname"]
        for test in load(PROMETHEUS / "alerts.test.yaml")["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert fired == set(RULES)


def test_every_severity_has_a_route() -> None:
    config = load(ROOT / "deploy" / "alertmanager" / "alertmanager.yaml")
    routed = {matcher for route in config["route"]["routes"] for matcher in route["matchers"]}
    severities = {rule["labels"]["severity"] for rule in RULES.values()}
    # "warning" is what the root route takes.
    assert {f'severity="{one}"' for one in severities - {"warning"}} == routed


def test_inhibited_alerts_exist() -> None:
    text = (ROOT / "deploy" / "alertmanager" / "alertmanager.yaml").read_text()
    for rule in yaml.safe_load(text)["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            name, _, value = matcher.partition("=")
            if name == "alertname" and "*" not in value:
                assert set(value.strip('~"').split("|")) <= set(RULES)
