"""Mirrors created and evolved in a real PostgreSQL, as a table's definition changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from cdc_tail.errors import SchemaMismatch
from sinks.postgres.catalog import BUCKETS, Connection, Mirror, install, load_mirrors, mirrors_of
from sinks.postgres.ddl import drop_mirrors, ensure_mirrors
from sinks.postgres.relation import describe
from sinks.postgres.typemap import Mapping
from tests.support.tables import IDS, table

PLAIN = f"CREATE TABLE ks.t (k int, c text, v int, PRIMARY KEY (k, c)) WITH ID = {IDS[0]};"
STATIC = (
    "CREATE TABLE ks.t (k1 int, k2 text, c int, s int static, v text, "
    f"PRIMARY KEY ((k1, k2), c)) WITH ID = {IDS[0]};"
)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    with psycopg.connect(database, autocommit=True) as connection:
        install(connection)
        yield connection


def columns(connection: Connection, relation: str, schema: str = "ks") -> dict[str, str]:
    found = describe(connection, schema, relation)
    assert found is not None
    return found.columns


def cids(mirror: Mirror) -> dict[str, int]:
    return {column.name: column.cid for column in (*mirror.key, *mirror.columns)}


def ensure(
    connection: Connection, cql: str, mapping: Mapping | None = None, **options: Any
) -> list[Mirror]:
    with connection.transaction():
        return ensure_mirrors(connection, table(cql), mapping, **options)


def one(connection: Connection, cql: str, mapping: Mapping | None = None) -> Mirror:
    (mirror,) = ensure(connection, cql, mapping)
    return mirror


def test_a_mirror_has_the_tables_columns_and_key(connection: Connection) -> None:
    mirror = one(connection, PLAIN)
    assert mirror.relation == '"ks"."t"'
    found = describe(connection, "ks", "t")
    assert found is not None
    assert found.columns == {"k": "int4", "c": "text", "v": "int4", "_cdc": "bytea"}
    assert found.key == {"k", "c"}
    assert [mirror] == load_mirrors(connection)
    buckets = connection.execute("SELECT count(*), max(generation) FROM cdc_tail.bucket").fetchone()
    assert buckets == (BUCKETS, 1)


def test_it_sorts_text_keys_by_bytes_as_cassandra_does(connection: Connection) -> None:
    one(connection, PLAIN)
    connection.execute("INSERT INTO ks.t (k, c) VALUES (1, 'é'), (1, 'z'), (1, 'Z'), (1, 'a')")
    rows = connection.execute("SELECT c FROM ks.t ORDER BY c").fetchall()
    assert [c for (c,) in rows] == ["Z", "a", "z", "é"]


def test_doing_it_again_changes_nothing_and_waits_for_nobody(
    database: str, connection: Connection
) -> None:
    before = one(connection, PLAIN)
    with connection.transaction():
        connection.execute("LOCK TABLE ks.t IN ACCESS SHARE MODE")
        connection.execute("SELECT FROM cdc_tail.bucket FOR UPDATE")
        with psycopg.connect(database, autocommit=True) as other:
            other.execute("SET lock_timeout = '2s'")
            assert ensure(other, PLAIN) == [before]


def test_added_columns(connection: Connection) -> None:
    before = one(connection, PLAIN)
    connection.execute("INSERT INTO ks.t (k, c, v) VALUES (1, 'a', 2)")
    after = one(connection, PLAIN + "ALTER TABLE ks.t ADD a list<text>, b timestamp;")
    assert columns(connection, "t")["a"] == "_text"
    assert cids(after) == cids(before) | {"a": 4, "b": 3}
    assert after.generation == before.generation + 1
    assert connection.execute("SELECT * FROM ks.t").fetchall() == [(1, "a", 2, None, None, None)]


def test_a_dropped_column_is_kept_and_a_new_one_of_its_name_starts_empty(
    connection: Connection,
) -> None:
    before = one(connection, PLAIN)
    connection.execute("INSERT INTO ks.t (k, c, v) VALUES (1, 'a', 2)")
    dropped = PLAIN + "ALTER TABLE ks.t DROP v USING TIMESTAMP 5000;"
    kept = one(connection, dropped)
    assert kept.columns == ()
    assert [column.name for column in kept.retired] == ["v"]
    assert columns(connection, "t") == {"k": "int4", "c": "text", "v": "int4", "_cdc": "bytea"}
    again = one(connection, dropped + "ALTER TABLE ks.t ADD v bigint;")
    assert cids(again) == cids(before) | {"v": 3}
    assert again.columns[0].pg_type == "int8"
    rows = connection.execute("SELECT v, v__dropped_2 FROM ks.t").fetchall()
    assert rows == [(None, 2)], "Cassandra shows nothing that is older than the drop"
    twice = one(
        connection,
        dropped + "ALTER TABLE ks.t ADD v bigint; ALTER TABLE ks.t DROP v USING TIMESTAMP 9000;"
        "ALTER TABLE ks.t ADD v bigint;",
    )
    assert cids(twice)["v"] == 4, "dropped and added again in one step"
    assert {"v", "v__dropped_2", "v__dropped_3"} < columns(connection, "t").keys()


def test_a_process_that_is_behind_does_not_undo_what_is_newer(connection: Connection) -> None:
    one(connection, PLAIN)
    newest = one(
        connection,
        PLAIN
        + "ALTER TABLE ks.t DROP v USING TIMESTAMP 5000; ALTER TABLE ks.t ADD v bigint, w int;",
    )
    stored = load_mirrors(connection)
    assert stored == [newest]
    one(connection, PLAIN)
    one(connection, PLAIN + "ALTER TABLE ks.t DROP v USING TIMESTAMP 5000;")
    assert load_mirrors(connection) == stored
    dropped = one(connection, PLAIN + "ALTER TABLE ks.t DROP v USING TIMESTAMP 9000;")
    assert one(connection, PLAIN) == dropped, "a column that is gone is not added by an old table"


def test_what_an_old_definition_writes_reaches_no_newer_column(connection: Connection) -> None:
    again = PLAIN + "ALTER TABLE ks.t DROP v USING TIMESTAMP 5000; ALTER TABLE ks.t ADD v text;"
    newest = one(connection, again)
    behind = one(connection, PLAIN)
    assert [column.cql_name for column in behind.columns] != ["v"]
    assert behind.column("v") is None
    # What is in a row's state under the column's number still belongs to the column.
    assert [column.cid for column in behind.columns] == [column.cid for column in newest.columns]
    assert newest.column("v") == newest.columns[0]
    assert mirrors_of(connection, table(PLAIN)) == [behind]
    assert mirrors_of(connection, table(again)) == [newest]


def test_an_older_definition_changes_nothing(connection: Connection) -> None:
    ensure(connection, PLAIN, written_us=1000)
    renamed = PLAIN + "ALTER TABLE ks.t RENAME c TO d;"
    (newest,) = ensure(connection, renamed, written_us=2000)
    assert cids(newest) == {"k": 0, "d": 1, "v": 2}
    (behind,) = ensure(connection, PLAIN, written_us=1000)
    assert load_mirrors(connection) == [newest]
    # The definition's name for the column, the relation's name of it.
    assert [(column.cql_name, column.name) for column in behind.key] == [("k", "k"), ("c", "d")]


def test_renamed_key_columns(connection: Connection) -> None:
    ensure(connection, STATIC)
    renamed = STATIC + "ALTER TABLE ks.t RENAME k2 TO key AND c TO cluster;"
    rows, static = ensure(connection, renamed)
    assert [column.name for column in rows.key] == ["k1", "key", "cluster"]
    assert [column.name for column in static.key] == ["k1", "key"]
    assert list(columns(connection, "t__joined")) == ["k1", "key", "cluster", "s", "v"]


def test_gc_grace_seconds_and_types_that_grow(connection: Connection) -> None:
    types = "CREATE TYPE ks.u (a int);"
    text = f"CREATE TABLE ks.t (k frozen<u> PRIMARY KEY, v u, l list<frozen<u>>) WITH ID = {IDS[0]}"
    before = one(connection, types + text)
    after = one(connection, types + "ALTER TYPE ks.u ADD b text;" + text + "AND gc_grace_seconds=9")
    assert after.gc_grace_seconds == 9
    assert cids(after) == cids(before)
    assert after.generation == before.generation + 1
    assert [column.pg_type for column in (*after.key, *after.columns)] == ["jsonb"] * 3
    assert all("'b'" in repr(column.cql_type) for column in (*after.key, *after.columns))


def test_static_columns_that_come_later(connection: Connection) -> None:
    one(connection, PLAIN)
    rows, static = ensure(connection, PLAIN + "ALTER TABLE ks.t ADD s text static;")
    assert (rows.relation_name, static.relation_name) == ("t", "t__static")
    assert static.joined_view == "t__joined"


def test_the_joined_view_reads_as_select_does(connection: Connection) -> None:
    ensure(connection, STATIC)
    connection.execute(
        "INSERT INTO ks.t (k1, k2, c, v) "
        "VALUES (1, 'a', 1, 'x'), (1, 'a', 2, 'y'), (2, 'b', 1, 'z')"
    )
    connection.execute("INSERT INTO ks.t__static (k1, k2, s) VALUES (1, 'a', 7), (3, 'c', 8)")
    assert connection.execute("SELECT * FROM ks.t__joined ORDER BY 1, 3").fetchall() == [
        (1, "a", 1, 7, "x"),
        (1, "a", 2, 7, "y"),
        (2, "b", 1, None, "z"),
        (3, "c", None, 8, None),
    ]


def test_the_joined_view_finds_a_partition_by_the_primary_keys(connection: Connection) -> None:
    ensure(connection, STATIC)
    connection.execute("SET enable_seqscan = off")
    plan = connection.execute(
        "EXPLAIN (COSTS off) SELECT * FROM ks.t__joined WHERE k1 = 1 AND k2 = 'a'"
    ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Seq Scan" not in text
    assert text.count("Index Cond") == 4


def test_the_joined_view_follows_while_others_depend_on_it(connection: Connection) -> None:
    ensure(connection, STATIC)
    connection.execute("INSERT INTO ks.t__static (k1, k2, s) VALUES (1, 'a', 7)")
    connection.execute("CREATE VIEW public.report AS SELECT s FROM ks.t__joined")
    dropped = STATIC + "ALTER TABLE ks.t DROP s USING TIMESTAMP 5;"
    ensure(connection, dropped + "ALTER TABLE ks.t ADD s int static, w int;")
    assert columns(connection, "t__joined").keys() == {
        *("k1", "k2", "c", "s__dropped_2", "s", "v", "w")
    }
    assert connection.execute("SELECT s, s__dropped_2 FROM ks.t__joined").fetchall() == [(None, 7)]


def test_created_again_the_old_mirror_is_renamed_aside(connection: Connection) -> None:
    old_rows, old_static = ensure(connection, STATIC)
    connection.execute("INSERT INTO ks.t (k1, k2, c, v) VALUES (1, 'a', 1, 'old')")
    connection.execute("CREATE VIEW public.report AS SELECT * FROM ks.t__joined")
    drop_mirrors(connection, old_rows.table_id)
    new_text = f"CREATE TABLE ks.t (id uuid PRIMARY KEY, s int) WITH ID = {IDS[1]}"
    new = one(connection, new_text)
    assert new.relation == '"ks"."t"'
    assert columns(connection, "t").keys() == {"id", "s", "_cdc"}
    aside_rows, aside_static, current = load_mirrors(connection)
    assert aside_rows.relation_name == f"t__dropped_{old_rows.mirror_id}"
    assert aside_static.relation_name == f"t__static__dropped_{old_static.mirror_id}"
    assert aside_static.joined_view == f"t__joined__dropped_{old_static.mirror_id}"
    assert aside_rows.is_dropped
    assert aside_rows.generation > old_rows.generation
    assert current == new
    assert connection.execute("SELECT v FROM public.report").fetchall() == [("old",)]
    # A process that is behind still finds the old mirror, and does not bring it back.
    assert ensure(connection, STATIC) == [aside_rows, aside_static]


def test_an_older_table_of_the_name_gets_no_mirror(connection: Connection) -> None:
    newer = one(connection, PLAIN.replace(IDS[0], IDS[5]))
    assert ensure(connection, PLAIN) == []
    assert load_mirrors(connection) == [newer]


def test_ids_that_cassandra_6_counts_up_are_ordered(connection: Connection) -> None:
    ids = [f"1b255f4d-ef25-40a6-0000-0000000000{low:02x}" for low in (9, 10)]
    newer = one(connection, PLAIN.replace(IDS[0], ids[1]))
    assert ensure(connection, PLAIN.replace(IDS[0], ids[0])) == []
    assert load_mirrors(connection) == [newer]


def test_a_dropped_table_keeps_its_mirror(connection: Connection) -> None:
    mirror = one(connection, PLAIN)
    connection.execute("INSERT INTO ks.t (k, c, v) VALUES (1, 'a', 2)")
    drop_mirrors(connection, mirror.table_id)
    (dropped,) = load_mirrors(connection)
    assert dropped.is_dropped
    assert ensure(connection, PLAIN) == [dropped]
    assert connection.execute("SELECT v FROM ks.t").fetchall() == [(2,)]


def test_names_that_need_care(connection: Connection) -> None:
    long = "x" * 80
    text = (
        f'CREATE TABLE "Pg ""ks""".{long} ("K" int PRIMARY KEY, "sp ace" int, ctid int, '
        f'"_cdc" int, "{long}1" int, "{long}2" int, "100%" int, "é" text, s int) WITH ID = {IDS[0]}'
    )
    mirror = one(connection, text)
    names = {column.cql_name: column.name for column in (*mirror.key, *mirror.columns)}
    assert names["ctid"] == "ctid_"
    assert names["_cdc"] == "_cdc_"
    assert len({*names.values()}) == 9
    assert mirror.relation_schema == 'Pg "ks"'
    assert len(mirror.relation_name) == 63
    connection.execute(f'INSERT INTO {mirror.relation} ("K", "100%", "é") VALUES (1, 2, \'x\')')
    assert one(connection, text) == mirror


