"""When a batch closes."""

from __future__ import annotations

from cdc_tail.batch import BatchClock
from cdc_tail.settings import BatchSettings


def clock() -> BatchClock:
    return BatchClock(BatchSettings(max_age_ms=500, linger_ms=5))


def test_an_empty_batch_never_closes() -> None:
    assert not clock().should_close(1e9, full=True, caught_up=True)
    assert clock().seconds_left(0) is None


def test_a_lone_write_is_applied_after_the_linger() -> None:
    batch = clock()
    batch.note_mutation(10.0)
    assert not batch.should_close(10.004, full=False, caught_up=True)
    assert batch.should_close(10.005, full=False, caught_up=True)


def test_under_load_it_fills_until_full_or_old() -> None:
    batch = clock()
    batch.note_mutation(10.0)
    batch.note_mutation(10.3)  # age counts from the first
    assert not batch.should_close(10.49, full=False, caught_up=False)
    assert batch.should_close(10.5, full=False, caught_up=False)
    assert batch.should_close(10.0, full=True, caught_up=False)


def test_after_a_reset_age_counts_anew() -> None:
    batch = clock()
    batch.note_mutation(10.0)
    batch.reset()
    assert batch.opened_at is None
    batch.note_mutation(20.0)
    assert not batch.should_close(20.1, full=False, caught_up=False)


def test_the_pause_ends_with_the_linger() -> None:
    batch = clock()
    batch.note_mutation(10.0)
    assert batch.seconds_left(10.002) == 10.005 - 10.002
    assert batch.seconds_left(11.0) == 0.0
