"""Reading a segment while another thread writes it in Cassandra's order."""

from __future__ import annotations

import mmap
import os
import random
import struct
import threading
from pathlib import Path
from typing import Literal

import pytest

from parsers.segment import ReadResult, SegmentReader, damaged_bytes, skip_damage
from tests.support.segments import SEGMENT_ID, Segment, entry, header, marker

FILE_BYTES = 1 << 19


def live_file(folder: Path, content: bytes = b"") -> tuple[Path, mmap.mmap]:
    """A preallocated segment and the writer's map of it."""
    path = folder / f"CommitLog-7-{SEGMENT_ID}.log"
    with path.open("wb") as file:
        file.truncate(FILE_BYTES)
    with path.open("r+b") as file:
        writer = mmap.mmap(file.fileno(), FILE_BYTES)
    writer[: len(content)] = content
    return path, writer


def test_hole_holds_back_what_follows_until_it_is_filled(tmp_path: Path) -> None:
    built = Segment()
    for text in (b"first entry", b"second entry", b"third entry"):
        built.add(text)
    path, writer = live_file(tmp_path, bytes(built.data[: built.ends[0]]))
    writer[built.ends[1] : built.ends[2]] = built.data[built.ends[1] : built.ends[2]]
    with SegmentReader(path) as reader:
        assert reader.read()[2] == b"first entry"
        assert reader.read()[0] == ReadResult.INCOMPLETE
        writer[built.ends[0] : built.ends[1]] = built.data[built.ends[0] : built.ends[1]]
        assert [reader.read()[2] for _ in range(3)] == [
            b"second entry",
            b"third entry",
            None,
        ]


def test_every_partly_written_entry_is_incomplete(tmp_path: Path) -> None:
    built = Segment()
    built.add(b"an entry that appears byte by byte")
    start, end = built.starts[0], built.ends[0]
    path, writer = live_file(tmp_path, bytes(built.data[:start]))
    with SegmentReader(path) as reader:
        for at in range(start, end):
            assert reader.read()[0] == ReadResult.INCOMPLETE, at
            writer[at] = built.data[at]
        assert reader.read() == (ReadResult.ENTRY, end, built.mutations[0])


def test_marker_slot_is_waited_for_and_then_stepped_over(tmp_path: Path) -> None:
    """The next marker's room is taken before the marker that points to it is written."""
    built = Segment()
    built.add(b"of the first section")
    path, writer = live_file(tmp_path, bytes(built.data))
    slot = len(built.data)
    writer[slot + 8 : slot + 8 + 32] = entry(b"x" * 20)
    with SegmentReader(path) as reader:
        assert reader.read()[0] == ReadResult.ENTRY
        assert reader.read()[0] == ReadResult.INCOMPLETE
        assert reader.position == slot
        writer[20:24] = marker(20, slot)[:4]
        assert reader.read()[0] == ReadResult.INCOMPLETE
        writer[24:28] = marker(20, slot)[4:]
        assert reader.read() == (ReadResult.ENTRY, slot + 40, b"x" * 20)
        assert reader.durable_end == slot


@pytest.mark.parametrize("mode", ["live", "marked"])
def test_quiet_reader_would_give_nothing(tmp_path: Path, mode: Literal["live", "marked"]) -> None:
    """Whatever byte was stored last: the rest of an entry, then its section's marker."""
    built = Segment()
    built.add(b"first entry")
    built.add(b"second entry")
    path, writer = live_file(tmp_path, bytes(built.data[: built.ends[0]]))
    final = bytes(built.finish())
    found: list[bytes | None] = []
    quiet = 0
    with SegmentReader(path, mode=mode) as reader:
        assert not reader.is_quiet() or mode == "marked"
        for at in [*range(built.ends[0], built.ends[1]), *range(20, 28)]:
            while (read := reader.read())[0] == ReadResult.ENTRY:
                found.append(read[2])
            writer[at] = final[at]
            if reader.is_quiet():
                quiet += 1
                assert reader.read()[0] == ReadResult.INCOMPLETE
        while (read := reader.read())[0] == ReadResult.ENTRY:
            found.append(read[2])
        reader.set_completed()
        assert not reader.is_quiet()
    assert found == built.mutations
    # The rest of the entry in "marked" mode, the zeros before its size and most of the marker.
    assert quiet >= (20 if mode == "marked" else 3)


