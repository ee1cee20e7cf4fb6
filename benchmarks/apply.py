"""Batches into a mirror over one connection, beside what PostgreSQL does without reconciliation."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks import workload
from benchmarks.applying import Applier, Timing
from benchmarks.context import Context
from benchmarks.report import Goal, Measure
from cdc_tail.settings import BatchSettings

BATCH_ROWS = BatchSettings().max_rows
KEY = ("customer", "line")
VALUES = tuple(sorted(name.decode() for name in workload.COLUMNS))
CHANGED = ("amount", "note")  # by a partial update


@dataclass
class Figures:
    """Rows per second of one round."""

    new: float
    copies: float
    updates: float
    partial: float
    copy: float
    upsert: float
    partial_upsert: float


def measure(context: Context) -> list[Measure]:
    """New rows, updates of all columns and of two, and copies that change nothing."""
    n = context.size(200_000, 40_000)
    folder = context.folder()
    segments = _segments(folder, n)
    rounds = [_round(context, folder, segments) for _ in range(context.size(5, 3))]

    def median(name: str) -> float:
        found = sorted(float(getattr(one, name)) for one in rounds)
        return found[len(found) // 2]

    def ratio(name: str, reference: str, what: str, least: float) -> Measure:
        # The median of the ratios: what loads the machine for a round loads both of its figures.
        ratios = sorted(getattr(one, name) / getattr(one, reference) for one in rounds)
        middle = ratios[len(ratios) // 2]
        value = median(name)
        return Measure(
            what=what,
            value=value,
            unit="rows/s",
            reference=REFERENCES[reference],
            reference_value=value / middle,
            goal=Goal("ratio", at_least=least),
        )

    return [
        ratio("new", "copy", "apply new rows", 0.5),
        ratio("updates", "upsert", "apply updates of all columns", 0.8),
        ratio("partial", "partial_upsert", "apply updates of two columns", 0.8),
        ratio("copies", "new", "apply copies that change nothing", 3),
    ]


REFERENCES = {
    "copy": "COPY into the same keyed table",
    "upsert": "COPY to a temporary table + INSERT .. ON CONFLICT DO UPDATE",
    "partial_upsert": "the same for two columns",
    "new": "their first application",
}


def _segments(folder: Path, n: int) -> dict[str, list[Path]]:
    """New rows, the same rows written again later (shuffled), and two of their columns."""
    chooser = random.Random(2)
    keys = list(range(n))
    made = {}
    for number, (name, kind) in enumerate(
        (("new", "insert"), ("updates", "insert"), ("partial", "update"))
    ):
        first_us = workload.FIRST_WRITETIME_US + number * n
        entries = [
            workload.mutation(kind, key, first_us + place, chooser)
            for place, key in enumerate(keys)
        ]
        made[name] = workload.write_segments(
            folder / name, iter(entries), first_id=1_700_000_000_001 + 1000 * number
        )
        chooser.shuffle(keys)
    return made


def _round(context: Context, folder: Path, segments: dict[str, list[Path]]) -> Figures:
    dsn = context.database()
    with Applier(dsn, workload.SCHEMA_CQL, folder) as applier:
        timings: dict[str, Timing] = {}
        with psycopg.connect(dsn, autocommit=True) as plain:
            timings["new"] = applier.apply(segments["new"])
            _make_reference(plain)
            batches = list(_batches(plain, (*KEY, *VALUES)))
            copy = _copy(plain, batches)
            timings["copies"] = applier.apply(segments["new"])
            timings["updates"] = applier.apply(segments["updates"])
            upsert = _upsert(plain, list(_batches(plain, (*KEY, *VALUES), "_cdc")), VALUES)
            timings["partial"] = applier.apply(segments["partial"])
            partial = _upsert(plain, list(_batches(plain, (*KEY, *CHANGED), "_cdc")), CHANGED)
            _expect_equal(plain)
    assert timings["copies"].applied.unchanged == timings["copies"].applied.rows
    assert timings["updates"].applied.updated == timings["partial"].applied.updated
    return Figures(
        copy=copy,
        upsert=upsert,
        partial_upsert=partial,
        **{name: one.rows_per_second for name, one in timings.items()},
    )


def _names(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _make_reference(plain: psycopg.Connection) -> None:
    """The mirror's relation without our column."""
    plain.execute("CREATE TABLE reference (LIKE bench.orders INCLUDING ALL)")
    plain.execute("ALTER TABLE reference DROP COLUMN _cdc")
    plain.execute("CREATE TEMPORARY TABLE staged (LIKE reference) ON COMMIT DELETE ROWS")


def _batches(
    plain: psycopg.Connection, columns: tuple[str, ...], order: str = "customer, line"
) -> Iterator[list[bytes]]:
    """COPY BINARY data of the mirror's rows as they are now, in batches as large as ours.

    Ordered as we were given them: by key, or by writetime, which the state begins with.
    """
    names = _names(columns)
    plain.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE ordered AS SELECT {}, row_number() OVER (ORDER BY {}) AS n"
            " FROM bench.orders"
        ).format(names, sql.SQL(order))
    )
    n = plain.execute("SELECT count(*) FROM ordered").fetchall()[0][0]
    for first in range(1, n + 1, BATCH_ROWS):
        statement = sql.SQL(
            "COPY (SELECT {} FROM ordered WHERE n BETWEEN {} AND {}) TO STDOUT (FORMAT BINARY)"
        ).format(names, sql.Literal(first), sql.Literal(first + BATCH_ROWS - 1))
        with plain.cursor().copy(statement) as copy:
            yield [bytes(piece) for piece in copy]
    plain.execute("DROP TABLE ordered")


def _put(plain: psycopg.Connection, relation: str, names: sql.Composed, data: list[bytes]) -> int:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(relation), names
    )
    joined = b"".join(data)
    cursor = plain.cursor()
    with cursor.copy(statement) as copy:
        copy.write(joined)
    return cursor.rowcount


def _copy(plain: psycopg.Connection, batches: list[list[bytes]]) -> float:
    began = time.perf_counter()
    rows = 0
    for data in batches:
        with plain.transaction():
            rows += _put(plain, "reference", _names((*KEY, *VALUES)), data)
    return rows / (time.perf_counter() - began)


def _upsert(
    plain: psycopg.Connection, batches: list[list[bytes]], changed: tuple[str, ...]
) -> float:
    names = _names((*KEY, *changed))
    statement = sql.SQL(
        "INSERT INTO reference ({names}) SELECT {names} FROM staged"
        " ON CONFLICT ({key}) DO UPDATE SET {assignments}"
    ).format(
        names=names,
        key=_names(KEY),
        assignments=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(one)) for one in changed
        ),
    )
    began = time.perf_counter()
    rows = 0
    for data in batches:
        with plain.transaction():
            rows += _put(plain, "staged", names, data)
            plain.execute(statement)
    return rows / (time.perf_counter() - began)


def _expect_equal(plain: psycopg.Connection) -> None:
    names = _names((*KEY, *VALUES))
    found = plain.execute(
        sql.SQL(
            "SELECT count(*) FROM (SELECT {0} FROM bench.orders EXCEPT SELECT {0} FROM reference) x"
        ).format(names)
    ).fetchall()
    assert found == [(0,)], "the reference and the mirror differ"
