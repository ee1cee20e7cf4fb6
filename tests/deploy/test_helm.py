"""The chart through a real Helm: linted, rendered with each set of values, read as manifests."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_tail.config import load
from deploy.dashboards.files import FILES
from tests.tools.programs import program

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "cdc-tail"
KUBERNETES = "1.31.0"  # a Helm that Go built takes clusters to be of 1.20
PRODUCTION = ("--values", str(CHART / "values-production.yaml"))
SIDECAR = ("--set", "mode=sidecar")
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def helm(*arguments: str, fails: bool = False) -> str:
    done = subprocess.run(
        [program("helm"), *arguments], check=False, capture_output=True, text=True
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def rendered(*options: str) -> dict[str, dict[str, Any]]:
    """The manifests by kind and name."""
    text = helm("template", "mirror", str(CHART), f"--kube-version={KUBERNETES}", *options)
    found = [one for one in yaml.safe_load_all(text) if one]
    assert all(one["apiVersion"] and one["metadata"]["labels"] for one in found)
    return {f"{one['kind']} {one['metadata']['name']}": one for one in found}


def container_of(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if (daemonset := manifests.get("DaemonSet mirror-cdc-tail")) is not None:
        (container,) = daemonset["spec"]["template"]["spec"]["containers"]
    else:
        snippet = manifests["ConfigMap mirror-cdc-tail-container"]["data"]["container.yaml"]
        container = yaml.safe_load(snippet)
    assert isinstance(container, dict)
    return container


@pytest.mark.parametrize("options", [(), PRODUCTION, SIDECAR, (*PRODUCTION, *SIDECAR)])
def test_lint(options: tuple[str, ...]) -> None:
    helm("lint", "--strict", str(CHART), *options)


@pytest.mark.parametrize("options", [(), PRODUCTION, SIDECAR])
def test_the_container_is_locked_down_and_understands_its_environment(
    options: tuple[str, ...],
) -> None:
    container = container_of(
        rendered(*options, "--set-string", "settings.CDC_TAIL_BATCH_MAX_ROWS=9")
    )
    security = container["securityContext"]
    assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert container["resources"]["limits"]["memory"]
    for probe in PROBES:
        assert container[probe]["httpGet"]["port"] == "http"
        assert container[probe]["httpGet"]["scheme"] == "HTTP"
    environ = {one["name"]: one.get("value", "from-elsewhere") for one in container["env"]}
    assert len(environ) == len(container["env"])
    settings = load(environ=environ)
    assert settings.batch.max_rows == 9
    assert settings.http.host == "0.0.0.0"
    assert settings.postgres.tls.mode == "auto"
    (mount,) = container["volumeMounts"]
    assert str(settings.cassandra.cdc_raw).startswith(mount["mountPath"])


def test_the_daemonset_selects_its_own_pods() -> None:
    manifests = rendered()
    daemonset = manifests["DaemonSet mirror-cdc-tail"]["spec"]
    labels = daemonset["template"]["metadata"]["labels"]
    for selector in (
        daemonset["selector"]["matchLabels"],
        manifests["Service mirror-cdc-tail"]["spec"]["selector"],
        manifests["NetworkPolicy mirror-cdc-tail"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items()
    pod = daemonset["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["volumes"][0]["name"] == pod["containers"][0]["volumeMounts"][0]["name"]
    assert f"ServiceAccount {pod['serviceAccountName']}" in manifests


@pytest.mark.parametrize("options", [(), SIDECAR])
def test_the_authority_of_certificates_is_mounted(options: tuple[str, ...]) -> None:
    manifests = rendered(*options, "--set", "tls.caSecret=our-ca")
    container = container_of(manifests)
    environ = {one["name"]: one.get("value", "from-elsewhere") for one in container["env"]}
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "cdc-tail-tls"]
    assert environ["CDC_TAIL_POSTGRES_TLS_CA"].startswith(mount["mountPath"])
    assert environ["CDC_TAIL_CASSANDRA_TLS_CA"].startswith(mount["mountPath"])
    if options:
        snippet = manifests["ConfigMap mirror-cdc-tail-container"]["data"]["volumes.yaml"]
        volumes = yaml.safe_load(snippet)
    else:
        volumes = manifests["DaemonSet mirror-cdc-tail"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": mount["name"], "secret": {"secretName": "our-ca"}} in volumes


@pytest.mark.parametrize("options", [(), SIDECAR])
def test_the_port_speaks_https_and_who_asks_it_does_too(options: tuple[str, ...]) -> None:
    manifests = rendered(
        *options,
        *("--set", "tls.httpSecret=our-http,tls.caSecret=our-ca,serviceMonitor.enabled=true"),
    )
    container = container_of(manifests)
    environ = {one["name"]: one.get("value", "from-elsewhere") for one in container["env"]}
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == "cdc-tail-http"]
    tls = load(environ=environ).http.tls
    assert str(tls.certificate) == f"{mount['mountPath']}/tls.crt"
    assert str(tls.key) == f"{mount['mountPath']}/tls.key"
    assert {container[one]["httpGet"]["scheme"] for one in PROBES} == {"HTTPS"}
    (endpoint,) = manifests["ServiceMonitor mirror-cdc-tail"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert f"Service {endpoint['tlsConfig']['serverName']}" in manifests
    assert endpoint["tlsConfig"]["ca"] == {"secret": {"name": "our-ca", "key": "ca.crt"}}
    if options:
        snippet = manifests["ConfigMap mirror-cdc-tail-container"]["data"]["volumes.yaml"]
        volumes = yaml.safe_load(snippet)
    else:
        volumes = manifests["DaemonSet mirror-cdc-tail"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": mount["name"], "secret": {"secretName": "our-http"}} in volumes


def test_production_is_watched() -> None:
    manifests = rendered(
        *PRODUCTION, "--set", "prometheusRule.runbookBaseUrl=https://docs.example/r/"
    )
    rules = manifests["PrometheusRule mirror-cdc-tail"]["spec"]["groups"]
    shipped = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
    assert [len(group["rules"]) for group in rules] == [len(group["rules"]) for group in shipped]
    first = rules[0]["rules"][0]
    assert first["annotations"]["runbook_url"] == f"https://docs.example/r/{first['alert']}/"
    assert first["annotations"]["summary"] == shipped[0]["rules"][0]["annotations"]["summary"]
    dashboards = manifests["ConfigMap mirror-cdc-tail-dashboards"]["data"]
    assert {name.removeprefix("cdc-tail-") for name in dashboards} == set(FILES)
    assert all(json.loads(text)["panels"] for text in dashboards.values())
    monitor = manifests["ServiceMonitor mirror-cdc-tail"]["spec"]
    assert monitor["jobLabel"] == "app.kubernetes.io/name"
    service = manifests["Service mirror-cdc-tail"]["metadata"]["labels"]
    assert service["app.kubernetes.io/name"] == "cdc-tail"  # the job of the alert rules
    assert monitor["selector"]["matchLabels"].items() <= service.items()


def test_everything_can_be_turned_on_and_off() -> None:
    everything = rendered(*PRODUCTION, "--set", "podDisruptionBudget.enabled=true")
    assert everything["PodDisruptionBudget mirror-cdc-tail"]["spec"]["minAvailable"] == 1
    assert "NetworkPolicy mirror-cdc-tail" not in rendered("--set", "networkPolicy.enabled=false")
    beside = rendered(*SIDECAR)
    assert not {"DaemonSet", "NetworkPolicy"} & {name.split()[0] for name in beside}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("mode=statefulset", "mode"),
        ("postgres.port=70000", "port"),
        ("postgres.tlsMode=perhaps", "tlsMode"),
        ("cassandra.runAsUser=0", "runAsUser"),
        ("settings.BATCH_MAX_ROWS=1", "BATCH_MAX_ROWS"),
        ("postgress.host=x", "postgress"),
    ],
)
def test_wrong_values_are_refused_by_name(value: str, said: str) -> None:
    assert said in helm(
        "template", "mirror", str(CHART), f"--kube-version={KUBERNETES}", "--set", value, fails=True
    )
