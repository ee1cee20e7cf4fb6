"""A node's log put into mirrors as the process does it, but in any order and any batches.

`Node` stands for one sidecar: its own connection, schema and mirrors. It takes whole segments, or
single mutations in whatever order a test wants them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import psycopg

from cdc_tail.errors import MirrorChanged
from parsers._decoder import Decoder
from parsers.decoder import (
    Batch,
    Catalog,
    CompiledTable,
    SegmentDecoder,
    Truncation,
    build_catalog,
    find_truncations,
    schema_updates,
    truncations,
    view_mutation,
)
from parsers.position import Position
from parsers.schema import Table
from parsers.schema_log import SchemaLog, TableName
from parsers.schema_state import Update
from parsers.segment import SegmentReader, corrupt_error, iter_entries
from parsers.system_tables import LOCAL_TABLE
from parsers.view import Rejected
from sinks.base import Applied
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import Mirror, install, load_mirrors
from sinks.postgres.ddl import drop_mirrors, ensure_mirrors
from sinks.postgres.target import column_types
from sinks.postgres.truncate import truncate

UNBOUNDED = 1 << 62


@dataclass(frozen=True)
class Logged:
    """One mutation of a segment."""

    position: Position
    log_version: int
    raw: bytes


def mutations_of(
    logs: Iterable[Path], keys: Mapping[str, bytes] | None = None, *, live: bool = False
) -> list[Logged]:
    """Every mutation of segments (completed ones, or `live`), in the order of the log."""
    found = []
    for log in logs:
        with SegmentReader(log, keys=keys) as reader:
            if not live:
                reader.set_completed()
            for position, raw in iter_entries(reader):
                found.append(Logged(position, reader.version, raw))
    return found


class Node:
    """Applies a node's log to the mirrors in a database, at one fixed second.

    `rejections` are the rows that no mirror can hold, `unknown` the tables that nobody defined.
    """

    def __init__(
        self,
        dsn: str,
        now_s: int,
        *,
        max_events: int = UNBOUNDED,
        keys: Mapping[str, bytes] | None = None,
        keyspaces: Container[str] | None = None,
    ) -> None:
        """Mirrors are made of all keyspaces, or of those named."""
        self.connection = psycopg.connect(dsn)
        with self.connection.transaction():
            install(self.connection)
        self.schema_log = SchemaLog()
        self.applied = Applied()
        self.rejections: list[Rejected] = []
        self.unknown: set[UUID] = set()
        self._sink = PostgresSink(self.connection)
        self._truncated: list[Truncation] = []
        self._now_s = now_s
        self._log = f"log of {id(self)}"
        self._max_events = max_events
        self._keys = keys
        self._keyspaces = keyspaces
        self._compiled: dict[UUID, CompiledTable] = {}
        self._changed: set[TableName] = set()
        self._batch = Batch(self._follow_schema())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.close()

    def replay(self, logs: Iterable[Path]) -> Applied:
        """Apply completed segments, schema changes where they stand; returns what was done."""
        self.applied = Applied()
        logs = list(logs)
        for log in logs:
            with SegmentReader(log, keys=self._keys) as reader:
                reader.set_completed()
                self._expect(find_truncations(reader))
        for log in logs:
            reader = SegmentReader(log, keys=self._keys)
            reader.set_completed()
            decoder = SegmentDecoder(reader)
            while True:
                outcome = decoder.fill(
                    self._batch, max_events=self._max_events, max_bytes=UNBOUNDED
                )
                if outcome.kind == "corrupt":
                    raise corrupt_error(reader)
                if outcome.kind in ("end", "incomplete"):
                    break
                if outcome.kind == "full":
                    self._apply()
                else:
                    self._settle(outcome.kind, outcome.raw, reader.version, outcome.table_id)
        self._finish()
        return self.applied

    def learn(self, mutations: Iterable[Logged]) -> None:
        """Take over all schema changes among the mutations, and nothing else."""
        for one in mutations:
            refused = self._add(one)
            if refused is not None and refused[0] == "diverted":
                self._change_schema(one.raw, one.log_version)
        self._start_batch(self._follow_schema())

    def learn_cluster(self, updates: Iterable[Update]) -> None:
        """Take over the schema as a node tells it."""
        self._changed |= self.schema_log.apply(*updates)
        self._start_batch(self._follow_schema())

    def follow(self, mutations: Iterable[Logged]) -> Applied:
        """Apply mutations in the order given, schema changes where they stand."""
        self.applied = Applied()
        mutations = list(mutations)
        self._expect_those_of(mutations)
        for one in mutations:
            refused = self._add(one)
            if refused is not None and refused[0] == "diverted":
                self._settle("diverted", one.raw, one.log_version, None)
            elif refused is not None:
                self._note_refused(*refused)
            if self._batch.events >= self._max_events:
                self._apply()
        self._finish()
        return self.applied

    def take(self, mutations: Iterable[Logged]) -> Applied:
        """Apply mutations in the order given; schema changes among them must be known already."""
        self.applied = Applied()
        mutations = list(mutations)
        self._expect_those_of(mutations)
        for one in mutations:
            refused = self._add(one)
            if refused is not None and refused[0] != "diverted":
                self._note_refused(*refused)
            if self._batch.events >= self._max_events:
                self._apply()
        self._finish()
        return self.applied

    def _add(self, one: Logged) -> tuple[str, object] | None:
        """None, or (what, detail) of a mutation that was not taken."""
        place = one.position
        refused = Decoder(one.log_version).add(
            one.raw, self._batch, segment_id=place.segment_id, offset=place.offset
        )
        return None if refused is None else (refused[0], refused[2])

    def _settle(self, kind: str, raw: bytes, log_version: int, table_id: UUID | None) -> None:
        if kind != "diverted":
            self._note_refused(kind, table_id.bytes if table_id is not None else None)
        elif self._change_schema(raw, log_version):
            self._apply()
            self._start_batch(self._follow_schema())

    def _note_refused(self, kind: str, detail: object) -> None:
        assert kind == "unknown_table" and isinstance(detail, bytes), (kind, detail)
        self.unknown.add(UUID(bytes=detail))

    def _change_schema(self, raw: bytes, log_version: int) -> bool:
        views = view_mutation(raw, self._batch.catalog, log_version)
        changed = self.schema_log.apply(*schema_updates(views))
        self._changed |= changed
        return bool(changed)

    def _expect_those_of(self, mutations: Iterable[Logged]) -> None:
        for one in mutations:
            if LOCAL_TABLE.id.bytes in one.raw:
                views = view_mutation(one.raw, self._batch.catalog, one.log_version)
                self._expect(truncations(views))

    def _expect(self, found: Iterable[Truncation]) -> None:
        """Note TRUNCATEs before anything is applied, so that the order does not matter."""
        self._truncated += found
        self._start_batch(self._batch.catalog)

    def _start_batch(self, catalog: Catalog) -> None:
        self._batch = Batch(catalog)
        for one in self._truncated:
            self._batch.pass_over(one.table_id, one.position.segment_id, one.position.offset)

    def _truncate(self) -> None:
        """Apply the TRUNCATEs of mirrored tables, as a log does that is read later than others."""
        for one in self._truncated:
            if one.table_id in self._compiled:
                with self.connection.transaction():
                    past, _ = truncate(
                        self._sink,
                        self._mirrors(self._compiled[one.table_id].table),
                        one,
                        self._log,
                        self._batch.catalog,
                        keep_newer=True,
                    )
                known_us = self._sink.past_truncation_us.get(one.table_id, past.applied_us)
                self._sink.past_truncation_us[one.table_id] = max(known_us, past.applied_us)

    def _follow_schema(self) -> Catalog:
        """Bring mirrors, sink and catalog up to the schema, as far as it has changed."""
        schema = self.schema_log.schema
        with self.connection.transaction():
            for table in schema.all_by_id().values():
                if (table.keyspace, table.name) not in self._changed:
                    continue
                if self._keyspaces is not None and table.keyspace not in self._keyspaces:
                    continue
                if schema.is_dropped(table.id):
                    drop_mirrors(self.connection, table.id)
                elif table.cdc and not table.is_view:
                    written_us = self.schema_log.written_us((table.keyspace, table.name))
                    ensure_mirrors(self.connection, table, written_us=written_us)
                if table.cdc or schema.is_dropped(table.id):
                    self._compile(table)
            self._attach(self._changed)
        self._changed = set()
        return build_catalog(self._compiled.values(), schema.all_by_id().values())

    def _compile(self, table: Table) -> None:
        """Compile the table for its mirrors, unless that is done already."""
        known = self._compiled.get(table.id)
        mirrors = self._mirrors(table)
        if mirrors and (known is None or known.table != table):
            types = column_types(table, mirrors)
            self._compiled[table.id] = CompiledTable(table, "mirror", types)

    def _attach(self, names: Container[TableName] | None = None) -> None:
        """Tell the sink where the rows of all tables go, or of those named."""
        for compiled in self._compiled.values():
            table = compiled.table
            if names is None or (table.keyspace, table.name) in names:
                self._sink.attach(compiled, self._mirrors(table))

    def _mirrors(self, table: Table) -> list[Mirror]:
        found = load_mirrors(self.connection, table.keyspace, table.name)
        return [one for one in found if one.table_id == table.id]

    def _apply(self) -> None:
        if len(self._batch):
            self._truncate()
            try:
                self._write()
            except MirrorChanged:
                with self.connection.transaction():
                    self._attach()
                self._write()
        self.rejections += self._batch.rejections
        self._start_batch(self._batch.catalog)

    def _finish(self) -> None:
        self._apply()
        self._truncate()

    def _write(self) -> None:
        self.applied += self._sink.apply(self._batch, lambda _: None, now_s=self._now_s)
