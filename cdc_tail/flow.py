"""From segments to commits, for live tailing and replay alike: one batch, one transaction.

It settles what interrupts decoding (DDL, unknown tables) and raises what it can't settle. When to
read, apply or try again is its callers' business.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

import structlog

from cdc_tail.errors import SegmentCorrupt, UnknownTable
from cdc_tail.failpoints import point
from cdc_tail.intake import Intake, Question
from cdc_tail.mirrors import Mirrors
from cdc_tail.origins import letters_of
from cdc_tail.second_chance import MAX_BYTES, MAX_LETTERS, SecondChances
from cdc_tail.tracing import Tracing
from cdc_tail.work import Truncated, Work
from cdc_tail.writer import Writer
from parsers.decoder import Batch, Truncation, schema_updates, truncations, view_mutation
from parsers.position import Position
from sinks.base import Applied
from sinks.postgres.catalog import Connection
from sinks.postgres.letters import still_open
from sinks.postgres.refusal import Refusal
from sinks.postgres.set_aside import (
    DeadLetter,
    Parked,
    parked_table_ids,
    read_parked,
    read_refused,
)

log = structlog.get_logger()

_PARKED_AT_ONCE: Final = 1000
_TOLD_AT_ONCE: Final = 10
_T = TypeVar("_T")


class Insist(Protocol):
    """Calls `act` until the database has done it, or raises."""

    def __call__(self, act: Callable[[], _T]) -> _T: ...


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction that is in the database."""

    applied: Applied
    mutations: int
    size_bytes: int
    apply_seconds: float
    positions: list[Position]
    changes_set_aside: bool
    skipped_bytes: int
    forgotten: int


