"""The state in a mirror's `_cdc` column, read by plain Python from its description."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.reference.cursor import Cursor

_NONE = (1 << 63) - 1


@dataclass(frozen=True)
class StateCell:
    """A cell, element or complex deletion. Times are None where there are none."""

    writetime_us: int
    tombstone: bool = False
    complex_deletion: bool = False
    deletion_time_s: int | None = None
    ttl_s: int = 0


@dataclass(frozen=True)
class RowState:
    """What a state says; cells by (cid, path), None for the path of a simple cell or a deletion."""

    liveness: tuple[int, int, int | None] | None
    deletion: tuple[int, int] | None
    cells: dict[tuple[int, bytes | None, bool], StateCell] = field(default_factory=dict)
    values: dict[tuple[int, bytes | None], bytes] = field(default_factory=dict)
    clustering: bytes | None = None
    partition_key: bytes | None = None


def read_state(state: bytes) -> RowState:
    """The state that these bytes hold, all of them."""
    cursor = Cursor(state)
    flags = cursor.u8()
    liveness: tuple[int, int, int | None] | None = None
    deletion = None
    previous_us = 0
    if flags & 1:
        previous_us = cursor.i64()
        ttl_s, expiry_s = 0, None
        if flags & 2:
            ttl_s, expiry_s = cursor.uvint(), cursor.svint()
        liveness = previous_us, ttl_s, expiry_s
        if flags & 64:
            cursor.take(8)
    if flags & 4:
        deletion = cursor.i64(), cursor.svint()
    found = RowState(liveness, deletion)
    if flags & 8:
        bits = int.from_bytes(cursor.take(cursor.u8()), "little")
        assert liveness is not None
        for cid in range(bits.bit_length()):
            if bits >> cid & 1:
                ttl_s, expiry_s = liveness[1:]
                cell = StateCell(liveness[0], deletion_time_s=expiry_s, ttl_s=ttl_s)
                found.cells[cid, None, False] = cell
    last = -1
    for _ in range(cursor.uvint() if flags & 16 else 0):
        cid, cell_flags = cursor.uvint(), cursor.u8()
        assert cid >= last
        last = cid
        previous_us += cursor.svint()
        seconds = cursor.svint() if cell_flags & 7 else None
        ttl_s = cursor.uvint() if cell_flags & 2 else 0
        path = cursor.vint_bytes() if cell_flags & 32 else None
        if cell_flags & 64:
            found.values[cid, path] = cursor.vint_bytes()
        if cell_flags & 128:
            cursor.take(8)
        place = cid, path, bool(cell_flags & 4)
        assert place not in found.cells, "two entries for one place"
        found.cells[place] = StateCell(
            previous_us,
            bool(cell_flags & 1),
            bool(cell_flags & 4),
            None if seconds == _NONE else seconds,
            ttl_s,
        )
    if flags & 32:
        found = replace(found, clustering=cursor.vint_bytes())
    if flags & 128:
        found = replace(found, partition_key=cursor.vint_bytes())
    assert cursor.remaining == 0
    return found
