"""SIGHUP: the settings are read again, and what can change in a running process is taken over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from cdc_tail.config import setting_fields
from cdc_tail.errors import ConfigError
from cdc_tail.log import configure, error_fields
from cdc_tail.settings import Settings

log = structlog.get_logger()

# What is looked up each time that it is needed. Everything else a connection, a segment or a mirror
# was opened with, and which tables and columns are mirrored has to hold from a place in the log on:
# a restart settles that with the checkpoint.
RELOADED: Final = (
    "batch.",
    "log.",
    "snapshot.",
    "cassandra.user",
    "cassandra.password",
    "postgres.user",
    "postgres.password",
)


class Reloader:
    """Reads settings again when asked to; a mistake in them changes nothing."""

    def __init__(self, settings: Settings, load: Callable[[], Settings]) -> None:
        """`settings` are those of the start, `load` reads them from where these came from."""
        self._settings = settings
        self._load = load
        self._is_asked = False

    def ask(self) -> None:
        """Read them at the next `take`; for a signal handler."""
        self._is_asked = True

    def take(self) -> Settings | None:
        """The settings from now on, None while nobody asked or where they can't be read."""
        if not self._is_asked:
            return None
        self._is_asked = False
        try:
            found = self._load()
        except ConfigError as error:
            log.error("settings not taken", **error_fields(error))
            return None
        changed = [
            key for key, _ in setting_fields() if _value(found, key) != _value(self._settings, key)
        ]
        taken = [key for key in changed if key.startswith(RELOADED)]
        waiting = [key for key in changed if key not in taken]
        for key in taken:
            section, _, name = key.partition(".")
            mixed = getattr(self._settings, section).model_copy(update={name: _value(found, key)})
            self._settings = self._settings.model_copy(update={section: mixed})
        configure(self._settings.log)
        log.warning("settings read again", taken=taken, needs_restart=waiting)
        return self._settings


def _value(settings: Settings, key: str) -> object:
    found: object = settings
    for name in key.split("."):
        found = getattr(found, name)
    return found
