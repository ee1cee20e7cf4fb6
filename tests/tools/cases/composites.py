"""Cases about columns of custom classes: CompositeType and DynamicCompositeType."""

from __future__ import annotations

from typing import Any

from tests.tools.registry import recorded

Session = Any

_COMPOSITE = "'org.apache.cassandra.db.marshal.CompositeType(Int32Type,UTF8Type)'"
_DYNAMIC = "'org.apache.cassandra.db.marshal.DynamicCompositeType(i=>Int32Type,s=>UTF8Type)'"


def _composite(*components: bytes) -> str:
    return "0x" + b"".join(len(c).to_bytes(2) + c + b"\0" for c in components).hex()


def _aliased(*components: tuple[str, bytes]) -> str:
    """Components whose types are told by their aliases."""
    parts = (
        b"\x80" + alias.encode() + len(data).to_bytes(2) + data + b"\0"
        for alias, data in components
    )
    return "0x" + b"".join(parts).hex()


def _named(*components: tuple[str, bytes]) -> str:
    """Components whose types are told by their names."""
    parts = (
        len(name).to_bytes(2) + name.encode() + len(data).to_bytes(2) + data + b"\0"
        for name, data in components
    )
    return "0x" + b"".join(parts).hex()


def _int(value: int) -> bytes:
    return value.to_bytes(4, signed=True)


# 3.11 fails to insert a row of such a clustering, 4.1 shows no more than the first component of
# such a partition key.
@recorded(series=("5.0", "6.0"))
def composites(session: Session) -> None:
    """Composites and dynamic ones: as values, in collections, as keys; rows and prefixes deleted
    by them.
    """
    session.execute(
        f"CREATE TABLE held (k int PRIMARY KEY, c {_COMPOSITE}, d {_DYNAMIC},"
        f" m map<text, {_COMPOSITE}>) WITH cdc = true"
    )
    one, other = _composite(_int(-1), b"b"), _composite(_int(1), b"aa")
    told, named = _aliased(("i", _int(7)), ("s", b"seven")), _named(("Int32Type", _int(8)))
    session.execute(f"INSERT INTO held (k, c, d, m) VALUES (1, {one}, {told}, {{'a': {one}}})")
    session.execute(f"INSERT INTO held (k, c, d) VALUES (2, {other}, {named})")
    session.execute(f"UPDATE held SET m['b'] = {other}, d = {named} WHERE k = 1")
    session.execute(f"UPDATE held SET c = {_composite(_int(3))} WHERE k = 3")
    session.execute("INSERT INTO held (k, c) VALUES (4, 0x)")
    session.execute("DELETE c, m['a'] FROM held WHERE k = 1")
    session.execute(
        f"CREATE TABLE keyed (p {_COMPOSITE}, c {_COMPOSITE}, d {_DYNAMIC}, v text,"
        " PRIMARY KEY (p, c, d)) WITH CLUSTERING ORDER BY (c DESC, d ASC) AND cdc = true"
    )
    for partition in (one, other):
        for number in (-1, 1, 2):
            for text in (b"b", b"aa"):
                clustering = _composite(_int(number), text)
                session.execute(
                    "INSERT INTO keyed (p, c, d, v)"
                    f" VALUES ({partition}, {clustering}, {told}, '{number}{text.decode()}')"
                )
    session.execute(f"DELETE FROM keyed WHERE p = {one} AND c = {other} AND d = {told}")
    session.execute(f"DELETE FROM keyed WHERE p = {one} AND c = {_composite(_int(2), b'b')}")
    session.execute(f"UPDATE keyed SET v = null WHERE p = {other} AND c = {other} AND d = {told}")
