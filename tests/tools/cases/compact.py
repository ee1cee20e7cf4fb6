"""Cases about COMPACT STORAGE (3.11 and 4.0): static compact, dense with and without a regular
column.
"""

from __future__ import annotations

from typing import Any

from tests.tools.registry import recorded

Session = Any


@recorded(series=("3.11", "4.0", "5.0"))
def compact_storage(session: Session) -> None:
    """Every compact layout: written, updated, deleted by row, by slice and by partition; null
    clustering at the end.
    """
    session.execute(
        "CREATE TABLE static_compact (k int PRIMARY KEY, a text, b int) WITH COMPACT STORAGE AND "
        "cdc = true"
    )
    session.execute(
        "CREATE TABLE dense (k int, c text, d int, v text, PRIMARY KEY (k, c, d)) WITH COMPACT "
        "STORAGE AND cdc = true"
    )
    session.execute(
        "CREATE TABLE dense_key_only (k int, c text, PRIMARY KEY (k, c)) WITH COMPACT STORAGE "
        "AND cdc = true"
    )
    session.execute("INSERT INTO static_compact (k, a, b) VALUES (1, 'a', 1)")
    session.execute("UPDATE static_compact SET b = 2 WHERE k = 1")
    session.execute("INSERT INTO static_compact (k, a) VALUES (2, 'gone')")
    session.execute("DELETE FROM static_compact WHERE k = 2")
    session.execute("INSERT INTO static_compact (k, a, b) VALUES (3, 'a', 3)")
    session.execute("DELETE a FROM static_compact WHERE k = 3")
    for c in ("x", "y"):
        for d in range(3):
            session.execute("INSERT INTO dense (k, c, d, v) VALUES (1, %s, %s, 'v')", (c, d))
    session.execute("INSERT INTO dense (k, c, v) VALUES (2, 'no d', 'v')")
    session.execute("DELETE FROM dense WHERE k = 1 AND c = 'x' AND d = 0")
    session.execute("DELETE FROM dense WHERE k = 1 AND c = 'y'")
    session.execute("UPDATE dense SET v = 'updated' WHERE k = 1 AND c = 'x' AND d = 1")
    for c in ("p", "q"):
        session.execute("INSERT INTO dense_key_only (k, c) VALUES (1, %s)", (c,))
    session.execute("DELETE FROM dense_key_only WHERE k = 1 AND c = 'p'")
