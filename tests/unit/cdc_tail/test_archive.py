"""The archive of segments in a folder: what is in it, when, and what becomes of damage."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cdc_tail.archive import Archive
from cdc_tail.discard import Discarder
from cdc_tail.errors import ArchiveUnavailable, CheckpointGap, ConfigError, SegmentCorrupt
from cdc_tail.overflow import Overflow
from cdc_tail.segments import Segments
from cdc_tail.settings import ArchiveSettings
from cdc_tail.watch import Listing, SegmentFile, list_segments

SIZE_BYTES = 3 << 20


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A cdc_raw with five segments, the last one still being written."""
    folder = tmp_path / "cdc_raw"
    folder.mkdir()
    for number in range(1, 6):
        data = random.Random(number).randbytes(1000) * (SIZE_BYTES // 1000)
        (folder / f"CommitLog-7-{number}.log").write_bytes(data)
        state = "10\nCOMPLETED" if number < 5 else "10"
        (folder / f"CommitLog-7-{number}_cdc.idx").write_text(state)
        (folder / f"own-{number}").hardlink_to(folder / f"CommitLog-7-{number}.log")
    return folder


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/archive"


def opened(url: str) -> Archive:
    archive = Archive(url, "node/1")
    archive.load()
    return archive


def stored(tmp_path: Path) -> list[str]:
    return sorted(one.name for one in (tmp_path / "archive" / "node%2F1").iterdir())


def first(raw: Path) -> SegmentFile:
    return list_segments(raw).segments[0]


def test_what_was_put_comes_back_also_to_the_next_process(
    raw: Path, url: str, tmp_path: Path
) -> None:
    file = first(raw)
    opened(url).put(file)
    assert stored(tmp_path) == ["CommitLog-7-1.log.json", "CommitLog-7-1.log.zst"]
    assert (tmp_path / "archive/node%2F1/CommitLog-7-1.log.zst").stat().st_size < 100_000
    archive = opened(url)
    (back,) = archive.pending
    assert (back.segment_id, back.log_version, back.size_bytes) == (1, 7, file.size_bytes)
    assert back.is_final and back.archived and back.modified_at == file.modified_at
    copy = archive.fetch(back)
    assert copy.name == file.path.name and copy.read_bytes() == file.path.read_bytes()
    archive.close()
    assert not copy.exists()
    assert Archive(url, "node2").pending == []


def test_gone_once_it_is_applied_or_kept_aside(raw: Path, url: str, tmp_path: Path) -> None:
    archive = opened(url)
    one, other, *_ = list_segments(raw).segments
    archive.put(one)
    archive.put(other)
    archive.applied(one.segment_id, keep=False)
    archive.applied(other.segment_id, keep=True)
    archive.applied(99, keep=False)
    assert archive.pending == opened(url).pending == []
    assert stored(tmp_path) == ["CommitLog-7-2.log.applied.json", "CommitLog-7-2.log.zst"]


def test_what_a_killed_process_left(raw: Path, url: str, tmp_path: Path) -> None:
    archive = opened(url)
    one, other, *_ = list_segments(raw).segments
    archive.put(one)
    archive.put(other)
    folder = tmp_path / "archive" / "node%2F1"
    (folder / "CommitLog-7-1.log.json").rename(folder / "CommitLog-7-1.log.json.new")
    manifest = folder / "CommitLog-7-2.log.json"
    (folder / "CommitLog-7-2.log.applied.json").write_bytes(manifest.read_bytes())
    (folder / "CommitLog-7-1.log.zst").write_bytes(b"half of it")
    archive = opened(url)
    assert archive.pending == [] and not manifest.exists()
    archive.put(one)
    assert archive.fetch(archive.pending[0]).read_bytes() == one.path.read_bytes()


@pytest.mark.parametrize("at", [0, 5_000, -1])
def test_damaged_data_is_refused(at: int, raw: Path, url: str, tmp_path: Path) -> None:
    file = first(raw)
    file.path.write_bytes(random.Random(1).randbytes(20_000))
    archive = opened(url)
    archive.put(first(raw))
    data = tmp_path / "archive/node%2F1/CommitLog-7-1.log.zst"
    damaged = bytearray(data.read_bytes())
    damaged[at] ^= 0x41
    data.write_bytes(damaged)
    with pytest.raises(SegmentCorrupt, match="archive"):
        archive.fetch(archive.pending[0])
    data.write_bytes(damaged[: len(damaged) // 2])
    with pytest.raises(SegmentCorrupt, match="archive"):
        archive.fetch(archive.pending[0])
    data.unlink()
    with pytest.raises(CheckpointGap, match="gone from the archive"):
        archive.fetch(archive.pending[0])


def test_a_manifest_that_tells_something_else_is_refused(
    raw: Path, url: str, tmp_path: Path
) -> None:
    opened(url).put(first(raw))
    manifest = tmp_path / "archive/node%2F1/CommitLog-7-1.log.json"
    good = json.loads(manifest.read_text())
    wrong: object
    for wrong in (good | {"name": "../../etc/x"}, good | {"more": 1}, [], "{"):
        manifest.write_text(wrong if isinstance(wrong, str) else json.dumps(wrong))
        with pytest.raises(SegmentCorrupt, match="manifest"):
            opened(url)


def test_wrong_urls() -> None:
    for wrong in ("nowhere://x", "relative/folder", ""):
        with pytest.raises(ConfigError, match=r"archive\.url"):
            Archive(wrong, "n")


def overflow(archive: Archive, **settings: object) -> tuple[Overflow, list[ArchiveUnavailable]]:
    errors: list[ArchiveUnavailable] = []
    chosen = ArchiveSettings.model_validate({"after_seconds": 60, "at_share": 0.5} | settings)
    return Overflow(chosen, archive, Discarder(keep=False), errors.append), errors


def relieved(over: Overflow, raw: Path, *, space: int | None, away_seconds: float) -> Listing:
    return over.relieve(
        list_segments(raw), lambda _: True, space_bytes=space, away_seconds=away_seconds
    )


def ids(listing: Listing) -> list[int]:
    return [one.segment_id for one in listing.segments]


def test_nothing_moves_until_it_must(raw: Path, url: str) -> None:
    over, _ = overflow(opened(url))
    for space, away_seconds in ((None, 59.0), (100 * SIZE_BYTES, 0.0)):
        assert ids(relieved(over, raw, space=space, away_seconds=away_seconds)) == [1, 2, 3, 4, 5]


def test_completed_segments_move_while_postgresql_is_away(raw: Path, url: str) -> None:
    archive = opened(url)
    over, _ = overflow(archive)
    while len(ids(relieved(over, raw, space=None, away_seconds=61.0))) > 1:
        pass
    assert ids(list_segments(raw)) == [5]
    assert [one.segment_id for one in archive.pending] == [1, 2, 3, 4]
    segments = Segments({}, lambda _: pytest.fail("nothing is opened"))
    assert ids(over.complete(list_segments(raw), segments)) == [1, 2, 3, 4, 5]
    assert not (raw / "CommitLog-7-1_cdc.idx").exists()


def test_the_newest_move_until_the_share_is_met(raw: Path, url: str) -> None:
    over, _ = overflow(opened(url))
    relieved(over, raw, space=6 * SIZE_BYTES, away_seconds=0.0)
    assert ids(list_segments(raw)) == [1, 2, 5]


def test_an_archive_that_does_not_answer_deletes_nothing(raw: Path, tmp_path: Path) -> None:
    archive = opened(f"file://{tmp_path}/archive")
    (tmp_path / "archive/node%2F1").rmdir()
    (tmp_path / "archive/node%2F1").write_text("no folder")
    over, errors = overflow(archive)
    assert ids(relieved(over, raw, space=None, away_seconds=61.0)) == [1, 2, 3, 4, 5]
    assert len(errors) == 1 and archive.pending == []
    relieved(over, raw, space=None, away_seconds=61.0)
    assert len(errors) == 1, "it is not asked again at once"


@pytest.mark.parametrize("written", ["CommitLog-7-4.log.zst", "CommitLog-7-4.log.json.new"])
def test_a_full_disk_under_the_archive_deletes_nothing(
    written: str, raw: Path, url: str, tmp_path: Path
) -> None:
    archive = opened(url)
    over, errors = overflow(archive)
    full = tmp_path / "archive/node%2F1" / written
    full.symlink_to("/dev/full")
    assert ids(relieved(over, raw, space=None, away_seconds=61.0)) == [1, 2, 3, 4, 5]
    (error,) = errors
    assert "No space left on device" in error.message
    assert archive.pending == opened(url).pending == []
    # Once there is room, it goes on where it was.
    full.unlink()
    archive.put(list_segments(raw).segments[3])
    back = opened(url)
    assert back.fetch(back.pending[0]).read_bytes() == (raw / "CommitLog-7-4.log").read_bytes()


def test_with_keep_every_segment_is_archived_before_it_goes(
    raw: Path, url: str, tmp_path: Path
) -> None:
    over, _ = overflow(opened(url), keep=True)
    assert over.settle(first(raw))
    assert stored(tmp_path) == ["CommitLog-7-1.log.applied.json", "CommitLog-7-1.log.zst"]
