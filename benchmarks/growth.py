"""Whether applying stays as fast with more rows in the mirror, more tables, wider tables."""

from __future__ import annotations

import random
import statistics
import struct
from uuid import UUID

from benchmarks import workload
from benchmarks.applying import Applier
from benchmarks.context import Context
from benchmarks.report import Goal, Measure
from benchmarks.workload import uvint

# A hundred times as much may take this share of the speed.
LEAST_SHARE = 0.5
TABLE_IDS = UUID("6b1f7c60-0000-11ef-8000-100000000000").int
_TIMESTAMP_EPOCH = 1_442_880_000_000_000


def measure(context: Context) -> list[Measure]:
    """The same work in a mirror that is larger in one way."""
    return [*_rows(context), *_tables(context), *_columns(context)]


def _rows(context: Context) -> list[Measure]:
    """Updates of all columns, spread over a mirror of 1x, 10x, 100x rows."""
    base = context.size(20_000, 4_000)
    rates = {}
    for factor in (1, 10, 100):
        folder = context.folder()
        chooser = random.Random(5)
        n = base * factor
        first_us = workload.FIRST_WRITETIME_US
        rows = workload.write_segments(
            folder / "rows",
            (workload.mutation("insert", key, first_us, chooser) for key in range(n)),
        )
        updates = [
            workload.write_segments(
                folder / f"updates{number}",
                (
                    workload.mutation("insert", key, first_us + 1 + number, chooser)
                    for key in chooser.sample(range(n), base)
                ),
                first_id=1_800_000_000_000 + number,
            )
            for number in range(3)
        ]
        with Applier(context.database(), workload.SCHEMA_CQL, folder) as applier:
            applier.apply(rows)
            found = [applier.apply(one).rows_per_second for one in updates]
        rates[factor] = statistics.median(found)
    return [
        _compared(f"updates, {factor}x rows ({base * factor:,}) in the mirror", rate, rates[1])
        for factor, rate in rates.items()
    ]


def _tables(context: Context) -> list[Measure]:
    """The same number of new rows, of 1, 10 and 1,000 tables mixed."""
    n = context.size(100_000, 10_000)
    rates = {}
    for tables in (1, 10, context.size(1000, 100)):
        folder = context.folder()
        ids = [UUID(int=TABLE_IDS + number) for number in range(tables)]
        cql = "CREATE KEYSPACE many WITH replication = {'class': 'SimpleStrategy'};\n" + "".join(
            f"CREATE TABLE many.t{number} (k int PRIMARY KEY, a int, b int, c int)"
            f" WITH ID = {one} AND cdc = true;\n"
            for number, one in enumerate(ids)
        )
        segments = workload.write_segments(
            folder / "rows", (_row(ids[key % tables], key, (b"a", b"b", b"c")) for key in range(n))
        )
        with Applier(context.database(), cql, folder) as applier:
            rates[tables] = applier.apply(segments).rows_per_second
    return [
        _compared(f"new rows of {tables:,} tables in turn", rate, rates[1])
        for tables, rate in rates.items()
    ]


def _columns(context: Context) -> list[Measure]:
    """Values per second of new rows of 10 to 1,000 columns."""
    values = context.size(2_000_000, 200_000)
    rates = {}
    for width in (10, 100, 1000):
        folder = context.folder()
        names = tuple(b"c%04d" % number for number in range(width))
        one = UUID(int=TABLE_IDS)
        columns = ", ".join(f"{name.decode()} int" for name in names)
        cql = (
            "CREATE KEYSPACE wide WITH replication = {'class': 'SimpleStrategy'};\n"
            f"CREATE TABLE wide.t (k int PRIMARY KEY, {columns}) WITH ID = {one} AND cdc = true;"
        )
        segments = workload.write_segments(
            folder / "rows", (_row(one, key, names) for key in range(values // width))
        )
        with Applier(context.database(), cql, folder) as applier:
            rates[width] = applier.apply(segments).rows_per_second * width
    return [
        _compared(f"values of rows of {width:,} columns", rate, rates[10], "values/s")
        for width, rate in rates.items()
    ]


def _compared(what: str, rate: float, first: float, unit: str = "rows/s") -> Measure:
    if rate == first:
        return Measure(what, rate, unit)
    return Measure(what, rate, unit, "the smallest", first, Goal("ratio", at_least=LEAST_SHARE))


def _row(table_id: UUID, key: int, names: tuple[bytes, ...]) -> bytes:
    """An INSERT of int columns into a table with an int key."""
    value = b"\x08" + struct.pack(">i", key)
    return b"".join(
        (
            b"\x01",
            table_id.bytes,
            b"\x04" + struct.pack(">i", key) + b"\x10",
            uvint(workload.FIRST_WRITETIME_US + key - _TIMESTAMP_EPOCH),
            b"\x00\x00",
            uvint(len(names)),
            *(uvint(len(name)) + name for name in names),
            b"\x01",
            b"\x24\x00",
            value * len(names),
            b"\x01",
        )
    )
