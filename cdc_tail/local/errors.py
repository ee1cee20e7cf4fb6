"""What can go wrong with the local stack: an error with its log's tail and the next step."""

from __future__ import annotations

from pathlib import Path

from cdc_tail.errors import CdcTailError

LOG_TAIL_BYTES = 6_000


class LocalStackError(CdcTailError):
    """A local node, server or download failed.

    `log_tail` is the end of the failed program's own log, empty where there is none; it is part of
    what the error prints, since the log's folder may be gone by then.
    """

    exit_code = 40

    def __init__(self, message: str, *, hint: str | None = None, log_tail: str = "") -> None:
        super().__init__(message, hint=hint)
        self.log_tail = log_tail

    def __str__(self) -> str:
        said = super().__str__()
        return f"{said}\nend of its log:\n{self.log_tail}" if self.log_tail else said


class JarsUnavailable(LocalStackError):
    """The jars of a Cassandra version are neither cached nor downloadable (no network)."""


def log_tail(path: Path, limit_bytes: int = LOG_TAIL_BYTES) -> str:
    """The last `limit_bytes` of a text file, from a line's start; empty if there is no file."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - limit_bytes))
        text = file.read().decode("utf-8", "replace")
    return text if size <= limit_bytes else text.partition("\n")[2]
