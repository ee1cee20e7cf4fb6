"""A `cdc-tail` process as users start it, with time, memory and CPU as the kernel counts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from cdc_tail.local.ports import free_ports

# What a developer's shell may set must not reach the process.
_FOREIGN = ("CDC_TAIL_", "CASSANDRA_", "POSTGRES_", "VAULT_")
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Used:
    """What a process took from its start to its end."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


class CdcTail:
    """One child process; a context manager that ends it."""

    def __init__(
        self, folder: Path, *arguments: str | Path, settings: Mapping[str, object]
    ) -> None:
        """`settings` are keys of the settings file such as "watch.keep_segments"."""
        self.log_file = folder / f"cdc-tail-{id(self)}.log"
        values = {"node": "bench", "http.port": free_ports(1)[0], "log.format": "json"}
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)} | {
            f"CDC_TAIL_{key.replace('.', '_').upper()}": str(value)
            for key, value in (values | dict(settings)).items()
        }
        self._command = [sys.executable, "-m", "cdc_tail", *map(str, arguments)]
        self._process: subprocess.Popen[bytes] | None = None
        self.began = 0.0

    @property
    def process(self) -> psutil.Process:
        """The running process, as psutil shows it."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def wait(self) -> Used:
        """Wait until it ends by itself; RuntimeError with its log if it fails."""
        assert self._process is not None
        peak = 0.0
        while True:
            pid, status, used = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, self._peak_mib())
            time.sleep(_POLL_SECONDS)
        wall = time.monotonic() - self.began
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode != 0:
            raise RuntimeError(f"cdc-tail failed: {self.log_file.read_text()[-2000:]}")
        return Used(wall, used.ru_utime + used.ru_stime, peak)

    def _peak_mib(self) -> float:
        """The kernel's high-water mark; that of rusage begins with what we had when we forked."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0  # it has ended and not been waited for

    def wait_for(self, holds: Callable[[], object], seconds: float = 600) -> float:
        """Seconds from the start of the process until `holds()`; RuntimeError if that is never."""
        assert self._process is not None
        while not holds():
            if self._process.poll() is not None:
                raise RuntimeError(f"cdc-tail ended: {self.log_file.read_text()[-2000:]}")
            if time.monotonic() - self.began > seconds:
                raise RuntimeError(f"not within {seconds} s: {self.log_file.read_text()[-2000:]}")
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - self.began

    def stop(self) -> Used:
        """Ask it to end, and wait for it."""
        assert self._process is not None
        self._process.terminate()
        return self.wait()

    def __enter__(self) -> Self:
        self.began = time.monotonic()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            self._process.wait()
