"""Dead letters and parked mutations as a person looks through them: pages, single ones, discards.

What is written in the course of a batch is in set_aside.py. Never commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from psycopg.rows import class_row, tuple_row

from parsers.position import Position
from sinks.postgres.catalog import Connection
from sinks.postgres.set_aside import DeadLetter

State = Literal["open", "retried", "discarded", "parked"]
STATES: Final[tuple[State, ...]] = ("open", "retried", "discarded", "parked")
MAX_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Record:
    """One mutation that was set aside; `raw` (as it is stored) is None in a list.

    `name` is what commands take: the letter's number, or "segment_id:offset" of a parked mutation.
    A parked one has no reason: it waits for the definition of its table.
    """

    name: str
    state: State
    node: str
    segment_id: int
    offset: int
    ordinal: int
    keyspace_name: str | None
    table_name: str | None
    table_id: UUID | None
    key: bytes | None
    reason: str | None
    detail: str | None
    sqlstate: str | None
    log_version: int
    size_bytes: int
    seen: int
    first_seen: datetime
    last_seen: datetime
    settled_at: datetime | None
    raw: bytes | None
    is_sealed: bool

    @property
    def position(self) -> Position:
        """Where in the log of its node the mutation stood."""
        return Position(self.segment_id, self.offset)

    def as_letter(self) -> DeadLetter:
        """As what it is marked, or written again."""
        assert self.raw is not None
        assert self.reason is not None
        return DeadLetter(
            self.position,
            self.reason,
            self.raw,
            self.log_version,
            key=self.key,
            detail=self.detail,
            ordinal=self.ordinal,
            sqlstate=self.sqlstate,
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which records to list; None asks for all."""

    state: State = "open"
    keyspace: str | None = None
    table: str | None = None
    reason: str | None = None  # a part of it, in any case

    def parameters(self) -> dict[str, Any]:
        """What the statements below take."""
        return {
            "state": self.state,
            "keyspace": self.keyspace,
            "table": self.table,
            "reason": self.reason,
        }


_LETTER = """
SELECT id::text AS name, state, node, segment_id, "offset", ordinal, keyspace_name, table_name,
       table_id, key, reason, detail, sqlstate, log_version, length(raw) AS size_bytes, seen,
       first_seen, last_seen, settled_at, {raw} AS raw, is_sealed
  FROM cdc_tail.dead_letter
"""

# What the history of definitions knows of the table's name by now.
_PARKED = """
SELECT p.segment_id || ':' || p."offset" AS name, 'parked' AS state, p.node, p.segment_id,
       p."offset", 0 AS ordinal, t.keyspace_name, t.table_name, p.table_id, NULL::bytea AS key,
       NULL AS reason, NULL AS detail, NULL AS sqlstate, p.log_version,
       length(p.raw) AS size_bytes, 1 AS seen, p.first_seen, p.first_seen AS last_seen,
       NULL::timestamptz AS settled_at, {raw} AS raw, p.is_sealed
  FROM cdc_tail.parked AS p
  LEFT JOIN LATERAL (
       SELECT h.keyspace_name, h.table_name FROM cdc_tail.schema_history AS h
        WHERE h.table_id = p.table_id LIMIT 1) AS t ON true
"""

_WANTED = """
   AND (%(keyspace)s::text IS NULL OR keyspace_name = %(keyspace)s)
   AND (%(table)s::text IS NULL OR table_name = %(table)s)
   AND (%(reason)s::text IS NULL OR strpos(lower(reason), lower(%(reason)s)) > 0)
"""

_LIST_LETTERS: Final = (
    _LETTER.format(raw="NULL::bytea")
    + " WHERE node = %(node)s AND state = %(state)s AND id > %(after)s"
    + _WANTED
    + " ORDER BY id LIMIT %(limit)s"
)

_LIST_PARKED: Final = (
    _PARKED.format(raw="NULL::bytea")
    + ' WHERE p.node = %(node)s AND (p.segment_id, p."offset") > (%(segment_id)s, %(offset)s)'
    + _WANTED.replace("lower(reason)", "''")
    + ' ORDER BY p.segment_id, p."offset" LIMIT %(limit)s'
)

_FIND_LETTERS: Final = (
    _LETTER.format(raw="raw") + " WHERE node = %(node)s AND id = ANY (%(ids)s) ORDER BY id"
)

_FIND_PARKED: Final = _PARKED.format(raw="p.raw") + (
    " JOIN unnest(%(segments)s::bigint[], %(offsets)s::bigint[]) AS wanted (s, o)"
    ' ON (p.segment_id, p."offset") = (wanted.s, wanted.o)'
    ' WHERE p.node = %(node)s ORDER BY p.segment_id, p."offset"'
)

_DISCARD: Final = """
UPDATE cdc_tail.dead_letter SET state = 'discarded', settled_at = now()
 WHERE node = %s AND id = ANY (%s) AND state = 'open'
RETURNING id::text
"""

