"""Rows that `snapshot` copies and `verify` compares, beside a driver that pages through them."""

from __future__ import annotations

import statistics
import time
from typing import Any

import psycopg
from cassandra import ConsistencyLevel
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import SimpleStatement
from pydantic import SecretStr

from benchmarks.context import Context
from benchmarks.report import Measure
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.settings import Settings
from cdc_tail.snapshot import Snapshots
from cdc_tail.verify import Verifier

KEYSPACE = "copying"
PAGE_ROWS = 5_000  # the driver's default
COLUMNS = ("customer", "line", "amount", "city", "count", "note", "price", "tags")
TABLE = f"""
CREATE TABLE {KEYSPACE}.orders (customer text, line int, amount bigint, city text, count int,
    note text, price double, tags set<text>, PRIMARY KEY (customer, line)) WITH cdc = true
"""


def measure(context: Context) -> list[Measure]:
    """A table into an empty mirror, then compared; each beside plain paging of all its columns."""
    n = context.size(100_000, 10_000)
    node = context.shared_node
    session = node.session()
    _fill(session, n)
    paging, copied, compared = [], [], []
    for _ in range(context.size(5, 3)):
        paging.append(_page(session, n))
        dsn = context.database()
        copied.append(_copy(node, dsn, n))
        paging.append(_page(session, n))
        compared.append(_verify(session, dsn, n))
    note = f"{n:,} rows of {len(COLUMNS)} columns, PostgreSQL, node and we on one machine"
    return [
        _beside("rows copied by a snapshot", copied, paging[0::2], note),
        _beside("rows compared by verify", compared, paging[1::2]),
    ]


def _beside(what: str, rates: list[float], paging: list[float], note: str = "") -> Measure:
    ratio = statistics.median(ours / other for ours, other in zip(rates, paging, strict=True))
    value = statistics.median(rates)
    reference = "the driver pages through it, one thread"
    return Measure(what, value, "rows/s", reference, value / ratio, note=note)


def _fill(session: Any, n: int) -> None:
    session.execute(
        f"CREATE KEYSPACE {KEYSPACE} WITH replication ="
        " {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(TABLE)
    marks = ", ".join("?" * len(COLUMNS))
    insert = session.prepare(
        f"INSERT INTO {KEYSPACE}.orders ({', '.join(COLUMNS)}) VALUES ({marks})"
    )
    rows = (
        (f"customer-{k // 4}", k % 4, k * 7919, "Lisboa", k, f"note {k}", k / 7, {"a", f"b{k % 9}"})
        for k in range(n)
    )
    execute_concurrent_with_args(session, insert, rows, concurrency=100)


def _page(session: Any, n: int) -> float:
    select = SimpleStatement(
        f"SELECT {', '.join(COLUMNS)} FROM {KEYSPACE}.orders",
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        fetch_size=PAGE_ROWS,
    )
    began = time.perf_counter()
    assert sum(1 for _ in session.execute(select, timeout=120)) == n
    return n / (time.perf_counter() - began)


def _copy(node: CassandraNode, dsn: str, n: int) -> float:
    """Connections and the schema are there before the clock runs."""
    settings = Settings.model_validate(
        {
            "node": "bench",
            "cassandra": {"host": node.address, "port": node.native_port, "cdc_raw": node.cdc_raw},
            "postgres": {"dsn": SecretStr(dsn)},
            "mirror": {"include": (f"{KEYSPACE}.*",)},
        }
    )
    with Snapshots(settings) as work:
        (table,) = work.tables()
        began = time.perf_counter()
        done = work.copy(table)
        took = time.perf_counter() - began
    assert done is not None and done.rows == n
    return n / took


def _verify(session: Any, dsn: str, n: int) -> float:
    with psycopg.connect(dsn) as conn:
        verifier = Verifier(session, conn)
        (mirror,) = verifier.mirrors([f"{KEYSPACE}.orders"])
        began = time.perf_counter()
        result = verifier.verify(mirror)
        took = time.perf_counter() - began
    assert result.rows == n and not result.differences
    return n / took
