"""Reading whole segments: entries, positions, resume, modes, ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from cdc_tail.errors import SegmentCorrupt, UnsupportedFormat
from parsers.segment import (
    ReadResult,
    SegmentReader,
    iter_entries,
    position_of,
    skip_damage,
)
from tests.support.segments import SEGMENT_ID, Segment, header, segment_of

INCOMPLETE, CORRUPT, END = ReadResult.INCOMPLETE, ReadResult.CORRUPT, ReadResult.END
MUTATIONS = [bytes([65 + i]) * (10 + 7 * i) for i in range(9)]

# A marker and an entry that Cassandra 5.0.9 wrote at offset 62167 of segment 0x1a2082a0dbd.
REAL_SECTION_OFFSET = 62167
REAL_SECTION = bytes.fromhex(
    "0000f317aab910a3"
    "0000002c139cb3ff"
    "01111111112222333344445555555555550400000001"
    "10fce9d96a43c001000001017601240008036f6e6501"
    "6f6addf4"
)


def write(folder: Path, data: bytes, segment_id: int = SEGMENT_ID) -> Path:
    path = folder / f"CommitLog-7-{segment_id}.log"
    path.write_bytes(data)
    return path


def read_all(reader: SegmentReader) -> tuple[list[tuple[int, bytes]], int]:
    entries: list[tuple[int, bytes]] = []
    while True:
        result, end, mutation = reader.read()
        if mutation is None:
            return entries, result
        assert end == reader.position
        entries.append((end, mutation))


def three_sections() -> Segment:
    return segment_of([MUTATIONS[:4], [], MUTATIONS[4:]])


def test_entries_in_order_with_their_ends(tmp_path: Path) -> None:
    built = three_sections()
    with SegmentReader(write(tmp_path, built.padded(4096))) as reader:
        reader.set_completed()
        entries, result = read_all(reader)
        assert entries == list(zip(built.ends, built.mutations, strict=True))
        assert result == END
        assert reader.position == reader.durable_end == built.markers[-1]
        assert reader.tail_bytes_ignored == 0
        assert str(position_of(reader)) == f"{SEGMENT_ID}:{built.markers[-1]}"
        assert reader.read()[0] == END


def test_section_that_cassandra_wrote(tmp_path: Path) -> None:
    built = Segment(version=8)
    built.data += bytes(REAL_SECTION_OFFSET - len(built.data))
    built.write_marker()
    data = bytes(built.data) + REAL_SECTION + bytes(100)
    with SegmentReader(write(tmp_path, data)) as reader:
        reader.set_completed()
        entries, result = read_all(reader)
    assert (entries, result) == ([(62231, REAL_SECTION[16:-4])], END)
    assert len(REAL_SECTION[16:-4]) == 44


@pytest.mark.parametrize("mode", ["live", "synced"])
def test_resume_after_every_entry(tmp_path: Path, mode: Literal["live", "synced"]) -> None:
    built = three_sections()
    path = write(tmp_path, built.padded(4096))
    whole = list(zip(built.ends, built.mutations, strict=True))
    for offset in [0, 20, *built.ends, *built.markers]:
        with SegmentReader(path, mode=mode) as reader:
            reader.seek(offset)
            assert reader.position == offset
            entries, result = read_all(reader)
            assert entries == [entry for entry in whole if entry[0] > offset], offset
            assert result == INCOMPLETE


def test_resume_inside_an_entry_or_marker_is_corrupt(tmp_path: Path) -> None:
    built = three_sections()
    path = write(tmp_path, built.padded(4096))
    ends = {*built.ends, *built.markers, *(marker + 8 for marker in built.markers)}
    for offset in range(21, built.markers[-1]):
        if offset in ends:
            continue
        with SegmentReader(path) as reader:
            reader.seek(offset)
            assert read_all(reader) == ([], CORRUPT), offset
            assert "resume" in reader.reason
            assert reader.error_offset < offset < reader.error_end
            assert not skip_damage(reader)


def test_resume_beyond_what_the_file_holds(tmp_path: Path) -> None:
    """After a power loss the log may be shorter than what was read of it before."""
    built = three_sections()
    with SegmentReader(write(tmp_path, built.padded(4096))) as reader:
        reader.seek(built.markers[-1] + 300)
        assert read_all(reader) == ([], INCOMPLETE)
        reader.set_completed()
        assert read_all(reader) == ([], END)
        assert reader.durable_end == built.markers[-1] < reader.position


def test_live_reads_the_open_section_and_synced_does_not(tmp_path: Path) -> None:
    built = three_sections()
    built.add(b"not marked")
    path = write(tmp_path, built.padded(4096))
    with SegmentReader(path, mode="live") as reader:
        entries, result = read_all(reader)
        assert (entries[-1], result) == ((built.ends[-1], b"not marked"), INCOMPLETE)
        assert "not complete" in reader.reason
    with SegmentReader(path, mode="synced") as reader:
        entries, result = read_all(reader)
        assert (len(entries), result) == (len(MUTATIONS), INCOMPLETE)


def test_synced_stops_at_the_synced_offset(tmp_path: Path) -> None:
    built = three_sections()
    with SegmentReader(write(tmp_path, built.padded(4096)), mode="synced") as reader:
        reader.set_synced_offset(built.markers[1])
        assert len(read_all(reader)[0]) == 4
        assert "not synced" in reader.reason
        reader.set_synced_offset(built.markers[2] + 1)
        assert read_all(reader) == ([], INCOMPLETE)
        reader.set_synced_offset(built.markers[3])
        assert len(read_all(reader)[0]) == 5


def test_completed_means_the_synced_offset_counts_no_more(tmp_path: Path) -> None:
    """After a restart the index holds the file's length, which may be less than before."""
    built = three_sections()
    with SegmentReader(write(tmp_path, built.padded(4096)), mode="synced") as reader:
        reader.set_synced_offset(1)
        assert read_all(reader) == ([], INCOMPLETE)
        reader.set_completed()
        assert len(read_all(reader)[0]) == len(MUTATIONS)


