"""Segments for benchmarks: single-row mutations of one table, written by the format page's rules.

80 % inserts, 15 % partial updates, 5 % row deletes by default, over a table with a two-column key
and eight other columns. Byte for byte what Cassandra 5.0 writes (log version 7), without needing a
node to write millions of rows.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

TABLE_ID = UUID("6b1f7c60-0000-11ef-8000-0123456789ab")
SCHEMA_CQL = f"""
CREATE KEYSPACE bench WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}};
CREATE TABLE bench.orders (
    customer text, line int, amount bigint, city text, count int, flag boolean,
    note text, price double, ref uuid, seen timestamp,
    PRIMARY KEY (customer, line)
) WITH ID = {TABLE_ID} AND cdc = true;
"""
COLUMNS = (b"amount", b"city", b"count", b"flag", b"note", b"price", b"ref", b"seen")
SEGMENT_BYTES = 32 << 20
FIRST_WRITETIME_US = 1_700_000_000_000_000
_TIMESTAMP_EPOCH = 1_442_880_000_000_000
_DELETION_EPOCH = 1_442_880_000


def uvint(value: int) -> bytes:
    """Unsigned variable-length integer (format page 6.1)."""
    extra = max(0, (value.bit_length() - 1) // 7) if value else 0
    if extra >= 8:
        return b"\xff" + value.to_bytes(8)
    raw = value.to_bytes(extra + 1)
    return bytes([raw[0] | (0xFF00 >> extra) & 0xFF]) + raw[1:]


def _counted(raw: bytes) -> bytes:
    return uvint(len(raw)) + raw


_CITIES = [b"Amsterdam", b"Lisboa", b"Kyoto", b"Reykjavik", b"Valparaiso", b"Nairobi"]


def _value(column: bytes, chooser: random.Random) -> bytes:
    match column:
        case b"amount":
            return struct.pack(">q", chooser.randrange(1 << 40))
        case b"city":
            return _counted(chooser.choice(_CITIES))
        case b"count":
            return struct.pack(">i", chooser.randrange(1 << 20))
        case b"flag":
            return bytes([chooser.randrange(2)])
        case b"note":
            return _counted(b"note %012d of a row" % chooser.randrange(10**12))
        case b"price":
            return struct.pack(">d", chooser.random() * 1000)
        case b"ref":
            return chooser.randbytes(16)
        case _:
            return struct.pack(">q", 1_600_000_000_000 + chooser.randrange(10**11))


def partition_deletion(customer: int, writetime_us: int) -> bytes:
    """One mutation that deletes a whole partition."""
    return (
        b"\x01"
        + TABLE_ID.bytes
        + _counted(b"customer-%08d" % customer)
        + b"\x14"
        + uvint(writetime_us - _TIMESTAMP_EPOCH)
        + uvint(writetime_us // 1_000_000 - _DELETION_EPOCH)
        + b"\x00\x00"
        + b"\x00\x00"
        + b"\x00"
        + b"\x01"
    )


def mutation(
    kind: str,
    key: int,
    writetime_us: int,
    chooser: random.Random,
    *,
    lines: int = 4,
    expires_at: int | None = None,
) -> bytes:
    """One mutation: "insert" of all columns, "update" of two, or "delete" of the row.

    Partitions have `lines` rows each. What is inserted has a TTL that ends at `expires_at` (epoch
    seconds).
    """
    head = b"\x01" + TABLE_ID.bytes + _counted(b"customer-%08d" % (key // lines)) + b"\x10"
    stats = uvint(writetime_us - _TIMESTAMP_EPOCH)
    clustering = b"\x00" + struct.pack(">i", key % lines)
    if kind == "delete":
        seconds = writetime_us // 1_000_000
        return (
            head
            + stats
            + uvint(seconds - _DELETION_EPOCH)
            + b"\x00"
            + b"\x00\x01"
            + b"\x30"
            + clustering
            + b"\x00\x00"
            + b"\x01"
        )
    names = COLUMNS if kind == "insert" else (b"amount", b"note")
    cell_flags = b"\x08" if kind == "insert" else b"\x00\x00"
    liveness = b"\x24" + clustering + b"\x00" if kind == "insert" else b"\x20" + clustering
    if expires_at is not None:
        cell_flags = b"\x1a"
        ttl_seconds = expires_at - writetime_us // 1_000_000
        expiry = uvint(ttl_seconds) + uvint(expires_at - _DELETION_EPOCH)
        liveness = b"\x2c" + clustering + b"\x00" + expiry
    cells = b"".join(cell_flags + _value(name, chooser) for name in names)
    return (
        head
        + stats
        + b"\x00\x00"
        + uvint(len(names))
        + b"".join(map(_counted, names))
        + b"\x01"
        + liveness
        + cells
        + b"\x01"
    )


def mutations(
    n: int, *, updates: float = 0.15, deletes: float = 0.05, seed: int = 1
) -> Iterator[bytes]:
    """`n` mutations with rising writetimes; updates and deletes hit rows inserted before."""
    chooser = random.Random(seed)
    inserted = 0
    for number in range(n):
        writetime_us = FIRST_WRITETIME_US + number
        draw = chooser.random()
        if inserted and draw < updates:
            yield mutation("update", chooser.randrange(inserted), writetime_us, chooser)
        elif inserted and draw < updates + deletes:
            yield mutation("delete", chooser.randrange(inserted), writetime_us, chooser)
        else:
            yield mutation("insert", inserted, writetime_us, chooser)
            inserted += 1


def write_segments(
    folder: Path, entries: Iterator[bytes], *, first_id: int = 1_700_000_000_001
) -> list[Path]:
    """Write entries as complete segments with their indexes (format page, sections 1 to 4)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    body = bytearray()
    segment_id = first_id

    def flush() -> None:
        nonlocal body, segment_id
        path = folder / f"CommitLog-7-{segment_id}.log"
        ids = struct.pack(">II", segment_id & 0xFFFFFFFF, segment_id >> 32)
        header = struct.pack(">iqH", 7, segment_id, 2) + b"{}"
        crc = zlib.crc32(struct.pack(">i", 7) + ids + struct.pack(">i", 2) + b"{}")
        start = len(header) + 4
        end = start + 8 + len(body)
        marker = struct.pack(">iI", end, zlib.crc32(ids + struct.pack(">i", start)))
        path.write_bytes(header + struct.pack(">I", crc) + marker + bytes(body) + bytes(64))
        path.with_name(f"CommitLog-7-{segment_id}_cdc.idx").write_text(f"{end}\nCOMPLETED")
        paths.append(path)
        body = bytearray()
        segment_id += 1

    for entry in entries:
        if len(body) + len(entry) + 12 > SEGMENT_BYTES - 256:
            flush()
        size = struct.pack(">i", len(entry))
        crc = zlib.crc32(size)
        body += size + struct.pack(">I", crc) + entry + struct.pack(">I", zlib.crc32(entry, crc))
    if body:
        flush()
    return paths
