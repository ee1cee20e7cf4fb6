"""Which mutations stand behind rows that PostgreSQL refused, found by decoding them once more.

A batch knows its rows merged, not what they came from: that costs nothing as long as nothing is
refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from parsers.decoder import Batch, decode_kept
from parsers.position import Position
from sinks.postgres.refusal import Refusal
from sinks.postgres.set_aside import DeadLetter, letter_ordinal


def letters_of(
    refusals: Iterable[Refusal], mutations: Iterable[tuple[Position, bytes, int]]
) -> list[DeadLetter]:
    """A letter for every mutation that has a share in a refused row.

    One per partition that it writes to: a retry applies all of the mutation anyhow. `mutations` are
    all that went into the batch: position, bytes and log version.
    """
    by_key: dict[tuple[UUID, bytes], list[Refusal]] = {}
    for refusal in refusals:
        for compiled, key in refusal.part.touched_keys():
            by_key.setdefault((compiled.table.id, key), []).append(refusal)
    letters: list[DeadLetter] = []
    scratch: Batch | None = None
    for position, raw, log_version in mutations:
        if scratch is None:
            scratch = Batch(next(iter(by_key.values()))[0].part.catalog)
        scratch.clear()
        decode_kept(raw, scratch, log_version=log_version, position=position)
        # Few mutations touch a refused partition, fewer the refused row of it.
        for compiled, key in scratch.touched_keys():
            table = compiled.table
            for refusal in by_key.get((table.id, key), ()):
                if scratch.shared(refusal.part):
                    letters.append(
                        DeadLetter(
                            position,
                            f"PostgreSQL refuses the row: {refusal.reason}",
                            raw,
                            log_version,
                            table,
                            key,
                            refusal.detail,
                            letter_ordinal(table, key),
                            refusal.sqlstate,
                        )
                    )
                    break
    return letters
