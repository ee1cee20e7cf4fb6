"""A `cdc-tail run` process of its own beside a node, as tests start, question, stop and kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from cdc_tail.failpoints import VARIABLE as FAILPOINT_VARIABLE
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.ports import free_ports

# `make test-coverage` traces every line, ten times as slow.
SLOWNESS = 10 if os.environ.get("CDC_TAIL_TEST_TRACED") else 1
START_SECONDS = 60 * SLOWNESS
STOP_SECONDS = 60 * SLOWNESS
POLL_SECONDS = 0.02
JUMPING_CLOCK = Path(__file__).parent / "jumping_clock"
JUMP_VARIABLE = "CDC_TAIL_TEST_CLOCK"
# What a developer's shell may set; a test says everything itself.
FOREIGN_VARIABLES = ("CDC_TAIL_", "CASSANDRA_", "POSTGRES_", "VAULT_")


def wait_until(holds: Callable[[], object], who: object, seconds: float = 120) -> None:
    """Return as soon as `holds()` is true; AssertionError after `seconds`, with what `who` says.

    Where every line is traced it waits longer.
    """
    seconds *= SLOWNESS
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s; {who}"
        time.sleep(POLL_SECONDS)


class Sidecar:
    """One process at a time over one node and one database; a context manager that ends it.

    `settings` are keys of the settings file such as "watch.keep_segments". The log of all its
    processes stands in `log_file`.
    """

    def __init__(
        self,
        node: CassandraNode,
        dsn: str,
        folder: Path,
        *,
        name: str = "node1",
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.node = node
        self.name = name
        self.log_file = folder / f"{name}-{id(self)}.log"
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}"
        values: dict[str, object] = {
            "node": name,
            "cassandra.host": node.address,
            "cassandra.port": node.native_port,
            "cassandra.cdc_raw": node.cdc_raw,
            "postgres.dsn": dsn,
            "http.port": self.port,
            "log.format": "json",
            "log.level": "debug",
        }
        self.settings = values | dict(settings or {})
        self.variables: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that hold the settings, for any command of `cdc-tail`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN_VARIABLES)}
        said = {
            f"CDC_TAIL_{key.replace('.', '_').upper()}": str(value)
            for key, value in self.settings.items()
        }
        return kept | said

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command of `cdc-tail` with the same settings, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "cdc_tail", *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def with_clock(self, file: Path) -> Self:
        """Its processes add the seconds that stand in `file` to what Python's clock says."""
        self.variables = {"PYTHONPATH": str(JUMPING_CLOCK), JUMP_VARIABLE: str(file)}
        return self

    def start(self, failpoint: str | None = None, options: Sequence[str] = ()) -> Self:
        """Start the process and return at once; see cdc_tail.failpoints for how one is named."""
        assert self.process is None or self.process.poll() is not None
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cdc_tail", "run", *options],
                env=self.environment
                | self.variables
                | ({FAILPOINT_VARIABLE: failpoint} if failpoint else {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def wait_live(self) -> Self:
        """Wait until it has read to the end of the log."""
        wait_until(lambda: self.state() == "live", self, START_SECONDS)
        return self

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it ends by itself; returns the exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of GET; (0, why) if nobody answers."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def status(self) -> dict[str, Any]:
        """What /status says."""
        code, body = self.get("/status")
        assert code == 200, f"{body}; {self}"
        found: dict[str, Any] = json.loads(body)
        return found

    def state(self) -> str | None:
        """The state as /status says it, None while nobody answers; AssertionError if it ended."""
        assert self.is_running, f"ended with {self.process and self.process.poll()}; {self}"
        code, body = self.get("/status")
        return json.loads(body)["state"] if code == 200 else None

    def metric(self, name: str, **labels: str) -> float:
        """The value of one sample of /metrics, by its full name; 0 if it has none."""
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return 0.0

    def log(self) -> list[dict[str, Any]]:
        """What its processes logged so far; lines that are not JSON as {"event": line}."""
        lines: list[dict[str, Any]] = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"event": line})
        return lines

    def __str__(self) -> str:
        said = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return f"the sidecar's log ends:\n{said[-3000:]}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.is_running:
            self.stop()
