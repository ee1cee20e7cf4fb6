"""What stands in cdc_raw, and when to look again; opens no segment and removes none.

The listing is the truth. File system events are only a hint to list sooner: writes through a memory
map raise none, and events can be lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

import structlog
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from cdc_tail.errors import ConfigError
from parsers.descriptor import (
    CdcIndex,
    index_path,
    log_name_of_index,
    parse_log_name,
    read_index,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment as a listing saw it; `links` counts the names of the file on its disk.

    One that is `archived` is not in cdc_raw any more; of its `path` only the name tells something.
    """

    segment_id: int
    log_version: int
    path: Path
    size_bytes: int
    links: int
    modified_at: float  # epoch seconds
    index: CdcIndex | None
    archived: bool = False

    @property
    def is_final(self) -> bool:
        """Whether Cassandra writes no more to it.

        Its index says so; or Cassandra has dropped its own name of the file, which is the only
        sign that a segment without an index gives (format 1.7).
        """
        return self.links <= 1 or (self.index is not None and self.index.completed)


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything in cdc_raw at one moment: segments by id, and what Cassandra counts as used."""

    segments: tuple[SegmentFile, ...]
    total_bytes: int


def list_segments(folder: Path, completed: Mapping[int, CdcIndex] | None = None) -> Listing:
    """List the segments of `folder` by id; the indexes in `completed` are not read again.

    Raises ConfigError if there is no such folder or it can't be read.
    """
    known = completed or {}
    segments: list[SegmentFile] = []
    total_bytes = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = parse_log_name(entry.name)
                if name is None and log_name_of_index(entry.name) is None:
                    continue
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # removed since it was listed
                    continue
                total_bytes += stat.st_size
                if name is not None:
                    segments.append(_segment_file(Path(entry.path), name, stat, known))
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise ConfigError(
            f"the cdc_raw folder {folder} can't be read: {error.strerror}",
            hint="set cassandra.cdc_raw to the node's cdc_raw_directory; the node makes it at its"
            " start when cdc_enabled is true",
        ) from error
    return Listing(tuple(sorted(segments, key=lambda one: one.segment_id)), total_bytes)


def segment_file(path: Path) -> SegmentFile | None:
    """The segment at `path` as it is now, None if its name is no segment's or it is gone."""
    name = parse_log_name(path.name)
    try:
        return None if name is None else _segment_file(path, name, path.stat(), {})
    except FileNotFoundError:
        return None


def _segment_file(
    path: Path, name: tuple[int, int], stat: os.stat_result, known: Mapping[int, CdcIndex]
) -> SegmentFile:
    version, segment_id = name
    return SegmentFile(
        segment_id=segment_id,
        log_version=version,
        path=path,
        size_bytes=stat.st_size,
        links=stat.st_nlink,
        modified_at=stat.st_mtime,
        index=known.get(segment_id) or read_index(index_path(path)),
    )


class Hints:
    """Wakes a sleeper when the file system tells of a change in cdc_raw."""

    def __init__(self, folder: Path) -> None:
        # Not an Event: its lock, held by a sleeper whom a signal interrupts, would never be had by
        # the signal's handler. A SimpleQueue may be put to at any moment.
        self._changes: SimpleQueue[None] = SimpleQueue()
        self._observer = Observer()
        self._folder = folder

    def wait(self, seconds: float) -> bool:
        """Sleep, at most until something changes in the folder; whether something did."""
        try:
            self._changes.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        with suppress(Empty):
            while True:  # one look at the folder answers all that was told so far
                self._changes.get_nowait()
        return True

    def wake(self) -> None:
        """Wake the sleeper, from any thread or a signal handler."""
        self._changes.put(None)

    def __enter__(self) -> Hints:
        handler = _Wake(self.wake)
        try:
            self._observer.schedule(handler, str(self._folder))
            self._observer.start()
        except OSError as error:  # no inotify watches left, or a file system without them
            log.warning(
                "no file system events, polling only", folder=str(self._folder), why=str(error)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)


class _Wake(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        # Opening and reading files, which we do ourselves, must not wake us.
        if (
            event.event_type in ("created", "deleted", "moved", "modified")
            and not event.is_directory
        ):
            self._wake()


class Pace:
    """How long to pause between two looks at the log: short while it moves, longer while idle."""

    GROWTH = 1.5

    def __init__(self, shortest_seconds: float, longest_seconds: float) -> None:
        self._shortest = min(shortest_seconds, longest_seconds)
        self._longest = longest_seconds
        self._pause = self._shortest

    def moved(self) -> None:
        """Something was read: look again soon."""
        self._pause = self._shortest

    def pause_seconds(self) -> float:
        """The pause to make now; the next one is longer unless the log moves."""
        pause = self._pause
        self._pause = min(pause * self.GROWTH, self._longest)
        return pause
