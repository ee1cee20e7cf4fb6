"""Damaged segments: every cut, every flipped bit, hostile lengths; never an invented entry."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parsers.segment import ReadResult, SegmentReader, damaged_bytes, skip_damage
from tests.support.segments import SEGMENT_ID, Segment, entry, marker, segment_of

MUTATIONS = [bytes([97 + i]) * (10 + 3 * i) for i in range(6)]
CORRUPT, END = ReadResult.CORRUPT, ReadResult.END


def small() -> Segment:
    return segment_of([MUTATIONS[:2], MUTATIONS[2:5], MUTATIONS[5:]])


def write(folder: Path, data: bytes | bytearray) -> Path:
    path = folder / f"CommitLog-7-{SEGMENT_ID}.log"
    path.write_bytes(data)
    return path


def outcomes(path: Path) -> Iterator[tuple[str, list[bytes], int]]:
    """What each way of reading gives: mode and whether final, mutations, last result."""
    for mode in ("live", "synced"):
        for completed in (False, True):
            with SegmentReader(path, mode=mode) as reader:
                if completed:
                    reader.set_completed()
                found: list[bytes] = []
                while True:
                    result, _, mutation = reader.read()
                    if mutation is None:
                        break
                    found.append(mutation)
                yield f"{mode} completed={completed}", found, result


def test_every_cut(tmp_path: Path) -> None:
    data = small().padded(600)
    built = small()
    for length in range(len(data)):
        for how, found, result in outcomes(write(tmp_path, data[:length])):
            assert found == MUTATIONS[: len(found)], (length, how)
            closed = max((at for at in built.markers if at <= length), default=0)
            assert len(found) == sum(end <= closed for end in built.ends), (length, how)
            if "False" in how:
                assert result == ReadResult.INCOMPLETE, (length, how)


def test_every_flipped_bit(tmp_path: Path) -> None:
    built = small()
    data = built.padded(len(built.data) + 64)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        at = bit // 8
        damaged[at] ^= 1 << bit % 8
        for how, found, result in outcomes(write(tmp_path, damaged)):
            assert found == MUTATIONS[: len(found)], (at, how)
            before = sum(end <= at for end in built.ends)
            in_marker = any(marker <= at < marker + 8 for marker in built.markers)
            if not in_marker:
                assert len(found) >= before, (at, how)
            if at < built.markers[-1] and "True" in how:
                assert result == CORRUPT or found == MUTATIONS, (at, how)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    damage=st.lists(
        st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=24)),
        min_size=1,
        max_size=4,
    ),
    sections=st.lists(st.lists(st.binary(min_size=10, max_size=60), max_size=4), max_size=4),
)
def test_any_splice_gives_a_prefix(
    tmp_path: Path, damage: list[tuple[int, bytes]], sections: list[list[bytes]]
) -> None:
    built = segment_of(sections)
    data = bytearray(built.padded(len(built.data) + 40))
    for at, raw in damage:
        start = at % len(data)
        data[start : start + len(raw)] = raw[: len(data) - start]
    first = min(at % len(data) for at, _ in damage)
    if first < 20:
        first = 0
    for how, found, _ in outcomes(write(tmp_path, data)):
        assert found == built.mutations[: len(found)], how
        assert "live" in how or first == 0 or len(found) >= sum(
            any(end <= at <= first for at in built.markers) for end in built.ends
        ), how  # fmt: skip


def test_spliced_segments_do_not_mix(tmp_path: Path) -> None:
    """A marker vouches for its segment's id, so another segment's section is not read."""
    built = small()
    other = segment_of([[b"z" * 40] * 2] * 3, segment_id=SEGMENT_ID + 1)
    cut = built.markers[1]
    data = bytes(built.data[:cut]) + bytes(other.data[cut:])
    for how, found, result in outcomes(write(tmp_path, data)):
        assert found == MUTATIONS[:2], how
        assert result in (CORRUPT, ReadResult.INCOMPLETE)


def read_skipping(reader: SegmentReader) -> tuple[list[bytes], int]:
    found = []
    while True:
        result, _, mutation = reader.read()
        if mutation is not None:
            found.append(mutation)
        elif result != CORRUPT or not skip_damage(reader):
            return found, result


def skipping(path: Path) -> tuple[list[bytes], int, int, int]:
    with SegmentReader(path) as reader:
        reader.set_completed()
        found, result = read_skipping(reader)
        return found, result, reader.damage_skipped, reader.damage_skipped_bytes


def test_skips_one_entry_with_a_broken_body(tmp_path: Path) -> None:
    built = small()
    built.data[built.ends[2] - 8] ^= 4
    size = built.ends[2] - built.starts[2]
    found, result, skipped, skipped_bytes = skipping(write(tmp_path, built.padded(600)))
    assert found == MUTATIONS[:2] + MUTATIONS[3:]
    assert (result, skipped, skipped_bytes) == (END, 1, size)


def test_skips_to_the_next_marker_when_a_size_is_broken(tmp_path: Path) -> None:
    built = small()
    built.data[built.starts[2] + 3] ^= 4
    found, result, skipped, skipped_bytes = skipping(write(tmp_path, built.padded(600)))
    assert found == MUTATIONS[:2] + MUTATIONS[5:]
    assert (result, skipped, skipped_bytes) == (
        END,
        1,
        built.markers[2] - built.starts[2],
    )


@pytest.mark.parametrize("byte", range(8))
def test_searches_for_the_next_marker_when_one_is_broken(tmp_path: Path, byte: int) -> None:
    built = small()
    built.data[built.markers[1] + byte] ^= 0x11
    found, result, skipped, _ = skipping(write(tmp_path, built.padded(600)))
    assert found[:2] == MUTATIONS[:2]
    assert found[-1] == MUTATIONS[5]
    assert (result, skipped > 0) == (END, True)


def test_every_flipped_bit_with_skipping_keeps_order_and_counts(tmp_path: Path) -> None:
    built = small()
    data = built.padded(len(built.data))
    for bit in range(8 * 20, 8 * built.markers[-1]):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        found, result, skipped, skipped_bytes = skipping(write(tmp_path, damaged))
        assert [m for m in MUTATIONS if m in found] == found, bit
        # After a lost marker of the last section there is no other to go on at.
        in_last_marker = built.markers[-2] <= bit // 8 < built.markers[-2] + 8
        assert result == END or (result == CORRUPT and in_last_marker), bit
        if result == END and found != MUTATIONS:
            assert skipped > 0 and skipped_bytes > 0, bit


def test_damage_can_be_kept(tmp_path: Path) -> None:
    built = small()
    built.data[built.ends[2] - 8] ^= 4
    with SegmentReader(write(tmp_path, built.padded(600))) as reader:
        reader.set_completed()
        while reader.read()[0] != CORRUPT:
            pass
        raw = bytes(built.data[built.starts[2] : built.ends[2]])
        assert damaged_bytes(reader) == raw
        assert damaged_bytes(reader, 5) == raw[:5]


def test_zeroed_middle_is_not_taken_for_the_end(tmp_path: Path) -> None:
    """Cassandra's reader ends a segment at a size of 0; here entries follow in the section."""
    built = small()
    at, end = built.starts[2], built.ends[2]
    built.data[at:end] = bytes(end - at)
    for how, found, result in outcomes(write(tmp_path, built.padded(600))):
        assert (found, result) == (MUTATIONS[:2], CORRUPT), how