def test_entry_that_does_not_hold_in_a_closed_section_is_corrupt(
    tmp_path: Path,
) -> None:
    built = Segment()
    built.add(b"good entry")
    built.add(b"torn entry")
    path, writer = live_file(tmp_path, bytes(built.data))
    writer[built.ends[1] - 6] ^= 1
    with SegmentReader(path) as reader:
        assert reader.read()[0] == ReadResult.ENTRY
        assert reader.read()[0] == ReadResult.INCOMPLETE
        writer[20:28] = marker(20, built.ends[1])
        assert reader.read()[0] == ReadResult.CORRUPT
        assert (reader.error_offset, reader.error_end) == (built.ends[0], built.ends[1])
        assert damaged_bytes(reader) == writer[built.ends[0] : built.ends[1]]
        assert skip_damage(reader)
        assert reader.read()[0] == ReadResult.INCOMPLETE
        assert reader.position == built.ends[1]


def test_marker_that_points_behind_entries_already_read_is_corrupt(
    tmp_path: Path,
) -> None:
    built = Segment()
    built.add(b"first entry")
    built.add(b"second entry")
    path, writer = live_file(tmp_path, bytes(built.data))
    with SegmentReader(path) as reader:
        reader.read()
        reader.read()
        writer[20:28] = marker(20, built.ends[0])
        assert reader.read()[0] == ReadResult.CORRUPT


def test_reserved_but_never_written_entry_is_counted_when_its_section_closes(
    tmp_path: Path,
) -> None:
    built = Segment()
    built.add(b"written entry")
    end = built.ends[0] + 50
    path, writer = live_file(tmp_path, bytes(built.data))
    with SegmentReader(path) as reader:
        reader.read()
        assert reader.read()[0] == ReadResult.INCOMPLETE
        writer[20:28] = marker(20, end)
        writer[end + 8 : end + 8 + 32] = entry(b"y" * 20)
        assert reader.read() == (ReadResult.ENTRY, end + 40, b"y" * 20)
        assert reader.zero_bytes_skipped == 50


def write_as_cassandra(writer: mmap.mmap, mutations: list[bytes], seed: int) -> None:
    """Reserve in order, store out of order, close a section only once all of it is stored."""
    rng = random.Random(seed)
    writer[:20] = header()
    section, position, pending = 20, 28, []
    for mutation in mutations:
        pending.append((position, entry(mutation)))
        position += len(mutation) + 12
        while len(pending) > 4 or (pending and rng.random() < 0.4):
            at, raw = pending.pop(rng.randrange(len(pending)))
            for start in range(0, len(raw), 7):
                piece = raw[start : start + 7]
                writer[at + start : at + start + len(piece)] = piece
        if rng.random() < 0.05:
            following = position
            position += 8
            for at, raw in pending:
                writer[at : at + len(raw)] = raw
            pending.clear()
            closing = marker(section, following)
            writer[section : section + 4] = closing[:4]
            writer[section + 4 : section + 8] = closing[4:]
            section = following
    for at, raw in pending:
        writer[at : at + len(raw)] = raw
    writer[section : section + 8] = marker(section, position)


@pytest.mark.parametrize("seed", range(5))
def test_concurrent_writer_every_mutation_once_in_order(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    mutations = [struct.pack(">I", i) + os.urandom(rng.randrange(6, 120)) for i in range(2500)]
    path, writer = live_file(tmp_path)
    thread = threading.Thread(target=write_as_cassandra, args=(writer, mutations, seed))
    seen: list[bytes] = []
    with SegmentReader(path) as reader:
        thread.start()
        while True:
            alive = thread.is_alive()
            result, _, mutation = reader.read()
            if mutation is not None:
                seen.append(mutation)
                continue
            assert result in (ReadResult.INCOMPLETE, ReadResult.END), reader.reason
            if result == ReadResult.END:
                break
            if not alive:
                reader.set_completed()
        thread.join()
    assert seen == mutations
