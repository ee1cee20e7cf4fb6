"""Segments that real nodes wrote, in every container, entry by entry as Cassandra reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from parsers.descriptor import index_path, read_index
from parsers.keystore import keys_from_keystore
from parsers.segment import ReadResult, SegmentReader, iter_entries
from tests.support.golden import GOLDEN, GoldenCase, golden_cases

CASES = golden_cases()


@pytest.fixture(scope="module")
def keys() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for keystore in (GOLDEN / "keystores").glob("commitlog.*"):
        found |= keys_from_keystore(keystore.read_bytes(), "cassandra")
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("mode", ["live", "synced"])
def test_entries_are_those_of_cassandras_reader(
    case: GoldenCase, mode: str, tmp_path: Path, keys: dict[str, bytes]
) -> None:
    expected = [(line["position"], line["size"]) for line in case.reader if "position" in line]
    found = []
    for log in case.unpack(tmp_path, full_size=True):
        with SegmentReader(log, mode=mode, keys=keys) as reader:  # type: ignore[arg-type]
            reader.set_completed()
            found += [(str(position), len(raw)) for position, raw in iter_entries(reader)]
            assert reader.read()[0] == ReadResult.END
            assert reader.zero_bytes_skipped == reader.tail_bytes_ignored == 0
            index = read_index(index_path(log))
            # Before 4.0 there is no index.
            assert index is None or index.offset == reader.position == reader.durable_end
    assert found == expected


@pytest.mark.parametrize("case", golden_cases("container*"), ids=str)
def test_resume_anywhere(case: GoldenCase, tmp_path: Path, keys: dict[str, bytes]) -> None:
    log = max(case.unpack(tmp_path), key=lambda path: path.stat().st_size)
    with SegmentReader(log, keys=keys) as reader:
        whole = list(iter_entries(reader))
    for at in range(0, len(whole), max(1, len(whole) // 50)):
        with SegmentReader(log, keys=keys) as reader:
            reader.seek(whole[at][0].offset)
            assert list(iter_entries(reader)) == whole[at + 1 :]
