"""Cases about the schema changing under the data: columns and tables dropped and made again, types,
truncation.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from tests.tools.registry import recorded

Session = Any


@recorded()
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def columns_added_and_dropped(session: Session) -> None:
    """Columns added, dropped and added again with older data before and newer data behind, also
    multi-cell ones.
    """
    session.execute(
        "CREATE TABLE t (k int PRIMARY KEY, a text, b int, m map<text, int>) WITH cdc = true"
    )
    session.execute("INSERT INTO t (k, a, b, m) VALUES (1, 'a', 1, {'x': 1})")
    session.execute("ALTER TABLE t ADD c text")
    session.execute("INSERT INTO t (k, a, b, c) VALUES (2, 'a', 2, 'c')")
    session.execute("ALTER TABLE t DROP b")
    session.execute("INSERT INTO t (k, a, c) VALUES (3, 'a', 'c')")
    time.sleep(0.01)  # the drop is recorded in milliseconds
    session.execute("ALTER TABLE t ADD b int")
    session.execute("INSERT INTO t (k, b) VALUES (1, 11)")
    session.execute("INSERT INTO t (k, b) VALUES (4, 44)")
    session.execute("UPDATE t USING TIMESTAMP 1000 SET b = 5 WHERE k = 5")
    session.execute("ALTER TABLE t DROP m")
    time.sleep(0.01)
    session.execute("ALTER TABLE t ADD m map<text, int>")
    session.execute("UPDATE t SET m['y'] = 2 WHERE k = 1")
    session.execute("UPDATE t USING TIMESTAMP 1000 SET m = {'old': 1} WHERE k = 2")
    session.execute("ALTER TABLE t DROP c")
    session.execute("INSERT INTO t (k, a) VALUES (6, 'last')")


def static_columns_dropped(session: Session) -> None:
    """A static column dropped and added again."""
    session.execute(
        "CREATE TABLE t (pk int, ck int, s text STATIC, v int, PRIMARY KEY (pk, ck)) WITH cdc = "
        "true"
    )
    session.execute("INSERT INTO t (pk, ck, s, v) VALUES (1, 1, 'old', 1)")
    session.execute("ALTER TABLE t DROP s")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 2, 2)")
    time.sleep(0.01)
    session.execute("ALTER TABLE t ADD s text STATIC")
    session.execute("INSERT INTO t (pk, s) VALUES (2, 'new')")


def key_column_renamed(session: Session) -> None:
    """A clustering column renamed between writes."""
    session.execute("CREATE TABLE t (pk int, ck int, v text, PRIMARY KEY (pk, ck)) WITH cdc = true")
    session.execute("INSERT INTO t (pk, ck, v) VALUES (1, 1, 'before')")
    session.execute("ALTER TABLE t RENAME ck TO cluster")
    session.execute("INSERT INTO t (pk, cluster, v) VALUES (1, 2, 'after')")
    session.execute("DELETE FROM t WHERE pk = 1 AND cluster = 1")


def table_created_again(session: Session) -> Iterator[str]:
    """A table dropped and created under the same name with other columns: another id, other
    data.
    """
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'first life')")
    session.execute("DROP TABLE t")
    session.execute("CREATE TABLE t (k text, c int, v int, PRIMARY KEY (k, c)) WITH cdc = true")
    session.execute("INSERT INTO t (k, c, v) VALUES ('one', 1, 2)")
    session.execute("CREATE TABLE gone (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("INSERT INTO gone (k, v) VALUES (1, 'gone')")
    yield "gone"
    session.execute("DROP TABLE gone")


def cdc_switched(session: Session) -> None:
    """A table whose writes before `cdc = true` are in the log all the same."""
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text)")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'before cdc')")
    session.execute("ALTER TABLE t WITH cdc = true")
    session.execute("INSERT INTO t (k, v) VALUES (2, 'cdc')")
    session.execute("CREATE TABLE other (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("INSERT INTO other (k, v) VALUES (1, 'keeps the segment')")


def truncation(session: Session) -> None:
    """TRUNCATE between writes: no mutation of the table, a record in system.local."""
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text) WITH cdc = true")
    for key in range(3):
        session.execute("INSERT INTO t (k, v) VALUES (%s, 'before')", (key,))
    session.execute("TRUNCATE t")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'after')")
    session.execute("CREATE TABLE emptied (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("INSERT INTO emptied (k, v) VALUES (1, 'before')")
    session.execute("TRUNCATE emptied")


@recorded(yaml={"enable_materialized_views": True})  # 4.1 and later know this name as an old one
def materialized_view(session: Session) -> None:
    """A view: its rows are mutations of its own table id beside those of its base."""
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v int, w text) WITH cdc = true")
    session.execute(
        "CREATE MATERIALIZED VIEW by_v AS SELECT * FROM t WHERE v IS NOT NULL AND k IS NOT NULL "
        "PRIMARY KEY (v, k)"
    )
    for key in range(3):
        session.execute("INSERT INTO t (k, v, w) VALUES (%s, %s, 'w')", (key, key * 10))
    session.execute("UPDATE t SET v = 100 WHERE k = 1")
    session.execute("DELETE FROM t WHERE k = 2")
