"""What a listing of cdc_raw says, and what wakes its reader."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cdc_tail.errors import ConfigError
from cdc_tail.watch import Hints, Pace, list_segments, segment_file
from parsers.descriptor import CdcIndex
from tests.support.node_folder import FILE_BYTES, NodeFolder
from tests.support.segments import SEGMENT_ID


@pytest.fixture
def node(tmp_path: Path) -> NodeFolder:
    return NodeFolder(tmp_path)


def test_segments_are_listed_by_number_not_by_name(tmp_path: Path) -> None:
    for name in ("CommitLog-7-900.log", "CommitLog-7-1000.log", "CommitLog-6-95.log"):
        (tmp_path / name).touch()
    assert [one.segment_id for one in list_segments(tmp_path).segments] == [95, 900, 1000]


def test_other_files_are_no_segments(tmp_path: Path) -> None:
    for name in ("CommitLog-7-1.log.bak", "CommitLog.log", "x.idx", "CommitLog-7-2_cdc.idx"):
        (tmp_path / name).write_bytes(b"x" * 10)
    listing = list_segments(tmp_path)
    assert listing.segments == ()
    assert listing.total_bytes == 10  # an index without its log still counts for the node


def test_a_segment_lives_through_its_states(node: NodeFolder) -> None:
    node.create(1)
    (fresh,) = list_segments(node.cdc_raw).segments
    assert (fresh.index, fresh.links, fresh.is_final) == (None, 2, False)
    assert fresh.size_bytes == FILE_BYTES
    node.append(1, b"m" * 20)
    node.sync(1)
    (open_one,) = list_segments(node.cdc_raw).segments
    assert open_one.index == CdcIndex(offset=60, completed=False)
    assert not open_one.is_final
    node.complete(1)
    (completed,) = list_segments(node.cdc_raw).segments
    assert completed.is_final
    assert completed.links == 2
    node.flush(1)
    (flushed,) = list_segments(node.cdc_raw).segments
    assert flushed.is_final
    assert flushed.links == 1


def test_a_segment_without_index_is_final_when_the_node_has_dropped_it(node: NodeFolder) -> None:
    node.create(1)
    (node.commitlog / node.path(1).name).unlink()
    (orphan,) = list_segments(node.cdc_raw).segments
    assert orphan.index is None
    assert orphan.is_final


@pytest.mark.parametrize("content", ["", "12\nCOMP", "nonsense"])
def test_an_index_in_the_making_says_nothing_final(node: NodeFolder, content: str) -> None:
    node.create(1)
    node.index(1).write_text(content)
    (one,) = list_segments(node.cdc_raw).segments
    assert not one.is_final


def test_completed_indexes_are_not_read_again(node: NodeFolder) -> None:
    node.create(1)
    known = CdcIndex(offset=7, completed=True)
    (one,) = list_segments(node.cdc_raw, {SEGMENT_ID + 1: known}).segments
    assert one.index is known


def test_one_file_can_be_looked_up(node: NodeFolder) -> None:
    node.create(1)
    assert segment_file(node.path(1)) == list_segments(node.cdc_raw).segments[0]
    assert segment_file(node.path(2)) is None
    assert segment_file(node.cdc_raw / "other") is None


def test_no_folder_is_told_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no-such can't be read") as raised:
        list_segments(tmp_path / "no-such")
    assert "cassandra.cdc_raw" in raised.value.hint


def test_a_new_file_wakes_the_sleeper(node: NodeFolder) -> None:
    with Hints(node.cdc_raw) as hints:
        assert not hints.wait(0.01)
        threading.Timer(0.1, node.create, (1,)).start()
        started = time.monotonic()
        assert hints.wait(10)
        assert time.monotonic() - started < 5


def test_reading_does_not_wake_the_sleeper(node: NodeFolder) -> None:
    node.create(1)
    with Hints(node.cdc_raw) as hints:
        hints.wait(0.2)
        list_segments(node.cdc_raw)
        node.path(1).read_bytes()
        assert not hints.wait(0.3)


def test_the_sleeper_can_be_woken_to_stop(tmp_path: Path) -> None:
    with Hints(tmp_path) as hints:
        hints.wake()
        assert hints.wait(10)


def test_the_pace_slows_while_idle_and_is_quick_again_at_once() -> None:
    pace = Pace(0.001, 0.025)
    pauses = [pace.pause_seconds() for _ in range(20)]
    assert pauses[0] == 0.001
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.025
    pace.moved()
    assert pace.pause_seconds() == 0.001


STORM = """
import signal, sys
from pathlib import Path
from cdc_tail.watch import Hints

hints = Hints(Path(sys.argv[1]))
signal.signal(signal.SIGALRM, lambda *_: hints.wake())
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
for _ in range(20_000):
    hints.wait(0.00001)
print("awake")
"""


def test_a_signal_may_wake_at_any_moment(tmp_path: Path) -> None:
    # Also while the sleeper itself is in the middle of `wait`: a lock held there would never go.
    done = subprocess.run(
        [sys.executable, "-c", STORM, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "awake\n", done.stderr
