"""A mutation's envelope and its partition updates; rows are read in `rows.py`."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from tests.reference.cursor import Cursor
from tests.reference.errors import DecodeError, UnknownTable
from tests.reference.model import Mutation, PartitionUpdate, Row
from tests.reference.rows import Header, read_deletion, read_static_row, read_unfiltereds
from tests.reference.schema import RefColumn, RefTable
from tests.reference.versions import LogVersion

IS_EMPTY, IS_REVERSED, HAS_PARTITION_DELETION, HAS_STATIC_ROW, HAS_ROW_ESTIMATE = 1, 2, 4, 8, 16

# The encoding's epochs: 2015-09-22T00:00:00Z.
TIMESTAMP_EPOCH_US = 1442880000000000
DELETION_TIME_EPOCH_SECONDS = 1442880000


def _columns(cursor: Cursor, table: RefTable, *, static: bool) -> tuple[RefColumn, ...]:
    found = []
    for _ in range(cursor.length()):
        try:
            name = cursor.vint_bytes().decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"a column name is not UTF-8: {error}") from error
        column = table.column(name, static=static)
        if column is None:
            raise UnknownTable(table.id, f"column {name!r}")
        found.append(column)
    return tuple(found)


def _update(
    cursor: Cursor, version: LogVersion, schema: Mapping[UUID, RefTable]
) -> PartitionUpdate:
    table_id = UUID(bytes=cursor.take(16))
    epoch = cursor.uvint() if version.table_epoch else None
    table = schema.get(table_id)
    if table is None:
        raise UnknownTable(table_id)
    qualified = f"{table.keyspace}.{table.name}"
    key = cursor.vint_bytes()
    flags = cursor.u8()
    if flags & IS_EMPTY:
        return PartitionUpdate(table_id, qualified, key, epoch=epoch)
    if flags & IS_REVERSED or flags > 0x1F:
        raise DecodeError(f"partition flags 0x{flags:02x} have no meaning in a mutation")
    min_timestamp = TIMESTAMP_EPOCH_US + cursor.uvint()
    min_deletion_time = DELETION_TIME_EPOCH_SECONDS + cursor.uvint()
    min_ttl = cursor.uvint()
    has_static = bool(flags & HAS_STATIC_ROW)
    static_columns = _columns(cursor, table, static=True) if has_static else ()
    regular_columns = _columns(cursor, table, static=False)
    header = Header(
        version,
        min_timestamp,
        min_deletion_time,
        min_ttl,
        tuple(c.type for c in table.clustering),
        static_columns,
        regular_columns,
    )
    deletion = read_deletion(cursor, header) if flags & HAS_PARTITION_DELETION else None
    static_row: Row | None = read_static_row(cursor, header) if has_static else None
    if flags & HAS_ROW_ESTIMATE:
        cursor.uvint()  # the row count is a hint and nothing relies on it
    return PartitionUpdate(
        table_id,
        qualified,
        key,
        deletion,
        static_row,
        tuple(read_unfiltereds(cursor, header)),
        tuple(c.name for c in static_columns),
        tuple(c.name for c in regular_columns),
        epoch,
    )


def read_mutation(data: bytes, version: LogVersion, schema: Mapping[UUID, RefTable]) -> Mutation:
    """The mutation that fills `data` exactly; DecodeError when it does not, which most often means
    a wrong schema.
    """
    cursor = Cursor(data)
    flags = cursor.u8() if version.mutation_flags else 0
    count = cursor.length()
    if count == 0:
        raise DecodeError("a mutation without updates")
    updates = tuple(_update(cursor, version, schema) for _ in range(count))
    if cursor.remaining:
        raise DecodeError(f"{cursor.remaining} bytes left behind the last update")
    return Mutation(updates, flags)
