"""Tables from files of CQL, as DESCRIBE, cqlsh and people write them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_tail.errors import ConfigError
from parsers.cql_file import parse_cql
from parsers.schema import Table
from parsers.schema_derive import UNBOUND
from tests.support.tables import IDS, table

DESCRIBED = """
-- as DESCRIBE KEYSPACE ... WITH INTERNALS writes it; a comment
CREATE KEYSPACE ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': '1'};
CREATE TYPE ks.address (
    street text,
    "Zip Code" int
);
CREATE TABLE ks."Odd table" (
    k1 int,
    k2 uuid,
    "C" timeuuid,
    d text,
    s text static,
    m map<text, frozen<list<int>>>,
    a frozen<address>,
    x int,
    masked text MASKED WITH system.mask_inner(1, 2),
    vec vector<float, 3>,
    PRIMARY KEY ((k1, k2), "C", d)
) WITH ID = 5a1c395e-b41f-11e5-9f22-ba0be0483c18
    AND CLUSTERING ORDER BY ("C" DESC, d ASC)
    AND additional_write_policy = '99p'
    AND bloom_filter_fp_chance = 0.01
    AND caching = {'keys': 'ALL', 'rows_per_partition': 'NONE'}
    AND cdc = true
    AND comment = 'it''s; a "comment" AND more -- of it'
    AND default_time_to_live = 60
    AND extensions = {}
    AND gc_grace_seconds = 777;
/* and
   more; */
ALTER TYPE ks.address ADD country text;
ALTER TABLE ks."Odd table" DROP x USING TIMESTAMP 1700000000000000;
ALTER TABLE ks."Odd table" ADD x int;
CREATE INDEX by_x ON ks."Odd table" (x);
CREATE FUNCTION ks.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ a; -- ; $$;
CREATE MATERIALIZED VIEW ks.v AS SELECT d, x FROM ks."Odd table"
    WHERE k1 > 5 AND k2 IS NOT NULL AND "C" IS NOT NULL AND d IS NOT NULL
    PRIMARY KEY (d, k1, k2, "C") WITH ID = 5a1c395e-b41f-11e5-9f22-ba0be0483c19;
