"""Where downloads live: one folder outside any work tree, shared by processes under a file lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_dir() -> Path:
    """`$CDC_TAIL_CACHE`, else `$XDG_CACHE_HOME/cdc-tail`, else `~/.cache/cdc-tail`; created."""
    configured = os.environ.get("CDC_TAIL_CACHE")
    if configured:
        path = Path(configured).expanduser()
    else:
        path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdc-tail"
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextmanager
def exclusive(lock_file: Path) -> Iterator[None]:
    """Hold an advisory lock on `lock_file`; waits for other processes, freed if we die."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
