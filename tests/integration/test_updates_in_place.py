"""Rows are updated where they were read, and by their key where somebody has moved them since."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks import workload
from cdc_tail import config
from cdc_tail.replay import Replay
from sinks.postgres import applier
from tests.support.sidecar import wait_until

ROWS = 300
LATER_US = 1_000_000
TAKE = "UPDATE bench.orders SET mine = 1 WHERE amount % 2 = 0 RETURNING customer, line"
Apply = Callable[[Iterable[bytes]], None]


@pytest.fixture
def apply(database: str, tmp_path: Path) -> Apply:
    """`apply(mutations)`: replay them into `database`, as a segment of their own."""
    schema = tmp_path / "schema.cql"
    schema.write_text(workload.SCHEMA_CQL)
    settings = config.load(environ={}, options={"postgres.dsn": database, "node": "replay"})
    ids = iter(range(1_700_000_000_001, 1_700_000_000_999))

    def replay(mutations: Iterable[bytes]) -> None:
        first_id = next(ids)
        folder = tmp_path / str(first_id)
        workload.write_segments(folder, iter(mutations), first_id=first_id)
        Replay(settings, [folder], schema).run()

    return replay


def writes(kind: str, later_us: int = 0) -> list[bytes]:
    chooser = random.Random(later_us)
    first_us = workload.FIRST_WRITETIME_US + later_us
    return [workload.mutation(kind, 4 * key, first_us + key, chooser) for key in range(ROWS)]


def query(dsn: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(text.encode()).fetchall()


def change(dsn: str, text: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(text.encode())


def test_an_update_looks_each_row_up_once(database: str, apply: Apply) -> None:
    apply(writes("insert"))
    counts = """
        SELECT n_tup_upd, i.idx_scan
          FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid)
         WHERE t.schemaname = 'bench' AND t.relname = 'orders'
    """
    wait_until(lambda: query(database, counts) == [(0, ROWS)], "the statistics")
    apply(writes("insert", LATER_US))
    wait_until(lambda: query(database, counts)[0][0] == ROWS, "the statistics")
    assert query(database, counts) == [(ROWS, 2 * ROWS)]


@pytest.mark.parametrize("kind", ["insert", "update"])
def test_rows_that_somebody_moves_meanwhile(
    kind: str, database: str, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(writes("insert"))
    change(database, "ALTER TABLE bench.orders ADD COLUMN mine int")
    moved = []

    def point(name: str) -> None:
        if name == "sink.read":
            moved.extend(query(database, TAKE))

    monkeypatch.setattr(applier, "point", point)
    apply(writes(kind, LATER_US))
    assert 0 < len(moved) < ROWS
    assert sorted(query(database, "SELECT customer, line FROM bench.orders WHERE mine = 1")) == (
        sorted(moved)
    )
    values = "SELECT customer, line, amount, note, seen FROM bench.orders ORDER BY 1, 2"
    mixed = query(database, values)
    monkeypatch.undo()
    change(database, "TRUNCATE bench.orders")
    apply(writes("insert"))
    apply(writes(kind, LATER_US))
    assert mixed == query(database, values)