def test_zeroed_marker_of_a_final_segment_leaves_a_trace(tmp_path: Path) -> None:
    built = small()
    built.data[built.markers[1] : built.markers[1] + 8] = bytes(8)
    with SegmentReader(write(tmp_path, built.padded(600))) as reader:
        reader.set_completed()
        assert read_skipping(reader) == (MUTATIONS[:2], END)
        assert reader.tail_bytes_ignored == built.markers[-1] - built.markers[1]


@pytest.mark.parametrize("size", [0, 1, 9, -1, 2**31 - 1, -(2**31), 600])
def test_impossible_sizes(tmp_path: Path, size: int) -> None:
    built = small()
    raw = struct.pack(">i", size)
    built.data[built.starts[1] : built.starts[1] + 8] = raw + struct.pack(">I", zlib.crc32(raw))
    for how, found, result in outcomes(write(tmp_path, built.padded(600))):
        assert (found, result) == (MUTATIONS[:1], CORRUPT), how


@pytest.mark.parametrize("target", [0, 20, 27, -1, -(2**31)])
def test_marker_that_points_backwards_does_not_loop(tmp_path: Path, target: int) -> None:
    built = small()
    built.data[20:28] = marker(20, target)
    for how, found, result in outcomes(write(tmp_path, built.padded(600))):
        assert (found, result) == ([], CORRUPT), how


def test_marker_that_points_past_the_file(tmp_path: Path) -> None:
    built = small()
    built.data[20:28] = marker(20, 2**31 - 1)
    for how, found, result in outcomes(write(tmp_path, built.padded(600))):
        assert result == (CORRUPT if "True" in how else ReadResult.INCOMPLETE), how
        assert found == [], how


def test_section_that_ends_inside_an_entry(tmp_path: Path) -> None:
    built = Segment()
    built.add(b"a" * 20)
    built.data += entry(b"b" * 20)[:-3]
    built.write_marker()
    for how, found, result in outcomes(write(tmp_path, built.padded(600))):
        assert (found, result) == ([b"a" * 20], CORRUPT), how
