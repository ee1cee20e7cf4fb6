"""A real `cdc-tail run` as a child process of this one, for the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cdc_tail.local.errors import LocalStackError, log_tail
from cdc_tail.local.guard import Guard
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
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def status(self) -> dict[str, Any]:
        """The JSON of /status. Raises LocalStackError if the process has ended."""
        found = ask_process(self.url)
        if found is None and self.pid is None:
            raise self._failure("ended")
        return found or {}

    def __enter__(self) -> Self:
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches us alone; we then stop it in order.
                start_new_session=True,
            )
        self._guard = Guard(self._process.pid, signal.SIGTERM)
        try:
            deadline = time.monotonic() + START_TIMEOUT_SECONDS
            while self.status().get("state") != "live":
                if time.monotonic() > deadline:
                    raise self._failure(f"was not ready within {START_TIMEOUT_SECONDS} s")
                time.sleep(POLL_SECONDS)
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
        if self._guard:
            self._guard.release()
            self._guard = None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.detach()

    def _failure(self, what: str) -> LocalStackError:
        return LocalStackError(f"cdc-tail run {what}", log_tail=log_tail(self.log_file))
