"""Cases about rows: statics, liveness, TTL, wide rows, reversed clustering, batches and
light-weight transactions.
"""

from __future__ import annotations

import time
from typing import Any

from tests.tools.registry import recorded

Session = Any


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def statics(session: Session) -> None:
    """Static columns, simple and multi-cell: with rows, alone, overwritten, deleted, under a
    partition deletion.
    """
    session.execute(
        "CREATE TABLE t (pk int, ck int, s text STATIC, n int STATIC, m map<text, int> STATIC, v "
        "text,"
        " PRIMARY KEY (pk, ck)) WITH cdc = true"
    )
    session.execute("INSERT INTO t (pk, ck, s, n, v) VALUES (1, 1, 'static', 7, 'row')")
    session.execute("INSERT INTO t (pk, s) VALUES (2, 'static only')")
    session.execute("UPDATE t SET m = {'a': 1, 'b': 2} WHERE pk = 2")
    session.execute("UPDATE t SET m['c'] = 3 WHERE pk = 2")
    session.execute("DELETE m['a'] FROM t WHERE pk = 2")
    session.execute("UPDATE t USING TTL 1000000 SET n = 8 WHERE pk = 1")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 2, 'no static')")
    session.execute("DELETE s FROM t WHERE pk = 1")
    session.execute("INSERT INTO t (pk, ck, s) VALUES (3, 1, 'gone with its partition')")
    session.execute("DELETE FROM t WHERE pk = 3")
    session.execute("INSERT INTO t (pk, n) VALUES (3, 33)")
    session.execute("UPDATE t SET s = 'static of a row-less partition' WHERE pk = 4")
    session.execute("INSERT INTO t (pk, ck) VALUES (5, 5)")
    session.execute("UPDATE t SET s = null WHERE pk = 5")


def key_only_rows(session: Session) -> None:
    """Rows that hold nothing but their key: inserted so, or left so when their last cell is
    deleted.
    """
    session.execute("CREATE TABLE only_key (a int, b text, PRIMARY KEY (a, b)) WITH cdc = true")
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    for number in range(5):
        session.execute("INSERT INTO only_key (a, b) VALUES (%s, %s)", (number, f"b{number}"))
        session.execute("INSERT INTO t (k) VALUES (%s)", (number,))
    session.execute("DELETE FROM only_key WHERE a = 1 AND b = 'b1'")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'inserted')")
    session.execute("DELETE v FROM t WHERE k = 1")
    session.execute("UPDATE t SET v = 'updated only' WHERE k = 10")
    session.execute("DELETE v FROM t WHERE k = 10")
    session.execute("UPDATE t SET v = 'updated only' WHERE k = 11")
    session.execute("INSERT INTO t (k, v) VALUES (12, null)")


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def ttl(session: Session) -> None:
    """TTL on rows, cells and elements, by the statement and by the table's default; overwritten,
    lifted.
    """
    session.execute(
        "CREATE TABLE t (k int PRIMARY KEY, v text, n int, l list<int>, m map<text, int>) WITH "
        "cdc = true"
    )
    session.execute(
        "CREATE TABLE by_default (k int PRIMARY KEY, v text) WITH cdc = true AND "
        "default_time_to_live = 5000000"
    )
    session.execute("INSERT INTO t (k, v, n) VALUES (1, 'row', 1) USING TTL 1000000")
    session.execute("UPDATE t USING TTL 2000000 SET n = 2 WHERE k = 1")
    session.execute("UPDATE t SET v = 'for ever' WHERE k = 1")
    session.execute("INSERT INTO t (k, v) VALUES (2, 'for ever')")
    session.execute("UPDATE t USING TTL 1000000 SET m['x'] = 1 WHERE k = 2")
    session.execute("UPDATE t USING TTL 3000000 SET m['y'] = 2, l = l + [1, 2] WHERE k = 2")
    session.execute("UPDATE t SET l = l + [3] WHERE k = 2")
    session.execute("INSERT INTO t (k, v, n) VALUES (3, 'lifted', 1) USING TTL 1000000")
    session.execute("INSERT INTO t (k, v, n) VALUES (3, 'lifted', 1) USING TTL 0")
    session.execute("INSERT INTO by_default (k, v) VALUES (1, 'default')")
    session.execute("INSERT INTO by_default (k, v) VALUES (2, 'own') USING TTL 6000000")
    session.execute("INSERT INTO by_default (k, v) VALUES (3, 'none') USING TTL 0")
    session.execute("UPDATE by_default USING TTL 0 SET v = 'lifted' WHERE k = 1")
    session.execute(
        "BEGIN BATCH INSERT INTO t (k, v) VALUES (4, 'a') USING TTL 1000000;"
        "UPDATE t USING TTL 2000000 SET n = 5 WHERE k = 4; APPLY BATCH"
    )


def expired(session: Session) -> None:
    """TTL that has run out by the time of the SELECT: rows, cells and elements are gone without an
    event.
    """
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text, n int, s set<int>) WITH cdc = true")
    session.execute("INSERT INTO t (k, v, n) VALUES (1, 'gone', 1) USING TTL 1")
    session.execute("INSERT INTO t (k, v, n) VALUES (2, 'stays', 1)")
    session.execute("UPDATE t USING TTL 1 SET n = 2, s = s + {1, 2} WHERE k = 2")
    session.execute("UPDATE t SET s = s + {3} WHERE k = 2")
    session.execute("UPDATE t USING TTL 1 SET v = 'update only' WHERE k = 3")
    session.execute("UPDATE t USING TTL 1 SET v = 'cells go' WHERE k = 4")
    session.execute("UPDATE t SET n = 4 WHERE k = 4")
    time.sleep(2.1)


