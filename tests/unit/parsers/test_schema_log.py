"""Schema changes merged by timestamp: whatever their order, the tables are Cassandra's."""

from __future__ import annotations

import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.schema_log import SchemaLog
from parsers.schema_rows import make_row
from parsers.schema_state import RawRange, RawRow, Update
from parsers.schema_values import Value
from tests.support.tables import IDS, create, drop, table

FIRST = f"CREATE TABLE ks.t (k int PRIMARY KEY, v int) WITH ID = {IDS[0]} AND cdc = true"
SECOND = f"CREATE TABLE ks.t (k text, c int, v text, PRIMARY KEY (k, c)) WITH ID = {IDS[1]}"


def add_column(name: str, type_text: str, written_us: int) -> Update:
    values: dict[str, Value] = {
        "kind": "regular",
        "position": -1,
        "type": type_text,
        "clustering_order": "none",
    }
    return Update(
        table="columns",
        pk=b"ks",
        rows=[make_row("columns", ("t", name), written_us, values)],
    )


def drop_column(name: str, type_text: str, written_us: int) -> list[Update]:
    gone = RawRow(ck=[b"t", name.encode()], deletion=(written_us, written_us // 1_000_000))
    values: dict[str, Value] = {
        "kind": "regular",
        "type": type_text,
        "dropped_time": written_us // 1000,
    }
    row = make_row("dropped_columns", ("t", name), written_us, values)
    return [
        Update(table="columns", pk=b"ks", rows=[gone]),
        Update(table="dropped_columns", pk=b"ks", rows=[row]),
    ]


def column_names(log: SchemaLog) -> list[str]:
    found = log.schema.by_name("ks", "t")
    assert found is not None
    return [column.name for column in found.columns]


def test_create_alter_drop() -> None:
    log = SchemaLog()
    assert log.apply(*create(FIRST, 10_000)) == {("ks", "t")}
    assert log.schema.by_name("ks", "t") == table(FIRST)
    assert log.apply(add_column("x", "list<int>", 20_000)) == {("ks", "t")}
    assert column_names(log) == ["k", "v", "x"]
    log.apply(*drop_column("v", "int", 30_000))
    assert column_names(log) == ["k", "x"]
    found = log.schema.by_name("ks", "t")
    assert found is not None
    assert found.dropped[b"v"].dropped_time_us == 30_000
    log.apply(add_column("v", "int", 40_000))
    assert column_names(log) == ["k", "v", "x"]
    assert log.apply(*drop("ks", "t", ["k", "v", "x"], 50_000)) == {("ks", "t")}
    assert log.schema.by_name("ks", "t") is None
    assert log.schema.is_dropped(UUID(IDS[0]))


def test_repeating_changes_changes_nothing() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    before = log.schema
    assert log.apply(*create(FIRST, 10_000)) == set()
    assert log.schema is before


@given(st.randoms(use_true_random=False))
def test_any_order_gives_the_same_schema(order: random.Random) -> None:
    changes = [
        *create(FIRST, 10_000),
        add_column("x", "int", 20_000),
        *drop_column("x", "int", 30_000),
        add_column("y", "frozen<u>", 35_000),
        *create("CREATE TYPE ks.u (a int); CREATE TABLE ks.other (k int PRIMARY KEY, u u)", 5_000),
    ]
    order.shuffle(changes)
    log = SchemaLog()
    for change in [*changes, *changes[: order.randrange(len(changes))]]:
        log.apply(change)
    assert column_names(log) == ["k", "v", "y"]
    assert not log.problems
    assert set(log.unbound) == {("ks", "other")}


def test_a_deletion_wins_over_what_is_as_old() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    log.apply(*drop("ks", "t", ["k", "v"], 10_000))
    assert log.schema.by_name("ks", "t") is None


def test_a_create_that_deletes_its_own_row_first() -> None:
    # 4.1 and later write the table's row with a row deletion one microsecond older.
    log = SchemaLog()
    updates = create(FIRST, 10_000)
    for update in updates:
        for row in update.get("rows", ()):
            row["deletion"] = (9_999, 0)
    log.apply(*updates)
    assert log.schema.by_name("ks", "t") == table(FIRST)


def test_drop_keyspace_is_a_partition_deletion_everywhere() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    log.apply(*create("CREATE TABLE other.t (k int PRIMARY KEY)", 10_000))
    gone = [
        Update(table=name, pk=b"ks", deletion=(20_000, 0))
        for name in ("tables", "columns", "types")
    ]
    assert log.apply(*gone) == {("ks", "t")}
    assert not list(log.schema)
    assert set(log.unbound) == {("other", "t")}


def test_a_range_tombstone_deletes_what_it_covers() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    covering = RawRange(start=([b"t"], True), end=([b"t", b"k"], False), deletion=(20_000, 0))
    log.apply(Update(table="columns", pk=b"ks", ranges=[covering]))
    assert column_names(log) == ["k", "v"], "neither k (excluded) nor v is covered"
    covering = RawRange(start=([b"t", b"k"], False), end=([b"t"], True), deletion=(20_000, 0))
    log.apply(Update(table="columns", pk=b"ks", ranges=[covering]))
    assert column_names(log) == ["k"]


def test_created_again_the_old_table_stays_known_by_its_id() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    log.apply(*drop("ks", "t", ["k", "v"], 20_000))
    log.apply(*create(SECOND, 30_000))
    assert log.schema.by_name("ks", "t") == table(SECOND)
    assert log.schema.by_id(UUID(IDS[0])) == table(FIRST)
    assert log.schema.is_dropped(UUID(IDS[0]))


def test_an_old_log_tells_of_tables_that_are_gone_by_now() -> None:
    # Seeded with the present; then the log of the time before is read.
    log = SchemaLog()
    log.refresh(create(SECOND, 30_000), until_us=90_000)
    assert log.apply(*create(FIRST, 10_000)) == set()
    assert log.apply(add_column("x", "int", 12_000)) == set()
    assert log.schema.by_id(UUID(IDS[0])) == table(FIRST)
    assert log.schema.by_name("ks", "t") == table(SECOND)
    gone = FIRST.replace("ks.t", "ks.gone").replace(IDS[0], IDS[2])
    assert log.apply(*create(gone, 10_000)) == set()
    assert log.schema.by_name("ks", "gone") is None
    assert log.schema.is_dropped(UUID(IDS[2]))


def test_what_a_complete_schema_lacks_was_dropped() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    log.apply(add_column("x", "int", 20_000))
    late = FIRST.replace("ks.t", "ks.late").replace(IDS[0], IDS[3])
    log.apply(*create(late, 80_000))
    assert log.refresh(create(FIRST, 10_000), until_us=50_000) == {("ks", "t")}
    assert column_names(log) == ["k", "v"]
    assert log.schema.by_name("ks", "late") is not None, "too new to be missed"
    log.apply(add_column("x", "int", 60_000))
    assert column_names(log) == ["k", "v", "x"], "added after the drop"


def test_a_table_of_which_only_a_part_is_known_is_a_problem_until_the_rest_comes() -> None:
    log = SchemaLog()
    updates = create(FIRST, 10_000)
    columns = next(update for update in updates if update["table"] == "columns")
    key = [row for row in columns.get("rows", ()) if row["ck"][1] == b"k"]
    log.apply(*(update for update in updates if update is not columns))
    assert ("ks", "t") in log.problems
    assert not list(log.schema)
    log.apply(Update(table="columns", pk=b"ks", rows=key))
    assert not log.problems
    assert column_names(log) == ["k"]


def test_a_type_that_is_not_known_is_named() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000), add_column("x", "frozen<nosuch>", 10_000))
    assert "ks.nosuch" in log.problems["ks", "t"]


