"""The commit log of a running node with every segment that there was since a test began to look.

Cassandra deletes a segment without mutations of `cdc = true` tables as soon as it is flushed, and
with it what it tells of the schema. A process that tails has read it by then.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cdc_tail.local.cassandra import CassandraNode
from parsers.position import Position
from tests.support.golden import segment_id
from tests.support.node_log import Logged, mutations_of


class KeptLog:
    """Hard links to a node's segments; made while `keep` is called after every statement.

    Two segments exist at least: the one that is written and the next one. So none is missed unless
    a single statement fills several.
    """

    def __init__(self, node: CassandraNode) -> None:
        self._commitlog = node.commitlog
        self._folder = node.directory / "kept"
        self._folder.mkdir(exist_ok=True)
        self.keep()

    def keep(self) -> None:
        """Take in the segments that there are now."""
        for log in self._commitlog.glob("*.log"):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(log, self._folder / log.name)

    def end(self) -> Position:
        """The position of the last mutation."""
        for log in reversed(self._segments()):
            if found := mutations_of([log], live=True):
                return found[-1].position
        return Position(0, 0)

    def after(self, position: Position) -> list[Logged]:
        """The mutations behind a position, in the order of the log; forgets what is before it."""
        for log in self._segments():
            if segment_id(log) < position.segment_id:
                log.unlink()
        return [one for one in mutations_of(self._segments(), live=True) if one.position > position]

    def _segments(self) -> list[Path]:
        self.keep()
        return sorted(self._folder.glob("*.log"), key=segment_id)
