"""The main way beside what piles up: TTLs of a day, a million dead letters, parked mutations.

Two databases in turn, batch by batch: one has the ballast, the other has not.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TypeVar

import psycopg

from benchmarks import workload
from benchmarks.applying import Applier
from benchmarks.context import Context
from benchmarks.report import Goal, Measure
from cdc_tail.settings import BatchSettings
from sinks.postgres.set_aside import counts
from sinks.postgres.sweep import ROWS_AT_ONCE

_T = TypeVar("_T")

DAY_SECONDS = 86_400
BATCH_ROWS = BatchSettings().max_rows
# Of the speed without the ballast.
LEAST_SHARE = 0.9
# What is applied is far from due while it is applied, and due soon after.
DUE_SECONDS = 30
LOOKS = 200

_LETTERS = """
INSERT INTO cdc_tail.dead_letter
       (node, segment_id, "offset", keyspace_name, table_name, table_id, key, reason, raw,
        log_version, sqlstate)
SELECT 'bench', 1, n, 'bench', 'orders', %(table)s, convert_to('customer ' || n, 'UTF8'),
       'PostgreSQL refuses the row', sha256(convert_to(n::text, 'UTF8')), 7,
       CASE WHEN n %% 2 = 0 THEN '23514' END
  FROM generate_series(1, %(n)s) AS n
"""
_PARKED = """
INSERT INTO cdc_tail.parked (node, segment_id, "offset", table_id, raw, log_version)
SELECT 'bench', 1, n, gen_random_uuid(), sha256(convert_to(n::text, 'UTF8')), 7
  FROM generate_series(1, %(n)s) AS n
"""
# Spread over the day that begins when the run is long over; in the order of no key.
_EXPIRIES = """
INSERT INTO cdc_tail.expiry (mirror_id, due_at, pk, ck)
SELECT mirror_id, extract(epoch FROM now())::int8 + 7200 + n %% %(day)s,
       sha256(convert_to(n::text, 'UTF8')), '\\x00'
  FROM cdc_tail.mirror, generate_series(1, %(n)s) AS n
 WHERE table_id = %(table)s AND kind = 'rows'
"""


def measure(context: Context) -> list[Measure]:
    """Rows with and without a TTL, rows that expire, looks at what is due, a count."""
    letters, parked = context.size(1_000_000, 100_000), 10_000
    ttls = context.size(20, 2) * DAY_SECONDS
    batches = context.size(20, 6)
    folder = context.folder()
    plain_dsn, laden_dsn = context.database(), context.database()
    with ExitStack() as stack:
        plain = stack.enter_context(Applier(plain_dsn, workload.SCHEMA_CQL, folder))
        laden = stack.enter_context(Applier(laden_dsn, workload.SCHEMA_CQL, folder))
        note = f"{letters:,} dead letters, {parked:,} parked, {ttls:,} TTLs of a day"
        context.tell(note)
        with psycopg.connect(laden_dsn) as conn:
            conn.execute(_LETTERS, {"n": letters, "table": workload.TABLE_ID})
            conn.execute(_PARKED, {"n": parked})
            conn.execute(_EXPIRIES, {"n": ttls, "day": DAY_SECONDS, "table": workload.TABLE_ID})
        # Else PostgreSQL tidies up after the ballast while we measure.
        for dsn in (plain_dsn, laden_dsn):
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("VACUUM (ANALYZE)")
                conn.execute("CHECKPOINT")
        entries = workload.mutations(batches * BATCH_ROWS)
        rows = _in_turn(plain, laden, _rows_per_second, _segments(folder, "mixed", entries))
        tomorrow = int(time.time()) + DAY_SECONDS
        expiring = _expiring(batches * BATCH_ROWS, tomorrow, first_key=10**7)
        with_ttl = _in_turn(plain, laden, _rows_per_second, _segments(folder, "ttl", expiring))
        looks = _in_turn(plain, laden, _looks_per_second, range(batches))
        due_at = int(time.time()) + DUE_SECONDS
        for paths in _segments(folder, "due", _expiring(BATCH_ROWS, due_at, first_key=2 * 10**7)):
            plain.apply(paths)
            laden.apply(paths)
        context.tell("until TTLs take effect")
        time.sleep(max(0, due_at + 1 - time.time()))
        gone = _in_turn(plain, laden, _expired_per_second, range(BATCH_ROWS // ROWS_AT_ONCE))
        with psycopg.connect(laden_dsn, autocommit=True) as conn:
            count_ms = [_count_ms(conn, (letters, parked)) for _ in range(batches)]
    return [
        _compared("rows applied beside what piled up", "rows/s", rows, note),
        _compared("rows with a TTL applied beside it", "rows/s", with_ttl),
        _compared("rows that expire beside it", "rows/s", gone),
        _compared("looks at what is due beside it", "looks/s", looks, "one a second"),
        Measure(
            "counting what is set aside",
            statistics.median(count_ms),
            "ms",
            goal=Goal("value", at_most=50),
            note="after batches that set something aside",
        ),
    ]


def _in_turn(
    plain: Applier, laden: Applier, rate: Callable[[Applier, _T], float], given: Iterable[_T]
) -> list[tuple[float, float]]:
    """Pairs of rates, without and with the ballast; each comes first every other time."""
    pairs = []
    for number, one in enumerate(given):
        order = (plain, laden) if number % 2 else (laden, plain)
        rates = {id(each): rate(each, one) for each in order}
        pairs.append((rates[id(plain)], rates[id(laden)]))
    return pairs


def _compared(what: str, unit: str, pairs: list[tuple[float, float]], note: str = "") -> Measure:
    # The median of the ratios: what loads the machine for a moment loads both.
    ratio = statistics.median(laden / plain for plain, laden in pairs)
    value = statistics.median(laden for _, laden in pairs)
    goal = Goal("ratio", at_least=LEAST_SHARE)
    return Measure(what, value, unit, "the same without", value / ratio, goal, note)


def _rows_per_second(applier: Applier, paths: list[Path]) -> float:
    return applier.apply(paths).rows_per_second


def _looks_per_second(applier: Applier, _: int) -> float:
    began = time.perf_counter()
    for _ in range(LOOKS):
        assert not applier.is_anything_due()
    return LOOKS / (time.perf_counter() - began)


def _expired_per_second(applier: Applier, _: int) -> float:
    began = time.perf_counter()
    rows = applier.expire()
    assert rows == ROWS_AT_ONCE
    return rows / (time.perf_counter() - began)


def _count_ms(conn: psycopg.Connection, expected: tuple[int, int]) -> float:
    began = time.perf_counter()
    assert counts(conn, "bench") == expected
    return 1000 * (time.perf_counter() - began)


def _segments(folder: Path, name: str, entries: Iterator[bytes]) -> Iterator[list[Path]]:
    """Segments of one batch each."""
    number = 0
    while some := list(islice(entries, BATCH_ROWS)):
        yield workload.write_segments(folder / f"{name}{number}", iter(some))
        number += 1


def _expiring(n: int, expires_at: int, *, first_key: int) -> Iterator[bytes]:
    """New rows whose TTL ends at `expires_at` (epoch seconds)."""
    chooser = random.Random(first_key)
    for key in range(first_key, first_key + n):
        writetime_us = workload.FIRST_WRITETIME_US + key
        yield workload.mutation("insert", key, writetime_us, chooser, expires_at=expires_at)
