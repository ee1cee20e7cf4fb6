"""Ids for tables that only CQL told of, without them: found by which mutations a table explains.

A mutation names its table by id alone, but it ends exactly where it should, with columns that
exist, only under the right definition. What fits two tables, or two ids, is left open: a wrong
guess would write wrong rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from cdc_tail.errors import SegmentError, UnknownTable
from parsers.decoder import CompiledTable, build_catalog, schema_updates, view_mutation
from parsers.formats import mutation_format
from parsers.schema import Table
from parsers.schema_log import SchemaLog, TableName
from parsers.system_tables import SCHEMA_TABLES, SKIPPED_TABLE_IDS, SYSTEM_TABLES

SAMPLES: Final = 200
"""Mutations looked at per table id: more tell nothing new."""

_SCHEMA_IDS: Final = frozenset(table.id for table in SCHEMA_TABLES.values())
_OWN_IDS: Final = SKIPPED_TABLE_IDS | {table.id for table in SYSTEM_TABLES}


@dataclass(slots=True)
class Survey:
    """What a log holds of tables whose ids nothing tells: offered mutations, then asked for ids.

    `log` is a schema log of its own that knows what is known beforehand; schema changes among the
    mutations go into it.
    """

    log: SchemaLog
    _samples: dict[UUID, list[tuple[bytes, int]]] = field(default_factory=dict)

    def offer(self, mutation: bytes, log_version: int) -> None:
        """Look at a mutation. Only its first update counts: others need that one's table."""
        table_id = first_table_id(mutation, log_version)
        if table_id in _SCHEMA_IDS:
            views = view_mutation(mutation, build_catalog(), log_version)
            self.log.apply(*schema_updates(views))
        elif table_id not in _OWN_IDS and self.log.schema.by_id(table_id) is None:
            samples = self._samples.setdefault(table_id, [])
            if len(samples) < SAMPLES:
                samples.append((mutation, log_version))

    def bindings(self) -> Mapping[TableName, UUID]:
        """The ids of unbound tables of which there is no doubt."""
        unknown = [i for i in self._samples if self.log.schema.by_id(i) is None]
        fitting = {
            table_id: [n for n, table in self.log.unbound.items() if self._fits(table, table_id)]
            for table_id in unknown
        }
        claims: dict[TableName, list[UUID]] = {}
        for table_id, names in fitting.items():
            for name in names:
                claims.setdefault(name, []).append(table_id)
        return {
            name: ids[0]
            for name, ids in claims.items()
            if len(ids) == 1 and len(fitting[ids[0]]) == 1
        }

    def _fits(self, table: Table, table_id: UUID) -> bool:
        """Whether the definition explains every sample, and one that names a column of it."""
        compiled = CompiledTable(replace(table, id=table_id), "mirror")
        catalog = build_catalog([compiled], self.log.schema.all_by_id().values())
        has_columns = bool(table.statics + table.regulars)
        explained = False
        for mutation, log_version in self._samples[table_id]:
            try:
                views = view_mutation(mutation, catalog, log_version)
            except UnknownTable as error:
                if error.table is None:
                    continue  # it goes on with another unknown table, which proves nothing
                return False
            except SegmentError:
                return False
            rows = [row for view in views for row in (view.static, *view.rows) if row is not None]
            explained |= not has_columns or any(row.columns for row in rows)
        return explained


def first_table_id(mutation: bytes, log_version: int) -> UUID:
    """The table of a mutation's first update; raises ValueError where it is too short for one."""
    start = int(mutation_format(log_version).mutation_flags)
    # A vint has as many extra bytes as its first byte has leading ones.
    first = mutation[start] if len(mutation) > start else 0
    start += 1 + 8 - (first ^ 0xFF).bit_length()
    return UUID(bytes=mutation[start : start + 16])
