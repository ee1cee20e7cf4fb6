"""Cases about cells of one writetime: which of two wins, whatever the order in which they come."""

from __future__ import annotations

import itertools
from typing import Any

from tests.tools.registry import recorded

Session = Any

WRITETIME_US = 1_700_000_000_000_000
# (value of the text, value of the map's element, TTL in seconds); None for both deletes.
# By signed bytes é (c3 a9) comes before a, and -1 (ff ff ff ff) before 1.
WRITES: tuple[tuple[str | None, int | None, int], ...] = (
    ("a", 1, 0),
    ("ab", 256, 0),
    ("é", -1, 0),
    ("", 0, 0),
    ("a", 1, 100_000_000),
    ("a", 1, 200_000_000),
    ("é", -1, 300_000_000),
    (None, None, 0),
)


@recorded(series=("4.0", "4.1", "5.0", "6.0"))
@recorded(series=("3.11",), variant="by_value")
def ties(session: Session) -> None:
    """Two and three writes of one writetime to a cell, a static cell, an element: greater and
    lesser values, with TTLs and without, deletions; in every order.
    """
    session.execute(
        "CREATE TABLE t (k text, c int, s text STATIC, v text, n int, m map<text, int>,"
        " PRIMARY KEY (k, c)) WITH cdc = true"
    )
    numbered = list(enumerate(WRITES))
    orders = [*itertools.permutations(numbered, 2), *itertools.permutations(numbered[2:], 3)]
    for order in orders:
        key = "".join(str(number) for number, _ in order)
        for _, (text, number, ttl_seconds) in order:
            using = f"USING TIMESTAMP {WRITETIME_US}"
            if text is None:
                session.execute(
                    f"DELETE s, v, n, m['e'] FROM t {using} WHERE k = '{key}' AND c = 1"
                )
                continue
            using += f" AND TTL {ttl_seconds}" if ttl_seconds else ""
            session.execute(
                f"UPDATE t {using} SET s = '{text}', v = '{text}', n = {number},"
                f" m['e'] = {number} WHERE k = '{key}' AND c = 1"
            )


@recorded(series=("4.0", "4.1", "5.0", "6.0"))
@recorded(series=("3.11",), variant="by_value")
def ties_of_inserts(session: Session) -> None:
    """Rows inserted twice with one writetime: the winner is chosen cell by cell, and for the row's
    liveness.
    """
    session.execute("CREATE TABLE t (k text PRIMARY KEY, v text, n int) WITH cdc = true")
    for first, second in itertools.permutations(WRITES[:-1], 2):
        key = f"{WRITES.index(first)}{WRITES.index(second)}"
        for text, number, ttl_seconds in (first, second):
            # The text's order and the number's are not the same.
            session.execute(
                f"INSERT INTO t (k, v, n) VALUES ('{key}', '{text}', {-(number or 0)})"
                f" USING TIMESTAMP {WRITETIME_US} AND TTL {ttl_seconds}"
            )
