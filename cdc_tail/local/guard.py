"""Servers as child processes that leave no orphans: a tiny watcher signals them once we are gone.

Linux's parent-death signal is not used because it fires when the *thread* that started the server
ends, and servers are often started from short-lived threads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cdc_tail.local.errors import LocalStackError

# Reads until the pipe from its parent breaks, which even SIGKILL of the parent does; the pidfd
# keeps it from ever signalling a recycled process id.
_WATCHER = """
import os, signal, sys
os.setsid()
os.read(0, 1)
try:
    signal.pidfd_send_signal(int(sys.argv[1]), int(sys.argv[2]))
except ProcessLookupError:
    pass
"""


class GuardedProcess:
    """A server that runs while we do, or until it is told to end."""

    def __init__(
        self, command: Sequence[str], output: Path, on_death: signal.Signals, **options: Any
    ) -> None:
        """Start it; what it prints is appended to `output`. `options` are those of Popen.

        `on_death` is the signal that it gets where we end without having ended it.
        """
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                # Ctrl-C in a terminal reaches us alone; we then stop the server in order.
                start_new_session=True,
                **options,
            )
        self._guard: _Guard | None = _Guard(self._process.pid, on_death)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process.poll() is None else None

    def wait_until(
        self,
        is_ready: Callable[[], bool],
        failure: Callable[[str], LocalStackError],
        timeout_seconds: float,
        poll_seconds: float,
    ) -> None:
        """Return once it is ready; raise what `failure` makes of it where it ends or takes long."""
        deadline = time.monotonic() + timeout_seconds
        while not is_ready():
            if self.pid is None:
                raise failure(f"ended with status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise failure(f"was not ready within {timeout_seconds:.0f} s")
            time.sleep(poll_seconds)

    def end(self, how: signal.Signals, timeout_seconds: float) -> None:
        """Signal it and wait for its end; SIGKILL after the timeout."""
        self._process.send_signal(how)
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.detach()

    def detach(self) -> None:
        """Let it outlive us."""
        if self._guard is not None:
            self._guard.release()
            self._guard = None


class _Guard:
    """Watches for our death on behalf of the running child process `pid`."""

    def __init__(self, pid: int, on_death: signal.Signals) -> None:
        pidfd = os.pidfd_open(pid)
        try:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _WATCHER, str(pidfd), str(int(on_death))],
                stdin=subprocess.PIPE,
                pass_fds=[pidfd],
            )
        finally:
            os.close(pidfd)

    def release(self) -> None:
        """Stop watching: the server was stopped, or is meant to outlive us."""
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin:
            self._watcher.stdin.close()
