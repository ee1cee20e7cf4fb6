"""SIGHUP: what is taken over, what needs a restart, and a mistake in between."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest

from cdc_tail import config
from cdc_tail.batch import BatchClock
from cdc_tail.log import configure
from cdc_tail.reload import Reloader
from cdc_tail.settings import BatchSettings

pytestmark = pytest.mark.usefixtures("logging_restored")


def test_settings_are_taken_when_asked_and_not_where_they_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cdc-tail.toml"
    file.write_text('[log]\nformat = "json"\n')
    settings = config.load(file, environ={})
    configure(settings.log, io.StringIO())
    reloader = Reloader(settings, lambda: config.load(file, environ={}))
    assert reloader.take() is None

    file.write_text(
        '[log]\nformat = "json"\nlevel = "debug"\n[batch]\nmax_rows = 7\n[lease]\nttl_seconds = 9\n'
    )
    assert reloader.take() is None  # nobody asked
    reloader.ask()
    taken = reloader.take()
    assert taken is not None
    assert (taken.batch.max_rows, taken.log.level) == (7, "debug")
    assert taken.lease == settings.lease
    assert logging.getLogger().level == logging.DEBUG
    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert told["taken"] == ["batch.max_rows", "log.level"]
    assert told["needs_restart"] == ["lease.ttl_seconds"]
    assert reloader.take() is None  # once

    file.write_text("[batch]\nmax_rows = 0\n")
    reloader.ask()
    assert reloader.take() is None
    told = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (told["event"], told["error"]) == ("settings not taken", "ConfigError")
    assert "batch.max_rows" in told["message"]
    assert logging.getLogger().level == logging.DEBUG


def test_new_bounds_hold_for_the_open_batch() -> None:
    clock = BatchClock(BatchSettings(max_age_ms=1000))
    clock.note_mutation(10.0)
    assert not clock.should_close(10.5, full=False, caught_up=False)
    clock.adopt(BatchSettings(max_age_ms=400))
    assert clock.should_close(10.5, full=False, caught_up=False)
