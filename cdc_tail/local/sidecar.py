"""A real `cdc-tail run` as a child process of this one, for the demo."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cdc_tail.local.errors import LocalStackError, log_tail
from cdc_tail.local.guard import GuardedProcess
from cdc_tail.local.ports import free_ports
from cdc_tail.status_source import ask_process

START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 15
POLL_SECONDS = 0.05


class Sidecar:
    """Tails one `cdc_raw` into one database; a context manager.

    Entering it starts the process and waits until it has read the log to its end; leaving it ends
    the process.
    """

    def __init__(
        self, *, cdc_raw: Path, dsn: str, cassandra: tuple[str, int], log_file: Path
    ) -> None:
        """`cassandra` is the node's CQL address and port; nobody needs to answer there."""
        self.log_file = log_file
        port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{port}"
        # No setting of the person who runs this may reach the process.
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CDC_TAIL_")
        } | {
            "CDC_TAIL_NODE": "demo",
            "CDC_TAIL_CASSANDRA_HOST": cassandra[0],
            "CDC_TAIL_CASSANDRA_PORT": str(cassandra[1]),
            "CDC_TAIL_POSTGRES_DSN": dsn,
            "CDC_TAIL_HTTP_PORT": str(port),
            "CDC_TAIL_LOG_FORMAT": "json",
        }
        self._command = [sys.executable, "-m", "cdc_tail", "run", "--cdc-raw", str(cdc_raw)]
        self._process: GuardedProcess | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def status(self) -> dict[str, Any]:
        """The JSON of /status. Raises LocalStackError if the process has ended."""
        found = ask_process(self.url)
        if found is None and self.pid is None:
            raise self._failure("ended")
        return found or {}

    def __enter__(self) -> Self:
        self._process = GuardedProcess(
            self._command, self.log_file, signal.SIGTERM, env=self._environment
        )
        try:
            self._process.wait_until(
                lambda: self.status().get("state") == "live",
                self._failure,
                START_TIMEOUT_SECONDS,
                POLL_SECONDS,
            )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def detach(self) -> None:
        """Let it outlive this process; who does so does not leave the `with` block."""
        if self._process is not None:
            self._process.detach()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(signal.SIGTERM, STOP_TIMEOUT_SECONDS)

    def _failure(self, what: str) -> LocalStackError:
        return LocalStackError(f"cdc-tail run {what}", log_tail=log_tail(self.log_file))
