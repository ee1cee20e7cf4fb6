"""What `inspect` shows of recorded segments is what Cassandra's own reader says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_tail.errors import SegmentCorrupt
from cdc_tail.inspect import Filter, Inspector, describe_header, known_schema
from cdc_tail.recorded import recorded_segments
from tests.support.golden import GoldenCase, golden_cases
from tests.support.segments import Segment

KEYS = {
    "cdc-tail:1": bytes.fromhex("ea3364d62a6e582f7228c3091e37e1cd"),
    "cdc-tail:2": bytes.fromhex("7c5c5a37866c53ff1d370c4f3008aee8324c37647880d6545064f37502abca89"),
}
DOCUMENTED = (Path(__file__).parents[3] / "docs" / "inspect.md").read_text(encoding="utf-8")


def inspected(
    case: GoldenCase, folder: Path, wanted: Filter | None = None
) -> Iterator[dict[str, Any]]:
    inspector = Inspector(known_schema(None), KEYS)
    case.unpack(folder)
    for file in recorded_segments([folder]):
        yield from inspector.describe_segment(file.path, wanted)


@pytest.mark.parametrize("case", list({one.name: one for one in golden_cases()}.values()), ids=str)
def test_mutations_rows_and_cells_are_those_of_cassandras_reader(
    case: GoldenCase, tmp_path: Path
) -> None:
    shown = list(inspected(case, tmp_path))
    said = [line for line in case.reader if "position" in line]
    assert [(m["position"], m["size_bytes"]) for m in shown] == [
        (m["position"], m["size"]) for m in said
    ]
    keyspace = case.facts["keyspace"]
    for mine, theirs in zip(shown, said, strict=True):
        wanted = {
            one["table"]: one
            for one in theirs.get("updates", ())
            if one["table"].startswith(f"{keyspace}.")
        }
        if not wanted:
            continue
        found = {f"{one['keyspace']}.{one['table']}": one for one in mine["updates"]}
        assert {name: one["table_id"] for name, one in found.items() if name in wanted} == {
            name: one["id"] for name, one in wanted.items()
        }
        for name, update in wanted.items():
            compare(found[name], update)


def compare(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same rows, deletions and cells, with the same times; values have another form."""
    assert ("partition_deletion" in mine) == ("deletion" in theirs)
    if "deletion" in theirs:
        assert mine["partition_deletion"]["timestamp_us"] == theirs["deletion"]["writetime_us"]
    rows = [one for one in theirs.get("unfiltereds", ()) if "clustering" in one]
    assert len(mine["rows"]) == len(rows)
    pairs = list(zip(mine["rows"], rows, strict=True))
    if "static" in theirs:
        pairs.append((mine["static"], theirs["static"]))
    for row, other in pairs:
        assert row.get("writetime_us") == other.get("liveness", {}).get("writetime_us")
        assert row.get("ttl_seconds") == other.get("liveness", {}).get("ttl_seconds")
        assert ("deletion" in row) == ("deletion" in other)
        assert sorted(
            (c["column"], c["writetime_us"], c.get("ttl_seconds"), "deleted_at_s" in c)
            for c in row["cells"]
            if "deletion" not in c
        ) == sorted(
            (c["column"], c["writetime_us"], c.get("ttl_seconds"), "tombstone" in c)
            for c in other.get("cells", ())
        )
        assert sorted(c["column"] for c in row["cells"] if "deletion" in c) == sorted(
            c["column"] for c in other.get("complex_deletions", ())
        )


def test_every_name_that_is_printed_is_documented(tmp_path: Path) -> None:
    names: set[str] = set()

    def collect(value: Any, under: str = "") -> None:
        if isinstance(value, dict):
            if under not in ("key", "clustering", "value", "path"):
                names.update(value)
            for name, inner in value.items():
                collect(inner, name)
        elif isinstance(value, list) and under != "value":
            for inner in value:
                collect(inner, under)

    for name in ("scalars", "maps", "range_tombstones", "statics", "ttl", "row_deletions"):
        (case,) = golden_cases(name, "5.0")
        for mutation in inspected(case, tmp_path / name):
            collect(json.loads(json.dumps(mutation)))
    assert {name for name in names if f"`{name}`" not in DOCUMENTED} == set()


def test_filters_by_table_and_key(tmp_path: Path) -> None:
    (case,) = golden_cases("maps", "5.0")
    everything = list(inspected(case, tmp_path))
    (table,) = case.expected["tables"]
    key = next(
        update["key"]
        for mutation in everything
        for update in mutation.get("updates", ())
        if update["table"] == table
    )
    text = ":".join(str(value) for value in key.values())
    shown = list(
        inspected(case, tmp_path, Filter(table=f"{case.facts['keyspace']}.{table}", key=text))
    )
    assert 0 < len(shown) < len(everything)
    assert all(update["key"] == key for one in shown for update in one["updates"])
    assert list(inspected(case, tmp_path, Filter(table="no.such"))) == []


def test_a_damage_comes_after_what_stands_before_it(tmp_path: Path) -> None:
    (case,) = golden_cases("scalars", "5.0")
    log, *_ = case.unpack(tmp_path)
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 0xFF
    log.write_bytes(data)
    shown: list[dict[str, Any]] = []
    with pytest.raises(SegmentCorrupt, match="checksum"):
        shown.extend(Inspector().describe_segment(log))
    assert shown
    assert shown[-1]["offset"] < len(data) // 2


def test_what_cannot_be_decoded_is_shown_as_bytes(tmp_path: Path) -> None:
    segment = Segment()
    segment.add(b"\x01" + bytes(range(40)))
    path = tmp_path / f"CommitLog-7-{segment.segment_id}.log"
    path.write_bytes(segment.finish())
    (shown,) = Inspector().describe_segment(path)
    assert shown["error"]["type"] == "UnknownTable"
    assert shown["raw"] == (b"\x01" + bytes(range(40))).hex()


def test_the_header_line_tells_the_container(tmp_path: Path) -> None:
    expected = {
        "container_lz4": "compressed with LZ4Compressor",
        "container_jceks": "encrypted with AES/CBC/PKCS5Padding, key cdc-tail:1",
        "container_plain": "uncompressed",
    }
    for name, said in expected.items():
        (case,) = golden_cases(name, "5.0")
        case.unpack(tmp_path / name)
        first = recorded_segments([tmp_path / name])[0]
        assert said in describe_header(first)
        assert "log version 7" in describe_header(first)
