"""Mutations back to bytes, as Cassandra writes them: what `mutation.py` and `rows.py` read, the
other way round, so that tests can make any mutation and know what must come out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from tests.reference import rows as flag
from tests.reference.cursor import signed
from tests.reference.model import (
    LIVE_DELETION_US,
    Cell,
    Deletion,
    Liveness,
    Marker,
    Mutation,
    PartitionUpdate,
    Row,
)
from tests.reference.mutation import (
    DELETION_TIME_EPOCH_SECONDS,
    HAS_PARTITION_DELETION,
    HAS_ROW_ESTIMATE,
    HAS_STATIC_ROW,
    IS_EMPTY,
    TIMESTAMP_EPOCH_US,
)
from tests.reference.schema import RefColumn, RefTable
from tests.reference.types import CqlType
from tests.reference.versions import LogVersion

_KINDS = {name: kind for kind, (name, _, _) in flag.BOUNDS.items()}


def uvint(value: int) -> bytes:
    """An unsigned variable-length integer; negative values wrap at 64 bits."""
    value &= (1 << 64) - 1
    extra = min((max(value.bit_length(), 1) - 1) // 7, 8)
    body = value.to_bytes(9, "big")[8 - extra :]
    return bytes([body[0] | 0xFF & ~(0xFF >> extra)]) + body[1:]


def vint_bytes(data: bytes) -> bytes:
    """Bytes behind their `uvint` length."""
    return uvint(len(data)) + data


@dataclass(frozen=True)
class _Writer:
    version: LogVersion
    table: RefTable
    min_timestamp_us: int
    min_local_deletion_seconds: int
    min_ttl_seconds: int
    live_local_deletion: int

    def timestamp(self, writetime_us: int) -> bytes:
        return uvint(writetime_us - self.min_timestamp_us)

    def local_deletion(self, seconds: int) -> bytes:
        # A difference of 32-bit integers, sign-extended: nine bytes where it is negative.
        return uvint(signed(seconds - self.min_local_deletion_seconds, 32))

    def ttl(self, seconds: int) -> bytes:
        return uvint(seconds - self.min_ttl_seconds)

    def deletion(self, deletion: Deletion | None) -> bytes:
        if deletion is None:
            live = self.local_deletion(self.live_local_deletion)
            return self.timestamp(LIVE_DELETION_US) + live
        return self.timestamp(deletion.writetime_us) + self.local_deletion(
            deletion.local_deletion_seconds
        )

    def clustering(self, types: Sequence[CqlType], values: Sequence[bytes | None]) -> bytes:
        out = b""
        for start in range(0, len(values), 32):
            batch = values[start : start + 32]
            states = 0
            for index, value in enumerate(batch):
                states |= (2 if value is None else 0 if value else 1) << (2 * index)
            out += uvint(states)
            for type_, value in zip(types[start : start + 32], batch, strict=False):
                if value:
                    out += value if type_.fixed_length is not None else vint_bytes(value)
        return out

    def cell(self, cell: Cell, column: RefColumn, liveness: Liveness | None) -> bytes:
        flags = 0 if cell.value else flag.HAS_EMPTY_VALUE
        expiring = cell.ttl_seconds != 0
        flags |= flag.IS_DELETED if cell.deleted else flag.IS_EXPIRING if expiring else 0
        if liveness and liveness.writetime_us == cell.writetime_us:
            flags |= flag.USE_ROW_TIMESTAMP
        if liveness and expiring and _expiry(liveness) == _expiry(cell):
            flags |= flag.USE_ROW_TTL
        out = bytes([flags])
        if not flags & flag.USE_ROW_TIMESTAMP:
            out += self.timestamp(cell.writetime_us)
        if not flags & flag.USE_ROW_TTL:
            if cell.local_deletion_seconds is not None:
                out += self.local_deletion(cell.local_deletion_seconds)
            if expiring:
                out += self.ttl(cell.ttl_seconds)
        if column.complex:
            out += vint_bytes(cell.path or b"")
        if cell.value:
            fixed = not column.complex and column.type.fixed_length is not None
            out += cell.value if fixed else vint_bytes(cell.value)
        return out

    def subset(self, columns: Sequence[RefColumn], present: Sequence[RefColumn]) -> bytes:
        missing = [index for index, column in enumerate(columns) if column not in present]
        if len(columns) < 64:
            return uvint(sum(1 << index for index in missing))
        listed = missing
        if len(present) < len(columns) // 2:
            listed = [index for index, column in enumerate(columns) if column in present]
        return uvint(len(missing)) + b"".join(uvint(index) for index in listed)

    def row(self, row: Row, columns: Sequence[RefColumn]) -> bytes:
        cells: dict[str, list[Cell]] = {}
        for cell in row.cells:
            cells.setdefault(cell.column, []).append(cell)
        present = [c for c in columns if c.name in cells or c.name in row.complex_deletions]
        flags = flag.HAS_ALL_COLUMNS if len(present) == len(columns) else 0
        extended = flag.IS_STATIC if row.static else 0
        if row.liveness:
            flags |= flag.HAS_TIMESTAMP
            if row.liveness.ttl_seconds:
                flags |= flag.HAS_TTL
        if row.deletion:
            flags |= flag.HAS_DELETION
            extended |= flag.HAS_SHADOWABLE_DELETION if row.shadowable else 0
        if row.complex_deletions:
            flags |= flag.HAS_COMPLEX_DELETION
        out = bytes([flags | flag.EXTENSION, extended] if extended else [flags])
        if not row.static:
            out += self.clustering([c.type for c in self.table.clustering], row.clustering)
        if row.liveness:
            out += self.timestamp(row.liveness.writetime_us)
            if row.liveness.ttl_seconds:
                out += self.ttl(row.liveness.ttl_seconds)
                out += self.local_deletion(row.liveness.local_deletion_seconds or 0)
        if row.deletion:
            out += self.deletion(row.deletion)
        if not flags & flag.HAS_ALL_COLUMNS:
            out += self.subset(columns, present)
        for column in present:
            found = cells.get(column.name, [])
            if column.complex:
                if row.complex_deletions:
                    out += self.deletion(row.complex_deletions.get(column.name))
                out += uvint(len(found))
            out += b"".join(self.cell(cell, column, row.liveness) for cell in found)
        return out

    def marker(self, marker: Marker) -> bytes:
        out = bytes([flag.IS_MARKER, _KINDS[marker.kind]]) + len(marker.values).to_bytes(2, "big")
        out += self.clustering([c.type for c in self.table.clustering], marker.values)
        return out + b"".join(self.deletion(d) for d in (marker.closed, marker.opened) if d)


def _expiry(timed: Cell | Liveness) -> tuple[int, int | None]:
    return timed.ttl_seconds, timed.local_deletion_seconds


def _times(update: PartitionUpdate) -> Iterator[Cell | Liveness | Deletion]:
    if update.deletion:
        yield update.deletion
    for unfiltered in (update.static_row, *update.unfiltereds):
        if isinstance(unfiltered, Marker):
            yield from filter(None, (unfiltered.closed, unfiltered.opened))
        elif unfiltered:
            yield from filter(None, (unfiltered.liveness, unfiltered.deletion))
            yield from unfiltered.complex_deletions.values()
            yield from unfiltered.cells


def _columns(table: RefTable, names: Sequence[str], *, static: bool) -> list[RefColumn]:
    found = [table.column(name, static=static) for name in names]
    assert all(found), f"{table.name} has no such columns: {names}"
    return [column for column in found if column]


def encode_update(
    update: PartitionUpdate, version: LogVersion, table: RefTable, live_local_deletion: int
) -> bytes:
    """A partition update; its columns are written in the order that the update gives them."""
    out = table.id.bytes + (uvint(update.epoch or 0) if version.table_epoch else b"")
    out += vint_bytes(update.key)
    if not (update.deletion or update.static_row or update.unfiltereds):
        return out + bytes([IS_EMPTY])
    times = list(_times(update))
    ldts = [t.local_deletion_seconds for t in times if t.local_deletion_seconds is not None]
    ttls = [t.ttl_seconds for t in times if not isinstance(t, Deletion) and t.ttl_seconds]
    writer = _Writer(
        version,
        table,
        min((t.writetime_us for t in times), default=TIMESTAMP_EPOCH_US),
        min(ldts, default=DELETION_TIME_EPOCH_SECONDS),
        min(ttls, default=0),
        live_local_deletion,
    )
    flags = HAS_ROW_ESTIMATE
    flags |= HAS_PARTITION_DELETION if update.deletion else 0
    flags |= HAS_STATIC_ROW if update.static_row else 0
    out += bytes([flags])
    out += uvint(writer.min_timestamp_us - TIMESTAMP_EPOCH_US)
    out += uvint(writer.min_local_deletion_seconds - DELETION_TIME_EPOCH_SECONDS)
    out += uvint(writer.min_ttl_seconds)
    statics = _columns(table, update.static_columns, static=True)
    regulars = _columns(table, update.regular_columns, static=False)
    for columns in ([statics] if update.static_row else []) + [regulars]:
        out += uvint(len(columns)) + b"".join(vint_bytes(c.name.encode()) for c in columns)
    if update.deletion:
        out += writer.deletion(update.deletion)
    if update.static_row:
        out += writer.row(update.static_row, statics)
    out += uvint(sum(isinstance(unfiltered, Row) for unfiltered in update.unfiltereds))
    for unfiltered in update.unfiltereds:
        if isinstance(unfiltered, Row):
            out += writer.row(unfiltered, regulars)
        else:
            out += writer.marker(unfiltered)
    return out + bytes([flag.END_OF_PARTITION])


def encode_mutation(
    mutation: Mutation,
    version: LogVersion,
    schema: Mapping[UUID, RefTable],
    live_local_deletion: int | None = None,
) -> bytes:
    """A mutation. `live_local_deletion` goes with deletion times that are none: it differs by
    writer (2^31-1 before 5.0, -1 in all that 5.0 and later write) and means nothing.
    """
    if live_local_deletion is None:
        live_local_deletion = -1 if version.unsigned_deletion_times else (1 << 31) - 1
    out = bytes([mutation.flags]) if version.mutation_flags else b""
    out += uvint(len(mutation.updates))
    for update in mutation.updates:
        out += encode_update(update, version, schema[update.table_id], live_local_deletion)
    return out
