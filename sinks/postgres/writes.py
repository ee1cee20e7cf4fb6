"""What decided works write, of any number of mirrors: in one pipeline, much of it by COPY.

What becomes of a row stands in its work; what is read beforehand, and the transaction around it,
are the applier's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from cdc_tail.errors import SchemaMismatch
from cdc_tail.failpoints import point
from parsers._work import RelationWork
from sinks.base import Applied
from sinks.postgres.binary import ROUND_ROWS, Binary, Cursor, execute, send
from sinks.postgres.catalog import Connection
from sinks.postgres.target import Target

# Up to so many new rows go into the pipeline, as a parameter; more by COPY, which is cheaper per
# row and takes round trips of its own.
PIPELINED_ROWS: Final = 100

# COPY data is made and sent in pieces: PostgreSQL inserts one while we make the next.
_COPY_BYTES: Final = 1 << 17

_KEEP_EXPIRIES: Final = b"""
INSERT INTO cdc_tail.expiry (mirror_id, pk, ck, due_at)
SELECT $4, pk, ck, due
  FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS new (pk, ck, due)
    ON CONFLICT (mirror_id, pk, ck) DO UPDATE SET due_at = excluded.due_at
"""

_KEEP_DEAD: Final = b"""
INSERT INTO cdc_tail.dead_row (mirror_id, pk, ck, state, purge_at)
SELECT $5, pk, ck, state, to_timestamp(purge)
  FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::int8[]) AS new (pk, ck, state, purge)
"""

_KEEP_PARTITIONS: Final = b"""
INSERT INTO cdc_tail.partition_tombstone (mirror_id, pk, state, purge_at)
SELECT $4, pk, state, to_timestamp(purge)
  FROM unnest($1::bytea[], $2::bytea[], $3::int8[]) AS new (pk, state, purge)
"""

_RAISE_WATERMARKS: Final = b"""
UPDATE cdc_tail.bucket b
   SET newest_dead_row_us = greatest(b.newest_dead_row_us, new.dead_us),
       newest_partition_us = greatest(b.newest_partition_us, new.partition_us)
  FROM unnest($2::int2[], $3::int8[], $4::int8[]) AS new (bucket, dead_us, partition_us)
 WHERE b.mirror_id = $1 AND b.bucket = new.bucket
"""


@dataclass(frozen=True, slots=True)
class _Statement:
    """A statement of one mirror, and how many rows it must touch, where that is certain.

    With `by_key` it updates rows where they lay; if some were moved since, that one does it again.
    """

    target: Target
    text: bytes
    parameters: Sequence[object]
    rows: int | None = None
    by_key: bytes | None = None


def write(connection: Connection, works: Iterable[tuple[Target, RelationWork]]) -> Applied:
    """Write what was decided, in the caller's transaction.

    Raises psycopg.Error; SchemaMismatch where rows are not as they were read.
    """
    applied = Applied()
    counted: list[tuple[_Statement, Cursor]] = []
    large: list[tuple[Target, RelationWork]] = []
    with ExitStack() as stack:
        is_open = False
        for target, work in works:
            same, new, changed, gone, dead = work.counted()
            applied.inserted += new
            applied.updated += changed
            applied.deleted += gone
            applied.unchanged += same
            applied.dead += dead
            if rows := new + changed + gone:
                applied.by_table[target.table] = applied.by_table.get(target.table, 0) + rows
            for statement in _statements(target, work, new, changed, gone):
                if not is_open:
                    stack.enter_context(connection.pipeline())
                    is_open = True
                cursor = execute(connection, statement.text, statement.parameters)
                if statement.rows is not None and statement.rows >= ROUND_ROWS:
                    send(connection)  # it is executed while the next one is made
                if statement.rows is not None:
                    counted.append((statement, cursor))
                if statement.text is _KEEP_PARTITIONS:
                    applied.partition_tombstones += work.n_partitions
            if new > PIPELINED_ROWS:
                large.append((target, work))
    for statement, cursor in counted:
        _check(connection, statement, cursor)
    for target, work in large:
        with connection.cursor() as copying, copying.copy(target.copy) as copy:
            while (data := work.new_rows(_COPY_BYTES)) is not None:
                copy.write(data)
                point("sink.copying")
        point("sink.copied")
    return applied


def _check(connection: Connection, statement: _Statement, cursor: Cursor) -> None:
    """Whether it touched the rows it had to; what was updated in place is updated by key else.

    Others may update columns of their own, which moves a row.
    """
    touched = cursor.rowcount
    if touched != statement.rows and statement.by_key is not None:
        *parameters, _ = statement.parameters
        touched = execute(connection, statement.by_key, parameters).rowcount
    if touched != statement.rows:
        raise SchemaMismatch(
            f"{statement.rows} rows were to be written, {touched} were there",
            hint="something else writes the mirror; `cdc-tail verify` finds what differs",
            table=statement.target.table,
        )


def _statements(
    target: Target, work: RelationWork, new: int, changed: int, gone: int
) -> Iterator[_Statement]:
    """All that one mirror gets but for COPY, in order."""
    mirror_id = target.mirror.mirror_id
    gone_keys = work.gone_keys()
    if gone_keys is not None:
        yield _Statement(target, target.delete, [Binary(gone_keys)], gone)
        point("sink.deleted")
    if changed:
        yield from _updates(target, work)
        point("sink.updated")
    if 0 < new <= PIPELINED_ROWS:
        records = work.new_records()
        assert records is not None  # as they were counted
        yield _Statement(target, target.insert, [Binary(records)], new)
        point("sink.inserted")
    dead_rows = work.dead_rows()
    if dead_rows is not None:
        yield _Statement(target, _KEEP_DEAD, [*map(Binary, dead_rows), mirror_id])
        point("sink.dead_rows")
    expiries = work.expiries()
    if expiries is not None:
        yield _Statement(target, _KEEP_EXPIRIES, [*map(Binary, expiries), mirror_id])
        point("sink.expiries")
    tombstones = work.partition_tombstones()
    if tombstones is not None:
        yield _Statement(target, _KEEP_PARTITIONS, [*map(Binary, tombstones), mirror_id])
        point("sink.tombstones")
    raised = work.raised_watermarks()
    if raised:
        dead_us, partition_us = zip(*raised.values(), strict=True)
        parameters = [mirror_id, list(raised), list(dead_us), list(partition_us)]
        yield _Statement(target, _RAISE_WATERMARKS, parameters)
        point("sink.watermarks")


def _updates(target: Target, work: RelationWork) -> Iterator[_Statement]:
    """Of the changed rows: where their states were read, which spares a second look-up."""
    while (changes := work.changed_rows(ROUND_ROWS)) is not None:
        records, masks, attributes, places, rows = changes
        parameters = [Binary(records), *map(Binary, masks)]
        by_key = target.update(attributes, len(masks))
        if places is None:
            yield _Statement(target, by_key, parameters, rows)
            continue
        in_place = target.update(attributes, len(masks), in_place=True)
        yield _Statement(target, in_place, [*parameters, Binary(places)], rows, by_key)
