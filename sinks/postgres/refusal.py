"""Finds the rows of a batch that PostgreSQL refuses, by halves; knows no mutations.

Everything is tried before it is sent that can be foreseen. What can't be, such as a constraint or a
trigger that somebody added to a mirror, or a key that is too large for an index, shows when
PostgreSQL refuses a whole batch: then halves of it are applied, each behind a savepoint, until what
is refused is one row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psycopg

from cdc_tail.errors import first_line
from parsers.decoder import Batch
from sinks.base import Applied
from sinks.postgres.catalog import Connection

# Classes of SQLSTATE that tell of what a row holds: values and subqueries, constraints, triggers,
# views with a check, limits of an index, and what a function in PL/pgSQL raises. All others tell of
# the statement, the session or the server, and would be told of every row.
_OF_ROWS: Final = frozenset({"21", "22", "23", "27", "44", "54", "P0"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row of a batch, or the deletions of one partition, that PostgreSQL refuses.

    `part` is a batch that holds nothing else, `detail` what PostgreSQL tells beside the reason.
    """

    part: Batch
    sqlstate: str
    reason: str
    detail: str | None


def is_of_rows(error: psycopg.Error) -> bool:
    """Whether the error says that a row can't be stored, and others may be."""
    return error.sqlstate is not None and error.sqlstate[:2] in _OF_ROWS


def apply_by_halves(
    connection: Connection, batch: Batch, apply: Callable[[Batch], Applied]
) -> tuple[Applied, list[Refusal]]:
    """Apply all of the batch but what PostgreSQL refuses, in the caller's transaction.

    It needs about 2 log2(n) savepoints for each refused row of n, and applies each other row once.
    Raises what `apply` raises for other reasons; the caller's transaction has failed then.
    """
    # What would be checked at the commit is checked behind the savepoints.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    applied = Applied()
    refusals: list[Refusal] = []
    waiting = [range(len(batch))]
    while waiting:
        items = waiting.pop()
        part = batch.part(items)
        try:
            with connection.transaction():
                applied += apply(part)
        except psycopg.Error as error:
            if not is_of_rows(error):
                raise
            if len(items) == 1:
                refusals.append(_refusal(part, error))
            else:
                middle = len(items) // 2
                waiting += [items[middle:], items[:middle]]
    return applied, refusals


def _refusal(part: Batch, error: psycopg.Error) -> Refusal:
    diagnostic = error.diag
    said = [diagnostic.message_detail, diagnostic.message_hint]
    if diagnostic.constraint_name:
        said.append(f"constraint {diagnostic.constraint_name}")
    reason = diagnostic.message_primary or first_line(error)
    return Refusal(
        part, error.sqlstate or "", reason, "; ".join(one for one in said if one) or None
    )
