"""Masked columns beside a real node: nothing in PostgreSQL or Parquet has what they hold."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import one_value
from tests.support.sidecar import Sidecar, wait_until

KEY = "a key that nobody guesses"
SECRET = "swordfish"
TABLE = """CREATE TABLE people (k int, c int, email text, pin int, born date, note text,
    tags set<text>, notes list<text>, links map<text, text>, home place, flat frozen<list<text>>,
    gone set<text>, st text static, checked text, PRIMARY KEY (k, c)) WITH cdc = true"""
MASKED = {
    "email": "hash",
    "pin": "hash",
    "born": "constant:1900-01-01",
    "note": "null",
    "tags": "hash",
    "notes": "hash",
    "links": "hash",
    "home": "hash",
    "flat": "hash",
    "gone": "null",
    "st": "hash",
}


def hashed(value: bytes) -> str:
    return hmac.new(KEY.encode(), value, hashlib.sha256).hexdigest()


@pytest.fixture
def space(cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]) -> Keyspace:
    made = keyspace(cassandra_node())
    made.session.execute("CREATE TYPE place (street text, number int)")
    made.session.execute(TABLE)
    return made


@pytest.fixture
def settings(space: Keyspace, tmp_path: Path) -> dict[str, object]:
    choices = [f"{space.name}.people.{name}={mask}" for name, mask in MASKED.items()]
    return {
        "mirror.include": f"{space.name}.*",
        "mirror.columns": ",".join(choices),
        "mirror.mask_key": KEY,
        "watch.keep_segments": True,
        "parquet.location": tmp_path / "archive",
        "parquet.roll_seconds": 1,
    }


@pytest.fixture
def sidecar(
    space: Keyspace, settings: dict[str, object], database: str, tmp_path: Path
) -> Iterator[Sidecar]:
    with Sidecar(space.node, database, tmp_path, settings=settings) as running:
        yield running.wait_live()


def write(space: Keyspace, key: int) -> None:
    space.session.execute(
        f"""INSERT INTO people (k, c, email, pin, born, note, tags, notes, links, home, flat, gone,
        st, checked) VALUES ({key}, 1, '{SECRET}', 4711, '1985-05-05', '{SECRET}',
        {{'{SECRET}', 'b'}}, ['{SECRET}', 'y'], {{'{SECRET}': '{SECRET}'}},
        {{street: '{SECRET}', number: 4711}}, ['{SECRET}'], {{'{SECRET}'}}, '{SECRET}', 'seen')"""
    )


def row(dsn: str, space: Keyspace, key: int) -> tuple[Any, ...] | None:
    with psycopg.connect(dsn) as connection:
        return connection.execute(
            f"SELECT email, pin, born::text, note, tags, notes, links, home, flat, gone, checked"
            f" FROM {space.name}.people WHERE k = {key}".encode()
        ).fetchone()


def everything(dsn: str) -> bytes:
    """Every value of every relation of the database, in PostgreSQL's binary form."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        rows = b""
        for (name,) in names:
            statement = f"SELECT coalesce(string_agg(record_send(t), ''), '') FROM {name} AS t"
            found = connection.execute(statement.encode(), binary=True).fetchone()
            assert found is not None
            rows += found[0]
    return rows


