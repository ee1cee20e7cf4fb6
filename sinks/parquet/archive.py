"""Changes buffered in memory and rolled into Parquet files, exactly once by the manifest.

A roll is three steps: the files are announced, written, and committed together with how far the
segments stand in them. What a crash leaves between the first and the last is removed at the next
start, and the same changes are read from their segments again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Final, TypeVar
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa

from parsers.masking import Mask
from parsers.position import Position
from parsers.schema import Table
from parsers.view import UpdateView
from sinks.parquet import manifest
from sinks.parquet.changes import WRITETIME, Change, ChangeTable
from sinks.parquet.files import FileStore
from sinks.parquet.manifest import ChangeFile, Connection

_T = TypeVar("_T")
Transact = Callable[[Callable[[Connection], _T]], _T]
"""Runs something in one transaction of the node's writer; raises what the writer raises."""

_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, tzinfo=UTC)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US: Final = 3_600_000_000


class ParquetArchive:
    """The change files of one node."""

    def __init__(
        self,
        store: FileStore,
        node: str,
        masks_of: Callable[[Table], Mapping[str, Mask]] = lambda _: {},
    ) -> None:
        """`masks_of` gives the masks that mutations of a table are decoded with."""
        self._store = store
        self._node = node
        self._masks_of = masks_of
        self._tables: dict[Table, ChangeTable] = {}
        self._buffers: dict[tuple[Table, str], list[Change]] = {}
        self._hours: dict[int, str] = {}
        self.buffered = 0
        self.buffered_bytes = 0

    def recover(self, transact: Transact[object]) -> dict[int, int]:
        """Remove what a crash left; returns how far each segment stands in committed files."""
        transact(manifest.install)
        self._remove_unfinished(transact)
        offsets = transact(lambda conn: manifest.read_offsets(conn, self._node))
        assert isinstance(offsets, dict)
        return offsets

    def _remove_unfinished(self, transact: Transact[object]) -> None:
        node = self._node
        left = transact(lambda conn: manifest.unfinished(conn, node))
        assert isinstance(left, list)
        for path in left:
            self._store.remove(path)
        if left:
            transact(lambda conn: manifest.forget_unfinished(conn, node, left))

    def add(self, position: Position, views: Sequence[UpdateView], size_bytes: int) -> int:
        """Buffer the changes of one mutation, which ends at `position`; returns how many."""
        added = 0
        for view in views:
            known = self._tables.get(view.table)
            if known is None:
                known = ChangeTable(view.table, self._masks_of(view.table))
                self._tables[view.table] = known
            for change in known.changes(self._node, position, view):
                key = (view.table, self._hour(change[WRITETIME]))
                self._buffers.setdefault(key, []).append(change)
                added += 1
        self.buffered += added
        if added:
            self.buffered_bytes += size_bytes
        return added

    def roll(
        self, transact: Transact[object], offsets: dict[int, int], forgotten: Sequence[int]
    ) -> list[ChangeFile]:
        """Write what is buffered and commit it, and that segments stand in files up to `offsets`.

        Raises OSError where a file can't be written. Whatever it raises, the changes stay
        buffered, and the next roll writes them under other names.
        """
        node = self._node
        self._remove_unfinished(transact)  # of an attempt that failed
        planned = {key: self._plan(*key) for key in self._buffers}
        files = list(planned.values())
        if files:
            transact(lambda conn: manifest.announce(conn, node, files))
        written = [
            _with_size(file, self._store.write(file.path, self._arrow(*key)))
            for key, file in planned.items()
        ]
        transact(lambda conn: manifest.commit(conn, node, written, offsets, forgotten))
        self._buffers.clear()
        self._tables.clear()
        self._hours.clear()
        self.buffered = 0
        self.buffered_bytes = 0
        return written

    def _plan(self, table: Table, hour: str) -> ChangeFile:
        times = [change[WRITETIME] for change in self._buffers[table, hour]]
        folder = "/".join(
            f"{name}={quote(value, safe='')}"
            for name, value in (
                ("keyspace", table.keyspace),
                ("table", table.name),
                ("hour", hour),
            )
        )
        # A name of its own for each attempt: two processes never write one file.
        name = f"{quote(self._node, safe='')}-{uuid4().hex}.parquet"
        return ChangeFile(
            f"{folder}/{name}",
            table.keyspace,
            table.name,
            hour,
            len(times),
            min(times),
            max(times),
        )

    def _arrow(self, table: Table, hour: str) -> pa.Table:
        schema = self._tables[table].schema
        # Stable: what has one writetime stays in the order of the log.
        changes = sorted(self._buffers[table, hour], key=itemgetter(WRITETIME))
        columns = zip(*changes, strict=True)
        arrays = [pa.array(column, type=kind) for column, kind in zip(columns, schema.types)]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _hour(self, writetime_us: int) -> str:
        number = writetime_us // _HOUR_US
        text = self._hours.get(number)
        if text is None:
            text = self._hours[number] = _hour_text(number)
        return text


def _hour_text(number: int) -> str:
    """The hour, counted from 1970, as a partition's name; the first or last that there is."""
    lowest = (_FIRST - _EPOCH) // timedelta(hours=1)
    highest = (_LAST - _EPOCH) // timedelta(hours=1)
    hour = _EPOCH + timedelta(hours=min(max(number, lowest), highest))
    return f"{hour.year:04}-{hour:%m-%dT%H}"


def _with_size(file: ChangeFile, size_bytes: int) -> ChangeFile:
    return ChangeFile(
        file.path,
        file.keyspace,
        file.table,
        file.hour,
        file.changes,
        file.min_writetime_us,
        file.max_writetime_us,
        size_bytes,
    )
