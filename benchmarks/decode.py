"""Decoding and merging to rows ready for COPY, beside Cassandra's CommitLogReader and a bare CRC.

All read the same segments in one run, on one core, and count CPU time: best of several passes, once
warmed up. Cassandra's reader makes objects of the mutations and hands them to a handler that only
counts; here they are decoded, checked against PostgreSQL's types, merged by key and written as
COPY data into memory. Nothing here needs PostgreSQL.
"""

from __future__ import annotations

import random
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.context import Context
from benchmarks.report import Goal, Measure
from benchmarks.workload import (
    FIRST_WRITETIME_US,
    SCHEMA_CQL,
    SEGMENT_BYTES,
    mutations,
    write_segments,
)
from cdc_tail.local.cache import cache_dir
from parsers._crc32 import crc32
from parsers._work import RelationWork
from parsers.cql_file import parse_cql
from parsers.decoder import Batch, SegmentDecoder, build_catalog
from parsers.segment import SegmentReader
from sinks.postgres.typemap import pg_type
from tests.reference.bootstrap import SYSTEM_SCHEMA
from tests.reference.encode import encode_mutation
from tests.reference.generate.tables import definition
from tests.reference.versions import LOG_VERSIONS
from tests.support.histories import subject_of
from tests.support.memory_mirror import MemoryMirror
from tests.tools.dump import time_reader

SERIES = "5.0"
LOG_VERSION = 7
TABLE = parse_cql(SCHEMA_CQL)[0]
EVENTS_A_BATCH = 10_000
BYTES_A_BATCH = 64 << 20
PASSES = 7
JAVA_PASSES = 25
READER_GOAL = Goal("ratio", at_least=4)
CRC_GOAL = Goal("ratio", at_least=0.35)


@dataclass
class Best:
    """The least seconds of CPU of the passes of each kind."""

    rows: float = float("inf")
    merged: float = float("inf")
    crc: float = float("inf")
    zlib_crc: float = float("inf")


def measure(context: Context) -> list[Measure]:
    folder = context.folder()
    schema = _schema_segment(folder / "schema")
    count = context.size(1_000_000, 100_000)
    synthetic = write_segments(folder / "synthetic", mutations(count))
    found = _compared(context, "synthetic segments", schema, synthetic)
    recorded = _recorded(context, context.size(200_000, 20_000))
    return found + _compared(context, "recorded segments", schema, recorded)


def _compared(context: Context, what: str, schema: Path, segments: Sequence[Path]) -> list[Measure]:
    passes = time_reader(SERIES, schema, segments, passes=JAVA_PASSES)
    java = min(one["cpu_ns"] for one in passes) / 1e9
    total, size = passes[0]["mutations"], passes[0]["mutation_bytes"]
    mirror = MemoryMirror(TABLE, {column.name: pg_type(column.type) for column in TABLE.columns})
    # Without the zeros that a node's segment ends in.
    data = [path.read_bytes().rstrip(b"\0") for path in segments]
    best = Best()
    # In turn, so that a loaded moment meets them all.
    for _ in range(PASSES):
        best.crc = min(best.crc, _seconds(lambda: [crc32(one) for one in data]))
        best.merged = min(best.merged, _seconds(lambda: _decode(mirror, segments, rows=False)))
        best.rows = min(best.rows, _seconds(lambda: _decode(mirror, segments, rows=True)))
        best.zlib_crc = min(best.zlib_crc, _seconds(lambda: [zlib.crc32(one) for one in data]))
    read = sum(map(len, data)) / 1e6
    context.tell(f"{what}: {read:.0f} MB")
    note = f"{total} mutations of {size / total:.0f} bytes"
    return [
        Measure(
            f"decode and merge to COPY rows, {what}",
            total / best.rows,
            "mutations/s",
            f"CommitLogReader of {SERIES}, warmed up",
            total / java,
            READER_GOAL,
            note,
        ),
        Measure(
            f"decode and merge to COPY rows, {what}",
            read / best.rows,
            "MB/s",
            "CRC32 of the same bytes (PCLMUL)",
            read / best.crc,
            CRC_GOAL,
            note,
        ),
        Measure(
            f"decode and merge alone, {what}",
            read / best.merged,
            "MB/s",
            "zlib.crc32 of the same bytes",
            read / best.zlib_crc,
        ),
    ]