def equal(sidecar: Sidecar) -> None:
    done = sidecar.command("verify", "--settle-seconds", "30")
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_stored_has_what_is_masked(
    sidecar: Sidecar, space: Keyspace, database: str, tmp_path: Path
) -> None:
    write(space, 1)
    wait_until(lambda: row(database, space, 1), sidecar)
    secret, pin = hashed(SECRET.encode()), hashed((4711).to_bytes(4))
    assert row(database, space, 1) == (
        secret,
        pin,
        "1900-01-01",
        None,
        sorted([secret, hashed(b"b")]),
        [secret, hashed(b"y")],
        {secret: secret},
        {"street": secret, "number": pin},
        hashed(b"\0\0\0\1\0\0\0\x09" + SECRET.encode()),
        None,
        "seen",
    )
    assert one_value(database, f"SELECT st FROM {space.name}.people__static") == secret
    equal(sidecar)

    # What is updated, removed and expires goes by the masked names of elements.
    for statement in (
        f"""UPDATE people SET tags = tags - {{'{SECRET}'}}, links = links - {{'{SECRET}'}},
        notes = ['z'], home.number = 5, born = null WHERE k = 1 AND c = 1""",
        f"INSERT INTO people (k, c, email) VALUES (2, 2, '{SECRET}') USING TTL 1",
        f"INSERT INTO people (k, c, note) VALUES (3, 3, '{SECRET}')",
        "INSERT INTO people (k, c, email, tags) VALUES (4, 4, '', {})",
        "UPDATE people SET checked = 'last' WHERE k = 5 AND c = 5",
    ):
        space.session.execute(statement)
    wait_until(lambda: row(database, space, 5), sidecar)
    assert (row(database, space, 1) or ())[2:8] == (
        None,
        None,
        [hashed(b"b")],
        [hashed(b"z")],
        None,
        {"street": secret, "number": hashed((5).to_bytes(4))},
    )
    equal(sidecar)

    # A row that PostgreSQL refuses is set aside, sealed, and comes in when that is retried.
    with psycopg.connect(database) as connection:
        connection.execute(
            f"ALTER TABLE {space.name}.people ADD CONSTRAINT few CHECK (k < 100)".encode()
        )
    write(space, 100)
    wait_until(lambda: one_value(database, "SELECT count(*) FROM cdc_tail.dead_letter"), sidecar)
    assert SECRET.encode() not in everything(database)
    assert (4711).to_bytes(4) not in everything(database)
    (listed,) = json.loads(sidecar.command("dlq", "list", "--json").stdout)["records"]
    shown = sidecar.command("dlq", "show", listed["id"], "--json").stdout
    assert json.loads(shown)["is_sealed"] and json.loads(shown)["mutation"] is None
    assert SECRET not in shown
    with psycopg.connect(database) as connection:
        connection.execute(f"ALTER TABLE {space.name}.people DROP CONSTRAINT few".encode())
    assert sidecar.command("dlq", "retry", listed["id"]).returncode == 0
    assert (row(database, space, 100) or ())[:2] == (secret, pin)
    equal(sidecar)

    # Rows are copied, and put right, as they are tailed.
    with psycopg.connect(database) as connection:
        connection.execute(f"UPDATE {space.name}.people SET email = 'x' WHERE k = 1".encode())
        connection.execute(f"DELETE FROM {space.name}.people WHERE k = 3".encode())
    repaired = sidecar.command("verify", "--repair", "--settle-seconds", "0")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert SECRET not in repaired.stdout
    assert row(database, space, 1) and row(database, space, 3)
    copied = sidecar.command("snapshot", "--table", f"{space.name}.people")
    assert copied.returncode == 0, copied.stdout + copied.stderr
    equal(sidecar)
    assert SECRET.encode() not in everything(database)

    assert sidecar.stop() == 0
    files = list((tmp_path / "archive").rglob("*.parquet"))
    assert files
    assert not [one for one in files if SECRET.encode() in one.read_bytes()]
    with duckdb.connect() as duck:
        found = duck.execute(
            "SELECT email, pin, born, note, flat, _cdc_cells::text"
            " FROM read_parquet(?, union_by_name = true) WHERE k = 100 AND c = 1",
            [[str(one) for one in files]],
        ).fetchone()
    assert found is not None
    assert found[:4] == (secret, pin, "1900-01-01", None)
    assert SECRET not in found[5] and secret in found[5]
    assert SECRET not in sidecar.log_file.read_text()


def test_another_key_or_mask_than_the_mirrors_is_told(
    sidecar: Sidecar, space: Keyspace, database: str
) -> None:
    write(space, 1)
    wait_until(lambda: row(database, space, 1), sidecar)
    assert sidecar.stop() == 0
    for key, value, said in (
        ("mirror.mask_key", "another key altogether", "masked by"),
        ("mirror.columns", f"{space.name}.people.email=null", "is to be masked by"),
        ("mirror.mask_key", "", "there is no key for it"),
    ):
        other = Sidecar(space.node, database, sidecar.log_file.parent, name="other")
        other.settings = sidecar.settings | {key: value, "http.port": other.port}
        done = other.command("run")
        assert done.returncode != 0
        assert said in done.stdout + done.stderr
