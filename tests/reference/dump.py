"""Segments as JSON lines, one per mutation, in the form that `tests/tools/dumper/README.md`
documents.

python -m tests.reference.dump cdc_raw/CommitLog-7-*.log
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.reference.catalog import Catalog, without_dropped
from tests.reference.descriptor import parse_name
from tests.reference.errors import UnknownTable
from tests.reference.model import Cell, Deletion, Marker, PartitionUpdate, Row
from tests.reference.schema import RefTable
from tests.reference.segment import Decoded, Undecodable, read_segment

Json = dict[str, Any]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _deletion(deletion: Deletion) -> Json:
    return {
        "writetime_us": deletion.writetime_us,
        "local_deletion_seconds": deletion.local_deletion_seconds,
    }


def _expiry(ttl_seconds: int, local_deletion_seconds: int | None) -> Json:
    found: Json = {}
    if ttl_seconds:
        found["ttl_seconds"] = ttl_seconds
    if local_deletion_seconds is not None:
        found["local_deletion_seconds"] = local_deletion_seconds
    return found


def _cell(cell: Cell) -> Json:
    found: Json = {"column": cell.column}
    if cell.path is not None:
        found["path"] = cell.path.hex()
    found["writetime_us"] = cell.writetime_us
    found |= _expiry(cell.ttl_seconds, cell.local_deletion_seconds)
    found |= {"tombstone": True} if cell.deleted else {"value": cell.value.hex()}
    return found


def _row(row: Row) -> Json:
    found: Json = {} if row.static else {"clustering": [_hex(value) for value in row.clustering]}
    if row.liveness:
        found["liveness"] = {"writetime_us": row.liveness.writetime_us} | _expiry(
            row.liveness.ttl_seconds, row.liveness.local_deletion_seconds
        )
    if row.deletion:
        found["deletion"] = _deletion(row.deletion) | (
            {"shadowable": True} if row.shadowable else {}
        )
    if row.complex_deletions:
        found["complex_deletions"] = [
            {"column": column} | _deletion(row.complex_deletions[column])
            for column in row.complex_deletions
        ]
    if row.cells:
        found["cells"] = [_cell(c) for c in row.cells]
    return found


def _marker(marker: Marker) -> Json:
    found: Json = {"marker": marker.kind, "values": [_hex(value) for value in marker.values]}
    if marker.closed:
        found["closes"] = _deletion(marker.closed)
    if marker.opened:
        found["opens"] = _deletion(marker.opened)
    return found


def _update(update: PartitionUpdate, table: RefTable) -> Json:
    found: Json = {"table": update.table, "id": str(update.table_id), "key": update.key.hex()}
    if update.deletion:
        found["deletion"] = _deletion(update.deletion)
    if update.static_row:
        static_row = without_dropped(update.static_row, table)
        if not static_row.empty:
            found["static"] = _row(static_row)
    unfiltereds = []
    for unfiltered in update.unfiltereds:
        if isinstance(unfiltered, Marker):
            unfiltereds.append(_marker(unfiltered))
            continue
        row = without_dropped(unfiltered, table)
        if not row.empty:
            unfiltereds.append(_row(row))
    if unfiltereds:
        found["unfiltereds"] = unfiltereds
    return found


def dump_segment(
    data: bytes, segment_id: int, catalog: Catalog, keys: Mapping[str, bytes] | None = None
) -> Iterator[Json]:
    """One object per entry; an undecodable one has `unknown_table` or `error` instead of
    `updates`.
    """
    for item in read_segment(data, catalog, keys):
        if not isinstance(item, Decoded | Undecodable):
            continue
        found: Json = {
            "position": f"{segment_id}:{item.entry.end}",
            "size": len(item.entry.mutation),
        }
        if isinstance(item, Decoded):
            found["updates"] = [
                _update(update, catalog[update.table_id]) for update in item.mutation.updates
            ]
        elif isinstance(item.error, UnknownTable):
            found["unknown_table"] = str(item.error.table_id)
        else:
            found["error"] = str(item.error)
        yield found


def main(arguments: list[str]) -> None:
    """Dumps the segments named, in the order of their ids, with one catalog for all."""
    catalog = Catalog()
    paths = sorted(
        (Path(argument) for argument in arguments), key=lambda path: parse_name(path.name)[1]
    )
    for path in paths:
        for line in dump_segment(path.read_bytes(), parse_name(path.name)[1], catalog):
            print(json.dumps(line, separators=(",", ":"), ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
