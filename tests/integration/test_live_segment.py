"""Reading segments of a running node: every write once, before it is synced, through rollovers."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cdc_tail.local.cassandra import CassandraNode
from parsers.descriptor import index_path, parse_log_name, read_index
from parsers.segment import ReadResult, SegmentReader, iter_entries
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace

SYNC_SECONDS = 10
NEEDLE = re.compile(rb"needle-[0-9]{6}-")
WRITES = 3000  # with their padding several segments of 1 MiB


def segments(cdc_raw: Path) -> list[Path]:
    found = [(parse_log_name(path.name), path) for path in cdc_raw.iterdir()]
    return [path for name, path in sorted((n, p) for n, p in found if n is not None)]


def follow(cdc_raw: Path, first: str, done: threading.Event) -> Iterator[tuple[float, bytes]]:
    """(when, needle) of every mutation from the segment `first` on, as soon as it can be read."""
    current = first
    while True:
        with SegmentReader(cdc_raw / current, mode="live") as reader:
            while True:
                result, _, mutation = reader.read()
                if mutation is not None:
                    yield from ((time.monotonic(), m[0]) for m in NEEDLE.finditer(mutation))
                    continue
                assert result != ReadResult.CORRUPT, reader.reason
                if result == ReadResult.END:
                    break
                index = read_index(index_path(cdc_raw / current))
                if index is not None and index.completed:
                    reader.set_completed()
                elif done.is_set():
                    return
                else:
                    time.sleep(0.001)
        assert reader.position == reader.durable_end
        later = [path.name for path in segments(cdc_raw) if path.name > current]
        current = later[0]


@pytest.mark.parametrize("series", ["4.0", "5.0"])
def test_every_write_is_read_once_and_long_before_its_sync(
    series: str, new_cassandra_node: NodeFactory
) -> None:
    node = new_cassandra_node(series, commitlog_sync_period_ms=SYNC_SECONDS * 1000)
    session = Keyspace.create(node, "live").session
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    insert = session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    first = segments(node.cdc_raw)[0].name
    done = threading.Event()

    def read() -> list[tuple[float, bytes]]:
        return list(follow(node.cdc_raw, first, done))

    acknowledged: dict[bytes, float] = {}

    def write(number: int) -> None:
        needle = f"needle-{number:06}-"
        session.execute(insert, (number, needle + "x" * 1500))
        acknowledged[needle.encode()] = time.monotonic()

    with ThreadPoolExecutor(1) as reading:
        followed = reading.submit(read)
        try:
            with ThreadPoolExecutor(8) as writers:
                list(writers.map(write, range(WRITES)))
            time.sleep(0.5)
        finally:
            done.set()
        found = followed.result()
    needles = [needle for _, needle in found]
    assert len(needles) == WRITES and set(needles) == set(acknowledged)
    waits = sorted(when - acknowledged[needle] for when, needle in found)
    assert waits[WRITES // 2] < 0.1, waits[WRITES // 2]
    assert waits[-1] < SYNC_SECONDS / 2, waits[-1]

    node.stop()
    again: list[bytes] = []
    for log in segments(node.cdc_raw):
        with SegmentReader(log) as reader:
            reader.set_completed()
            again += [m[0] for _, raw in iter_entries(reader) for m in NEEDLE.finditer(raw)]
            assert reader.read()[0] == ReadResult.END
    assert again == needles


@pytest.mark.parametrize("compression", ["LZ4Compressor", "ZstdCompressor"])
def test_growing_compressed_segment(
    compression: str,
    new_cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
) -> None:
    node = new_cassandra_node(
        "5.0", commitlog_sync_period_ms=200, commitlog_compression=compression
    )
    session = keyspace(node).session
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    first = segments(node.cdc_raw)[0].name
    done = threading.Event()
    with ThreadPoolExecutor(1) as reading:
        followed = reading.submit(lambda: [n for _, n in follow(node.cdc_raw, first, done)])
        try:
            for number in range(400):
                session.execute(f"INSERT INTO t (k, v) VALUES ({number}, 'needle-{number:06}-')")
            time.sleep(2)
        finally:
            done.set()
        seen = followed.result()
    assert seen == [b"needle-%06d-" % number for number in range(400)]