"""


def shape(made: Table) -> dict[str, str]:
    return {
        column.name: f"{column.kind} {column.type}" + (" desc" if column.reversed else "")
        for column in made.columns
    }


def test_what_describe_writes() -> None:
    odd, view = parse_cql(DESCRIBED)
    assert str(odd.id) == "5a1c395e-b41f-11e5-9f22-ba0be0483c18"
    assert shape(odd) == {
        "k1": "partition_key int",
        "k2": "partition_key uuid",
        "C": "clustering timeuuid desc",
        "d": "clustering text",
        "s": "static text",
        "a": "regular frozen<address>",
        "masked": "regular text",
        "vec": "regular vector<float, 3>",
        "x": "regular int",
        "m": "regular map<text, frozen<list<int>>>",
    }
    address = next(column.type for column in odd.columns if column.name == "a")
    assert "country" in repr(address)
    assert odd.cdc
    assert odd.gc_grace_seconds == 777
    assert odd.default_ttl == 60
    assert odd.dropped[b"x"].dropped_time_us == 1_700_000_000_000_000
    assert view.is_view
    assert shape(view) == {
        "d": "partition_key text",
        "k1": "clustering int",
        "k2": "clustering uuid",
        "C": "clustering timeuuid",
        "x": "regular int",
    }


def test_a_keyspace_in_use_and_words_in_any_case() -> None:
    made = table("use KS; create table if not exists T (k int primary key, n counter)")
    assert (made.keyspace, made.name, made.id) == ("ks", "t", UNBOUND)
    assert made.is_counter


@pytest.mark.parametrize(
    ("options", "cdc"), [("", True), ("WITH cdc = true", True), ("WITH cdc = FALSE", False)]
)
def test_a_table_is_for_cdc_unless_the_text_says_that_it_is_not(options: str, cdc: bool) -> None:
    assert table(f"CREATE TABLE k.t (k int PRIMARY KEY) {options}").cdc is cdc


def test_types_may_be_altered_to_use_later_ones() -> None:
    made = table(
        "CREATE TYPE k.a (x int); CREATE TYPE k.b (y int); ALTER TYPE k.a ADD b frozen<b>;"
        "ALTER TYPE k.a RENAME x TO z; CREATE TABLE k.t (k int PRIMARY KEY, v frozen<a>)"
    )
    assert "('z', 'b')" in repr(made.column("v"))


def test_alter_table() -> None:
    made = table(
        "CREATE TABLE k.t (a int, b int, c int, PRIMARY KEY (a, b));"
        "ALTER TABLE k.t ADD (d int, e list<int>, s text STATIC);"
        "ALTER TABLE k.t ADD f map<int, int>, g int;"
        "ALTER TABLE k.t DROP (c, g); ALTER TABLE k.t RENAME b TO bb;"
        "ALTER TABLE k.t WITH gc_grace_seconds = 5 AND cdc = true;"
    )
    assert list(shape(made)) == ["a", "bb", "s", "d", "e", "f"]
    assert made.gc_grace_seconds == 5
    assert made.cdc
    assert set(made.dropped) == {b"c", b"g"}


def test_dropped_tables_are_gone() -> None:
    text = "CREATE TABLE k.a (k int PRIMARY KEY); CREATE TABLE l.a (k int PRIMARY KEY);"
    assert [str(made) for made in parse_cql(text + "DROP TABLE k.a")] == ["l.a"]
    assert [str(made) for made in parse_cql(text + "DROP KEYSPACE IF EXISTS l")] == ["k.a"]


def test_compact_storage_is_read_as_it_is_stored() -> None:
    text = "CREATE TABLE k.t (k int PRIMARY KEY, a int, b text) WITH COMPACT STORAGE"
    assert shape(table(text)) == {
        "k": "partition_key int",
        "column1": "clustering text",
        "a": "static int",
        "b": "static text",
        "value": "regular blob",
    }
    dense = table("CREATE TABLE k.t (k int, c int, PRIMARY KEY (k, c)) WITH COMPACT STORAGE")
    assert dense.layout == "dense"
    assert shape(dense)["value"] == "regular empty"


def test_tables_that_describe_comments_out() -> None:
    text = (
        "/*\nWarning: Table k.t omitted because it has constructs not compatible with CQL (...).\n"
        "Approximate structure, for reference:\n(this should not be used ...)\n\n"
        "CREATE TABLE k.t (k int PRIMARY KEY, a int) WITH COMPACT STORAGE\n    AND cdc = true;\n"
        "*/\n"
    )
    assert table(text).layout == "static_compact"
    with pytest.raises(ConfigError, match="line 9"):
        parse_cql(text + "CREATE TABLE k.u (")


def test_like() -> None:
    text = f"CREATE TABLE k.t (k int PRIMARY KEY, v int) WITH ID = {IDS[0]} AND cdc = true;"
    _, copy = parse_cql(text + "CREATE TABLE k.u LIKE k.t WITH gc_grace_seconds = 1")
    assert copy.id == UNBOUND
    assert list(shape(copy)) == ["k", "v"]
    assert copy.cdc
    assert copy.gc_grace_seconds == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE TABLE k.t (k int, v nosuch, PRIMARY KEY (k));", "line 1: .*k.nosuch is not known"),
        ("\n\nCREATE TABLE k.t (k int", "line 3: ',' expected"),
        ("CREATE TABLE t (k int PRIMARY KEY)", "line 1: t is in no keyspace"),
        ("\nCREATE TABLE k.t (k int, v int);", "line 2: table t has no primary key"),
        ("CREATE TABLE k.t (k int, PRIMARY KEY (nosuch))", "line 1: .* names nosuch"),
        ("ALTER TABLE k.t ADD v int", "line 1: table k.t does not exist"),
        ("ALTER TYPE k.t ADD v int", "line 1: type k.t does not exist"),
        ("CREATE TABLE k.t (k int PRIMARY KEY) WITH gc_grace_seconds = soon", "line 1: .*soon"),
        ("CREATE TABLE k.t (k int PRIMARY KEY) WITH ID = 7", "line 1: "),
        ("CREATE TYPE k.t (a int", "line 1: "),
        ("CREATE TABLE k.t LIKE k.nosuch", "line 1: table k.nosuch does not exist"),
    ],
)
def test_a_mistake_is_an_error_that_names_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_cql(text)


@given(st.integers(0, len(DESCRIBED)), st.integers(0, 40))
def test_a_damaged_text_gives_tables_or_an_error(at: int, length: int) -> None:
    with suppress(ConfigError):
        for made in parse_cql(DESCRIBED[:at] + DESCRIBED[at + length :]):
            assert made.partition_key
