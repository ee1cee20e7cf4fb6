"""Cases about values: empty against null against absent, and times beyond 2038."""

from __future__ import annotations

from typing import Any

from tests.tools.registry import recorded

Session = Any


def empty_and_null(session: Session) -> None:
    """Empty values of every type that takes them, nulls and columns not named, in cells, keys,
    clustering and elements.
    """
    session.execute(
        "CREATE TABLE t (k text, c blob, t text, a ascii, b blob, i int, n bigint, u uuid, ts "
        "timestamp, f float,"
        " bo boolean, v varint, d decimal, ip inet, si smallint, ti tinyint, PRIMARY KEY (k, c)) "
        "WITH cdc = true"
    )
    session.execute(
        "CREATE TABLE empty_key (a text, b text, v int, PRIMARY KEY ((a, b))) WITH cdc = true"
    )
    session.execute("INSERT INTO t (k, c, t, a, b) VALUES ('empty', 0x, '', '', 0x)")
    session.execute("INSERT INTO t (k, c, t, i) VALUES ('null', 0x00, null, null)")
    session.execute("INSERT INTO t (k, c) VALUES ('absent', 0x01)")
    session.execute(
        "INSERT INTO t (k, c, i, n, u, ts, f, bo, v, d, ip) VALUES ('empty scalars', 0x02, "
        "blobAsInt(0x),"
        " blobAsBigint(0x), blobAsUuid(0x), blobAsTimestamp(0x), blobAsFloat(0x), "
        "blobAsBoolean(0x),"
        " blobAsVarint(0x), blobAsDecimal(0x), blobAsInet(0x))"
    )
    session.execute("INSERT INTO empty_key (a, b, v) VALUES ('', '', 1)")
    session.execute("INSERT INTO empty_key (a, b, v) VALUES ('a', '', 2)")
    session.execute("UPDATE t SET t = '' WHERE k = 'null' AND c = 0x00")


@recorded(series=("6.0",))
@recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
def beyond_2038(session: Session) -> None:
    """Expirations after 2038 (TTL of 20 years), which only unsigned local deletion times can
    say.
    """
    session.execute("CREATE TABLE t (k int PRIMARY KEY, v text, m map<int, text>) WITH cdc = true")
    session.execute("INSERT INTO t (k, v) VALUES (1, 'twenty years') USING TTL 630720000")
    session.execute("UPDATE t USING TTL 630720000 SET m[1] = 'element' WHERE k = 2")
    session.execute("UPDATE t SET v = 'for ever' WHERE k = 2")
    session.execute("INSERT INTO t (k, v) VALUES (3, 'one year') USING TTL 31536000")
    session.execute("DELETE FROM t WHERE k = 3")
