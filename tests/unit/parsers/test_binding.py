"""Tables from CQL without ids, bound by the mutations that recorded segments hold of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from parsers.binding import Survey, first_table_id
from parsers.cql_file import parse_cql
from parsers.schema import Table
from parsers.schema_log import SchemaLog
from parsers.schema_rows import table_updates
from parsers.segment import SegmentReader, iter_entries
from parsers.system_tables import SCHEMA_TABLES
from tests.support.golden import GoldenCase, golden_cases

SCHEMA_IDS = {table.id for table in SCHEMA_TABLES.values()}
(SCALARS,) = golden_cases("scalars", "5.0")


def mutations(case: GoldenCase, folder: Path) -> Iterator[tuple[bytes, int]]:
    """The data of a case, without the schema changes."""
    for path in case.unpack(folder):
        with SegmentReader(path) as reader:
            for _, raw in iter_entries(reader):
                if first_table_id(raw, reader.version) not in SCHEMA_IDS:
                    yield raw, reader.version


def without_ids(text: str) -> str:
    return re.sub(r"WITH ID = \S+\s+AND", "WITH", text)


def survey(tables: list[Table], data: Iterator[tuple[bytes, int]]) -> Survey:
    log = SchemaLog()
    for table in tables:
        log.apply(*table_updates(table, 0))
    made = Survey(log)
    for raw, log_version in data:
        made.offer(raw, log_version)
    return made


@pytest.mark.parametrize("case", golden_cases("scalars"), ids=str)
def test_tables_find_their_ids(case: GoldenCase, tmp_path: Path) -> None:
    text = case.schema_cql.read_text()
    described = parse_cql(text)
    found = survey(parse_cql(without_ids(text)), mutations(case, tmp_path)).bindings()
    # One table that the case drops looks like `plain`: it could be either.
    expected = {(t.keyspace, t.name): t.id for t in described if t.name != "plain"}
    assert found == expected
    assert len(expected) > 3


def test_schema_changes_in_the_log_go_first(tmp_path: Path) -> None:
    text = SCALARS.schema_cql.read_text()
    log = SchemaLog()
    for table in parse_cql(without_ids(text)):
        log.apply(*table_updates(table, 0))
    made = Survey(log)
    for path in SCALARS.unpack(tmp_path):
        with SegmentReader(path) as reader:
            for _, raw in iter_entries(reader):
                made.offer(raw, reader.version)
    assert made.bindings() == {}, "nothing is left to guess"
    assert not log.unbound


def test_what_fits_two_tables_is_left_open(tmp_path: Path) -> None:
    text = without_ids(SCALARS.schema_cql.read_text())
    tables = parse_cql(text)
    twin = parse_cql(text.replace("scalars.composite (", "scalars.twin ("))
    both = [*tables, *(table for table in twin if table.name == "twin")]
    found = survey(both, mutations(SCALARS, tmp_path)).bindings()
    assert ("scalars", "composite") not in found
    assert ("scalars", "twin") not in found
    assert len(found) == len(tables) - 2, "all others but `plain`"


def test_two_ids_that_fit_one_table_are_left_open(tmp_path: Path) -> None:
    text = SCALARS.schema_cql.read_text()
    ids = {table.name: table.id.bytes for table in parse_cql(text)}
    data = list(mutations(SCALARS, tmp_path))
    other = UUID(int=7).bytes
    data += [(raw.replace(ids["composite"], other), version) for raw, version in data]
    found = survey(parse_cql(without_ids(text)), iter(data)).bindings()
    assert ("scalars", "composite") not in found


def test_a_definition_that_lacks_a_column_is_no_answer(tmp_path: Path) -> None:
    text = without_ids(SCALARS.schema_cql.read_text())
    altered = parse_cql(text + "ALTER TABLE scalars.composite RENAME b TO bb;")
    assert ("scalars", "composite") in survey(altered, mutations(SCALARS, tmp_path)).bindings()
    lacking = parse_cql(re.sub(r"\n    flag boolean,", "", text, count=1))
    found = survey(lacking, mutations(SCALARS, tmp_path)).bindings()
    assert ("scalars", "composite") not in found


def test_the_table_of_a_mutation() -> None:
    table_id = UUID(int=2**127 + 5)
    assert first_table_id(b"\x01" + table_id.bytes + b"rest", 8) == table_id
    assert first_table_id(b"\x81\x00" + table_id.bytes, 7) == table_id
    assert first_table_id(b"\x00\x01" + table_id.bytes, 9) == table_id
    for short in (b"", b"\x01", b"\x01" + table_id.bytes[:15], b"\xff" * 9):
        with pytest.raises(ValueError, match="16-char"):
            first_table_id(short, 8)