def test_keyspaces_that_postgresql_reserves(connection: Connection) -> None:
    for keyspace, schema in (
        ("pg_x", "ks_pg_x"),
        ("public", "public"),
        ("cdc_tail", "ks_cdc_tail"),
    ):
        text = f"CREATE TABLE {keyspace}.t (k int PRIMARY KEY)"
        number = len(load_mirrors(connection))
        assert one(connection, f"{text} WITH ID = {IDS[number]}").relation_schema == schema


def test_a_table_named_like_a_static_mirror(connection: Connection) -> None:
    one(connection, f"CREATE TABLE ks.t__static (k int PRIMARY KEY) WITH ID = {IDS[1]}")
    one(connection, f"CREATE TABLE ks.t__joined (k int PRIMARY KEY) WITH ID = {IDS[2]}")
    rows, static = ensure(connection, STATIC)
    assert rows.relation_name == "t"
    assert static.relation_name.startswith("t__static_")
    assert static.joined_view is not None
    assert static.joined_view.startswith("t__joined_")


def test_a_counter_table_and_one_of_keys_only(connection: Connection) -> None:
    one(connection, f"CREATE TABLE ks.n (k int PRIMARY KEY, n counter) WITH ID = {IDS[0]}")
    assert columns(connection, "n") == {"k": "int4", "n": "int8", "_cdc": "bytea"}
    one(connection, f"CREATE TABLE ks.o (k int PRIMARY KEY) WITH ID = {IDS[1]}")
    assert columns(connection, "o") == {"k": "int4", "_cdc": "bytea"}


