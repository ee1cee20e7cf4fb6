"""Segments applied to a database as `replay` does, with the time of decoding and applying apart."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

from pydantic import SecretStr

from cdc_tail.database import Database
from cdc_tail.intake import Intake
from cdc_tail.mirrors import Mirrors
from cdc_tail.schema_file import seed_from_file
from cdc_tail.segments import Segments
from cdc_tail.settings import BatchSettings, MirrorSettings, PostgresSettings, Settings
from cdc_tail.watch import Listing, segment_file
from cdc_tail.work import Work
from cdc_tail.writer import Writer
from parsers.schema_log import SchemaLog
from parsers.segment import SegmentReader
from sinks.base import Applied


@dataclass(slots=True)
class Timing:
    """What became of some segments. `apply_seconds` are transactions from BEGIN to COMMIT."""

    mutations: int = 0
    decode_seconds: float = 0.0
    apply_seconds: float = 0.0
    slowest_seconds: float = 0.0
    applied: Applied = field(default_factory=Applied)

    @property
    def rows_per_second(self) -> float:
        """Rows (merged per batch) through transactions, decoding left out."""
        return self.applied.rows / self.apply_seconds


class Applier:
    """One connection to one database, with the mirrors of a CQL file; a context manager."""

    def __init__(
        self, dsn: str, cql: str, folder: Path, *, batch: BatchSettings | None = None
    ) -> None:
        self._batch = batch or BatchSettings()
        schema_file = folder / "schema.cql"
        schema_file.write_text(cql)
        schema = SchemaLog()
        named: frozenset[UUID] = seed_from_file(schema, schema_file)
        self._mirrors = Mirrors(schema, MirrorSettings(), "bench", named)
        settings = Settings(node="bench", postgres=PostgresSettings(dsn=SecretStr(dsn)))
        self._writer = Writer(Database(settings), settings.node, self._mirrors)

    def apply(self, paths: Iterable[Path]) -> Timing:
        """Apply complete segments, in batches of the settings."""
        segments = Segments({}, lambda file: SegmentReader(file.path))
        files = [found for path in paths if (found := segment_file(path)) is not None]
        segments.update(Listing(tuple(files), 0))
        intake = Intake(
            segments,
            self._mirrors.catalog,
            max_events=self._batch.max_rows,
            max_bytes=self._batch.max_bytes,
        )
        timing = Timing()
        while not intake.caught_up:
            began = time.perf_counter()
            question = intake.read()
            if question is not None or intake.damage is not None:
                raise ValueError(f"not a segment of this schema: {question or intake.damage}")
            decoded = time.perf_counter()
            timing.decode_seconds += decoded - began
            moved = segments.to_commit()
            timing.mutations += intake.batch.mutations
            timing.applied += self._writer.apply(intake.batch, Work())
            took = time.perf_counter() - decoded
            timing.apply_seconds += took
            timing.slowest_seconds = max(timing.slowest_seconds, took)
            intake.start_batch(self._mirrors.catalog)
            segments.committed(moved)
        segments.close()
        return timing

    def is_anything_due(self) -> bool:
        """The look at the TTLs that `run` takes each second."""
        return self._writer.is_anything_due()

    def expire(self) -> int:
        """Rows whose TTL took effect in one go."""
        return self._writer.expire().rows

    def __enter__(self) -> Self:
        self._writer.connect()
        self._writer.install()
        self._writer.update_mirrors()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()
