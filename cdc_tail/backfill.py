"""What a running sidecar asks Cassandra for beside the log: tables to copy, rows that it doubts.

It works in a thread and with connections of its own, opened only while there is something to do;
the log is followed meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog

from cdc_tail.errors import CdcTailError
from cdc_tail.log import error_fields
from cdc_tail.settings import Settings
from sinks.postgres.snapshots import Reason

log = structlog.get_logger()

# After a failure: Cassandra may be away, and is not asked at every turn.
AGAIN_SECONDS: Final = 10.0

REASONS: Final[dict[str, tuple[Reason, ...]]] = {
    "never": (),
    "altered": ("altered",),
    "new": ("altered", "found"),
}


class Backfill:
    """Does what is asked for, once at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0

    def adopt(self, settings: Settings) -> None:
        """What is started from now on goes by these settings."""
        self._settings = settings

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why a snapshot may be asked for, so that it is taken here."""
        return REASONS[self._settings.snapshot.tables]

    def start(self) -> None:
        """There is something to do. Returns at once."""
        is_busy = self._thread is not None and self._thread.is_alive()
        if is_busy or time.monotonic() < self._not_before or self._stopping.is_set():
            return
        self._thread = threading.Thread(target=self._run, name="backfill", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End what is under way; it goes on from there after the next start."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        # The driver takes time and memory that most sidecars need for their first seconds only.
        from cdc_tail.snapshot import Snapshots, Stopped

        try:
            with Snapshots(self._settings, stopping=self._stopping) as work:
                for table in work.requested(self.reasons):
                    log.info("copying the rows that a table has already", table=str(table))
                    done = work.copy(table)
                    if done is not None:
                        log.info("table copied", table=str(table), rows=done.rows)
                asked = work.settle_doubts()
                if asked:
                    log.info("asked whether rows exist", rows=asked)
        except Stopped:
            log.info("copying stopped; it goes on at the next start")
        except CdcTailError as error:
            log.warning("copying failed, trying again", **error_fields(error))
            self._not_before = time.monotonic() + AGAIN_SECONDS
