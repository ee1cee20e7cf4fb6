"""Cases about deletions: ranges of every bound kind, partitions, rows, cells, and data that stays
under them.
"""

from __future__ import annotations

from typing import Any

from tests.tools.registry import recorded

Session = Any


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def range_tombstones(session: Session) -> None:
    """Slices with every bound kind, boundaries between touching slices, prefixes, multi-column
    slices.
    """
    session.execute(
        "CREATE TABLE t (pk int, a int, b int, c text, v int, PRIMARY KEY (pk, a, b, c)) WITH "
        "cdc = true"
    )
    for pk in range(4):
        for a in range(5):
            for b in range(4):
                session.execute(
                    "INSERT INTO t (pk, a, b, c, v) VALUES (%s, %s, %s, %s, %s)",
                    (pk, a, b, f"c{a}{b}", a + b),
                )
    one = "DELETE FROM t WHERE pk = 0 AND "
    for where in (
        "a = 0",
        "a = 1 AND b = 1",
        "a = 2 AND b > 1",
        "a = 2 AND b >= 1 AND b < 3",
        "a = 3 AND b = 2 AND c >= 'c3' AND c <= 'c33'",
        "a > 3",
        "(a, b) > (3, 2) AND (a, b) <= (4, 0)",
        "(a, b, c) >= (1, 3, 'c13') AND (a, b, c) < (2, 1, 'c21')",
    ):
        session.execute(one + where)
    # Touching slices of different writetimes in one mutation meet in a boundary marker.
    session.execute(
        "BEGIN UNLOGGED BATCH"
        " DELETE FROM t USING TIMESTAMP 1900000000000001 WHERE pk = 1 AND a >= 0 AND a < 2;"
        " DELETE FROM t USING TIMESTAMP 1900000000000002 WHERE pk = 1 AND a >= 2 AND a <= 3;"
        " DELETE FROM t USING TIMESTAMP 1900000000000003 WHERE pk = 1 AND a > 3 AND a < 10;"
        " INSERT INTO t (pk, a, b, c, v) VALUES (1, 2, 0, 'after', 7) USING TIMESTAMP "
        "1900000000000009;"
        " APPLY BATCH"
    )
    # Slices that overlap: the later one cuts the earlier one in two.
    session.execute(
        "BEGIN UNLOGGED BATCH"
        " DELETE FROM t USING TIMESTAMP 1900000000000001 WHERE pk = 2 AND a >= 0 AND a <= 4;"
        " DELETE FROM t USING TIMESTAMP 1900000000000005 WHERE pk = 2 AND a = 2 AND b > 0 AND b "
        "<= 2;"
        " APPLY BATCH"
    )
    session.execute("DELETE FROM t USING TIMESTAMP 1000 WHERE pk = 3 AND a >= 0 AND a <= 2")
    session.execute("DELETE FROM t WHERE pk = 3 AND a <= 1")
    session.execute("INSERT INTO t (pk, a, b, c, v) VALUES (3, 1, 1, 'back', 1)")
    session.execute(
        "INSERT INTO t (pk, a, b, c, v) VALUES (3, 1, 2, 'late', 1) USING TIMESTAMP 2000"
    )


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def partition_deletions(session: Session) -> None:
    """Partitions deleted: alone, with rows of the same mutation above and below, before an older
    write arrives.
    """
    session.execute(
        "CREATE TABLE t (pk int, ck int, v text, s text STATIC, PRIMARY KEY (pk, ck)) WITH cdc = "
        "true"
    )
    for pk in range(5):
        for ck in range(3):
            session.execute("INSERT INTO t (pk, ck, v, s) VALUES (%s, %s, 'v', 's')", (pk, ck))
    session.execute("DELETE FROM t WHERE pk = 0")
    session.execute(
        "BEGIN BATCH DELETE FROM t USING TIMESTAMP 1900000000000001 WHERE pk = 1;"
        " INSERT INTO t (pk, ck, v) VALUES (1, 1, 'above') USING TIMESTAMP 1900000000000002;"
        " INSERT INTO t (pk, ck, v) VALUES (1, 2, 'tie') USING TIMESTAMP 1900000000000001;"
        " INSERT INTO t (pk, ck, v) VALUES (1, 3, 'below') USING TIMESTAMP 1900000000000000;"
        " UPDATE t USING TIMESTAMP 1900000000000002 SET s = 'static above' WHERE pk = 1;"
        " APPLY BATCH"
    )
    session.execute("DELETE FROM t USING TIMESTAMP 1900000000000001 WHERE pk = 2")
    session.execute(
        "INSERT INTO t (pk, ck, v) VALUES (2, 9, 'late, stays dead') USING TIMESTAMP "
        "1900000000000000"
    )
    session.execute(
        "INSERT INTO t (pk, ck, v) VALUES (2, 10, 'later') USING TIMESTAMP 1900000000000002"
    )
    session.execute("DELETE FROM t WHERE pk IN (3, 4)")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (4, 1, 'again')")
    session.execute("DELETE FROM t WHERE pk = 99")


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def row_deletions(session: Session) -> None:
    """Rows and cells deleted, re-inserted, deleted with an old writetime, deleted before they
    came.
    """
    session.execute(
        "CREATE TABLE t (pk int, ck int, v text, n int, PRIMARY KEY (pk, ck)) WITH cdc = true"
    )
    for ck in range(6):
        session.execute("INSERT INTO t (pk, ck, v, n) VALUES (1, %s, 'v', 1)", (ck,))
    session.execute("DELETE FROM t WHERE pk = 1 AND ck = 0")
    session.execute("DELETE FROM t WHERE pk = 1 AND ck IN (1, 2)")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 2, 'again')")
    session.execute("DELETE FROM t USING TIMESTAMP 1000 WHERE pk = 1 AND ck = 3")
    session.execute("DELETE v FROM t WHERE pk = 1 AND ck = 4")
    session.execute("UPDATE t SET v = null, n = 5 WHERE pk = 1 AND ck = 5")
    session.execute("DELETE FROM t USING TIMESTAMP 1900000000000001 WHERE pk = 2 AND ck = 1")
    session.execute(
        "INSERT INTO t (pk, ck, v) VALUES (2, 1, 'tie, stays dead') USING TIMESTAMP "
        "1900000000000001"
    )
    session.execute("UPDATE t USING TIMESTAMP 1900000000000002 SET n = 2 WHERE pk = 2 AND ck = 1")
    session.execute(
        "BEGIN BATCH DELETE FROM t USING TIMESTAMP 1900000000000001 WHERE pk = 3 AND ck = 1;"
        " INSERT INTO t (pk, ck, v) VALUES (3, 1, 'row over its deletion') USING TIMESTAMP "
        "1900000000000002;"
        " APPLY BATCH"
    )


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def negative_writetimes(session: Session) -> None:
    """Writetimes before 2015, before 1970 and at the far ends: differences that wrap around."""
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text, n int) WITH cdc = true")
    writetimes = (0, 1, -1, -1442880000000000, 1442879999999999, 2**63 - 1, -(2**63) + 1)
    for key, writetime_us in enumerate(writetimes):
        session.execute(
            f"INSERT INTO t (k, v, n) VALUES ({key}, 'at', 1) USING TIMESTAMP {writetime_us}"
        )
    session.execute("DELETE FROM t USING TIMESTAMP -5 WHERE k = 2")
    session.execute("DELETE v FROM t USING TIMESTAMP 5 WHERE k = 1")
    session.execute(
        "BEGIN UNLOGGED BATCH INSERT INTO t (k, v) VALUES (20, 'low') USING TIMESTAMP "
        "-9000000000000000000;"
        " UPDATE t USING TIMESTAMP 9000000000000000000 SET n = 3 WHERE k = 20; APPLY BATCH"
    )
