"""A backlog from segments on disk into PostgreSQL, process start included, and the first row of it.

Beside it: the way a JDBC sink goes, row by row in batches of 500 per commit, and what Debezium
took for the same mix on such a machine.
"""

from __future__ import annotations

import random
import statistics
import time
from pathlib import Path

import psycopg

from benchmarks import workload
from benchmarks.context import Context
from benchmarks.process import CdcTail
from benchmarks.report import Goal, Measure

# Debezium Cassandra 3.4 -> Kafka 4.1 -> Debezium JDBC sink 3.4 -> PostgreSQL 15, 2 cores, 24 GiB,
# 300,000 events of the same mix, all on loopback: processes cold, and first to last row.
DEBEZIUM_COLD = 3_820.0
DEBEZIUM_WARM = 7_300.0
COMMIT_EVERY = 500


def measure(context: Context) -> list[Measure]:
    """Mixed events: 80 % inserts, 15 % partial updates, 5 % row deletes."""
    n = context.size(1_000_000, 100_000)
    folder = context.folder()
    schema = folder / "schema.cql"
    schema.write_text(workload.SCHEMA_CQL)
    paths = workload.write_segments(folder / "segments", workload.mutations(n))
    one = workload.write_segments(folder / "one", workload.mutations(100))
    context.tell(f"{n:,} events in {len(paths)} segments")
    rates, peaks, firsts, row_wise, copied = [], [], [], [], []
    for _ in range(context.size(3, 1)):
        dsn = context.database()
        seconds, peak = _replay(folder, schema, paths[0].parent, dsn)
        rates.append(n / seconds)
        peaks.append(peak)
        copied.append(_copy(dsn))
        row_wise.append(_row_wise(context.database(), context.size(30_000, 10_000)))
        firsts.append(_first_row(folder, schema, one[0].parent, context.database()))
    rate = statistics.median(rates)
    return [
        Measure(
            "catch-up of mixed events, process start included",
            rate,
            "events/s",
            "COPY of what is left of them, same run",
            statistics.median(copied),
            Goal("ratio", at_least=1 / 3),
            f"{n:,} events; 100,000 events/s where COPY reaches 300,000 rows/s",
        ),
        Measure(
            "catch-up",
            rate,
            "events/s",
            "row-wise upsert, 500 per commit, same run",
            statistics.median(row_wise),
        ),
        Measure(
            "catch-up",
            rate,
            "events/s",
            "Debezium, processes cold",
            DEBEZIUM_COLD,
            Goal("ratio", at_least=25),
            "measured on a machine of this kind, not in this run",
        ),
        Measure("catch-up", rate, "events/s", "Debezium, warm", DEBEZIUM_WARM, note="likewise"),
        Measure("peak memory of the catch-up", max(peaks), "MiB", goal=Goal("value", at_most=250)),
        Measure(
            "start to first applied row",
            statistics.median(firsts),
            "s",
            goal=Goal("value", at_most=1),
            note="from exec of `cdc-tail replay` to a row that another session sees",
        ),
    ]


def _replay(folder: Path, schema: Path, segments: Path, dsn: str) -> tuple[float, float]:
    arguments = ("replay", segments, "--schema", schema, "--postgres", dsn)
    with CdcTail(folder, *arguments, settings={}) as process:
        used = process.wait()
    return used.wall_seconds, used.peak_mib


def _first_row(folder: Path, schema: Path, segments: Path, dsn: str) -> float:
    arguments = ("replay", segments, "--schema", schema, "--postgres", dsn)
    with psycopg.connect(dsn, autocommit=True) as looking:

        def is_there() -> bool:
            found = looking.execute("SELECT to_regclass('bench.orders')").fetchall()[0][0]
            if found is None:
                return False
            return bool(looking.execute("SELECT FROM bench.orders LIMIT 1").fetchall())

        with CdcTail(folder, *arguments, settings={}) as process:
            seconds = process.wait_for(is_there)
            process.wait()
    return seconds


def _copy(dsn: str) -> float:
    """Rows per second of COPY of the mirror's rows into such a table without our column."""
    with psycopg.connect(dsn, autocommit=True) as plain:
        plain.execute("CREATE TABLE reference (LIKE bench.orders INCLUDING ALL)")
        plain.execute("ALTER TABLE reference DROP COLUMN _cdc")
        names = "customer, line, " + ", ".join(name.decode() for name in workload.COLUMNS)
        ordered = f"(SELECT {names} FROM bench.orders ORDER BY customer, line)"
        with plain.cursor().copy(f"COPY {ordered} TO STDOUT (FORMAT BINARY)") as copy:
            data = b"".join(copy)
        cursor = plain.cursor()
        began = time.perf_counter()
        with cursor.copy(f"COPY reference ({names}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(data)
        return cursor.rowcount / (time.perf_counter() - began)


def _row_wise(dsn: str, n: int) -> float:
    """Events per second of single-row statements, batched and pipelined, 500 per commit."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "CREATE TABLE orders (customer text, line int, amount bigint, city text, count int,"
            " flag boolean, note text, price double precision, ref uuid, seen timestamptz,"
            " PRIMARY KEY (customer, line))"
        )
        conn.commit()
        upsert = (
            "INSERT INTO orders (customer, line, amount, city, count, flag, note, price)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (customer, line) DO UPDATE SET"
            " amount = excluded.amount, city = excluded.city, count = excluded.count,"
            " flag = excluded.flag, note = excluded.note, price = excluded.price"
        )
        partial = "UPDATE orders SET amount = %s, note = %s WHERE customer = %s AND line = %s"
        delete = "DELETE FROM orders WHERE customer = %s AND line = %s"
        events = list(_events(n))
        began = time.perf_counter()
        with conn.cursor() as cursor:
            for first in range(0, n, COMMIT_EVERY):
                batch = events[first : first + COMMIT_EVERY]
                # By kind, as a sink's batches are: one statement with many rows of parameters.
                for kind, statement in (
                    ("insert", upsert),
                    ("update", partial),
                    ("delete", delete),
                ):
                    rows = [parameters for name, parameters in batch if name == kind]
                    if rows:
                        cursor.executemany(statement, rows)
                conn.commit()
        return n / (time.perf_counter() - began)


def _events(n: int) -> list[tuple[str, tuple[object, ...]]]:
    """The same mix, already decoded into Python values."""
    chooser = random.Random(1)
    events: list[tuple[str, tuple[object, ...]]] = []
    inserted = 0
    for _ in range(n):
        draw = chooser.random()
        key = chooser.randrange(inserted) if inserted and draw < 0.2 else inserted
        place = (f"customer-{key // 4:08}", key % 4)
        amount, note = chooser.randrange(1 << 40), f"note {chooser.randrange(10**12):012} of a row"
        if key != inserted and draw < 0.15:
            events.append(("update", (amount, note, *place)))
        elif key != inserted:
            events.append(("delete", place))
        else:
            inserted += 1
            events.append(("insert", (*place, amount, "Kyoto", 7, True, note, 9.5)))
    return events