def test_unmarked_entries_of_a_dead_segment_are_not_read(tmp_path: Path) -> None:
    """What a crashed node had in memory-mapped pages: Cassandra's own replay ignores it."""
    built = three_sections()
    built.add(b"lost in the crash")
    with SegmentReader(write(tmp_path, built.padded(1 << 16))) as reader:
        reader.set_completed()
        entries, result = read_all(reader)
        assert (len(entries), result) == (len(MUTATIONS), END)
        assert reader.tail_bytes_ignored == built.ends[-1] - built.markers[-1]


def test_reader_that_ran_ahead_of_a_crash_says_so(tmp_path: Path) -> None:
    built = three_sections()
    built.add(b"lost in the crash")
    with SegmentReader(write(tmp_path, built.padded(1 << 16))) as reader:
        assert len(read_all(reader)[0]) == len(MUTATIONS) + 1
        reader.set_completed()
        assert read_all(reader) == ([], END)
        assert reader.position == built.ends[-1]
        assert reader.durable_end == built.markers[-1]


def test_segment_without_a_header_yet(tmp_path: Path) -> None:
    path = write(tmp_path, b"")
    built = three_sections()
    with SegmentReader(path) as reader:
        assert reader.header is None
        for size in (0, 100):
            path.write_bytes(bytes(size))
            assert reader.read() == (INCOMPLETE, 0, None)
        with path.open("r+b") as file:
            file.write(built.padded(4096)[:17])
        assert reader.read()[0] == INCOMPLETE
        with path.open("r+b") as file:
            file.write(built.padded(4096))
        assert len(read_all(reader)[0]) == len(MUTATIONS)
        assert reader.header is not None and reader.header.id == SEGMENT_ID


def test_seek_before_the_header_is_there(tmp_path: Path) -> None:
    path = write(tmp_path, bytes(4096))
    built = three_sections()
    with SegmentReader(path) as reader:
        reader.seek(built.ends[2])
        assert reader.read()[0] == INCOMPLETE
        with path.open("r+b") as file:
            file.write(built.data)
        assert read_all(reader)[0][0] == (built.ends[3], built.mutations[3])


def test_empty_final_segment_ends(tmp_path: Path) -> None:
    for data in (b"", bytes(4096), header(), header() + bytes(4000)):
        with SegmentReader(write(tmp_path, data)) as reader:
            reader.set_completed()
            assert read_all(reader) == ([], END)


def test_header_of_another_segment(tmp_path: Path) -> None:
    path = write(tmp_path, three_sections().padded(4096), segment_id=17)
    with SegmentReader(path) as reader:
        assert read_all(reader) == ([], CORRUPT)
        assert "id" in reader.reason
        with pytest.raises(SegmentCorrupt) as raised:
            list(iter_entries(reader))
        assert raised.value.segment == str(path)


