"""The schema that recorded segments tell in-band is the one that Cassandra described at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cdc_tail.errors import UnknownTable
from parsers.cql_file import parse_cql
from parsers.decoder import build_catalog, schema_updates, view_mutation
from parsers.keystore import keys_from_keystore
from parsers.schema import Table
from parsers.schema_derive import UNBOUND
from parsers.schema_log import SchemaLog
from parsers.segment import SegmentReader, iter_entries
from tests.support.golden import GOLDEN, GoldenCase, golden_cases


@pytest.fixture(scope="module")
def keys() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for keystore in (GOLDEN / "keystores").glob("commitlog.*"):
        found |= keys_from_keystore(keystore.read_bytes(), "cassandra")
    return found


def described(case: GoldenCase) -> dict[str, Table]:
    return {table.name: table for table in parse_cql(case.schema_cql.read_text())}


def comparable(table: Table, case: GoldenCase) -> Table:
    if case.series != "3.11":
        return table
    # Before 4.0 the driver describes tables: it leaves out cdc, what was dropped, ids of views.
    return replace(table, cdc=False, dropped={}, id=UNBOUND if table.is_view else table.id)


@pytest.mark.parametrize("case", golden_cases(), ids=str)
def test_schema_from_the_log(case: GoldenCase, tmp_path: Path, keys: dict[str, bytes]) -> None:
    catalog = build_catalog()
    log = SchemaLog()
    changes = 0
    for path in case.unpack(tmp_path):
        with SegmentReader(path, keys=keys) as reader:
            for _, raw in iter_entries(reader):
                try:
                    views = view_mutation(raw, catalog, reader.version)
                except UnknownTable:  # data: only schema changes are of interest here
                    continue
                if updates := schema_updates(views):
                    log.apply(*updates)
                    changes += 1
    assert changes
    assert not log.unbound
    keyspace = case.facts["keyspace"]
    told = {table.name: table for table in log.schema if table.keyspace == keyspace}
    assert not [name for name in log.problems if name[0] == keyspace]
    expected = described(case)
    assert told.keys() >= expected.keys()
    # A DROP may stand in a segment without changes, which Cassandra removed by itself.
    assert told.keys() - expected.keys() <= case.expected["dropped"].keys()
    for name, table in expected.items():
        assert comparable(told[name], case) == comparable(table, case)
