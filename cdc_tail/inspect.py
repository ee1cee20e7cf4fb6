"""What stands in a segment, as JSON-able Python, mutation by mutation; writes to no database.

The form is documented in docs/inspect.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_tail.errors import SegmentCorrupt, UnknownTable
from cdc_tail.schema_file import seed_from_file
from cdc_tail.watch import SegmentFile
from parsers.cql_types import CqlType, SetType
from parsers.decoder import (
    INCLUSIVE_ENDS,
    INCLUSIVE_STARTS,
    Catalog,
    CompiledTable,
    build_catalog,
    schema_updates,
    view_mutation,
)
from parsers.descriptor import HEADER_MAX_BYTES, read_header
from parsers.position import Position
from parsers.render import render
from parsers.schema import Column, Table
from parsers.schema_log import SchemaLog
from parsers.segment import SegmentReader, iter_entries
from parsers.view import (
    BoundView,
    ColumnView,
    DeletionView,
    RangeView,
    RowView,
    UpdateView,
    cell_type,
    element_name,
    partition_key_values,
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which updates to show; None shows all."""

    table: str | None = None  # "keyspace.table", or "table" of any keyspace
    key: str | None = None  # the partition key as printed, its columns joined with ":"

    def shows(self, update: dict[str, Any]) -> bool:
        """Whether an update of `describe_update` is wanted."""
        names = (update["table"], f"{update['keyspace']}.{update['table']}")
        if self.table is not None and self.table not in names:
            return False
        return self.key is None or self.key == key_text(update["key"])

    @property
    def is_open(self) -> bool:
        """Whether everything is shown."""
        return self.table is None and self.key is None


def key_text(key: dict[str, Any]) -> str:
    """A key as one text, for filters and for people: its values joined with a colon."""
    return ":".join(str(value) for value in key.values())


class Inspector:
    """Describes mutations; learns tables from the log as it goes, as the mirror would."""

    def __init__(
        self, schema: SchemaLog | None = None, keys: Mapping[str, bytes] | None = None
    ) -> None:
        """`schema` holds what is known beforehand; `keys` those of encrypted segments."""
        self._log = schema or SchemaLog()
        self._keys = keys or {}
        self._catalog = self._compile()

    def _compile(self) -> Catalog:
        tables = self._log.schema.all_by_id().values()
        return build_catalog(CompiledTable(table, "mirror") for table in tables)

    def describe_segment(
        self, path: Path, wanted: Filter | None = None
    ) -> Iterator[dict[str, Any]]:
        """Every mutation of the segment at `path` that `wanted` shows, in log order.

        Raises SegmentCorrupt after the last mutation before a damage.
        """
        with SegmentReader(path, keys=self._keys) as reader:
            reader.set_completed()
            for position, raw in iter_entries(reader):
                described = self.describe(position, raw, reader.version)
                if wanted is None or wanted.is_open:
                    yield described
                    continue
                shown = [one for one in described.get("updates", ()) if wanted.shows(one)]
                if shown:
                    yield described | {"updates": shown}

    def describe(self, position: Position, raw: bytes, log_version: int) -> dict[str, Any]:
        """One mutation. What can't be decoded is told with its reason and its bytes."""
        described: dict[str, Any] = {
            "position": str(position),
            "segment_id": position.segment_id,
            "offset": position.offset,
            "size_bytes": len(raw),
            "log_version": log_version,
        }
        try:
            views = view_mutation(raw, self._catalog, log_version)
            described["updates"] = [describe_update(view) for view in views]
        except (UnknownTable, SegmentCorrupt) as error:
            return described | {
                "error": {"type": type(error).__name__, "message": str(error)},
                "raw": raw.hex(),
            }
        if not views:
            described["skipped"] = "only tables of Cassandra's own"
        updates = schema_updates(views)
        if updates and self._log.apply(*updates):
            self._catalog = self._compile()
        return described


def describe_update(view: UpdateView) -> dict[str, Any]:
    """One partition update."""
    table = view.table
    described: dict[str, Any] = {
        "keyspace": table.keyspace,
        "table": table.name,
        "table_id": str(table.id),
        "key": describe_key(table, view.partition_key),
    }
    if view.deletion is not None:
        described["partition_deletion"] = _deletion(view.deletion)
    if view.static is not None:
        described["static"] = _row(table, view.static, is_static=True)
    described["rows"] = [_row(table, row) for row in view.rows]
    if view.ranges:
        described["range_tombstones"] = [_range(table, ranged) for ranged in view.ranges]
    return described


