"""Memory where there is much of something: backlog, a cell, a partition."""

from __future__ import annotations

import os
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import psycopg

from benchmarks import workload
from benchmarks.context import Context
from benchmarks.process import CdcTail, Used
from benchmarks.report import Goal, Measure
from benchmarks.workload import uvint

SEGMENT_BYTES = 32 << 20
CELL_BYTES = 16_000_000  # what fits into a mutation of a segment of 32 MiB
BOUND_MIB = 250
_TIMESTAMP_EPOCH = 1_442_880_000_000_000


def measure(context: Context) -> list[Measure]:
    """Peak memory of the process, whatever waits for it."""
    folder = context.folder()
    schema = folder / "schema.cql"
    schema.write_text(workload.SCHEMA_CQL)
    gib = context.size(10, 1)
    found = []
    short = _peak(context, folder, schema, _backlog(folder / "short", 4))
    shutil.rmtree(folder / "short")
    long = _peak(context, folder, schema, _backlog(folder / "long", gib << 30))
    shutil.rmtree(folder / "long")
    found.append(
        Measure(
            f"peak memory, backlog of {gib} GiB (sparse segments)",
            long.peak_mib,
            "MiB",
            "the same of one segment",
            short.peak_mib,
            Goal("value", at_most=BOUND_MIB),
        )
    )
    n = context.size(40, 6)
    cells = workload.write_segments(folder / "cells", _cells(n))
    used = _peak(context, folder, schema, cells[0].parent)
    shutil.rmtree(folder / "cells")
    found.append(
        Measure(
            f"peak memory, {n} cells of 16 MB",
            used.peak_mib,
            "MiB",
            goal=Goal("value", at_most=BOUND_MIB),
        )
    )
    rows = context.size(1_000_000, 100_000)
    found += _partition(context, folder, schema, rows)
    return found


def _peak(context: Context, folder: Path, schema: Path, segments: Path) -> Used:
    dsn = context.database()
    arguments = ("replay", segments, "--schema", schema, "--postgres", dsn)
    with CdcTail(folder, *arguments, settings={}) as process:
        return process.wait()


def _backlog(folder: Path, size_bytes: int) -> Path:
    """Complete segments of 32 MiB, of which the first tenth is written and the rest a hole."""
    number = max(1, size_bytes // SEGMENT_BYTES)
    chooser = random.Random(3)
    for place in range(number):
        entries = (
            workload.mutation("insert", place * 3000 + key, workload.FIRST_WRITETIME_US, chooser)
            for key in range(3000)
        )
        (path,) = workload.write_segments(folder, entries, first_id=1_700_000_000_001 + place)
        os.truncate(path, SEGMENT_BYTES)
    return folder


def _cells(n: int) -> Iterator[bytes]:
    """Rows with one cell that is as large as a segment lets it be."""
    for number in range(n):
        text = bytes([97 + number % 26]) * CELL_BYTES
        head = b"\x01" + workload.TABLE_ID.bytes
        key = b"customer-%08d" % number
        yield (
            head
            + uvint(len(key))
            + key
            + b"\x10"
            + uvint(workload.FIRST_WRITETIME_US + number - _TIMESTAMP_EPOCH)
            + b"\x00\x00"
            + uvint(1)
            + b"\x04note"
            + b"\x01"
            + b"\x24\x00"
            + struct.pack(">i", 1)
            + b"\x00"
            + b"\x08"
            + uvint(len(text))
            + text
            + b"\x01"
        )


def _partition(context: Context, folder: Path, schema: Path, rows: int) -> list[Measure]:
    """A partition of many rows is written, and then half of it deleted by one mutation."""
    chooser = random.Random(4)
    first_us = workload.FIRST_WRITETIME_US
    inserts = (
        workload.mutation("insert", line, first_us + line, chooser, lines=rows)
        for line in range(rows)
    )
    workload.write_segments(folder / "rows", inserts)
    workload.write_segments(
        folder / "deletion",
        iter([workload.partition_deletion(0, first_us + rows // 2 - 1)]),
        first_id=1_700_000_100_000,
    )
    dsn = context.database()
    found = []
    for name, what in (("rows", "written"), ("deletion", "half deleted by one mutation")):
        arguments = ("replay", folder / name, "--schema", schema, "--postgres", dsn)
        with CdcTail(folder, *arguments, settings={}) as process:
            used = process.wait()
        found.append(
            Measure(
                f"peak memory, partition of {rows:,} rows {what}",
                used.peak_mib,
                "MiB",
                goal=Goal("value", at_most=BOUND_MIB),
                note=f"{rows / used.wall_seconds:,.0f} rows/s, process start included",
            )
        )
    with psycopg.connect(dsn) as conn:
        left = conn.execute("SELECT count(*) FROM bench.orders").fetchall()[0][0]
    assert left == rows - rows // 2, f"{left} rows are left of {rows}"
    return found
