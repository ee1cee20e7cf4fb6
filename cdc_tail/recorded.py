"""Finds recorded segments in files and folders, in the order in which they are read; opens none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cdc_tail.errors import ConfigError
from cdc_tail.watch import SegmentFile, list_segments, segment_file


def recorded_segments(paths: Iterable[Path]) -> list[SegmentFile]:
    """The segments of files and of folders (searched with their subfolders), by segment id.

    A recorded segment is final whatever its index says. Raises ConfigError for a path that does
    not exist or holds no segment, so that a wrong path is not taken for an empty log.
    """
    found: dict[Path, SegmentFile] = {}
    for path in paths:
        segments = _below(path)
        if not segments:
            raise ConfigError(
                f"{path} holds no commit-log segment",
                hint="segments are named CommitLog-<version>-<id>.log; unpack compressed files",
            )
        found |= {one.path.resolve(): one for one in segments}
    return sorted(found.values(), key=lambda one: (one.segment_id, one.path))


def _below(path: Path) -> list[SegmentFile]:
    if path.is_dir():
        folders = [path, *sorted(one for one in path.rglob("*") if one.is_dir())]
        return [one for folder in folders for one in list_segments(folder).segments]
    if not path.exists():
        raise ConfigError(f"{path} does not exist", hint="give a segment or a folder of segments")
    one = segment_file(path)
    return [] if one is None else [one]
