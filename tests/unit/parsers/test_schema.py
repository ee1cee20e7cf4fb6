"""Tables and snapshots of a schema."""

from __future__ import annotations

import pytest

from parsers.schema import Schema, Table
from tests.support.tables import IDS, table


def test_columns_stand_in_cassandras_storage_order() -> None:
    # Simple ones first; names from byte 0x80 on come before ASCII names.
    made = table(
        'CREATE TABLE k.t (k int PRIMARY KEY, zcol int, l list<int>, "Acol" int, "écol" int)'
    )
    assert [column.name for column in made.regulars] == ["écol", "Acol", "zcol", "l"]


def test_names_that_agree_in_six_bytes_are_ordered_by_the_rest() -> None:
    made = table("CREATE TABLE k.t (k int PRIMARY KEY, columnb int, columna int, column int)")
    assert [column.name for column in made.regulars] == ["column", "columna", "columnb"]


@pytest.mark.parametrize(
    ("options", "layout"),
    [("", "cql"), ("WITH COMPACT STORAGE", "static_compact")],
)
def test_layout_of_a_table_without_clustering(options: str, layout: str) -> None:
    made = table(f"CREATE TABLE k.t (k int PRIMARY KEY, v int) {options}")
    assert made.layout == layout


def test_a_table_without_partition_key_is_refused() -> None:
    with pytest.raises(ValueError, match="no partition key"):
        Table("k", "t", table("CREATE TABLE k.t (k int PRIMARY KEY)").id, ())


def test_tables_are_values() -> None:
    text = f"CREATE TABLE k.t (k int PRIMARY KEY, v int) WITH ID = {IDS[0]}"
    assert table(text) == table(text)
    assert hash(table(text)) == hash(table(text))
    assert table(text) != table(text + " AND cdc = false")


def test_a_replaced_or_dropped_table_is_still_found_by_its_id() -> None:
    first = table(f"CREATE TABLE k.t (k int PRIMARY KEY) WITH ID = {IDS[0]}")
    second = table(f"CREATE TABLE k.t (k int PRIMARY KEY, v int) WITH ID = {IDS[1]}")
    schema = Schema([first]).with_table(second)
    assert schema.by_name("k", "t") == schema.by_id(second.id) == second
    assert schema.by_id(first.id) == first
    assert schema.is_dropped(first.id)
    assert not schema.is_dropped(second.id)
    without = schema.without("k", "t")
    assert list(without) == []
    assert {gone.id for gone in without.dropped()} == {first.id, second.id}
    assert list(schema) == [second], "a snapshot does not change"


def test_an_altered_table_leaves_nothing_behind() -> None:
    first = table(f"CREATE TABLE k.t (k int PRIMARY KEY) WITH ID = {IDS[0]}")
    second = table(f"CREATE TABLE k.t (k int PRIMARY KEY, v int) WITH ID = {IDS[0]}")
    schema = Schema([first]).with_table(second)
    assert schema.by_id(first.id) == second
    assert not list(schema.dropped())
