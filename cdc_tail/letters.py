"""What was set aside, for people: listed, shown, tried again, given up; beneath CLI and HTTP alike.

The JSON form is documented in docs/dlq.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

import psycopg

from cdc_tail.database import Database
from cdc_tail.errors import ConfigError, SinkUnavailable
from cdc_tail.inspect import Inspector, describe_key
from cdc_tail.intake import rejected_letters
from cdc_tail.mirrors import Mirrors
from cdc_tail.origins import letters_of
from cdc_tail.schema_file import seed_from_file
from cdc_tail.schema_guide import SchemaGuide
from cdc_tail.settings import Settings
from cdc_tail.work import Work
from cdc_tail.writer import Writer
from parsers.decoder import Batch, decode_kept
from parsers.schema import Column, Table
from parsers.schema_log import SchemaLog
from sinks.postgres import history, letters
from sinks.postgres.catalog import Connection, load_mirrors
from sinks.postgres.history import Definition
from sinks.postgres.letters import Record, Wanted
from sinks.postgres.seal import Seal
from sinks.postgres.set_aside import DeadLetter

# Of a value in a list; `show` gives all of it.
SHOWN_CHARACTERS: Final = 500
_RETRIED_AT_ONCE: Final = 200

Result = Literal["applied", "refused", "not_decodable", "discarded", "not_open", "not_found"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of one record that somebody wanted to retry or discard."""

    name: str
    result: Result
    reason: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is settled now."""
        return self.result in ("applied", "discarded")

    def as_dict(self) -> dict[str, Any]:
        """The documented JSON form."""
        said = {"reason": self.reason} if self.reason is not None else {}
        return {"id": self.name, "result": self.result} | said


class Letters:
    """The records of one node. Opens a connection of its own for every call."""

    def __init__(
        self,
        settings: Settings,
        schema_file: Path | None = None,
        database: Database | None = None,
    ) -> None:
        """`schema_file` defines tables that neither PostgreSQL nor the node knows."""
        self._settings = settings
        self._database = database or Database(settings)
        self._node = settings.node
        self._schema_file = schema_file

    def page(self, wanted: Wanted, *, after: str | None = None, limit: int = 100) -> dict[str, Any]:
        """`records` behind the one named `after`, and `next`: what to give as `after` next, if any.

        ConfigError where `after` is no record's name; SinkUnavailable.
        """
        with self._connected() as conn:
            try:
                found = letters.list_records(
                    conn, self._node, wanted, after=after, limit=max(limit, 0) + 1
                )
            except ValueError as error:
                raise ConfigError(str(error), hint="give `next` of the page before") from error
            tables = _tables(conn)
        # One record more than asked for tells whether there are more.
        shown = found[: min(limit, letters.MAX_PAGE - 1)]
        return {
            "records": [described(one, tables, most=SHOWN_CHARACTERS) for one in shown],
            "next": shown[-1].name if shown and len(found) > len(shown) else None,
        }

    def names(self, wanted: Wanted) -> list[str]:
        """The names of all records that are wanted, oldest first."""
        names: list[str] = []
        with self._connected() as conn:
            while found := letters.list_records(
                conn,
                self._node,
                wanted,
                after=names[-1] if names else None,
                limit=letters.MAX_PAGE,
            ):
                names += [one.name for one in found]
        return names

    def show(self, name: str) -> dict[str, Any]:
        """One record with all there is of it, its mutation decoded; ConfigError if it is none."""
        with self._connected() as conn:
            found = letters.find_records(conn, self._node, [name])
            if not found:
                raise _not_found(name, self._node)
            known = history.definitions(conn)
            tables = _tables(conn)
        (record,) = found
        assert record.raw is not None  # `find_records` gives it
        schema = self._schema(known)
        if record.table_id is not None and schema.schema.by_id(record.table_id) is None:
            SchemaGuide(schema, self._settings.cassandra).ask_node()
        if record.is_sealed:  # for good: whoever may see it has the segment, and `inspect`
            return described(record, tables) | {"mutation": None, "raw": None}
        return described(record, tables) | {
            "mutation": Inspector(schema).describe(record.position, record.raw, record.log_version),
            "raw": record.raw.hex(),
        }

    def _schema(self, known: list[Definition]) -> SchemaLog:
        schema = SchemaLog()
        if self._schema_file is not None:
            seed_from_file(schema, self._schema_file)
        history.seed(schema, known)
        return schema

    def discard(self, names: Sequence[str]) -> list[Settled]:
        """Give up records: they stay as a trace, and are applied no more."""
        with self._connected() as conn:
            found = {one.name for one in letters.find_records(conn, self._node, names)}
            done = set(letters.discard(conn, self._node, names))
        return [
            Settled(name, "discarded")
            if name in done
            else Settled(name, "not_open" if name in found else "not_found")
            for name in names
        ]

    def retry(self, names: Sequence[str]) -> list[Settled]:
        """Decode records again with the schema and the settings of today, and apply them.

        Up to 200 in one transaction each, with their change of state. What is refused again, or
        can't be decoded, stays as it is. Raises SinkUnavailable, SchemaMismatch.
        """
        if not names:
            return []
        schema = self._schema([])
        mirrors = Mirrors(schema, self._settings.mirror, self._node)
        writer = Writer(self._database, self._node, mirrors)
        settled: list[Settled] = []
        try:
            SchemaGuide(schema, self._settings.cassandra).bring_up(writer)
            for start in range(0, len(names), _RETRIED_AT_ONCE):
                settled += self._retry(writer, names[start : start + _RETRIED_AT_ONCE])
        finally:
            writer.close()
        return settled

    def _retry(self, writer: Writer, names: Sequence[str]) -> list[Settled]:
        found = writer.query(lambda conn: letters.find_records(conn, self._node, names))
        by_name = {one.name: one for one in found}
        results: dict[str, Settled] = {}
        batch = Batch(writer.mirrors.catalog)
        taken: list[Record] = []
        for name in names:
            record = by_name.get(name)
            if record is None or record.state not in ("open", "parked"):
                results[name] = Settled(name, "not_found" if record is None else "not_open")
                continue
            record = opened(record, writer.mirrors.seal)
            assert record.raw is not None
            refused = decode_kept(
                record.raw, batch, log_version=record.log_version, position=record.position
            )
            if refused is None:
                taken.append(record)
            else:
                why = refused.reason or f"{refused.kind.replace('_', ' ')}"
                results[name] = Settled(name, "not_decodable", why)
        if taken:
            results |= self._apply(writer, batch, taken)
        return [results[name] for name in names]

    def _apply(self, writer: Writer, batch: Batch, records: list[Record]) -> dict[str, Settled]:
        work = Work(
            letters=rejected_letters(batch),
            retried=[one.as_letter() for one in records if one.state == "open"],
            unparked=[one.position for one in records if one.state == "parked"],
        )
        mutations = [(one.position, one.raw or b"", one.log_version) for one in records]
        writer.apply(batch, work, lambda refusals: letters_of(refusals, mutations))
        # A mutation may have letters about several partitions: each is judged by its own.
        again: dict[object, DeadLetter] = {}
        for letter in (*work.letters, *work.refused):
            again[letter.name] = letter
            again[letter.position] = letter
        results = {}
        for one in records:
            name = one.position if one.state == "parked" else (one.position, one.ordinal)
            refused = again.get(name)
            results[one.name] = (
                Settled(one.name, "applied")
                if refused is None
                else Settled(one.name, "refused", refused.reason)
            )
        return results

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._database.connect() as conn:
                yield conn
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise ConfigError(
                "the database has no dead letters of this version of cdc-tail",
                hint="`cdc-tail run` makes its tables at its start",
            ) from error
        except psycopg.OperationalError as error:
            raise SinkUnavailable(f"PostgreSQL does not answer: {error}") from error


def opened(record: Record, seal: Seal) -> Record:
    """The record with the raw bytes that it was set aside with; ConfigError without the key."""
    assert record.raw is not None  # `find_records` gives it
    return replace(record, raw=seal.open(record.raw, is_sealed=record.is_sealed), is_sealed=False)


def wanted_from(state: str | None, table: str | None, reason: str | None) -> Wanted:
    """The wish as somebody typed it, `table` as keyspace.table or table; ConfigError."""
    known = {one: one for one in letters.STATES}
    if state is not None and state not in known:
        raise ConfigError(
            f"there is no state {_cut(state, 100)!r}", hint=f"one of {', '.join(letters.STATES)}"
        )
    for text in (table, reason):
        if text is not None and "\0" in text:
            raise ConfigError("a name holds U+0000", hint="no table or reason does")
    keyspace, _, name = (table or "").rpartition(".")
    return Wanted(known[state or "open"], keyspace or None, name or None, reason)


def described(
    record: Record, tables: Mapping[UUID, Table], *, most: int | None = None
) -> dict[str, Any]:
    """The documented JSON form; with `most`, of texts no more than so many characters."""
    table = None if record.table_id is None else tables.get(record.table_id)
    key: dict[str, Any] | str | None = None
    if record.key is not None:
        # A prefix is no value of most types: a key that is cut is shown as its bytes.
        if table is None or (most is not None and len(record.key) > most):
            key = "0x" + _cut(record.key.hex(), most)
        else:
            key = describe_key(table, record.key)
    return {
        "id": record.name,
        "state": record.state,
        "node": record.node,
        "position": str(record.position),
        "keyspace": record.keyspace_name or (table and table.keyspace),
        "table": record.table_name or (table and table.name),
        "table_id": record.table_id and str(record.table_id),
        "key": key,
        "reason": record.reason and _cut(record.reason, most),
        "detail": record.detail and _cut(record.detail, most),
        "sqlstate": record.sqlstate,
        "log_version": record.log_version,
        "size_bytes": record.size_bytes,
        "is_sealed": record.is_sealed,
        "seen": record.seen,
        "first_seen": record.first_seen.isoformat(),
        "last_seen": record.last_seen.isoformat(),
        "settled_at": record.settled_at and record.settled_at.isoformat(),
    }


def _cut(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else text[:most] + "…"


def _tables(conn: Connection) -> dict[UUID, Table]:
    """Every table that is mirrored or has a history, with its key at least."""
    known = {one.table.id: one.table for one in history.definitions(conn)}
    for mirror in load_mirrors(conn):
        key = tuple(
            Column(one.cql_name, one.cql_name.encode(), one.kind, one.position, one.cql_type)
            for one in mirror.key
        )
        known.setdefault(
            mirror.table_id, Table(mirror.keyspace, mirror.table_name, mirror.table_id, key)
        )
    return known


def _not_found(name: str, node: str) -> ConfigError:
    return ConfigError(
        f"node {node} has no record {_cut(name, 100)!r}",
        hint="`cdc-tail dlq list` shows their ids; --node names another node",
    )