def _seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def _decode(mirror: MemoryMirror, segments: Sequence[Path], *, rows: bool) -> int:
    """Read segments as the process does; bytes of COPY data, 0 without `rows`."""
    catalog = build_catalog([mirror.compiled])
    batch = Batch(catalog)
    copied = 0
    for path in segments:
        with SegmentReader(path) as reader:
            reader.set_completed()
            decoder = SegmentDecoder(reader)
            while True:
                outcome = decoder.fill(batch, max_events=EVENTS_A_BATCH, max_bytes=BYTES_A_BATCH)
                if outcome.kind == "diverted":
                    continue
                if outcome.kind not in ("full", "end"):
                    raise RuntimeError(f"{path}: {outcome.kind} {outcome.reason}")
                if rows and len(batch):
                    copied += _rows(mirror, batch)
                batch.clear()
                if outcome.kind == "end":
                    break
    return copied


def _rows(mirror: MemoryMirror, batch: Batch) -> int:
    work = RelationWork(batch, mirror.rows.relation)
    work.decide(FIRST_WRITETIME_US // 1_000_000)
    return len(work.new_rows() or b"")


def _schema_segment(folder: Path) -> Path:
    """A segment that defines the table, for a reader that knows a schema from the log alone."""
    table = subject_of(TABLE).reference
    version = LOG_VERSIONS[LOG_VERSION]
    made = definition(table, FIRST_WRITETIME_US, version)
    encoded = encode_mutation(made, version, dict(SYSTEM_SCHEMA) | {table.id: table})
    return write_segments(folder, iter([encoded]), first_id=1)[0]


# -- recorded by a node


def _recorded(context: Context, count: int) -> list[Path]:
    """Segments of a real node that `count` such writes went to; kept in the cache."""
    folder = cache_dir() / "benchmark" / f"orders-{SERIES}-{count}"
    if not folder.exists():
        context.tell(f"recording {count} writes on a node, once")
        staging = folder.with_suffix(".new")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        node = context.node(commitlog_segment_size_mib=SEGMENT_BYTES >> 20)
        _write(node.session(), count)
        node.stop()
        for path in node.cdc_raw.glob("*"):
            shutil.copy(path, staging)
        staging.rename(folder)
    # Those with an index hold writes of the table.
    return sorted(
        path for path in folder.glob("*.log") if path.with_name(f"{path.stem}_cdc.idx").exists()
    )


def _write(session: Any, count: int) -> None:
    from cassandra.concurrent import execute_concurrent

    for statement in filter(str.strip, SCHEMA_CQL.split(";")):
        session.execute(statement)
    insert = session.prepare(
        "INSERT INTO bench.orders (customer, line, amount, city, count, flag, note, price, ref,"
        " seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    update = session.prepare(
        "UPDATE bench.orders SET amount = ?, note = ? WHERE customer = ? AND line = ?"
    )
    delete = session.prepare("DELETE FROM bench.orders WHERE customer = ? AND line = ?")

    def statements() -> Iterator[tuple[Any, tuple[object, ...]]]:
        choose = random.Random(1)
        inserted = 0
        for _ in range(count):
            draw = choose.random()
            key = choose.randrange(inserted) if inserted and draw < 0.2 else inserted
            place = f"customer-{key // 4:08}", key % 4
            note = f"note {choose.randrange(10**12):012} of a row"
            if key == inserted:
                inserted += 1
                yield (
                    insert,
                    (
                        *place,
                        choose.randrange(1 << 40),
                        choose.choice(("Amsterdam", "Lisboa", "Reykjavik")),
                        choose.randrange(1 << 20),
                        draw < 0.6,
                        note,
                        draw * 1000,
                        UUID(bytes=choose.randbytes(16)),
                        1_600_000_000_000 + choose.randrange(10**11),
                    ),
                )
            elif draw < 0.15:
                yield update, (choose.randrange(1 << 40), note, *place)
            else:
                yield delete, place

    for _ in execute_concurrent(session, statements(), concurrency=64, results_generator=True):
        pass