class Flow:
    """Moves mutations of one node from its segments into the database.

    `learn` is asked for the definition of an unknown table; it changes the schema log and says
    whether it did. `insist` does what needs the database, however often that must be tried;
    `on_commit` is told of every transaction, `tracing` of its way.
    """

    def __init__(
        self,
        intake: Intake,
        mirrors: Mirrors,
        writer: Writer,
        *,
        learn: Callable[[Question], bool],
        insist: Insist,
        on_commit: Callable[[Committed], None],
        tracing: Tracing | None = None,
    ) -> None:
        self.intake = intake
        self.mirrors = mirrors
        self.writer = writer
        self._learn = learn
        self._insist = insist
        self._on_commit = on_commit
        self._tracing = tracing or Tracing()
        self._chances: SecondChances | None = None  # not read from the database yet
        self._expected: list[Truncation] = []
        for table_id, past in writer.past.items():
            intake.pass_over(table_id, past.position)

    def read(self) -> None:
        """Read until the batch is full or the log is at its end, settling what comes between.

        Raises the damage of a segment once everything before it is applied.
        """
        while (question := self._look()) is not None:
            self._settle(question)
        if self.intake.damage is not None:
            self.flush()
            raise self.intake.damage

    def _look(self) -> Question | None:
        began_ns = time.time_ns()
        question = self.intake.read()
        self._tracing.read(began_ns, found=self.intake.has_work)
        return question

    def flush(self) -> None:
        """Apply the open batch with all that belongs to it, if there is anything."""
        self._flush(Work())

    def adopt_schema(self, position: Position) -> None:
        """Apply what was decoded with the former schema, and go on with what is known now."""
        self._flush(Work(schema_changed_at=position))
        self.retry_parked()

    def retry_parked(self) -> int:
        """Apply the parked mutations whose table has become known; returns how many were taken."""
        self.flush()
        taken = 0
        node, seal = self.writer.node, self.mirrors.seal
        waiting = self._query(lambda conn: parked_table_ids(conn, node))
        known = [table_id for table_id in waiting if self.mirrors.knows(table_id)]
        while known:
            found = self._query(lambda conn: read_parked(conn, node, known, _PARKED_AT_ONCE, seal))
            self.flush()
            done = [one.position for one in found if self.intake.add(one)]
            if not done:
                break
            self._flush(Work(unparked=done), found)
            taken += len(done)
        if taken:
            log.info("parked mutations applied", mutations=taken)
        return taken

    def expect(self, found: Iterable[Truncation]) -> None:
        """Note what the segments to be read will tell: it holds from the first batch on.

        So the order in which segments are read does not matter.
        """
        for one in found:
            self.intake.pass_over(one.table_id, one.position)
            self._expected.append(one)

    def _truncate_expected(self) -> None:
        """Apply what is expected of tables that are known, before anything that is past it."""
        known = [one for one in self._expected if self.mirrors.is_mirrored(one.table_id)]
        if known:
            nothing = Batch(self.mirrors.catalog)
            work = Work(truncated=[Truncated(one) for one in known])
            self._insist(lambda: self.writer.apply(nothing, work))
            self._expected = [one for one in self._expected if one not in known]

    def _truncate(self, truncation: Truncation, met_at: Position) -> None:
        """Apply a TRUNCATE and, again, what was logged between its position and its record."""
        table = self.mirrors.log.schema.by_id(truncation.table_id)
        log.info("truncated", table=str(table), position=str(truncation.position))
        catalog = self.mirrors.catalog_of(truncation.table_id)
        since = partial(self.intake.read_again, catalog, truncation.position, met_at)
        self._flush(Work(truncated=[Truncated(truncation, since)]))
        self.intake.pass_over(truncation.table_id, truncation.position)

    def _query(self, ask: Callable[[Connection], _T]) -> _T:
        return self._insist(lambda: self.writer.query(ask))

    def _flush(self, work: Work, unparked: Sequence[Parked] = ()) -> None:
        intake = self.intake
        if self._expected:
            self._truncate_expected()
        segments = intake.segments.to_commit()
        work.segments = [one.progress() for one in segments]
        work.letters = intake.all_letters()
        work.parked = intake.parked
        work.forgotten_writes = [
            one for one in intake.forgotten if self.mirrors.is_mirrored(one.table.id)
        ]
        if not work and not intake.has_work:
            return
        intake.check_intact()
        work.forgotten = intake.segments.take_forgotten()
        batch = intake.batch
        chances = self._second_chances()
        work.retried = chances.join(batch, self._still_open)

        def letters(refusals: list[Refusal]) -> list[DeadLetter]:
            kept: list[Parked | DeadLetter] = [*unparked, *work.retried]
            read = (one for segment in segments for one in intake.segments.read_again(segment))
            known = ((one.position, one.raw, one.log_version) for one in kept)
            return letters_of(refusals, itertools.chain(known, read))

        positions = [Position(one.segment_id, one.offset) for one in segments]
        began = time.monotonic()
        with self._tracing.transaction(positions) as traced:
            point("batch.read")
            applied = self._insist(lambda: self.writer.apply(batch, work, letters))
            point("commit.after")
            stages = self._tracing.stages
            stages.merging_ns, stages.merged_ns = work.merging_ns, work.merged_ns
            traced.committed(
                stages, mutations=batch.mutations, rows=applied.rows, mutation_bytes=batch.bytes
            )
            chances.settle(work.retried, work.refused)
            self._tell_refused(work.refused)
        committed = Committed(
            applied,
            batch.mutations - len(work.retried),
            batch.bytes,
            time.monotonic() - began,
            positions,
            bool(work.letters or work.parked or work.unparked or work.refused or work.retried),
            intake.skipped_bytes,
            len(work.forgotten_writes),
        )
        intake.start_batch(self.mirrors.catalog)
        intake.segments.committed(segments)
        self._on_commit(committed)

    def _second_chances(self) -> SecondChances:
        if self._chances is None:
            node, seal = self.writer.node, self.mirrors.seal
            self._chances = SecondChances(
                self._query(
                    lambda conn: read_refused(
                        conn, node, seal, limit=MAX_LETTERS, max_bytes=MAX_BYTES
                    )
                )
            )
        return self._chances

    def _still_open(self, letters: list[DeadLetter]) -> set[tuple[Position, int]]:
        return self._query(lambda conn: still_open(conn, self.writer.node, letters))

    def _tell_refused(self, letters: list[DeadLetter]) -> None:
        for one in letters[:_TOLD_AT_ONCE]:
            log.error(
                "row refused, set aside as a dead letter",
                table=str(one.table),
                position=str(one.position),
                reason=one.reason,
            )
        if len(letters) > _TOLD_AT_ONCE:
            log.error("more rows refused", mutations=len(letters) - _TOLD_AT_ONCE)

    def _settle(self, question: Question) -> None:
        if question.outcome.kind == "diverted":
            self._change_schema(question)
            return
        # Parked first, so that the commit of what was learned can't pass it over.
        self.intake.set_aside(question)
        if self._learn(question):
            self.adopt_schema(question.position)

    def _change_schema(self, question: Question) -> None:
        """A mutation of `system_schema` or `system.local`."""
        try:
            views = view_mutation(question.outcome.raw, self.mirrors.catalog, question.log_version)
        except (SegmentCorrupt, UnknownTable) as error:
            self.intake.reject(question, error.message)
            return
        for truncation in truncations(views):
            if self.mirrors.is_mirrored(truncation.table_id):
                self._truncate(truncation, question.position)
        updates = schema_updates(views)
        if not updates:
            return
        try:
            changed = self.mirrors.log.apply(*updates)
        except ValueError as error:
            self.intake.reject(question, f"the schema change can't be read: {error}")
            return
        if changed:
            names = sorted(f"{keyspace}.{table}" for keyspace, table in changed)
            log.info("schema changed", tables=names, position=str(question.position))
            self.adopt_schema(question.position)
