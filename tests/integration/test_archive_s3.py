"""The archive in an object store over S3's API: as in a folder, and while the store is away."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_tail.archive import Archive
from cdc_tail.errors import ArchiveUnavailable, CheckpointGap
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.watch import list_segments
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import assert_mirror_equals_select, one_value
from tests.support.node_folder import NodeFolder
from tests.support.object_store import CREDENTIALS, ObjectStore
from tests.support.sidecar import Sidecar, wait_until

PADDING = "x" * 1500
ROWS = 2_000  # some three segments of 1 MiB
_numbers = itertools.count(1)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with ObjectStore(f"archive-{next(_numbers)}") as running:
        yield running


def opened(store: ObjectStore) -> Archive:
    archive = Archive(store.url, "node/1")
    archive.load()
    return archive


def test_segments_are_put_fetched_and_deleted(store: ObjectStore, tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path)
    for number in (1, 2):
        folder.create(number)
        folder.complete(number)
    files = list_segments(folder.cdc_raw).segments
    archive = opened(store)
    for file in files:
        archive.put(file)
    again = opened(store)
    assert [one.segment_id for one in again.pending] == [one.segment_id for one in files]
    for file, back in zip(files, again.pending, strict=True):
        assert again.fetch(back).read_bytes() == file.path.read_bytes()

    store.stop()
    for act in (
        again.load,
        lambda: again.fetch(again.pending[0]),
        lambda: again.applied(files[0].segment_id, keep=False),
    ):
        with pytest.raises(ArchiveUnavailable):
            act()
    assert len(again.pending) == 2
    store.start()

    again.applied(files[0].segment_id, keep=False)
    again.applied(files[1].segment_id, keep=True)
    name = files[1].path.name
    assert store.names() == [f"{name}.applied.json", f"{name}.zst"]
    assert again.pending == opened(store).pending == []
    with pytest.raises(CheckpointGap):
        archive.fetch(archive.pending[0])


def write(session: Any, numbers: range) -> None:
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    for first in range(numbers.start, numbers.stop, 200):
        some = range(first, min(first + 200, numbers.stop))
        for future in [session.execute_async(insert, (k, PADDING)) for k in some]:
            future.result()


def completed(node: CassandraNode) -> int:
    return sum(one.is_final for one in list_segments(node.cdc_raw).segments)


def mutations(dsn: str) -> int:
    return int(one_value(dsn, "SELECT mutations FROM cdc_tail.checkpoint") or 0)


def test_the_store_goes_away_while_segments_go_there_and_come_back(
    store: ObjectStore, new_cassandra_node: NodeFactory, tmp_path: Path
) -> None:
    node = new_cassandra_node("5.0")
    space = Keyspace.create(node, "archived")
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    settings = {"archive.url": store.url, "archive.after_seconds": 1}
    with PostgresServer() as server, Sidecar(node, server.dsn, tmp_path, settings=settings) as side:
        side.wait_live()
        server.stop()
        write(space.session, range(ROWS))
        wait_until(lambda: side.metric("cdc_archived_segments_total") >= 2, side)
        wait_until(lambda: completed(node) == 0, side)

        # No room outside of cdc_raw: what is there waits there.
        store.stop()
        write(space.session, range(ROWS, 2 * ROWS))
        wait_until(lambda: side.metric("cdc_errors_total", type="ArchiveUnavailable") >= 1, side)
        assert completed(node) >= 2
        assert side.is_running
        store.start()
        wait_until(lambda: completed(node) == 0, side)
        held = segment_ids(store)
        assert len(held) >= 4

        # And nothing newer is applied before what is in a store that does not answer.
        store.stop()
        before = side.metric("cdc_errors_total", type="ArchiveUnavailable")
        server.start()
        wait_until(
            lambda: side.metric("cdc_errors_total", type="ArchiveUnavailable") > before, side
        )
        assert mutations(server.dsn) < ROWS
        store.start()
        seen = [held]
        while left := segment_ids(store):
            assert side.is_running
            seen.append(left)
        assert all(one == held[len(held) - len(one) :] for one in seen), "not the oldest first"
        wait_until(lambda: mutations(server.dsn) == 2 * ROWS, side)
        assert assert_mirror_equals_select(node, space.name, server.dsn) == {
            f"{space.name}.t": 2 * ROWS
        }
        wait_until(lambda: side.metric("cdc_archive_segments") == 0, side)
        assert store.names() == []
        assert side.status()["lost_segments"] == 0
        assert side.stop() == 0


def segment_ids(store: ObjectStore) -> list[int]:
    """Of the segments that wait in the store, in order."""
    names = [re.fullmatch(r"CommitLog-\d-(\d+)\.log\.json", one) for one in store.names()]
    return sorted(int(one[1]) for one in names if one)
