"""Counter contexts: shards per counter id, their merge, and the count that SELECT gives."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.cursor import Cursor
from tests.reference.errors import DecodeError

_GLOBAL, _LOCAL, _REMOTE = "global", "local", "remote"
_SHARD_BYTES = 32


@dataclass(frozen=True)
class Shard:
    """What one counter id has counted up to its logical clock."""

    counter_id: bytes
    kind: str
    clock: int
    count: int


def read_context(context: bytes) -> list[Shard]:
    """The shards of a context, in the order of their ids."""
    if not context:
        return []
    cursor = Cursor(context)
    kinds: dict[int, str] = {}
    for _ in range(abs(cursor.i16())):
        element = cursor.i16()
        kinds[element if element >= 0 else element + 32768] = _LOCAL if element >= 0 else _GLOBAL
    if cursor.remaining % _SHARD_BYTES:
        raise DecodeError(f"{cursor.remaining} bytes are no whole number of shards")
    return [
        Shard(cursor.take(16), kinds.get(index, _REMOTE), cursor.i64(), cursor.i64())
        for index in range(cursor.remaining // _SHARD_BYTES)
    ]


def write_context(shards: list[Shard]) -> bytes:
    """The context of these shards."""
    ordered = sorted(shards, key=lambda shard: shard.counter_id)
    header = [
        index if shard.kind == _LOCAL else index - 32768
        for index, shard in enumerate(ordered)
        if shard.kind != _REMOTE
    ]
    numbers = [len(header), *header]
    body = b"".join(
        s.counter_id
        + s.clock.to_bytes(8, "big", signed=True)
        + s.count.to_bytes(8, "big", signed=True)
        for s in ordered
    )
    return b"".join(n.to_bytes(2, "big", signed=True) for n in numbers) + body


def _merge_shards(left: Shard, right: Shard) -> Shard:
    if left.kind == right.kind == _LOCAL:
        return Shard(left.counter_id, _LOCAL, left.clock + right.clock, left.count + right.count)
    for kind in (_GLOBAL, _LOCAL):
        if (left.kind == kind) != (right.kind == kind):
            return left if left.kind == kind else right
    return left if (left.clock, left.count) >= (right.clock, right.count) else right


def merge_contexts(left: bytes, right: bytes) -> bytes:
    """Both contexts as one: per counter id the newer shard."""
    merged = {shard.counter_id: shard for shard in read_context(left)}
    for shard in read_context(right):
        known = merged.get(shard.counter_id)
        merged[shard.counter_id] = shard if known is None else _merge_shards(known, shard)
    return write_context(list(merged.values()))


def count(context: bytes) -> int:
    """The counter's value: the sum over all shards."""
    return sum(shard.count for shard in read_context(context))
