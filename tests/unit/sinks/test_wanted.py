"""The mirrors that a table needs, and the types that its columns get."""

from __future__ import annotations

import pytest

from cdc_tail.errors import ConfigError, SchemaMismatch
from parsers.schema import Table
from parsers.type_text import parse_type
from sinks.postgres.typemap import Mapping, catalog_name, pg_type
from sinks.postgres.wanted import Wanted, wanted_mirrors
from tests.support.tables import table


@pytest.mark.parametrize(
    ("cql", "expected"),
    [
        ("ascii", "text"),
        ("tinyint", "int2"),
        ("counter", "int8"),
        ("varint", "numeric"),
        ("timestamp", "timestamptz"),
        ("duration", "interval"),
        ("timeuuid", "uuid"),
        ("list<text>", "text[]"),
        ("frozen<set<uuid>>", "uuid[]"),
        ("list<frozen<list<int>>>", "jsonb"),
        ("map<int, int>", "jsonb"),
        ("tuple<int>", "jsonb"),
        ("vector<float, 3>", "float4[]"),
        ("vector<text, 3>", "text[]"),
        ("vector<frozen<list<int>>, 3>", "jsonb"),
        ("'com.example.Custom'", "bytea"),
    ],
)
def test_types(cql: str, expected: str) -> None:
    assert pg_type(parse_type(cql, {}, "k")) == expected


def test_vectors_with_pgvector() -> None:
    wide = table("CREATE TABLE k.t (k int PRIMARY KEY, v vector<float, 3>, w vector<float, 16001>)")
    (rows,) = wanted_mirrors(wide, Mapping(pgvector=True))
    assert types(rows) == {"v": "vector", "w": "float4[]"}


@pytest.mark.parametrize(
    ("name", "expected"), [("int4", "int4"), ("int4[]", "_int4"), ("vector", "vector")]
)
def test_names_in_pg_type(name: str, expected: str) -> None:
    assert catalog_name(name) == expected


def types(mirror: Wanted) -> dict[str, str]:
    return {column.source.name: column.pg_type for column in mirror.columns}


def keys(made: Table) -> dict[str, list[str]]:
    return {m.kind: [c.source.name for c in m.key] for m in wanted_mirrors(made, Mapping())}


def test_statics_have_a_mirror_of_their_own() -> None:
    made = table("CREATE TABLE k.t (a int, b int, c int, s int static, PRIMARY KEY ((a, b), c))")
    assert keys(made) == {"rows": ["a", "b", "c"], "static": ["a", "b"]}


def test_a_table_of_key_columns_only() -> None:
    (rows,) = wanted_mirrors(table("CREATE TABLE k.t (a int PRIMARY KEY)"), Mapping())
    assert rows.columns == ()


def test_compact_storage_shows_the_users_columns() -> None:
    text = "CREATE TABLE k.t (k int PRIMARY KEY, a int, b text) WITH COMPACT STORAGE"
    (rows,) = wanted_mirrors(table(text), Mapping())
    assert types(rows) == {"a": "int4", "b": "text"}
    assert [column.source.name for column in rows.key] == ["k"]
    dense = table("CREATE TABLE k.t (k int, c int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE")
    (rows,) = wanted_mirrors(dense, Mapping())
    assert rows.columns == ()


def test_types_are_chosen_by_column() -> None:
    made = table("CREATE TABLE k.t (k int PRIMARY KEY, t time, secret text)")
    mapping = Mapping({"k.t.t": "int8", "k.t.secret": "omit", "k.other.t": "text"})
    (rows,) = wanted_mirrors(made, mapping)
    assert types(rows) == {"t": "int8"}
    assert rows.omitted == {"secret"}


def test_a_type_that_no_mirror_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"k\.t\.v is mapped to 'money'"):
        Mapping({"k.t.v": "money"})


def test_a_key_column_cannot_be_left_out() -> None:
    with pytest.raises(ConfigError, match="primary key"):
        wanted_mirrors(table("CREATE TABLE k.t (k int PRIMARY KEY)"), Mapping({"k.t.k": "omit"}))


def test_more_columns_than_postgresql_allows() -> None:
    columns = ", ".join(f"c{number} int" for number in range(1599))
    made = table(f"CREATE TABLE k.t (k int PRIMARY KEY, {columns})")
    with pytest.raises(SchemaMismatch, match="needs 1601 columns, PostgreSQL allows 1600"):
        wanted_mirrors(made, Mapping())
    (rows,) = wanted_mirrors(made, Mapping({"k.t.c7": "omit"}))
    assert len(rows.columns) == 1598


def test_more_key_columns_than_an_index_takes() -> None:
    names = [f"c{number}" for number in range(33)]
    columns = ", ".join(f"{name} int" for name in names)
    made = table(f"CREATE TABLE k.t ({columns}, PRIMARY KEY ({', '.join(names)}))")
    with pytest.raises(SchemaMismatch, match="33 columns"):
        wanted_mirrors(made, Mapping())