def lwt(session: Session) -> None:
    """Light-weight transactions, applied and refused, also as a conditional batch."""
    session.execute(
        "CREATE TABLE t (pk int, ck int, v text, s int STATIC, PRIMARY KEY (pk, ck)) WITH cdc = "
        "true"
    )
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 1, 'first') IF NOT EXISTS")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 1, 'refused') IF NOT EXISTS")
    session.execute("UPDATE t SET v = 'second' WHERE pk = 1 AND ck = 1 IF v = 'first'")
    session.execute("UPDATE t SET v = 'refused' WHERE pk = 1 AND ck = 1 IF v = 'first'")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 2, 'to go') IF NOT EXISTS")
    session.execute("DELETE FROM t WHERE pk = 1 AND ck = 2 IF EXISTS")
    session.execute(
        "BEGIN BATCH INSERT INTO t (pk, ck, v) VALUES (1, 3, 'batched') IF NOT EXISTS;"
        "UPDATE t SET s = 5 WHERE pk = 1 IF s = null; APPLY BATCH"
    )


def batches(session: Session) -> None:
    """Logged and unlogged batches over rows, partitions and tables, with and without cdc, at one
    and many writetimes.
    """
    session.execute("CREATE TABLE a (k int, c int, v text, PRIMARY KEY (k, c)) WITH cdc = true")
    session.execute("CREATE TABLE b (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("CREATE TABLE unmirrored (k int PRIMARY KEY, v text) WITH cdc = false")
    for kind in ("BATCH", "UNLOGGED BATCH"):
        for key in range(3):
            session.execute(
                f"BEGIN {kind}"
                f" INSERT INTO a (k, c, v) VALUES ({key}, 1, 'one');"
                f" INSERT INTO a (k, c, v) VALUES ({key}, 2, 'two');"
                f" DELETE FROM a WHERE k = {key} AND c = 1;"
                f" INSERT INTO unmirrored (k, v) VALUES ({key}, 'not mirrored');"
                f" UPDATE b SET v = 'b' WHERE k = {key};"
                f" INSERT INTO a (k, c, v) VALUES ({key + 10}, 1, 'other partition');"
                " APPLY BATCH"
            )
    session.execute(
        "BEGIN BATCH INSERT INTO a (k, c, v) VALUES (20, 1, 'newer') USING TIMESTAMP 2000;"
        "INSERT INTO a (k, c, v) VALUES (20, 1, 'older') USING TIMESTAMP 1000;"
        "DELETE FROM a USING TIMESTAMP 1500 WHERE k = 20 AND c = 1; APPLY BATCH"
    )
    session.execute("BEGIN BATCH INSERT INTO unmirrored (k, v) VALUES (30, 'alone'); APPLY BATCH")


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def wide_rows(session: Session) -> None:
    """70 columns: a row of few (the list of those present), of most (the list of those missing), of
    half, of all.
    """
    names = [f"c{number:02}" for number in range(70)]
    columns = ", ".join(f"{name} int" for name in names)
    session.execute(
        f"CREATE TABLE t (pk int, ck int, {columns}, PRIMARY KEY (pk, ck)) WITH cdc = true"
    )

    def insert(clustering: int, chosen: list[str]) -> str:
        values = ", ".join(str(clustering * 100 + int(name[1:])) for name in chosen)
        return f"INSERT INTO t (pk, ck, {', '.join(chosen)}) VALUES (1, {clustering}, {values});"

    # A header holds the union of a mutation's rows, so the rows of one batch are subsets of it.
    session.execute(
        "BEGIN UNLOGGED BATCH "
        + insert(1, names)
        + insert(2, names[:3])
        + insert(3, names[4:])
        + insert(4, names[::2])
        + insert(5, names[:36])
        + insert(6, names[34:])
        + insert(7, names[69:])
        + " APPLY BATCH"
    )
    session.execute("DELETE c00, c69 FROM t WHERE pk = 1 AND ck = 1")
    short = names[:63]
    session.execute(
        "BEGIN UNLOGGED BATCH " + insert(8, short) + insert(9, names[62:63]) + " APPLY BATCH"
    )
    just = names[:64]
    session.execute(
        "BEGIN UNLOGGED BATCH "
        + insert(10, just)
        + insert(11, names[:1])
        + insert(12, just[1:])
        + " APPLY BATCH"
    )


def descending(session: Session) -> None:
    """Reversed clustering of fixed and variable length, with slices deleted in both directions."""
    session.execute(
        "CREATE TABLE t (pk int, a text, b int, c timeuuid, v int, PRIMARY KEY (pk, a, b, c))"
        " WITH CLUSTERING ORDER BY (a DESC, b ASC, c DESC) AND cdc = true"
    )
    identifiers = [f"0000000{number}-1dd2-11b2-8080-808080808080" for number in range(3)]
    for a in ("x", "y"):
        for b in range(4):
            for identifier in identifiers:
                session.execute(
                    f"INSERT INTO t (pk, a, b, c, v) VALUES (1, '{a}', {b}, {identifier}, {b})"
                )
    session.execute("DELETE FROM t WHERE pk = 1 AND a > 'x'")
    session.execute("DELETE FROM t WHERE pk = 1 AND a = 'x' AND b > 2")
    session.execute(f"DELETE FROM t WHERE pk = 1 AND a = 'x' AND b = 1 AND c < {identifiers[1]}")
    session.execute(f"DELETE FROM t WHERE pk = 1 AND a = 'x' AND b = 2 AND c = {identifiers[0]}")
    session.execute(
        f"UPDATE t SET v = null WHERE pk = 1 AND a = 'x' AND b = 0 AND c = {identifiers[0]}"
    )
