"""How a table's definitions followed one another, in words; reads nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from parsers.schema import Column, Table
from sinks.postgres.history import Entry

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Step:
    """One definition of a table as a node's log brought it, and what it changed."""

    entry: Entry
    changes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON form."""
        entry, table = self.entry, self.entry.definition.table
        return {
            "table": str(table),
            "table_id": str(table.id),
            "node": entry.node,
            "position": str(entry.position),
            "written_at": written_at(entry.definition.written_us),
            "recorded_at": entry.recorded_at.isoformat(),
            "is_dropped": entry.definition.is_dropped,
            "changes": list(self.changes),
        }


def steps(entries: Iterable[Entry]) -> Iterator[Step]:
    """Every entry with what it changed; `entries` come by table and node, in the log's order."""
    before: dict[tuple[UUID, str], Entry] = {}
    for entry in entries:
        key = (entry.definition.table.id, entry.node)
        yield Step(entry, tuple(_changes(before.get(key), entry)))
        before[key] = entry


def written_at(written_us: int) -> str | None:
    """A writetime as ISO 8601; None for one that no calendar has."""
    try:
        return (_EPOCH + timedelta(microseconds=written_us)).isoformat()
    except OverflowError:
        return None


def _changes(before: Entry | None, entry: Entry) -> Iterator[str]:
    now = entry.definition
    if before is None:
        columns = ", ".join(f"{c.name} {c.type}" for c in _columns(now.table).values())
        yield f"first seen: {columns}"
    else:
        yield from _altered(before.definition.table, now.table)
    if now.is_dropped and (before is None or not before.definition.is_dropped):
        yield "dropped"


def _altered(old: Table, new: Table) -> Iterator[str]:
    was, now = _columns(old), _columns(new)
    for name in was.keys() - now.keys():
        yield f"column {name} is gone"
    for name, column in now.items():
        if name not in was:
            yield f"column {name} {column.type} is new"
        elif was[name].type != column.type:
            yield f"column {name} was {was[name].type}, is {column.type}"
    for what in ("cdc", "gc_grace_seconds"):
        if getattr(old, what) != getattr(new, what):
            yield f"{what} was {getattr(old, what)}, is {getattr(new, what)}"


def _columns(table: Table) -> dict[str, Column]:
    return {one.name: one for one in (*table.primary_key, *table.statics, *table.regulars)}