def test_as_many_columns_as_postgresql_allows(connection: Connection) -> None:
    names = ", ".join(f"c{number} int" for number in range(1598))
    mirror = one(connection, f"CREATE TABLE ks.t (k int PRIMARY KEY, {names}) WITH ID = {IDS[0]}")
    assert len(columns(connection, "t")) == 1600
    assert len(mirror.columns) == 1598


def test_somebody_elses_table_is_not_touched(connection: Connection) -> None:
    connection.execute("CREATE TABLE public.t (mine int)")
    with pytest.raises(SchemaMismatch, match=r'"public"\."t" exists and is no mirror') as caught:
        ensure(connection, PLAIN.replace("ks.t", "public.t"))
    assert "verify" in caught.value.hint


def test_verify_names_all_that_is_missing_and_changes_nothing(connection: Connection) -> None:
    with pytest.raises(SchemaMismatch) as caught:
        ensure(connection, PLAIN, mode="verify")
    assert 'CREATE SCHEMA "ks"; CREATE TABLE "ks"."t"' in caught.value.hint
    assert load_mirrors(connection) == []
    assert describe(connection, "ks", "t") is None


def test_verify_adopts_tables_that_fit(connection: Connection) -> None:
    connection.execute("CREATE SCHEMA ks")
    connection.execute(
        "CREATE TABLE ks.t (k int, c text, v int, mine text, _cdc bytea, PRIMARY KEY (k, c))"
    )
    (mirror,) = ensure(connection, PLAIN, mode="verify")
    assert cids(mirror) == {"k": 0, "c": 1, "v": 2}


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("k int, c text, v text, _cdc bytea, PRIMARY KEY (k, c)", "column v .* is text, not int4"),
        (
            "k int, c text, v int, _cdc bytea, PRIMARY KEY (k)",
            r"the primary key .* is not \(c, k\)",
        ),
        ("k int, c text, v int, PRIMARY KEY (k, c)", "column _cdc .* is missing, not bytea"),
    ],
)
def test_verify_says_how_a_table_differs(
    connection: Connection, definition: str, message: str
) -> None:
    connection.execute(f"CREATE SCHEMA ks; CREATE TABLE ks.t ({definition})")
    with pytest.raises(SchemaMismatch, match=message):
        ensure(connection, PLAIN, mode="verify")
    assert load_mirrors(connection) == []