def test_altered_types_change_the_tables_that_use_them() -> None:
    log = SchemaLog()
    log.apply(*create(FIRST, 10_000))
    log.apply(*create("CREATE TYPE ks.u (a int); CREATE TABLE ks.o (k u PRIMARY KEY)", 10_000))
    log.apply(add_column("x", "map<int, frozen<u>>", 20_000))
    row = make_row(
        "types", ("u",), 30_000, {"field_names": ["a", "b"], "field_types": ["int", "text"]}
    )
    assert log.apply(Update(table="types", pk=b"ks", rows=[row])) == {("ks", "t")}
    assert log.written_us(("ks", "t")) == 30_000


def test_a_table_from_cql_without_id_is_bound_by_the_log() -> None:
    log = SchemaLog()
    without_id = FIRST.replace(f"ID = {IDS[0]} AND ", "")
    log.apply(*create(without_id, -(2**62)))
    assert set(log.unbound) == {("ks", "t")}
    assert not list(log.schema)
    row = make_row("tables", ("t",), 70_000, {"id": UUID(IDS[0]), "cdc": True})
    assert log.apply(Update(table="tables", pk=b"ks", rows=[row])) == {("ks", "t")}
    assert log.schema.by_id(UUID(IDS[0])) == table(FIRST)
    assert not log.unbound


def test_bind() -> None:
    log = SchemaLog()
    log.apply(*create("CREATE TABLE ks.t (k int PRIMARY KEY)", -(2**62)))
    bound = log.bind(("ks", "t"), UUID(IDS[4]))
    assert log.schema.by_id(UUID(IDS[4])) is bound
    with pytest.raises(KeyError):
        log.bind(("ks", "t"), UUID(IDS[4]))


def test_cassandras_own_tables_are_left_out() -> None:
    log = SchemaLog()
    own = "CREATE TABLE system.paxos (k int PRIMARY KEY) WITH ID = {}".format(
        "b7b7f0c2-fd0a-3410-8c05-3ef614bb7c2d"
    )
    assert log.apply(*create(own, 10_000)) == set()
    assert not list(log.schema)


@pytest.mark.parametrize(
    "update",
    [
        Update(table="nosuch", pk=b"ks"),
        Update(table="columns", pk=b"ks", rows=[RawRow(ck=[b"t", None])]),
        Update(
            table="tables", pk=b"ks", rows=[RawRow(ck=[b"t"], cells=[("id", 1, 0, 0, b"short")])]
        ),
    ],
)
def test_an_impossible_update_is_refused(update: Update) -> None:
    with pytest.raises(ValueError, match=r"system_schema|16-char"):
        SchemaLog().apply(update)