def test_segment_under_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "recorded"
    path.write_bytes(three_sections().padded(4096))
    with SegmentReader(path) as reader:
        assert len(list(iter_entries(reader))) == len(MUTATIONS)


def test_unknown_compressor_is_refused_at_once(tmp_path: Path) -> None:
    data = header(params={"compressionClass": "RotThirteen"})
    with pytest.raises(UnsupportedFormat, match="RotThirteen"):
        SegmentReader(write(tmp_path, data))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SegmentReader(tmp_path / f"CommitLog-7-{SEGMENT_ID}.log")


def test_growing_file_beyond_the_first_mapping(tmp_path: Path) -> None:
    """Direct I/O: the file grows by blocks while it is read, past the room reserved at first."""
    path = write(tmp_path, b"")
    built = Segment()
    big = bytes(range(256)) * 4096 * 4
    written = 0
    reader = SegmentReader(path)
    count = 0
    with path.open("r+b") as file:
        for i in range(40):
            built.add(b"%020d" % i + big)
            if i % 3 == 2:
                built.close_section()
            file.seek(written)
            file.write(memoryview(built.data)[written:])
            written = len(built.data)
            for at in built.markers[-2:]:
                file.seek(at)
                file.write(memoryview(built.data)[at : at + 8])
            file.flush()
            result, end, mutation = reader.read()
            assert (result, end) == (ReadResult.ENTRY, built.ends[-1])
            assert mutation == built.mutations[-1]
            assert reader.read()[0] == INCOMPLETE
            reader.release_sections()
            count += 1
            built.mutations.clear()
    assert count == 40 and written > 2 * 64 * 1024 * 1024
    reader.close()


def test_file_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    built = three_sections()
    path = write(tmp_path, built.padded(1 << 20))
    with SegmentReader(path, mode="synced") as reader:
        for _ in range(4):
            assert reader.read()[0] == ReadResult.ENTRY
        with path.open("r+b") as file:
            file.truncate(built.markers[1])
        with pytest.raises(SegmentCorrupt, match="cut from"):
            reader.read()


LOSES_PAGES = """
import os, sys
from parsers.segment import SegmentReader
reader = SegmentReader(sys.argv[1], mode="synced")
print(reader.read()[0])
os.truncate(sys.argv[1], 4096)
try:
    while reader.read()[0] == 1:
        pass
    reader.check_intact()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_pages_lost_while_they_are_read_do_not_kill_the_process(tmp_path: Path) -> None:
    built = segment_of([[bytes([65 + i]) * 30_000 for i in range(20)]])
    path = write(tmp_path, built.padded(1 << 20))
    run = subprocess.run(
        [sys.executable, "-c", LOSES_PAGES, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("1\nSegmentCorrupt the file was cut")


def test_other_bus_errors_still_end_the_process(tmp_path: Path) -> None:
    path = write(tmp_path, three_sections().padded(4096))
    script = (
        "import os, signal, sys\n"
        "from parsers.segment import SegmentReader\n"
        "SegmentReader(sys.argv[1]).read()\n"
        "os.kill(os.getpid(), signal.SIGBUS)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert run.returncode == -signal.SIGBUS


def test_closed_reader_can_not_be_read(tmp_path: Path) -> None:
    reader = SegmentReader(write(tmp_path, three_sections().padded(4096)))
    reader.read()
    reader.close()
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read()


def test_close_unmaps_and_closes(tmp_path: Path) -> None:
    path = write(tmp_path, three_sections().padded(4096))

    def held() -> bool:
        maps = Path("/proc/self/maps").read_text()
        descriptors = [fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        return str(path) in maps or path in descriptors

    reader = SegmentReader(path)
    read_all(reader)
    assert held()
    reader.close()
    assert not held()
    reader = SegmentReader(path)
    del reader
    assert not held()


def test_refuses_an_unknown_mode_and_a_negative_offset(tmp_path: Path) -> None:
    path = write(tmp_path, three_sections().padded(4096))
    with pytest.raises(ValueError, match="mode"):
        SegmentReader(path, mode="fast")  # type: ignore[arg-type]
    with SegmentReader(path) as reader, pytest.raises(ValueError, match="offset"):
        reader.seek(-1)
