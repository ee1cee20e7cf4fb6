"""Scalar tables under random inserts, updates and deletes, with stale and tying timestamps."""

from __future__ import annotations

import datetime
import random
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from cassandra.query import UNSET_VALUE, BatchStatement
from cassandra.util import Date, Duration, Time

from tests.tools.registry import recorded

Session = Any
Maker = Callable[[random.Random], Any]
YEARS_TTL_SECONDS = 250_000_000  # about eight years: what has a TTL is still there when tests run
WORDS = ("", "a", "tail", "Ärger", "日本", "🐘 and 👁", "line\nbreak\ttab", "'quoted' \"twice\" \\N")


def _text(rng: random.Random) -> str:
    return rng.choice(WORDS) + "x" * rng.choice((0, 1, 3, 130))


def _float32(rng: random.Random) -> float:
    return rng.choice((0.0, -0.0, 1.5, -3.25e10, 2**-130, float("inf"), float("nan")))


def _varint(rng: random.Random) -> int:
    return rng.choice((-1, 1)) * rng.getrandbits(rng.choice((0, 7, 8, 63, 64, 200)))


def _inet(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return ".".join(str(rng.randrange(256)) for _ in range(4))
    return ":".join(f"{rng.randrange(65536):x}" for _ in range(8))


def _time_uuid(rng: random.Random) -> uuid.UUID:
    low, middle, high = rng.getrandbits(32), rng.getrandbits(16), rng.getrandbits(12) | 0x1000
    return uuid.UUID(fields=(low, middle, high, 0x80, rng.getrandbits(8), rng.getrandbits(48)))


def _duration(rng: random.Random) -> Duration:
    sign = rng.choice((-1, 1))
    return Duration(
        sign * rng.randrange(500), sign * rng.randrange(500), sign * rng.randrange(10**15)
    )


# PostgreSQL's timestamptz begins in 4713 BC; what lies outside of it is another case's business.
MAKERS: dict[str, Maker] = {
    "ascii": lambda rng: "".join(rng.choices("abc XYZ~!", k=rng.randrange(12))),
    "text": _text,
    "varchar": _text,
    "tinyint": lambda rng: rng.randrange(-128, 128),
    "smallint": lambda rng: rng.choice((-32768, -1, 0, 1, 32767)),
    "int": lambda rng: rng.choice((-(2**31), -1, 0, 1, 2**31 - 1, rng.getrandbits(30))),
    "bigint": lambda rng: rng.choice((-(2**63), -1, 0, 2**63 - 1, rng.getrandbits(62))),
    "varint": _varint,
    "decimal": lambda rng: Decimal(_varint(rng)).scaleb(rng.randrange(-30, 30)),
    "float": _float32,
    "double": lambda rng: rng.choice((_float32(rng), rng.gauss(0, 1e100), 5e-324)),
    "boolean": lambda rng: rng.random() < 0.5,
    "blob": lambda rng: rng.randbytes(rng.choice((0, 1, 16, 200))),
    "inet": _inet,
    "uuid": lambda rng: uuid.UUID(int=rng.getrandbits(128)),
    "timeuuid": _time_uuid,
    "timestamp": lambda rng: rng.choice((0, -1, -(10**14), 1_700_000_000_123, rng.getrandbits(43))),
    "date": lambda rng: Date(rng.randrange(-100_000, 1_000_000)),
    "time": lambda rng: Time(rng.randrange(86_400 * 10**9)),
    "duration": _duration,
}


def _frozen_makers(point: type[Any]) -> dict[str, Maker]:
    def some(maker: Maker) -> Maker:
        return lambda rng: [maker(rng) for _ in range(rng.randrange(4))]

    number, text = MAKERS["int"], MAKERS["text"]
    return {
        "frozen<list<text>>": some(text),
        "frozen<set<int>>": lambda rng: set(some(number)(rng)),
        "frozen<map<text, bigint>>": lambda rng: {
            t: MAKERS["bigint"](rng) for t in some(text)(rng)
        },
        "frozen<map<int, frozen<list<inet>>>>": lambda rng: {
            n: some(_inet)(rng) for n in some(number)(rng)
        },
        "frozen<tuple<int, text, timestamp>>": lambda rng: (
            number(rng),
            rng.choice((None, text(rng))),
            MAKERS["timestamp"](rng),
        ),
        "frozen<point>": lambda rng: point(number(rng), rng.choice((None, text(rng)))),
        "frozen<list<frozen<point>>>": some(lambda rng: point(number(rng), text(rng))),
    }


class _Table:
    """A table under random writes: its columns' value makers and a small pool of keys."""

    def __init__(
        self,
        session: Session,
        rng: random.Random,
        name: str,
        columns: dict[str, Maker],
        keys: list[tuple[str, Maker]],
        partition_key_count: int = 1,
    ) -> None:
        self.session, self.rng, self.name, self.columns = session, rng, name, columns
        self.key = [column for column, _ in keys]
        self.partition_key = self.key[:partition_key_count]
        self.keys = [tuple(maker(rng) for _, maker in keys) for _ in range(80)]

    def write(self, timestamp_us: int | None) -> None:
        """One random mutation; `timestamp_us` None leaves the writetime to the coordinator."""
        kind = self.rng.choices(
            ("insert", "update", "cells", "row", "partition"), (55, 27, 11, 6, 1)
        )
        key = self.rng.choice(self.keys)
        getattr(self, f"_{kind[0]}")(key, timestamp_us)

    def insert(self, key: tuple[Any, ...], timestamp_us: int | None) -> tuple[Any, list[Any]]:
        """A prepared INSERT of random columns (some null, some unset) and its values."""
        names = [*self.key, *self.columns]
        values = [*key, *(self._value(maker) for maker in self.columns.values())]
        query = (
            f"INSERT INTO {self.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        )
        if self.rng.random() < 0.15:
            return self._using(
                query, [("TTL", YEARS_TTL_SECONDS)], timestamp_us, values, after=True
            )
        return self._using(query, [], timestamp_us, values, after=True)

    def _insert(self, key: tuple[Any, ...], timestamp_us: int | None) -> None:
        self._execute(*self.insert(key, timestamp_us))

    def _update(self, key: tuple[Any, ...], timestamp_us: int | None) -> None:
        chosen = self.rng.sample(list(self.columns), self.rng.randint(1, min(3, len(self.columns))))
        sets = ", ".join(f"{name} = ?" for name in chosen)
        values = [self.columns[name](self.rng) for name in chosen]
        ttl = [("TTL", YEARS_TTL_SECONDS)] if self.rng.random() < 0.15 else []
        query = f"UPDATE {self.name} USING SET {sets} WHERE {self._where(self.key)}"
        self._execute(*self._using(query, ttl, timestamp_us, [*values, *key]))

    def _cells(self, key: tuple[Any, ...], timestamp_us: int | None) -> None:
        chosen = self.rng.sample(list(self.columns), self.rng.randint(1, min(2, len(self.columns))))
        query = f"DELETE {', '.join(chosen)} FROM {self.name} USING WHERE {self._where(self.key)}"
        self._execute(*self._using(query, [], timestamp_us, list(key)))

    def _row(self, key: tuple[Any, ...], timestamp_us: int | None) -> None:
        query = f"DELETE FROM {self.name} USING WHERE {self._where(self.key)}"
        self._execute(*self._using(query, [], timestamp_us, list(key)))

    def _partition(self, key: tuple[Any, ...], timestamp_us: int | None) -> None:
        query = f"DELETE FROM {self.name} USING WHERE {self._where(self.partition_key)}"
        values = list(key[: len(self.partition_key)])
        self._execute(*self._using(query, [], timestamp_us, values))

    def _where(self, columns: list[str]) -> str:
        return " AND ".join(f"{column} = ?" for column in columns)

    def _value(self, maker: Maker) -> Any:
        chance = self.rng.random()
        return None if chance < 0.1 else UNSET_VALUE if chance < 0.2 else maker(self.rng)

    def _using(
        self,
        query: str,
        options: list[tuple[str, int]],
        timestamp_us: int | None,
        values: list[Any],
        after: bool = False,
    ) -> tuple[Any, list[Any]]:
        if timestamp_us is not None:
            options = [*options, ("TIMESTAMP", timestamp_us)]
        clause = " AND ".join(f"{name} ?" for name, _ in options)
        bound = [value for _, value in options]
        if after:
            return f"{query} USING {clause}" if clause else query, [*values, *bound]
        query = query.replace(" USING ", f" USING {clause} " if clause else " ", 1)
        return query, [*bound, *values]

    def _execute(self, query: str, values: list[Any]) -> None:
        self.session.execute(_prepared(self.session, query), values)


def _prepared(session: Session, query: str) -> Any:
    cache = session.__dict__.setdefault("golden_statements", {})
    if query not in cache:
        cache[query] = session.prepare(query)
    return cache[query]


@recorded(series=("4.0", "4.1", "5.0"))
def scalars(session: Session) -> Iterator[str]:
    """Every scalar type and frozen value; random writes by row, cell and partition; stale and tying
    timestamps; long TTLs; batches over several tables; a column added; a table dropped.
    """
    rng = random.Random(20260101)
    session.execute("CREATE TYPE point (x int, label text)")
    session.cluster.register_user_type(session.keyspace, "point", Point)
    version = session.execute("SELECT release_version FROM system.local").one().release_version
    makers = MAKERS | _frozen_makers(Point)
    if version.startswith(("5.", "6.")):
        makers["vector<float, 3>"] = lambda rng: [rng.choice((0.0, -1.5, 2**-20)) for _ in range(3)]
    columns = {f"c{number}": maker for number, maker in enumerate(makers.values())}
    spelled = ", ".join(f"c{number} {name}" for number, name in enumerate(makers))

    session.execute(f"CREATE TABLE everything (k int PRIMARY KEY, {spelled}) WITH cdc = true")
    session.execute(
        "CREATE TABLE composite (a text, b uuid, c timestamp, d int, v text, n bigint,"
        " flag boolean, PRIMARY KEY ((a, b), c, d))"
        " WITH CLUSTERING ORDER BY (c DESC, d ASC) AND cdc = true"
    )
    session.execute(
        "CREATE TABLE reversed (k bigint, a inet, b varint, c date, d frozen<tuple<int, text>>,"
        " v double, PRIMARY KEY (k, a, b, c, d))"
        " WITH CLUSTERING ORDER BY (a DESC, b DESC, c ASC, d DESC) AND cdc = true"
    )
    session.execute("CREATE TABLE ties (k int PRIMARY KEY, a int, b text) WITH cdc = true")
    session.execute("CREATE TABLE doomed (k int PRIMARY KEY, v text) WITH cdc = true")
    session.execute("CREATE TABLE plain (k int PRIMARY KEY, v text)")

    def wide(table: str) -> _Table:
        if table == "everything":
            return _Table(session, rng, table, columns, [("k", lambda rng: rng.randrange(60))])
        if table == "composite":
            few = rng.sample(range(10**12), 5)
            keys: list[tuple[str, Maker]] = [
                ("a", lambda rng: rng.choice(WORDS[1:4])),
                ("b", lambda rng: uuid.UUID(int=rng.randrange(4))),
                ("c", lambda rng: rng.choice(few)),
                ("d", lambda rng: rng.randrange(-2, 3)),
            ]
            values = {"v": MAKERS["text"], "n": MAKERS["bigint"], "flag": MAKERS["boolean"]}
            return _Table(session, rng, table, values, keys, partition_key_count=2)
        keys = [
            ("k", lambda rng: rng.randrange(12)),
            ("a", lambda rng: rng.choice(("127.0.0.1", "::1", "255.0.0.1"))),
            ("b", lambda rng: rng.choice((0, -1, 2**90))),
            ("c", lambda rng: Date(rng.choice((-1, 0, 20_000)))),
            ("d", lambda rng: (rng.choice((1, -1)), rng.choice((None, "t", "")))),
        ]
        return _Table(session, rng, table, {"v": MAKERS["double"]}, keys)

    tables = [wide(name) for name in ("everything", "composite", "reversed")]
    small = {"a": lambda rng: rng.randrange(5), "b": MAKERS["text"]}
    ties = _Table(session, rng, "ties", small, [("k", lambda rng: rng.randrange(100))])
    doomed = _Table(session, rng, "doomed", {"v": MAKERS["text"]}, [("k", MAKERS["tinyint"])])
    plain = _Table(session, rng, "plain", {"v": MAKERS["text"]}, [("k", MAKERS["tinyint"])])
    first_us = int(time.time() * 1_000_000) - 60_000_000
    tie_us = int(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).timestamp()) * 1_000_000

    for number in range(1900):
        if number == 700:
            session.execute("ALTER TABLE composite ADD added decimal")
            tables[1].columns["added"] = MAKERS["decimal"]
        if number == 1200:
            yield "doomed"
            session.execute("DROP TABLE doomed")
        chance = rng.random()
        if chance < 0.55:
            # A sixth of the writes is stale: written a minute before everything else.
            stale_us = first_us + rng.randrange(1000) if rng.random() < 0.16 else None
            rng.choice(tables).write(stale_us)
        elif chance < 0.85:
            ties.write(tie_us + rng.randrange(9))
        elif chance < 0.9:
            plain.write(None)
        elif chance < 0.95 and number < 1200:
            doomed.write(None)
        else:
            batch = BatchStatement()
            for table in (*rng.sample(tables, 2), plain):
                query, values = table.insert(rng.choice(table.keys), None)
                batch.add(_prepared(session, query), values)
            session.execute(batch)


class Point:
    """The driver's view of the type `point`."""

    def __init__(self, x: int, label: str | None) -> None:
        self.x, self.label = x, label
