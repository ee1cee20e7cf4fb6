"""Which segment is read next and when one is done, on real files in the states Cassandra leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_tail import segments
from cdc_tail.segments import Segment, Segments
from cdc_tail.watch import list_segments
from checkpoints.model import SegmentProgress
from parsers.position import Position
from parsers.segment import ReadResult, SegmentReader
from tests.support.node_folder import NodeFolder
from tests.support.segments import SEGMENT_ID


class Tail:
    """Reads as the pipeline does, with the mutations themselves in place of a batch."""

    def __init__(
        self, node: NodeFolder, progress: dict[int, SegmentProgress] | None = None
    ) -> None:
        self.node = node
        self.segments = Segments(progress or {}, lambda file: SegmentReader(file.path))
        self.opened: list[int] = []

    def look(self) -> None:
        self.segments.update(list_segments(self.node.cdc_raw, self.segments.completed_indexes()))

    def read(self) -> list[bytes]:
        found: list[bytes] = []
        for segment in self.segments.readable():
            found += self._read_one(segment)
        return found

    def _read_one(self, segment: Segment) -> Iterator[bytes]:
        assert segment.reader is not None
        while True:
            result, offset, mutation = segment.reader.read()
            segment.offset = offset
            if mutation is None:
                segment.ended = result == ReadResult.END
                assert result != ReadResult.CORRUPT
                return
            segment.holds_changes = True
            self.segments.leave_behind(segment)
            yield mutation

    def commit(self) -> list[SegmentProgress]:
        moved = self.segments.to_commit()
        progress = [one.progress() for one in moved]
        self.segments.committed(moved)
        return progress

    @property
    def done(self) -> list[int]:
        return [one.segment_id - SEGMENT_ID for one in self.segments.discardable()]


@pytest.fixture
def node(tmp_path: Path) -> NodeFolder:
    return NodeFolder(tmp_path)


@pytest.fixture
def tail(node: NodeFolder) -> Iterator[Tail]:
    tail = Tail(node)
    yield tail
    tail.segments.close()


def mutation(number: int) -> bytes:
    return f"mutation {number:4d}".encode()


def test_a_live_segment_is_read_entry_by_entry(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    tail.look()
    assert tail.read() == []
    node.append(1, mutation(1))
    assert tail.read() == [mutation(1)]
    assert tail.commit() == [
        SegmentProgress(SEGMENT_ID + 1, node.written[1].ends[-1], holds_changes=True)
    ]
    assert tail.commit() == []
    node.append(1, mutation(2))
    assert tail.read() == [mutation(2)]
    assert tail.done == []


def test_quiet_until_something_is_written_or_listed(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    node.create(2)
    tail.look()
    assert not tail.segments.is_quiet()
    assert tail.read() == []
    assert tail.segments.is_quiet()
    node.append(1, mutation(1))
    assert not tail.segments.is_quiet()
    assert tail.read() == [mutation(1)]
    tail.commit()
    assert tail.segments.is_quiet()
    tail.look()
    assert not tail.segments.is_quiet()
    assert tail.read() == []
    assert tail.segments.is_quiet()
    node.append(2, mutation(2))
    assert not tail.segments.is_quiet()
    assert tail.read() == [mutation(2)]


def test_a_completed_segment_is_done_only_after_its_commit(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    node.append(1, mutation(1))
    node.complete(1)
    tail.look()
    assert tail.read() == [mutation(1)]
    assert tail.done == []
    (progress,) = tail.commit()
    assert progress.finished
    assert tail.done == [1]
    assert tail.read() == []
    tail.segments.discarded(SEGMENT_ID + 1)
    assert tail.segments.take_forgotten() == []


def test_an_unfinished_segment_does_not_block_the_next(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    node.create(2)
    node.append(1, mutation(1))
    node.append(2, mutation(2))
    tail.look()
    assert tail.read() == [mutation(1), mutation(2)]
    tail.commit()
    # Late entries of the first one come with its completion.
    node.append(1, mutation(3))
    node.append(2, mutation(4))
    assert tail.read() == [mutation(4)]
    node.complete(1)
    tail.look()
    assert tail.read() == [mutation(3)]
    tail.commit()
    assert tail.done == [1]


def test_a_segment_without_changes_is_left_and_vanishes_without_loss(
    node: NodeFolder, tail: Tail
) -> None:
    node.create(1)
    node.sync(1, cdc=False)
    node.create(2)
    tail.look()
    assert tail.read() == []
    node.append(2, mutation(2))
    assert tail.read() == [mutation(2)]
    tail.commit()
    node.flush(1, cdc=False)
    tail.look()
    tail.read()
    assert tail.segments.take_lost() == []


def test_a_segment_may_appear_after_later_ones(node: NodeFolder, tail: Tail) -> None:
    node.create(2)
    node.append(2, mutation(2))
    node.complete(2)
    tail.look()
    assert tail.read() == [mutation(2)]
    tail.commit()
    node.create(1)
    node.append(1, mutation(1))
    node.complete(1)
    tail.look()
    assert tail.read() == [mutation(1)]
    tail.commit()
    assert tail.done == [1, 2]


def test_the_place_to_go_on_is_per_segment(node: NodeFolder) -> None:
    for number in (1, 2, 3):
        node.create(number)
        node.append(number, mutation(10 * number), mutation(10 * number + 1))
        node.complete(number)
    ids = [SEGMENT_ID + number for number in (1, 2, 3)]
    tail = Tail(
        node,
        {
            ids[0]: SegmentProgress(ids[0], 500, finished=True, holds_changes=True),
            ids[1]: SegmentProgress(ids[1], node.written[2].ends[0], holds_changes=True),
        },
    )
    tail.look()
    assert tail.done == [1]
    assert tail.read() == [mutation(21), mutation(30), mutation(31)]
    tail.segments.close()


def test_the_orphan_of_a_clean_shutdown_is_done_at_once(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    (node.commitlog / node.path(1).name).unlink()
    tail.look()
    assert tail.read() == []
    (progress,) = tail.commit()
    assert (progress.finished, progress.holds_changes) == (True, False)
    assert tail.done == [1]


def test_a_segment_deleted_while_read_is_read_to_its_end(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    node.append(1, mutation(1))
    tail.look()
    assert tail.read() == [mutation(1)]
    node.append(1, mutation(2))
    node.complete(1)
    node.path(1).unlink()
    node.index(1).unlink()
    tail.look()
    assert tail.read() == [mutation(2)]
    (progress,) = tail.commit()
    assert progress.finished
    assert tail.segments.take_lost() == []
    assert tail.done == []


def test_a_segment_deleted_before_it_was_read_is_lost(node: NodeFolder, tail: Tail) -> None:
    node.create(1)
    node.append(1, mutation(1))
    node.complete(1)
    tail.look()
    node.path(1).unlink()
    tail.look()
    (lost,) = tail.segments.take_lost()
    assert lost.segment == str(SEGMENT_ID + 1)
    assert lost.exit_code == 32
    assert tail.segments.take_lost() == []
    assert tail.read() == []


def test_a_segment_gone_at_the_start_is_lost_if_it_was_not_finished(node: NodeFolder) -> None:
    tail = Tail(
        node,
        {
            1: SegmentProgress(1, 100, finished=True, holds_changes=True),
            2: SegmentProgress(2, 100, finished=False, holds_changes=False),
            3: SegmentProgress(3, 100, finished=False, holds_changes=True),
        },
    )
    tail.look()
    assert [one.position for one in tail.segments.take_lost()] == ["3:100"]
    assert tail.segments.take_forgotten() == [2, 3]


def test_what_is_remembered_of_finished_segments_is_bounded(
    node: NodeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "REMEMBERED", 3)
    finished = {
        number: SegmentProgress(number, 100, finished=True, holds_changes=True)
        for number in (5, 1, 3, 2, 4)
    }
    tail = Tail(node, finished)
    tail.look()
    assert sorted(tail.segments.take_forgotten()) == [1, 2]
    tail.look()
    assert tail.segments.take_forgotten() == []


def test_a_segment_that_comes_back_after_its_discard_is_not_read_again(
    node: NodeFolder, tail: Tail
) -> None:
    node.create(1)
    node.append(1, mutation(1))
    node.complete(1)
    tail.look()
    tail.read()
    tail.commit()
    data = node.path(1).read_bytes()
    node.path(1).unlink()
    tail.segments.discarded(SEGMENT_ID + 1)
    tail.look()
    node.path(1).write_bytes(data)  # a crashed node links it anew when it replays
    tail.look()
    assert tail.read() == []
    assert tail.done == [1]
    tail.segments.discarded(SEGMENT_ID + 1)
    restarted = Tail(
        node, {SEGMENT_ID + 1: SegmentProgress(SEGMENT_ID + 1, 500, True, holds_changes=True)}
    )
    node.path(1).unlink()
    restarted.look()
    node.path(1).write_bytes(data)
    restarted.look()
    assert restarted.read() == [] and restarted.done == [1]


def test_the_backlog_counts_final_segments(node: NodeFolder, tail: Tail) -> None:
    for number in (1, 2, 3):
        node.create(number)
        node.append(number, mutation(number))
    node.complete(1)
    node.complete(2)
    tail.look()
    waiting, size_bytes = tail.segments.backlog()
    assert waiting == 2
    assert 0 < size_bytes <= 2 * 4096
    tail.read()
    tail.commit()
    assert tail.segments.backlog() == (0, 0)


def test_idle_readers_are_unmapped(node: NodeFolder, tail: Tail) -> None:
    for number in range(30):
        node.create(number)
        node.sync(number, cdc=False)
    node.append(29, mutation(29))
    tail.look()
    tail.read()
    tail.commit()
    assert sum(one.reader is not None for one in tail.segments) == 1
    tail.look()
    tail.read()
    assert sum(one.reader is not None for one in tail.segments) == 1


def test_what_is_read_once_more_passes_over_damage(node: NodeFolder, tail: Tail) -> None:
    """As after a TRUNCATE, which has what came behind it applied again."""
    for number in (1, 2):
        node.create(number)
        node.append(number, *(mutation(10 * number + n) for n in range(4)))
        node.complete(number)
    tail.look()
    assert len(tail.read()) == 8
    damaged = bytearray(node.path(1).read_bytes())
    damaged[damaged.index(mutation(11))] ^= 1
    node.path(1).write_bytes(damaged)
    first, last = (Position(SEGMENT_ID + n, 0) for n in (1, 3))
    read = list(tail.segments.read_between(first, last))
    assert [one for _, one, _ in read] == [mutation(n) for n in (10, 12, 13, 20, 21, 22, 23)]
    within = tail.segments.read_between(read[1][0], read[-2][0])
    assert [one for _, one, _ in within] == [mutation(n) for n in (13, 20, 21)]