def describe_key(table: Table, partition_key: bytes) -> dict[str, Any]:
    """The columns of a partition key from its bytes (format 5.2)."""
    return _named(table.partition_key, partition_key_values(table, partition_key))


def _named(columns: Iterable[Column], values: Iterable[bytes | None]) -> dict[str, Any]:
    """Values by column; a prefix of the columns may be all there is."""
    return {
        column.name: _value(column.type, value)
        for column, value in zip(columns, values, strict=False)
    }


def _value(cql_type: CqlType, value: bytes | None) -> Any:
    """The rendered value; bytes that are none of the type are shown as they are."""
    try:
        return render(cql_type, value)
    except ValueError as error:
        return {"invalid": str(error), "bytes": "0x" + (value or b"").hex()}


def _deletion(deletion: DeletionView) -> dict[str, Any]:
    return {"timestamp_us": deletion.timestamp_us, "deleted_at_s": deletion.local_time_s}


def _row(table: Table, row: RowView, *, is_static: bool = False) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if not is_static:
        described["clustering"] = _named(table.clustering, row.clustering)
    if row.liveness is not None:
        described["writetime_us"] = row.liveness.writetime_us
        if row.liveness.expires_s is not None:
            described["ttl_seconds"] = row.liveness.ttl_seconds
            described["expires_at_s"] = row.liveness.expires_s
    if row.deletion is not None:
        described["deletion"] = _deletion(row.deletion)
    described["cells"] = [
        cell for name, column in row.columns.items() for cell in _cells(name, column)
    ]
    return described


def _cells(name: str, column: ColumnView) -> Iterator[dict[str, Any]]:
    cql_type = column.column.type
    if column.deletion is not None:
        yield {"column": name, "deletion": _deletion(column.deletion)}
    for cell in column.cells:
        described: dict[str, Any] = {"column": name}
        if cell.path is not None:
            described["path"] = element_name(cql_type, cell.path, _value)
        if cell.value is None:
            described["deleted_at_s"] = cell.deletion_time_s
        elif not (cell.path is not None and isinstance(cql_type, SetType)):
            described["value"] = _value(cell_type(cql_type, cell.path), cell.value)
        described["writetime_us"] = cell.writetime_us
        if cell.ttl_seconds:
            described["ttl_seconds"] = cell.ttl_seconds
            described["expires_at_s"] = cell.deletion_time_s
        yield described


def _range(table: Table, ranged: RangeView) -> dict[str, Any]:
    described = {
        "start": _bound(table, ranged.start, INCLUSIVE_STARTS),
        "end": _bound(table, ranged.end, INCLUSIVE_ENDS),
    }
    return described | (_deletion(ranged.deletion) if ranged.deletion else {})


def _bound(table: Table, bound: BoundView, inclusive: frozenset[int]) -> dict[str, Any]:
    return {
        "clustering": _named(table.clustering, bound.values),
        "inclusive": bound.kind in inclusive,
    }


def describe_header(file: SegmentFile) -> str:
    """One line about a segment: name, log version, container, what its index says."""
    with file.path.open("rb") as opened:
        header = read_header(opened.read(HEADER_MAX_BYTES), file.path.name)
    if header is None:
        return f"{file.path.name}: no header is written yet"
    container = "uncompressed"
    if header.encryption is not None:
        container = f"encrypted with {header.encryption.cipher}, key {header.encryption.key_alias}"
    elif header.compression is not None:
        container = f"compressed with {header.compression.class_name}"
    index = "no index"
    if file.index is not None:
        index = "completed" if file.index.completed else f"synced up to {file.index.offset}"
    return f"{file.path.name}: log version {header.version}, {container}, {index}"


def known_schema(schema_file: Path | None) -> SchemaLog:
    """A schema log that knows the tables of a file of CQL."""
    log = SchemaLog()
    if schema_file is not None:
        seed_from_file(log, schema_file)
    return log
