"""Rows that PostgreSQL refuses unforeseen: found by halves, kept as dead letters."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks import workload
from cdc_tail import config
from cdc_tail.errors import RowRejected, SchemaMismatch
from cdc_tail.local.postgres import PostgresServer
from cdc_tail.replay import Outcome, Replay

ROWS = 3_000
# Of the workload's amounts about one in 300, so that a batch holds several, far from each other.
ACCEPTABLE = "mod(amount, 307) <> 0"
COLUMNS = "customer, line, amount, city, count, flag, note, price, ref, seen"
Apply = Callable[..., Outcome]

_segment_ids = itertools.count(1_700_000_000_001, 1000)


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    """`apply(dsn, mutations, batch=20_000)`: replay them, as segments of their own."""
    schema = tmp_path / "schema.cql"
    schema.write_text(workload.SCHEMA_CQL)

    def replay(dsn: str, mutations: Iterable[bytes], *, batch: int = 20_000) -> Outcome:
        first_id = next(_segment_ids)
        folder = tmp_path / str(first_id)
        workload.write_segments(folder, iter(mutations), first_id=first_id)
        settings = config.load(
            environ={}, options={"postgres.dsn": dsn, "node": "replay", "batch.max_rows": batch}
        )
        return Replay(settings, [folder], schema).run()

    return replay


@pytest.fixture
def unbound(postgres: PostgresServer, apply: Apply) -> Any:
    """A second database, whose mirror takes everything."""
    dsn = postgres.create_database("refused_rows_unbound")
    yield dsn
    postgres.drop_database("refused_rows_unbound")


class Chooser(random.Random):
    """Chooses values as the workload does, but for the amount where one is given."""

    amount: int | None = None

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        if self.amount is not None and start == 1 << 40:
            return self.amount
        return super().randrange(start, stop, step)


def write(kind: str, key: int, *, amount: int | None = None, later_us: int = 0) -> bytes:
    chooser = Chooser(key)
    chooser.amount = amount
    return workload.mutation(kind, key, 2_000_000_000_000_000 + later_us, chooser)


def query(dsn: str, text: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(text.encode(), parameters).fetchall()


def forbid(dsn: str, condition: str = f"CHECK ({ACCEPTABLE}) NOT VALID") -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(f"ALTER TABLE bench.orders ADD CONSTRAINT mine {condition}".encode())


def test_only_the_refused_rows_are_missing(database: str, unbound: str, apply: Apply) -> None:
    mutations = list(workload.mutations(ROWS))
    apply(database, mutations[:1])
    forbid(database)
    outcome = apply(database, mutations, batch=1_000)
    apply(unbound, mutations)
    wanted = query(unbound, f"SELECT {COLUMNS} FROM bench.orders WHERE {ACCEPTABLE} ORDER BY 1, 2")
    refused = query(unbound, f"SELECT customer, line FROM bench.orders WHERE NOT ({ACCEPTABLE})")
    assert len(refused) > 3

    def mirrored() -> list[tuple[Any, ...]]:
        """But for rows that were refused as they are now, and may be there as they were."""
        rows = query(database, f"SELECT {COLUMNS} FROM bench.orders ORDER BY 1, 2")
        return [row for row in rows if row[:2] not in refused]

    assert mirrored() == wanted

    letters = query(
        database,
        "SELECT key, raw, reason, detail, sqlstate, state, table_name FROM cdc_tail.dead_letter",
    )
    assert outcome.dead_letters == len(letters)
    assert {bytes(one[0]).decode() for one in letters} >= {row[0] for row in refused}
    assert {bytes(one[1]) for one in letters} <= set(mutations)
    assert {one[4:] for one in letters} == {("23514", "open", "orders")}
    assert all('violates check constraint "mine"' in one[2] for one in letters)
    shortfall = outcome.shortfall()
    assert isinstance(shortfall, RowRejected) and str(len(letters)) in str(shortfall)

    again = apply(database, mutations)
    assert again.dead_letters == len(query(database, "SELECT FROM cdc_tail.dead_letter"))
    assert mirrored() == wanted


def test_a_later_write_brings_all_of_the_row(database: str, unbound: str, apply: Apply) -> None:
    good, bad, other = write("insert", 1), write("insert", 2, amount=614), write("insert", 3)
    update = write("update", 2, amount=615, later_us=1)
    apply(database, [good])
    forbid(database, "CHECK (amount <> 614) NOT VALID")
    assert apply(database, [bad]).dead_letters == 1
    assert apply(database, [other]).dead_letters == 1
    assert len(query(database, "SELECT FROM bench.orders")) == 2

    outcome = apply(database, [update])
    assert outcome.dead_letters == 0 and outcome.mutations == 1
    assert query(database, "SELECT state FROM cdc_tail.dead_letter") == [("retried",)]
    apply(unbound, [good, bad, other, update])
    every_row = f"SELECT {COLUMNS} FROM bench.orders ORDER BY 1, 2"
    assert query(database, every_row) == query(unbound, every_row)


def test_a_later_write_that_does_not_help_is_kept_too(database: str, apply: Apply) -> None:
    apply(database, [write("insert", 1)])
    forbid(database, "CHECK (city IS NULL) NOT VALID")
    assert apply(database, [write("insert", 2)]).dead_letters == 1
    assert apply(database, [write("update", 2, later_us=1)]).dead_letters == 2
    assert query(database, "SELECT state, seen FROM cdc_tail.dead_letter ORDER BY id") == [
        ("open", 2), ("open", 1),
    ]  # fmt: skip
    assert query(database, "SELECT open FROM cdc_tail.dead_letter_count") == [(2,)]


UNIQUE = """
ALTER TABLE bench.orders ADD CONSTRAINT mine UNIQUE (amount) DEFERRABLE INITIALLY DEFERRED
"""
TRIGGER = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount = 614 AND NEW.line = 2 THEN RAISE EXCEPTION 'not that one'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mine BEFORE INSERT ON bench.orders FOR EACH ROW EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize(
    ("change", "sqlstate"),
    [(UNIQUE, "23505"), (TRIGGER, "P0001")],
    ids=["deferred constraint", "trigger"],
)
def test_whatever_somebody_added_to_the_mirror(
    change: str, sqlstate: str, database: str, apply: Apply
) -> None:
    apply(database, [write("insert", 0)])
    with psycopg.connect(database) as connection:
        connection.execute(change.encode())
    twice = {50: 614, 151: 614}
    rows = [write("insert", number, amount=twice.get(number)) for number in range(200)]
    assert apply(database, rows).dead_letters == 1
    assert query(database, "SELECT sqlstate FROM cdc_tail.dead_letter") == [(sqlstate,)]
    assert len(query(database, "SELECT FROM bench.orders")) == 199


def test_a_key_that_is_too_large_for_an_index(database: str, apply: Apply) -> None:
    key = random.Random(5).randbytes(4_000).hex().encode()

    def enlarged(mutation: bytes) -> bytes:
        small = workload.uvint(17) + b"customer-%08d" % 30
        assert mutation.count(small) == 1
        return mutation.replace(small, workload.uvint(len(key)) + key)

    rows = [write("insert", number) for number in range(0, 400, 4)]
    large = [enlarged(write("insert", 120)), enlarged(write("delete", 120, later_us=1))]
    assert apply(database, [*rows, *large]).dead_letters == 2
    assert len(query(database, "SELECT FROM bench.orders")) == len(rows)
    assert set(query(database, "SELECT key, sqlstate FROM cdc_tail.dead_letter")) == {
        (key, "54000")
    }


def test_what_is_not_about_rows_stops_and_keeps_all(database: str, apply: Apply) -> None:
    rows = [write("insert", number) for number in range(10)]
    apply(database, rows[:1])
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE bench.orders RENAME COLUMN amount TO gone")
    with pytest.raises(SchemaMismatch, match="amount"):
        apply(database, rows)
    assert query(database, "SELECT FROM cdc_tail.dead_letter") == []
