"""What a mutation says, with every key and value as raw bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

LIVE_DELETION_US = -(1 << 63)
EXPIRED_LIVENESS_TTL = (1 << 31) - 1


@dataclass(frozen=True)
class Deletion:
    """A deletion time: all data with `writetime_us` up to and including this one is deleted."""

    writetime_us: int
    local_deletion_seconds: int


@dataclass(frozen=True)
class Liveness:
    """A row's primary-key liveness; `ttl_seconds` 0 and `local_deletion_seconds` None when it does
    not expire.
    """

    writetime_us: int
    ttl_seconds: int = 0
    local_deletion_seconds: int | None = None


@dataclass(frozen=True)
class Cell:
    """One cell. `path` is set in multi-cell columns only. A tombstone has `deleted` and no value;
    `value` b"" is empty.
    """

    column: str
    writetime_us: int
    ttl_seconds: int = 0
    local_deletion_seconds: int | None = None
    deleted: bool = False
    path: bytes | None = None
    value: bytes = b""
    flags: int = 0


@dataclass(frozen=True)
class Row:
    """A row (static rows have no clustering). A clustering value is None where null, b"" where
    empty.
    """

    clustering: tuple[bytes | None, ...] = ()
    static: bool = False
    liveness: Liveness | None = None
    deletion: Deletion | None = None
    shadowable: bool = False
    complex_deletions: dict[str, Deletion] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()

    @property
    def empty(self) -> bool:
        """True where nothing is said."""
        return not (self.liveness or self.deletion or self.complex_deletions or self.cells)


@dataclass(frozen=True)
class Marker:
    """A range-tombstone marker. `closed` is the deletion of the range that ends here, `opened` of
    the one that starts.
    """

    kind: str
    values: tuple[bytes | None, ...]
    closed: Deletion | None
    opened: Deletion | None


@dataclass(frozen=True)
class PartitionUpdate:
    """What one mutation says about one partition of one table. `unfiltereds` stand in clustering
    order.
    """

    table_id: UUID
    table: str
    key: bytes
    deletion: Deletion | None = None
    static_row: Row | None = None
    unfiltereds: tuple[Row | Marker, ...] = ()
    static_columns: tuple[str, ...] = ()
    regular_columns: tuple[str, ...] = ()
    epoch: int | None = None


@dataclass(frozen=True)
class Mutation:
    """All that one entry of the log says."""

    updates: tuple[PartitionUpdate, ...]
    flags: int = 0