# The trace that stays of a parked mutation is a discarded letter.
_DISCARD_PARKED: Final = """
WITH gone AS (
     DELETE FROM cdc_tail.parked AS p
      USING unnest(%(segments)s::bigint[], %(offsets)s::bigint[]) AS wanted (s, o)
      WHERE p.node = %(node)s AND (p.segment_id, p."offset") = (wanted.s, wanted.o)
     RETURNING p.*)
INSERT INTO cdc_tail.dead_letter
       (node, segment_id, "offset", table_id, reason, raw, log_version, first_seen, state,
        settled_at, is_sealed)
SELECT node, segment_id, "offset", table_id, 'parked: its table was not known', raw, log_version,
       first_seen, 'discarded', now(), is_sealed
  FROM gone
    ON CONFLICT (node, segment_id, "offset", ordinal) DO UPDATE SET last_seen = now()
RETURNING segment_id || ':' || "offset"
"""

_STILL_OPEN: Final = """
SELECT letter.segment_id, letter."offset", letter.ordinal
  FROM cdc_tail.dead_letter AS letter
  JOIN unnest(%s::bigint[], %s::bigint[], %s::int[]) AS wanted (segment_id, "offset", ordinal)
       USING (segment_id, "offset", ordinal)
 WHERE letter.node = %s AND letter.state = 'open'
"""


def split_name(name: str) -> int | Position | None:
    """The number of a letter, or the position of a parked mutation; None if it is neither."""
    parts = name.split(":")
    # A bigint at most: more is the name of nothing.
    if not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts):
        return None
    match parts:
        case [number]:
            return int(number)
        case [segment_id, offset]:
            return Position(int(segment_id), int(offset))
    return None


def list_records(
    conn: Connection, node: str, wanted: Wanted, *, after: str | None, limit: int
) -> list[Record]:
    """The first `limit` records of a node behind the one named `after`, oldest first, without raw.

    ValueError where `after` is the name of no record of that state.
    """
    start = None if after is None else split_name(after)
    if after is not None and isinstance(start, Position) != (wanted.state == "parked"):
        raise ValueError(f"{after[:100]!r} is the name of no record that is {wanted.state}")
    if after is not None and start is None:
        raise ValueError(f"{after[:100]!r} is the name of no record")
    parameters = wanted.parameters() | {"node": node, "limit": min(limit, MAX_PAGE)}
    if wanted.state == "parked":
        position = start if isinstance(start, Position) else Position(0, 0)
        statement = _LIST_PARKED
        parameters |= {"segment_id": position.segment_id, "offset": position.offset}
    else:
        statement = _LIST_LETTERS
        parameters["after"] = start or 0
    return _records(conn, statement, parameters)


def find_records(conn: Connection, node: str, names: Sequence[str]) -> list[Record]:
    """The records of these names that the node has, with their raw bytes."""
    ids, positions = _split(names)
    found: list[Record] = []
    if ids:
        found += _records(conn, _FIND_LETTERS, {"node": node, "ids": ids})
    if positions:
        found += _records(conn, _FIND_PARKED, _columns(node, positions))
    return found


def discard(conn: Connection, node: str, names: Sequence[str]) -> list[str]:
    """Give up open letters and parked mutations; returns the names of those that were so."""
    ids, positions = _split(names)
    with conn.cursor(row_factory=tuple_row) as cursor:
        gone = [row[0] for row in cursor.execute(_DISCARD, (node, ids)).fetchall()]
        if positions:
            parked = cursor.execute(_DISCARD_PARKED, _columns(node, positions)).fetchall()
            gone += [row[0] for row in parked]
    return gone


def still_open(
    conn: Connection, node: str, letters: Sequence[DeadLetter]
) -> set[tuple[Position, int]]:
    """Names of those letters that nobody has retried or discarded meanwhile."""
    columns = (
        [one.position.segment_id for one in letters],
        [one.position.offset for one in letters],
        [one.ordinal for one in letters],
    )
    with conn.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_STILL_OPEN, (*columns, node)).fetchall()
    return {(Position(segment_id, offset), ordinal) for segment_id, offset, ordinal in rows}


def _split(names: Sequence[str]) -> tuple[list[int], list[Position]]:
    parts = [split_name(name) for name in names]
    ids = [one for one in parts if isinstance(one, int)]
    return ids, [one for one in parts if isinstance(one, Position)]


def _columns(node: str, positions: Sequence[Position]) -> dict[str, Any]:
    return {
        "node": node,
        "segments": [one.segment_id for one in positions],
        "offsets": [one.offset for one in positions],
    }


def _records(conn: Connection, statement: str, parameters: dict[str, Any]) -> list[Record]:
    with conn.cursor(row_factory=class_row(Record)) as cursor:
        return cursor.execute(statement.encode(), parameters).fetchall()
