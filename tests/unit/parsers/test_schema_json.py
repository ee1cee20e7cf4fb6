"""Definitions as JSON and as rows of `system_schema`: both give the same table again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.schema import Table
from parsers.schema_json import table_from_json, table_to_json
from parsers.schema_log import SchemaLog
from parsers.schema_rows import make_row, table_updates
from parsers.schema_values import Value, decode, encode
from parsers.type_text import parse_type
from tests.support.tables import IDS, table

TABLES = [
    f"CREATE TABLE k.t (k int PRIMARY KEY) WITH ID = {IDS[0]}",
    (
        "CREATE TYPE k.a (x int); CREATE TYPE k.b (l list<frozen<a>>);"
        'CREATE TABLE k."T" (k int, c frozen<b>, s text static, v a, "é" map<int, frozen<b>>, '
        "w vector<float, 3>, gone int, PRIMARY KEY (k, c)) "
        f"WITH ID = {IDS[0]} AND CLUSTERING ORDER BY (c DESC) AND cdc = true;"
        'ALTER TABLE k."T" DROP gone USING TIMESTAMP 1700000000000000;'
        'ALTER TABLE k."T" ADD gone int;'
    ),
    f"CREATE TABLE k.t (k int PRIMARY KEY, n counter) WITH ID = {IDS[0]}",
    f"CREATE TABLE k.t (k int PRIMARY KEY, v int) WITH ID = {IDS[0]} AND COMPACT STORAGE",
]
tables = pytest.mark.parametrize("made", [table(text) for text in TABLES], ids=range(len(TABLES)))


@tables
def test_json(made: Table) -> None:
    assert table_from_json(json.loads(json.dumps(table_to_json(made)))) == made


@tables
def test_rows(made: Table) -> None:
    log = SchemaLog()
    log.apply(*table_updates(made, 1))
    assert log.schema.by_id(made.id) == made


def test_a_view_is_a_row_of_views() -> None:
    base = "CREATE TABLE k.t (k int PRIMARY KEY, v int);"
    text = (
        "CREATE MATERIALIZED VIEW k.v AS SELECT * FROM k.t WHERE k IS NOT NULL PRIMARY KEY (v, k)"
    )
    log = SchemaLog()
    log.apply(*table_updates(table(f"{base} {text} WITH ID = {IDS[0]}; DROP TABLE k.t"), 1))
    (view,) = log.schema
    assert view.is_view


def test_a_column_that_system_schema_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="nosuch"):
        make_row("tables", ("t",), 1, {"nosuch": 1})


@pytest.mark.parametrize(
    ("type_text", "value"),
    [
        ("text", "é"),
        ("blob", b"\0"),
        ("boolean", True),
        ("int", -5),
        ("timestamp", 1_700_000_000_000),
        ("frozen<list<text>>", ["a", "", "é"]),
        ("frozen<set<text>>", []),
    ],
)
def test_values_of_system_schema(type_text: str, value: Value) -> None:
    cql_type = parse_type(type_text, {}, "k")
    assert decode(cql_type, encode(cql_type, value)) == value


def test_a_map_is_decoded() -> None:
    data = b"\0\0\0\1" + b"\0\0\0\1a" + b"\0\0\0\2bc"
    assert decode(parse_type("frozen<map<text, text>>", {}, "k"), data) == {"a": "bc"}


@given(
    st.sampled_from(["text", "uuid", "int", "boolean", "timestamp", "frozen<list<text>>"]),
    st.binary(max_size=40),
)
def test_hostile_values_give_a_value_or_an_error(type_text: str, data: bytes) -> None:
    cql_type = parse_type(type_text, {}, "k")
    try:
        value = decode(cql_type, data)
    except ValueError:
        return
    assert decode(cql_type, encode(cql_type, value)) == value
