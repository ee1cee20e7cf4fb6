"""Which tables are known and mirrored: the schema in, relations and the decoder's catalog out.

It changes relations only inside the caller's transaction, and reads no log.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from uuid import UUID

from cdc_tail.settings import MirrorSettings
from parsers.decoder import Catalog, CompiledTable, build_catalog
from parsers.position import Position
from parsers.schema import Schema, Table
from parsers.schema_log import SchemaLog
from sinks.postgres import history
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import Connection, Mirror, load_mirrors, mirrors_of
from sinks.postgres.ddl import drop_mirrors, ensure_mirrors
from sinks.postgres.masks import column_masks
from sinks.postgres.seal import Seal
from sinks.postgres.snapshots import request_snapshot
from sinks.postgres.target import column_types
from sinks.postgres.typemap import Mapping


@dataclass(frozen=True)
class Prepared:
    """A state of the mirrors that holds once the transaction that made it has committed."""

    schema: Schema
    compiled: MappingABC[UUID, CompiledTable]
    catalog: Catalog


class Mirrors:
    """The tables of one node's log: what the decoder is told of them, and where their rows go."""

    def __init__(
        self,
        log: SchemaLog,
        settings: MirrorSettings,
        node: str,
        existing: frozenset[UUID] = frozenset(),
    ) -> None:
        """`existing` are tables of which it is known that an old log's DDL can't drop them."""
        self.log = log
        self._existing = existing
        self._settings = settings
        self._node = node
        self.seal = Seal(settings.mask_bytes())
        self._now = Prepared(Schema(), {}, build_catalog())

    @property
    def catalog(self) -> Catalog:
        """What the decoder is to be told of every table."""
        return self._now.catalog

    @property
    def names(self) -> tuple[str, ...]:
        """The mirrored tables that exist, as "keyspace.table"."""
        schema = self.log.schema
        return tuple(
            sorted(
                str(one.table)
                for one in self._now.compiled.values()
                if not schema.is_dropped(one.table.id)
            )
        )

    def knows(self, table_id: UUID) -> bool:
        """Whether mutations of the table can be decoded."""
        return self.log.schema.by_id(table_id) is not None

    def is_mirrored(self, table_id: UUID) -> bool:
        """Whether the table's rows are written."""
        return table_id in self._now.compiled

    def catalog_of(self, table_id: UUID) -> Catalog:
        """What the decoder is told where only one mirrored table matters."""
        now = self._now
        return build_catalog([now.compiled[table_id]], now.schema.all_by_id().values())

    def prepare(self, sink: PostgresSink, position: Position | None) -> Prepared:
        """Bring relations and history up to the schema log, in the sink's transaction.

        `position` is the end of the mutation that brought the change, None at a start. Batches of
        the present catalog must be applied before; `adopt` the result once it is committed. Raises
        SchemaMismatch where a relation can't follow.
        """
        conn = sink.connection
        schema = self.log.schema
        mask_key = self._settings.mask_bytes()
        mapping = Mapping(
            columns=self._settings.column_types(),
            pgvector=_has_pgvector(conn),
            mask_key=mask_key,
        )
        compiled: dict[UUID, CompiledTable] = {}
        had_mirrors = {one.table_id for one in load_mirrors(conn)}
        for table_id, table in schema.all_by_id().items():
            mirrors = self._mirrors_of(conn, table, mapping)
            if not mirrors:
                continue
            self._request_snapshot(conn, table, position, had_mirror=table_id in had_mirrors)
            compiled[table_id] = CompiledTable(
                table,
                "mirror",
                column_types(table, mirrors),
                masks=column_masks(conn, mirrors, mask_key),
            )
            sink.attach(compiled[table_id], mirrors)
        if position is not None:
            history.record(conn, self._node, position, self._now.schema, self.log)
        catalog = build_catalog(compiled.values(), schema.all_by_id().values())
        return Prepared(schema, compiled, catalog)

    def adopt(self, prepared: Prepared, sink: PostgresSink) -> None:
        """The transaction of `prepare` has committed: former definitions are done with."""
        self._now = prepared
        sink.keep_only(prepared.compiled.values())

    def attach(self, sink: PostgresSink) -> None:
        """Tell a new connection's sink where rows go, or one whose mirrors changed meanwhile."""
        for compiled in self._now.compiled.values():
            sink.attach(compiled, mirrors_of(sink.connection, compiled.table))

    def _mirrors_of(self, conn: Connection, table: Table, mapping: Mapping) -> list[Mirror]:
        if table.is_view or not self._settings.wants(table.keyspace, table.name):
            return []
        if self.log.schema.is_dropped(table.id):
            # Mutations that were built before the drop may follow it; no new mirror for those.
            if table.id not in self._existing:
                drop_mirrors(conn, table.id)
            return mirrors_of(conn, table)
        if not table.cdc:
            return []
        written_us = self.log.written_us((table.keyspace, table.name))
        return ensure_mirrors(conn, table, mapping, written_us=written_us, mode=self._settings.ddl)

    def _request_snapshot(
        self, conn: Connection, table: Table, position: Position | None, *, had_mirror: bool
    ) -> None:
        """Note that a table has rows that no log may bring, unless it is new."""
        before = self._now.schema.by_id(table.id)
        if self.log.schema.is_dropped(table.id) or table.id in self._now.compiled:
            return
        if position is not None and position.segment_id:
            # In the log: what it creates is empty, what it alters may not be.
            if before is not None and not before.cdc:
                request_snapshot(conn, table, "altered")
        elif not had_mirror:
            request_snapshot(conn, table, "found")


def _has_pgvector(conn: Connection) -> bool:
    return conn.execute("SELECT FROM pg_extension WHERE extname = 'vector'").fetchone() is not None
