"""Mutations of our own making, which say what a SELECT said, taken into a batch."""

from __future__ import annotations

import hashlib

from cdc_tail.errors import SchemaMismatch
from parsers.decoder import Batch, decode_kept
from parsers.encode import ENCODED_LOG_VERSION
from parsers.position import Position
from parsers.schema import Table
from sinks.postgres.set_aside import DeadLetter


def add_mutation(batch: Batch, mutation: bytes, table: Table) -> None:
    """Decode a mutation of ours into the batch. SchemaMismatch where the table has changed."""
    outcome = decode_kept(
        mutation, batch, log_version=ENCODED_LOG_VERSION, position=_position(mutation)
    )
    if outcome is not None:
        raise SchemaMismatch(
            f"rows of the snapshot can't be decoded: {outcome.kind} {outcome.reason}".rstrip(),
            hint="the table was altered a moment ago; run the snapshot again",
            table=str(table),
        )


def refused(batch: Batch) -> list[DeadLetter]:
    """The rows of the batch that PostgreSQL's types can't hold, as dead letters."""
    return [
        DeadLetter(
            position=one.position,
            reason=one.reason,
            raw=one.raw,
            log_version=one.log_version,
            table=one.table,
            key=one.partition_key,
            detail=one.column,
            ordinal=number,
        )
        for number, one in enumerate(batch.rejections)
    ]


def _position(mutation: bytes) -> Position:
    """Where no log has it: segment 0, and a number that the same rows have again."""
    digest = hashlib.blake2b(mutation, digest_size=8).digest()
    return Position(0, int.from_bytes(digest) >> 1)
