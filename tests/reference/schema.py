"""Tables as the decoder needs them: ids, column kinds and types, and what was dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from tests.reference.types import CqlType, parse_type


@dataclass(frozen=True)
class RefColumn:
    """A column. `kind`: partition_key, clustering, static or regular; `position` counts within the
    key kinds.
    """

    name: str
    kind: str
    type: CqlType
    position: int = -1
    descending: bool = False

    @property
    def complex(self) -> bool:
        """True where the column holds one cell per element."""
        return self.kind in ("static", "regular") and self.type.multi_cell


@dataclass(frozen=True)
class DroppedColumn:
    """A dropped column: its cells with `writetime <= dropped_us` are to be ignored."""

    column: RefColumn
    dropped_us: int


@dataclass(frozen=True)
class RefTable:
    """A table as it stood at some position of the log."""

    keyspace: str
    name: str
    id: UUID
    columns: dict[str, RefColumn]
    dropped: dict[str, DroppedColumn] = field(default_factory=dict)
    cdc: bool = False
    flags: frozenset[str] = frozenset()

    def of_kind(self, kind: str) -> list[RefColumn]:
        """The columns of one kind, key columns in key order."""
        return sorted(
            (c for c in self.columns.values() if c.kind == kind), key=lambda c: (c.position, c.name)
        )

    @property
    def clustering(self) -> list[RefColumn]:
        """The clustering columns in order."""
        return self.of_kind("clustering")

    def column(self, name: str, *, static: bool) -> RefColumn | None:
        """A regular or static column by name, or what stood under the name before it was
        dropped.
        """
        found = self.columns.get(name)
        if found is not None and found.kind == ("static" if static else "regular"):
            return found
        dropped = self.dropped.get(name)
        return dropped.column if dropped else None


def table(
    keyspace: str,
    name: str,
    table_id: UUID | str,
    *,
    partition_key: str,
    clustering: str = "",
    regular: str = "",
    static: str = "",
) -> RefTable:
    """A table from short texts of the form `name type; name type`, for the tables that nothing in
    the log defines.
    """
    columns: dict[str, RefColumn] = {}
    kinds = {
        "partition_key": partition_key,
        "clustering": clustering,
        "static": static,
        "regular": regular,
    }
    for kind, text in kinds.items():
        for position, declaration in enumerate(
            filter(None, (part.strip() for part in text.split(";")))
        ):
            column_name, _, type_text = declaration.partition(" ")
            key_position = position if kind in ("partition_key", "clustering") else -1
            columns[column_name] = RefColumn(column_name, kind, parse_type(type_text), key_position)
    return RefTable(keyspace, name, UUID(str(table_id)), columns)
