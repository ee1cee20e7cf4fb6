"""A real Prometheus and a real Alertmanager for one test, with the configuration that we ship."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cdc_tail.local.ports import free_ports
from tests.support.http_thread import HttpThread
from tests.support.sidecar import wait_until
from tests.tools.programs import program

DEPLOY = Path(__file__).parents[2] / "deploy"
START_SECONDS = 60


class _Server:
    """A process that serves HTTP, ended with the `with` block."""

    def __init__(self, folder: Path, ready: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def get(self, path: str) -> Any:
        """The JSON or text of GET; OSError if it does not answer."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            text = answer.read().decode()
        return json.loads(text) if text.startswith(("{", "[")) else text

    def reload(self) -> None:
        """Have it read its configuration again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def __enter__(self) -> Self:
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers, self, START_SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self
        try:
            self.get(self._ready)
        except OSError:
            return False
        return True

    def __str__(self) -> str:
        return (self.folder / "log").read_text()[-3000:]


class Prometheus(_Server):
    """Scrapes `targets` each second by our configuration and rules.

    Only times are shortened, so that a test need not wait: each `for` is zero, and a mirror counts
    as stale after 3 s.
    """

    def __init__(self, folder: Path, targets: list[str], alertmanager: int) -> None:
        super().__init__(folder, "/-/ready")
        self._config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
        self._config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        managers = self._config["alerting"]["alertmanagers"]
        managers[0]["static_configs"][0]["targets"] = [f"127.0.0.1:{alertmanager}"]
        self.scrape(targets)
        rules = (DEPLOY / "prometheus" / "alerts.yaml").read_text()
        rules, waits = re.subn(r"for: \d+[mh]", "for: 0s", rules)
        rules, ages = re.subn(r"_age_seconds > 300", "_age_seconds > 3", rules)
        assert waits and ages == 1
        (folder / "alerts.yaml").write_text(rules)

    def scrape(self, targets: list[str]) -> None:
        """Write the configuration with these targets; see `reload`."""
        jobs = [
            job | {"static_configs": [{"targets": targets}]}
            for job in self._config["scrape_configs"]
            if job["job_name"] == "cdc-tail" and targets
        ]
        (self.folder / "prometheus.yaml").write_text(
            yaml.safe_dump(self._config | {"scrape_configs": jobs})
        )

    def command(self) -> list[str]:
        return [
            program("prometheus"),
            "--config.file=prometheus.yaml",
            "--storage.tsdb.path=data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an instant query; urllib's HTTPError if it is not PromQL."""
        answer = self.get("/api/v1/query?" + urllib.parse.urlencode({"query": expr}))
        assert answer["status"] == "success"
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series

    def rules(self) -> set[str]:
        """Names of all alerts that it knows."""
        groups = self.get("/api/v1/rules?type=alert")["data"]["groups"]
        return {rule["name"] for group in groups for rule in group["rules"]}

    def ever_fired(self) -> set[str]:
        """Alerts that have been firing at any time since it started."""
        fired = self.query('max_over_time(ALERTS{alertstate="firing"}[1h])')
        return {one["metric"]["alertname"] for one in fired}


class Alertmanager(_Server):
    """Routes alerts by our configuration, with `receivers` filled in: one webhook for each."""

    def __init__(self, folder: Path, receivers: str) -> None:
        super().__init__(folder, "/-/ready")
        config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yaml").read_text())
        config["route"]["group_wait"] = "0s"
        for receiver in config["receivers"]:
            receiver["webhook_configs"] = [{"url": f"{receivers}/{receiver['name']}"}]
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))

    def command(self) -> list[str]:
        return [
            program("alertmanager"),
            "--config.file=alertmanager.yaml",
            "--storage.path=data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]


class Receivers(HttpThread):
    """Takes webhooks: which alerts came to which receiver."""

    def __init__(self) -> None:
        self.received: dict[str, set[str]] = {}
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                names = {one["labels"]["alertname"] for one in body["alerts"]}
                received.setdefault(self.path.strip("/"), set()).update(names)
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                """Not on stderr."""

        super().__init__(Handler)
