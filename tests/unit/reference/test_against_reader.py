"""The reference decoder says of every golden segment what Cassandra's own CommitLogReader said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.reference.catalog import Catalog
from tests.reference.dump import dump_segment
from tests.support.golden import KEYS, GoldenCase, golden_cases, segment_id


def by_table(line: dict[str, Any]) -> dict[str, Any]:
    """The line with its updates in the order of their table ids: 3.11's reader does not keep it."""
    if "updates" in line:
        line["updates"].sort(key=lambda update: update["id"])
    return line


def tables_of(line: dict[str, Any]) -> set[str]:
    return {update["table"] for update in line["updates"]}


@pytest.mark.parametrize("case", golden_cases(), ids=str)
def test_equals_what_cassandras_reader_says(case: GoldenCase, tmp_path: Path) -> None:
    catalog = Catalog()
    ours: list[dict[str, Any]] = []
    for log in case.unpack(tmp_path):
        ours += dump_segment(log.read_bytes(), segment_id(log), catalog, KEYS)
    theirs = case.reader
    assert [line["position"] for line in ours] == [line["position"] for line in theirs]
    compared = 0
    for our, their in zip(ours, theirs, strict=True):
        if "unknown_table" in our:
            # Before the node has logged what its own tables look like: Cassandra knows them anyway.
            assert all(name.startswith("system.") for name in tables_of(their)), their
            continue
        assert by_table(our) == by_table(their)
        compared += case.facts["keyspace"] in {name.partition(".")[0] for name in tables_of(our)}
    assert compared, "the case's own tables are not in its segments"
