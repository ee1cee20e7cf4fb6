"""What has to be done though no mutation asks for it: TTLs, tombstones, rows to be fetched."""

from __future__ import annotations

from typing import Final

from cdc_tail.backfill import Backfill
from cdc_tail.flow import Insist
from cdc_tail.report import Reporter
from cdc_tail.settings import Settings
from cdc_tail.writer import Writer

PURGE_SECONDS: Final = 60.0
ASK_SECONDS: Final = 2.0
COUNT_SECONDS: Final = 10.0


class Chores:
    """Does each of them when its time has come."""

    def __init__(
        self, settings: Settings, writer: Writer, reporter: Reporter, insist: Insist
    ) -> None:
        self._writer = writer
        self._report = reporter
        self._insist = insist
        self._backfill = Backfill(settings)
        self._expired_at_s = 0
        self._asked_at = 0.0
        self._counted_at = 0.0
        self._purged_at = 0.0
        self.has_more = False  # of what is due, for the next call

    def do(self, now: float) -> None:
        """TTLs every second, tombstones every minute; `now` is monotonic seconds."""
        second = int(now)
        if second != self._expired_at_s:
            self.has_more = False
            if self._insist(self._writer.is_anything_due):
                expired = self._insist(self._writer.expire)
                self._report.expired(expired)
                # More than one go takes is taken at the next turn, so that tailing never waits.
                self.has_more = expired.rows > 0
            if not self.has_more:
                self._expired_at_s = second
        if now - self._asked_at >= ASK_SECONDS:
            if self._insist(lambda: self._writer.has_to_ask(self._backfill.reasons)):
                self._backfill.start()
            self._asked_at = now
        if now - self._purged_at >= PURGE_SECONDS:
            self._report.purged(self._insist(self._writer.purge))
            self._purged_at = now
        if now - self._counted_at >= COUNT_SECONDS:
            # Somebody may have retried or discarded some.
            self._report.set_aside(self._insist(self._writer.count_set_aside))
            self._counted_at = now

    def adopt(self, settings: Settings) -> None:
        """What is started from now on goes by these settings."""
        self._backfill.adopt(settings)

    def stop(self) -> None:
        """End what goes on in the background; the next start takes it up."""
        self._backfill.stop()
