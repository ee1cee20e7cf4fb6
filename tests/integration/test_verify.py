"""`verify` against a real node: equal where equal, and every kind of difference is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cassandra.cluster import Session

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.verify import Result, Verifier
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.sidecar import Sidecar, wait_until

TABLES = (
    "CREATE TYPE place (street text, number int)",
    """CREATE TABLE scalars (k int PRIMARY KEY, a ascii, b bigint, c blob, d boolean, e decimal,
        f double, g float, h inet, i smallint, j text, l time, m timestamp, n timeuuid, o tinyint,
        p uuid, q varint, r date, s duration) WITH cdc = true""",
    """CREATE TABLE nested (k text, c int, l list<text>, s set<timestamp>, m map<text, double>,
        t frozen<tuple<int, text>>, u place, v vector<float, 3>, st text static,
        PRIMARY KEY (k, c)) WITH cdc = true""",
)
SCALARS = (
    """INSERT INTO scalars (k, a, b, c, d, e, f, g, h, i, j, l, m, n, o, p, q, r, s) VALUES (1,
        'plain', -9223372036854775808, 0x00ff, true, -12.3400, 1e-300, 0.1, '10.0.0.1', -32768,
        'žluťoučký "kůň" \\', '23:59:59.999999999', '1900-01-01 00:00:00.001+0000',
        50554d6e-29bb-11e5-b345-feff819cdc9f, -128, 123e4567-e89b-12d3-a456-426614174000,
        123456789012345678901234567890, '-0044-03-15', -1mo2d3h4ms)""",
    """INSERT INTO scalars (k, f, g, h, m, r, s, j) VALUES (2, NaN, -Infinity, '::1',
        '9999-12-31 23:59:59.999+0000', '9999-12-31', 2y3d4h5us, '')""",
    "INSERT INTO scalars (k) VALUES (3)",
)
NESTED = (
    """INSERT INTO nested (k, c, l, s, m, t, u, v, st) VALUES ('a', 1, ['x', 'NULL', '', '{"q"}'],
        {'2020-01-01 00:00:00+0000', '1969-12-31 23:59:59.5+0000'}, {'pi': 3.14159, 'e': 2.7},
        (1, null), {street: 'Main', number: 3}, [1.5, -0.25, 3e10], 'static')""",
    "INSERT INTO nested (k, c) VALUES ('a', 2)",
    "INSERT INTO nested (k, st) VALUES ('only static', 'x')",
    "UPDATE nested SET l = [] WHERE k = 'b' AND c = 1",
)

Verify = Callable[..., dict[str, Result]]


@pytest.fixture
def ks(cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]) -> Keyspace:
    made = keyspace(cassandra_node("5.0"))
    for statement in (*TABLES, *SCALARS, *NESTED):
        made.session.execute(statement)
    return made


@pytest.fixture
def sidecar(ks: Keyspace, database: str, tmp_path: Path) -> Iterator[Sidecar]:
    settings = {"watch.keep_segments": True, "mirror.include": f"{ks.name}.*"}
    with Sidecar(ks.node, database, tmp_path, settings=settings) as running:
        yield running.wait_live()


@pytest.fixture
def raw(ks: Keyspace) -> Session:
    session: Session = ks.node.session()
    return session


@pytest.fixture
def verify(ks: Keyspace, raw: Session, sidecar: Sidecar, database: str) -> Iterator[Verify]:
    with psycopg.connect(database) as conn:

        def run(table: str, settle_seconds: float = 5) -> dict[str, Result]:
            verifier = Verifier(raw, conn, settle_seconds=settle_seconds)
            mirrors = verifier.mirrors([f"{ks.name}.{table}"])
            return {mirror.kind: verifier.verify(mirror) for mirror in mirrors}

        yield run


def test_every_type_is_equal(verify: Verify) -> None:
    scalars = verify("scalars")["rows"]
    assert scalars.differences == []
    assert scalars.rows == 3
    nested = verify("nested")
    assert nested["rows"].differences == []
    assert nested["static"].differences == []
    assert (nested["rows"].rows, nested["static"].rows) == (2, 2)


FALSE_SCALARS = (
    ("a", "'Plain'"), ("b", "-9223372036854775807"), ("c", "'\\x00fe'"), ("d", "false"),
    ("e", "-12.3401"), ("f", "1.0000001e-300"), ("g", "0.10000001"), ("h", "'10.0.0.2'"),
    ("i", "0"), ("j", "'kun'"), ("l", "'23:59:59.999998'"), ("o", "127"),
    ("m", "'1900-01-01 00:00:00.002+0000'"), ("q", "123456789012345678901234567891"),
    ("p", "'123e4567-e89b-12d3-a456-426614174001'"), ("r", "'0045-03-14 BC'"),
    ("s", "'-1 mons 2 days'"), ("n", "NULL"),
)  # fmt: skip
FALSE_NESTED = (
    ("l", "'{x,NULL,\"\"}'"), ("l", "'{x,\"NULL\",\"\",\"{q}\"}'"),
    ("s", "'{\"2020-01-01 00:00:00+0\"}'"), ("m", "'{\"pi\": 3.14159, \"e\": 2.8}'"),
    ("t", "'[1, \"x\"]'"), ("u", "'{\"street\": \"Main\", \"number\": 4}'"),
    ("v", "'{1.5,-0.25,3}'"),
)  # fmt: skip


def test_a_value_that_differs_in_the_least_is_found(
    verify: Verify, ks: Keyspace, database: str
) -> None:
    for table, key, falsehoods in (("scalars", "k", FALSE_SCALARS), ("nested", "c", FALSE_NESTED)):
        with psycopg.connect(database, autocommit=True) as conn:
            for column, value in falsehoods:
                where = f"{ks.name}.{table} SET {column}"
                (held,) = conn.execute(
                    f"SELECT {column}::text FROM {ks.name}.{table} WHERE {key} = 1".encode()
                ).fetchone() or (None,)
                change(database, f"UPDATE {where} = {value} WHERE {key} = 1")
                (found,) = verify(table, 0)["rows"].differences
                assert found.kind == "different"
                assert list(found.columns) == [column]
                conn.execute(f"UPDATE {where} = %s WHERE {key} = 1".encode(), (held,))
        assert verify(table, 0)["rows"].differences == []


def test_missing_and_extra_rows_are_found(verify: Verify, ks: Keyspace, database: str) -> None:
    change(database, f"DELETE FROM {ks.name}.scalars WHERE k = 3")
    change(database, f"INSERT INTO {ks.name}.scalars (k, a, _cdc) VALUES (77, 'new', '')")
    change(database, f"UPDATE {ks.name}.nested__static SET st = 'other' WHERE k = 'only static'")
    found = {one.kind: one.key for one in verify("scalars", 0.1)["rows"].differences}
    assert found == {"missing": {"k": 3}, "extra": {"k": 77}}
    (static,) = verify("nested", 0.1)["static"].differences
    assert static.columns == {"st": ("x", "other")}


def test_repair_writes_what_differs(
    verify: Verify, ks: Keyspace, raw: Session, database: str
) -> None:
    change(database, f"DELETE FROM {ks.name}.scalars WHERE k = 3")
    change(database, f"INSERT INTO {ks.name}.scalars (k, a, _cdc) VALUES (77, 'new', '')")
    change(database, f"UPDATE {ks.name}.scalars SET j = 'other' WHERE k = 1")
    change(database, f"UPDATE {ks.name}.nested__static SET st = 'other' WHERE k = 'only static'")
    with psycopg.connect(database) as conn:
        verifier = Verifier(raw, conn, settle_seconds=0.1, repair=True)
        mirrors = verifier.mirrors([f"{ks.name}.scalars", f"{ks.name}.nested"])
        assert sum(verifier.verify(mirror).repaired for mirror in mirrors) == 4
    for table in ("scalars", "nested"):
        for result in verify(table, 0.1).values():
            assert result.differences == []
            assert result.rows_compared == 0  # the sums are equal: every type has one


def test_what_becomes_equal_while_it_looks_is_no_difference(
    verify: Verify, ks: Keyspace, sidecar: Sidecar
) -> None:
    sidecar.kill()
    ks.session.execute("INSERT INTO scalars (k, a) VALUES (4, 'late')")
    ks.session.execute("DELETE FROM scalars WHERE k = 2")
    sidecar.start()
    assert verify("scalars", 30)["rows"].differences == []


def test_many_rows_over_pages_and_ranges(verify: Verify, ks: Keyspace, database: str) -> None:
    from cassandra.concurrent import execute_concurrent_with_args

    insert = ks.session.prepare("INSERT INTO nested (k, c, l) VALUES (?, ?, ?)")
    rows = [(f"p{number % 50}", number, [str(number)]) for number in range(3000)]
    execute_concurrent_with_args(ks.session, insert, rows, concurrency=64)
    result = verify("nested", 30)["rows"]
    assert (result.rows, result.differences) == (3002, [])
    change(database, f"UPDATE {ks.name}.nested SET l = NULL WHERE c = 2999")
    (found,) = verify("nested", 0.1)["rows"].differences
    assert found.key == {"k": "p49", "c": 2999}


def test_the_command_prints_differences_and_exits_1(
    ks: Keyspace, sidecar: Sidecar, database: str
) -> None:
    def held() -> Any:
        with psycopg.connect(database) as conn:
            return conn.execute(f"SELECT count(*) FROM {ks.name}.scalars".encode()).fetchone()

    wait_until(lambda: held() == (3,), "three rows")
    done = sidecar.command("verify", "--json")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    change(database, f"DELETE FROM {ks.name}.scalars WHERE k = 3")
    done = sidecar.command("verify", "--json", "--settle-seconds", "0.1")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "table": f"{ks.name}.scalars",
        "kind": "missing",
        "key": {"k": 3},
        "columns": {},
    }
    done = sidecar.command("verify", "--table", "no.such")
    assert done.returncode == 2
    assert "no.such has no mirror" in done.stderr


def change(dsn: str, statement: str) -> None:
    """Falsify the mirror by hand."""
    with psycopg.connect(dsn) as conn:
        assert conn.execute(statement.encode()).rowcount == 1
