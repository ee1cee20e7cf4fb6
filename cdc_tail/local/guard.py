"""No orphans: a tiny watcher per server that signals it once this Python process is gone.

Linux's parent-death signal is not used because it fires when the *thread* that started the server
ends, and servers are often started from short-lived threads.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

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


class Guard:
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
