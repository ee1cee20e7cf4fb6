"""When a batch closes: rows, bytes, age; it holds no rows itself."""

from __future__ import annotations

from cdc_tail.settings import BatchSettings


class BatchClock:
    """Decides when the open batch is applied.

    Under load a batch closes by size or age. Once the log is read to its end it closes after a
    short linger, so that a lone write becomes visible at once while writes that come together share
    a transaction.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self._opened_at: float | None = None
        self.adopt(settings)

    def adopt(self, settings: BatchSettings) -> None:
        """These bounds hold from now on, for the open batch too."""
        self._max_age_seconds = settings.max_age_ms / 1000
        self._linger_seconds = settings.linger_ms / 1000

    @property
    def opened_at(self) -> float | None:
        """When the first mutation came into the batch, None while it is empty."""
        return self._opened_at

    def note_mutation(self, now: float) -> None:
        """A mutation is in the batch."""
        if self._opened_at is None:
            self._opened_at = now

    def should_close(self, now: float, *, full: bool, caught_up: bool) -> bool:
        """Whether to apply now; never while the batch is empty."""
        if self._opened_at is None:
            return False
        age = now - self._opened_at
        return full or age >= self._max_age_seconds or (caught_up and age >= self._linger_seconds)

    def seconds_left(self, now: float) -> float | None:
        """Time until the linger is over, None while the batch is empty."""
        if self._opened_at is None:
            return None
        return max(0.0, self._opened_at + self._linger_seconds - now)

    def reset(self) -> None:
        """The batch was applied: it is empty again."""
        self._opened_at = None
