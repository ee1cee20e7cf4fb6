"""Golden cases are complete: what is committed unpacks to segments with the promised form."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.support.golden import GoldenCase, golden_cases, segment_id

CASES = golden_cases()
LIMIT_BYTES = 10_000_000


def test_scalars_are_recorded_for_the_three_main_series() -> None:
    assert {case.series for case in golden_cases("scalars")} >= {"4.0", "4.1", "5.0"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_case_unpacks_to_whole_segments(case: GoldenCase, tmp_path: Path) -> None:
    facts = case.facts
    logs = case.unpack(tmp_path / "cdc_raw")
    assert {log.name for log in logs} == set(facts["segments"])
    for log in logs:
        version, identifier = struct.unpack_from(">iq", log.read_bytes())
        assert identifier == segment_id(log)
        assert version == int(log.name.split("-")[1])
        assert log.stat().st_size == facts["segments"][log.name]["kept_bytes"]
        index = log.with_name(f"{log.stem}_cdc.idx")
        assert index.exists() == facts["segments"][log.name]["index"]
        assert not index.exists() or index.read_text().endswith("\nCOMPLETED")
    expected = case.expected
    assert set(expected["tables"]) | set(expected["dropped"]) == set(facts["table_ids"])
    schema = case.schema_cql.read_text()
    assert all(expected["tables"][table]["id"] in schema for table in expected["tables"])


def test_full_size_gives_the_zeros_back(tmp_path: Path) -> None:
    case = golden_cases("scalars", "5.0")[0]
    log = case.unpack(tmp_path, full_size=True)[0]
    kept = case.facts["segments"][log.name]["kept_bytes"]
    assert log.stat().st_size == 2**20
    assert not log.read_bytes()[kept:].strip(b"\0")


def test_the_cases_stay_small() -> None:
    files = [file for case in CASES for file in case.folder.iterdir()]
    assert sum(file.stat().st_size for file in files) < LIMIT_BYTES
