"""What a sink of decoded batches offers the pipeline; holds no implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Protocol, TypeVar

from parsers.decoder import Batch

ConnectionT_co = TypeVar("ConnectionT_co", covariant=True)


@dataclass(slots=True)
class Applied:
    """What became of a batch's rows, after they were merged per key.

    `unchanged` rows say nothing that the mirror did not know: copies from other replicas,
    repetitions, older writes. `dead` rows left only tombstones to remember. `by_table` has the rows
    inserted, updated and deleted by "keyspace.table".
    """

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    dead: int = 0
    partition_tombstones: int = 0
    dead_letters: int = 0
    by_table: dict[str, int] = field(default_factory=dict, compare=False)

    def __iadd__(self, other: Applied) -> Applied:
        for one in fields(self):
            if one.name != "by_table":
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))
        for table, rows in other.by_table.items():
            self.by_table[table] = self.by_table.get(table, 0) + rows
        return self

    @property
    def rows(self) -> int:
        """Rows looked at."""
        return self.inserted + self.updated + self.deleted + self.unchanged + self.dead


class Sink(Protocol[ConnectionT_co]):
    """Applies batches, each in one transaction with whatever `commit` writes."""

    def apply(self, batch: Batch, commit: Callable[[ConnectionT_co], None]) -> Applied:
        """Merge the batch into the sink and commit, `commit` being called last before that.

        Raises SinkUnavailable (retry the same batch later), RowRejected, SchemaMismatch, and
        whatever `commit` raises; nothing is written then.
        """