def test_what_was_changed_by_hand_is_noticed(connection: Connection) -> None:
    one(connection, PLAIN)
    connection.execute("ALTER TABLE ks.t ALTER v TYPE int8")
    with pytest.raises(SchemaMismatch, match=r"column v .* is int8, not int4"):
        one(connection, PLAIN)
    connection.execute("DROP TABLE ks.t")
    with pytest.raises(SchemaMismatch, match=r'"ks"\."t" does not exist'):
        one(connection, PLAIN)


def test_a_mapping_that_differs_from_the_mirror_is_refused(connection: Connection) -> None:
    one(connection, PLAIN)
    with pytest.raises(SchemaMismatch, match=r"column v is mapped to text, the mirror has int4"):
        ensure(connection, PLAIN, Mapping({"ks.t.v": "text"}))
    with pytest.raises(SchemaMismatch, match="column v is to be left out"):
        ensure(connection, PLAIN, Mapping({"ks.t.v": "omit"}))


def test_several_processes_at_once(database: str, connection: Connection) -> None:
    start = threading.Barrier(6)

    def start_up(number: int) -> list[Mirror]:
        with psycopg.connect(database) as own:
            start.wait()
            install(own)
            return ensure(own, STATIC + "ALTER TABLE ks.t ADD w int;" * (number % 2))

    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(start_up, range(6)))
    assert {len(result) for result in results} == {2}
    rows, _ = load_mirrors(connection)
    assert [column.name for column in rows.columns] == ["v", "w"]


def test_columns_do_not_change_while_a_bucket_is_locked(
    database: str, connection: Connection
) -> None:
    before = one(connection, PLAIN)
    lock = "SELECT generation FROM cdc_tail.bucket WHERE mirror_id = %s AND bucket = 3 FOR UPDATE"
    with psycopg.connect(database) as applier, psycopg.connect(database) as behind:
        applier.execute(lock, (before.mirror_id,))
        with ThreadPoolExecutor(2) as pool:
            change = pool.submit(one, connection, PLAIN + "ALTER TABLE ks.t ADD w int;")
            waiting = pool.submit(behind.execute, lock, (before.mirror_id,))
            while not change.done() and waiters(applier) < 2:
                time.sleep(0.01)
            assert not change.done()
            applier.execute("INSERT INTO ks.t (k, c, v) VALUES (1, 'a', 2)")
            applier.commit()
            # Whoever waited for the lock sees, in some order, the old columns or the new number.
            seen = waiting.result(timeout=30).fetchone()
            behind.commit()
            after = change.result(timeout=30)
    assert after.generation == before.generation + 1
    assert seen in [(before.generation,), (after.generation,)]


def waiters(connection: Connection) -> int:
    found = connection.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ).fetchone()
    assert found is not None
    return int(found[0])
