"""Names in PostgreSQL: Cassandra's wherever that is possible, and never the same for two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.postgres.names import MAX_BYTES, column_name, relation_name, schema_name


@pytest.mark.parametrize(
    "name", ["shop", "Shop", "public", "üñí", "with space", 'q"uote', "x" * 63]
)
def test_a_name_that_postgresql_takes_stays_as_it_is(name: str) -> None:
    assert schema_name(name) == relation_name(name) == column_name(name) == name


@pytest.mark.parametrize(
    ("keyspace", "schema"),
    [
        ("pg_x", "ks_pg_x"),
        ("cdc_tail", "ks_cdc_tail"),
        ("information_schema", "ks_information_schema"),
    ],
)
def test_reserved_schemas(keyspace: str, schema: str) -> None:
    assert schema_name(keyspace) == schema


@pytest.mark.parametrize("column", ["_cdc", "ctid", "xmin", "tableoid"])
def test_reserved_columns(column: str) -> None:
    assert column_name(column) == column + "_"
    # A column that has that name already keeps it.
    assert column_name(column, {column + "_"}).startswith(column)
    assert column_name(column, {column + "_"}) not in (column, column + "_")


def test_static_and_other_suffixes_survive_shortening() -> None:
    assert relation_name("t", "__static") == "t__static"
    long = relation_name("x" * 100, "__static")
    assert long.endswith("__static")
    assert len(long) == MAX_BYTES


@given(st.text(min_size=0, max_size=200), st.text(min_size=0, max_size=200))
def test_every_name_fits_and_two_are_never_one(one: str, other: str) -> None:
    # Lone surrogates are no text that Cassandra can hold.
    if any("\ud800" <= c <= "\udfff" for c in one + other):
        return
    first = column_name(one)
    second = column_name(other, {first})
    for name in (first, second):
        assert 0 < len(name.encode()) <= MAX_BYTES
        assert "\0" not in name
    assert first != second


def test_a_multi_byte_character_is_not_cut_in_two() -> None:
    shortened = relation_name("é" * 60)
    assert len(shortened.encode()) <= MAX_BYTES
    assert shortened.startswith("é" * 20)
