"""Random CQL over random tables, from a seed: few keys and timestamps, so that all collides.

Statements are text. Values are such that a mirror can hold them: what it must refuse is another
test's business.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from cassandra import InvalidRequest

Literal = Callable[[Random], str]

REFUSED: Final = (
    "list which is null",
    "List index",
    "on a list",
    "List prepend",
    "used in partition key",
    "Invalid user type literal",
    "Invalid tuple literal",
    "Invalid list literal",
    "Invalid map literal",
)
"""What Cassandra says of an element of a list that is not there, or of a type of a key; and of
literals in clustering columns in descending order: 3.11 of any such, 6.0 of those in tuples.
"""

TYPES = "CREATE TYPE point (x int, label text)", "CREATE TYPE place (at frozen<point>, n smallint)"
TIE_US = 1_600_000_000_000_000
LONG_TTL_SECONDS = 250_000_000
WORDS = ("", "a", "ab", "é", "日本", "it''s", "line\nbreak", '"q" \\', "🐘", "x" * 200)


def _quoted(words: Sequence[str]) -> Literal:
    return lambda rng: f"'{rng.choice(words)}'"


def _number(bits: int) -> Literal:
    edge = 1 << (bits - 1)
    return lambda rng: str(rng.choice((0, 1, -1, edge - 1, -edge, rng.randrange(-edge, edge))))


def _float(rng: Random) -> str:
    return rng.choice(("0.0", "-0.0", "1.5", "-3.25E10", "1.0E-30", "NaN", "Infinity", "-Infinity"))


def _inet(rng: Random) -> str:
    parts = [str(rng.choice((0, 1, 255))) for _ in range(4)]
    return rng.choice((f"'{'.'.join(parts)}'", f"'::{rng.randrange(9)}'", "'fe80::1:2'"))


def _uuid(rng: Random, version: int = 4) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=version))


NATIVE: dict[str, Literal] = {
    "ascii": _quoted(("", "a", "b", "A~!", "zz")),
    "bigint": _number(64),
    "blob": lambda rng: "0x" + rng.randbytes(rng.choice((0, 1, 9))).hex(),
    "boolean": lambda rng: rng.choice(("true", "false")),
    "date": lambda rng: (
        f"'{rng.choice(('1970-01-01', '-0044-03-15', '2024-02-29', '9999-12-31'))}'"
    ),
    "decimal": lambda rng: rng.choice(("0", "1.5", "-1.50", "1E+3", "-12E-20", "123456789.000001")),
    "double": _float,
    "duration": lambda rng: rng.choice(("1y2mo", "-3d4h5m", "12h30ms", "1mo2d3ns", "0s")),
    "float": _float,
    "inet": _inet,
    "int": _number(32),
    "smallint": _number(16),
    "text": _quoted(WORDS),
    "time": lambda rng: f"'{rng.choice(('00:00:00', '23:59:59.999999999', '12:00:00.000001'))}'",
    "timestamp": lambda rng: str(rng.choice((0, -1, 1_700_000_000_123, -60_000_000_000_000))),
    "timeuuid": lambda rng: _uuid(rng, 1),
    "tinyint": _number(8),
    "uuid": _uuid,
    "varint": lambda rng: str(rng.choice((0, -1, 127, 128, -(1 << 90), 1 << 200))),
}
# In a key: no NaN or -0.0, no time that is cut, and decimals that differ by more than their scale.
KEYS: dict[str, Literal] = {
    name: literal for name, literal in NATIVE.items() if name != "duration"
} | {
    "decimal": lambda rng: rng.choice(("0", "1.5", "1E+3", "-7E+2", "0.001")),
    "double": lambda rng: rng.choice(("0.0", "1.5", "-3.25E10", "Infinity")),
    "float": lambda rng: rng.choice(("0.0", "1.5", "-2.0", "-Infinity")),
    "frozen<list<int>>": lambda rng: rng.choice(("[]", "[1]", "[1, 2]", "[2, -1]")),
    "frozen<map<text, int>>": lambda rng: rng.choice(("{'a': 1}", "{'b': 2, 'a': 3}")),
    "frozen<point>": lambda rng: rng.choice(("{x: 1, label: 'l'}", "{x: 2, label: ''}")),
    "frozen<tuple<int, text>>": lambda rng: rng.choice(("(1, 'a')", "(1, 'b')", "(-1, '')")),
    "time": lambda rng: rng.choice(("'01:02:03'", "'04:05:06.000007'")),
}
# Written instead where an empty value of the type is not allowed.
NOT_EMPTY = {"ascii": "'a'", "blob": "0x61", "text": "'a'"}
ELEMENTS = ("int", "text", "uuid", "decimal", "boolean", "timestamp", "inet", "smallint", "blob")


@dataclass
class Column:
    """A column: its CQL type, its kind, and how a value of it is written."""

    name: str
    type: str
    kind: str
    literal: Literal
    element: Literal | None = None  # of a multi-cell list, set or map
    key: Literal | None = None  # of a multi-cell map
    fields: dict[str, Literal] = field(default_factory=dict)  # of a multi-cell user type


def _point(rng: Random) -> str:
    return f"{{x: {NATIVE['int'](rng)}, label: {NATIVE['text'](rng)}}}"


def _some(item: Literal, opening: str, closing: str) -> Literal:
    """A collection of up to three different items."""

    def literal(rng: Random) -> str:
        drawn = dict.fromkeys(item(rng) for _ in range(rng.randrange(4)))
        return opening + ", ".join(drawn) + closing

    return literal


def _column(rng: Random, name: str, kind: str) -> Column:
    """A regular or static column: scalar, frozen or multi-cell."""
    shape = rng.choice(("scalar", "scalar", "frozen", "list", "set", "map", "udt"))
    element = rng.choice(ELEMENTS)
    item = NATIVE[element]
    word = NATIVE["text"]
    match shape:
        case "list":
            return Column(name, f"list<{element}>", kind, _some(item, "[", "]"), element=item)
        case "set":
            item = KEYS[element]
            return Column(name, f"set<{element}>", kind, _some(item, "{", "}"), element=item)
        case "map":
            keys = rng.choice(("int", "text", "uuid", "boolean"))
            key = KEYS[keys]
            entries = _some(lambda r: f"{key(r)}: {item(r)}", "{", "}")
            return Column(name, f"map<{keys}, {element}>", kind, entries, element=item, key=key)
        case "udt":
            fields = {"x": NATIVE["int"], "label": word}
            return Column(name, "point", kind, _point, fields=fields)
        case "frozen":
            lists = _some(item, "[", "]")
            nested = _some(lambda r: f"{word(r)}: {lists(r)}", "{", "}")
            return rng.choice(
                (
                    Column(name, "frozen<place>", kind, lambda r: f"{{at: {_point(r)}, n: 7}}"),
                    Column(name, f"frozen<map<text, frozen<list<{element}>>>>", kind, nested),
                    Column(
                        name,
                        f"frozen<tuple<{element}, text>>",
                        kind,
                        lambda r: f"({item(r)}, {r.choice(('null', word(r)))})",
                    ),
                )
            )
    scalar = rng.choice(tuple(NATIVE))
    return Column(name, scalar, kind, NATIVE[scalar])


class RandomTable:
    """A table and the random statements on it."""

    def __init__(
        self, rng: Random, name: str, *, counter: bool = False, short_ttls: bool = True
    ) -> None:
        self.rng = rng
        self.name = name
        self.counter = counter
        self.stamped = 0.55  # of the writes: those that name their timestamp
        self.ttls_s: tuple[int, ...] = (1, 2, LONG_TTL_SECONDS)[0 if short_ttls else 2 :]
        self.writetimes_us: tuple[int, ...] = (*range(TIE_US, TIE_US + 6), 1, -1, 2 * TIE_US)
        self.partition = [self._key(f"p{n}") for n in range(rng.choice((1, 1, 2)))]
        self.clustering = [self._key(f"c{n}") for n in range(rng.choice((0, 1, 1, 2, 3)))]
        kinds = ["regular"] * rng.choice((1, 3, 6))
        kinds += ["static"] * (rng.choice((0, 1, 2)) if self.clustering else 0)
        self.columns = [
            Column(f"{kind[0]}{number}", "counter", kind, NATIVE["tinyint"])
            if counter
            else _column(rng, f"{kind[0]}{number}", kind)
            for number, kind in enumerate(kinds)
        ]
        self._order = [rng.choice(("ASC", "DESC")) for _ in self.clustering]
        # Few values per key column: a few dozen rows in a handful of partitions.
        self._values = {
            column.name: sorted({column.literal(rng) for _ in range(3)})
            for column in (*self.partition, *self.clustering)
        }
        if len(self.partition) == 1:  # which Cassandra wants not to be empty
            values = self._values[self.partition[0].name]
            values[:] = [one for one in values if one not in ("''", "0x")] or [
                NOT_EMPTY[self.partition[0].type]
            ]

    def _key(self, name: str) -> Column:
        key_type = self.rng.choice(tuple(KEYS))
        return Column(name, key_type, "key", KEYS[key_type])

    @property
    def cql(self) -> str:
        """CREATE TABLE."""
        columns = [
            f"{c.name} {c.type}{' static' if c.kind == 'static' else ''}"
            for c in (*self.partition, *self.clustering, *self.columns)
        ]
        partition = ", ".join(c.name for c in self.partition)
        key = ", ".join([f"({partition})", *(c.name for c in self.clustering)])
        order = ", ".join(
            f"{c.name} {o}" for c, o in zip(self.clustering, self._order, strict=True)
        )
        with_order = f"CLUSTERING ORDER BY ({order}) AND " if order else ""
        return (
            f"CREATE TABLE {self.name} ({', '.join(columns)}, PRIMARY KEY ({key}))"
            f" WITH {with_order}cdc = true"
        )

    def statement(self) -> str:
        """A random write, sometimes a batch of several into one partition."""
        rng = self.rng
        if self.counter:
            return self._count()
        if rng.random() < 0.05:
            return self._conditional()
        if rng.random() < 0.12:
            partition = self._draw(self.partition)
            several = [self._write(partition) for _ in range(rng.randint(2, 5))]
            return "BEGIN BATCH " + "; ".join(several) + "; APPLY BATCH"
        return self._write(self._draw(self.partition))

    def write(self) -> str:
        """A random write of one statement, which can stand in a batch."""
        return self._write(self._draw(self.partition))

    def write_to(self, partition: dict[str, str]) -> str:
        """A random write to a partition, given as CQL by column."""
        return self._write(partition)

    def _conditional(self) -> str:
        """A write by Paxos, which takes its timestamp from its ballot."""
        kept, self.writetimes_us = self.writetimes_us, ()
        partition = self._draw(self.partition)
        statement = self.rng.choice((self._insert, self._update, self._delete_row))(partition)
        self.writetimes_us = kept
        if not statement.startswith("INSERT"):
            return f"{statement} IF EXISTS"
        insert, _, using = statement.partition(" USING ")
        return f"{insert} IF NOT EXISTS{' USING ' + using if using else ''}"

    def _draw(self, columns: Sequence[Column]) -> dict[str, str]:
        return {c.name: self.rng.choice(self._values[c.name]) for c in columns}

    def _write(self, partition: dict[str, str]) -> str:
        kind = self.rng.choices(
            (self._insert, self._update, self._delete_cells, self._delete_row, self._delete_slice,
             self._delete_partition),
            (40, 35, 8, 8, 6, 2),
        )[0]  # fmt: skip
        return kind(partition)

    def _using(self, *, ttl: bool) -> str:
        rng = self.rng
        options = []
        if self.writetimes_us and rng.random() < self.stamped:
            options.append(f"TIMESTAMP {rng.choice(self.writetimes_us)}")
        if ttl and rng.random() < 0.25:
            options.append(f"TTL {rng.choice(self.ttls_s)}")
        return f" USING {' AND '.join(options)}" if options else ""

    def _insert(self, partition: dict[str, str]) -> str:
        rng = self.rng
        chosen = [c for c in self.columns if rng.random() < 0.6]
        values = partition | self._draw(self.clustering)
        values |= {c.name: "null" if rng.random() < 0.1 else c.literal(rng) for c in chosen}
        return (
            f"INSERT INTO {self.name} ({', '.join(values)}) VALUES ({', '.join(values.values())})"
            f"{self._using(ttl=True)}"
        )

    def _update(self, partition: dict[str, str]) -> str:
        kind = "static" if self.rng.random() < 0.3 else "regular"
        pool = [c for c in self.columns if c.kind == kind] or [
            c for c in self.columns if c.kind == "regular"
        ]
        chosen = self.rng.sample(pool, self.rng.randint(1, min(3, len(pool))))
        sets = ", ".join(self._assignment(column) for column in chosen)
        key = partition if chosen[0].kind == "static" else partition | self._draw(self.clustering)
        return f"UPDATE {self.name}{self._using(ttl=True)} SET {sets} WHERE {_where(key)}"

    def _assignment(self, c: Column) -> str:
        rng = self.rng
        whole = f"{c.name} = {'null' if rng.random() < 0.1 else c.literal(rng)}"
        if c.fields:
            name = rng.choice(tuple(c.fields))
            value = "null" if rng.random() < 0.2 else c.fields[name](rng)
            return rng.choice((whole, f"{c.name}.{name} = {value}"))
        if c.element is None:
            return whole
        element = c.element(rng)
        if c.key is not None:
            key = c.key(rng)
            value = "null" if rng.random() < 0.2 else element
            return rng.choice(
                (
                    whole,
                    f"{c.name}[{key}] = {value}",
                    f"{c.name} = {c.name} + {{{key}: {element}}}",
                    f"{c.name} = {c.name} - {{{key}}}",
                )
            )
        if c.type.startswith("set"):
            sign = rng.choice("+-")
            return rng.choice((whole, f"{c.name} = {c.name} {sign} {{{element}}}"))
        return rng.choice(
            (
                whole,
                f"{c.name} = {c.name} + [{element}]",
                f"{c.name} = [{element}] + {c.name}",
                f"{c.name} = {c.name} - [{element}]",
                f"{c.name}[{rng.randrange(2)}] = {element}",
            )
        )

    def _delete_cells(self, partition: dict[str, str]) -> str:
        column = self.rng.choice(self.columns)
        what = column.name
        if column.fields:
            what = self.rng.choice((what, f"{what}.{self.rng.choice(tuple(column.fields))}"))
        elif column.element is not None and self.rng.random() < 0.5:
            element = column.key or column.element
            at = "0" if column.type.startswith("list") else element(self.rng)
            what = f"{column.name}[{at}]"
        key = partition if column.kind == "static" else partition | self._draw(self.clustering)
        return f"DELETE {what} FROM {self.name}{self._using(ttl=False)} WHERE {_where(key)}"

    def _delete_row(self, partition: dict[str, str]) -> str:
        key = partition | self._draw(self.clustering)
        return f"DELETE FROM {self.name}{self._using(ttl=False)} WHERE {_where(key)}"

    def _delete_slice(self, partition: dict[str, str]) -> str:
        rng = self.rng
        if not self.clustering:
            return self._delete_partition(partition)
        if len(self.clustering) > 1 and len(set(self._order)) == 1 and rng.random() < 0.3:
            return self._delete_tuples(partition)
        depth = rng.randrange(len(self.clustering))
        where = _where(partition | self._draw(self.clustering[:depth]))
        column = self.clustering[depth].name
        values = self._values[column]
        bounds = [f"{column} {rng.choice(('>', '>='))} {rng.choice(values)}"]
        bounds.append(f"{column} {rng.choice(('<', '<='))} {rng.choice(values)}")
        wanted = " AND ".join(rng.choice((bounds, bounds[:1], bounds[1:])))
        return f"DELETE FROM {self.name}{self._using(ttl=False)} WHERE {where} AND {wanted}"

    def _delete_tuples(self, partition: dict[str, str]) -> str:
        """A slice by several clustering columns at once, or some rows by name."""
        rng = self.rng
        columns = self.clustering[: rng.randint(2, len(self.clustering))]
        names = f"({', '.join(column.name for column in columns)})"
        first, second = (f"({', '.join(self._draw(columns).values())})" for _ in range(2))
        bounds = [f"{names} {rng.choice(('>', '>='))} {first}"]
        bounds.append(f"{names} {rng.choice(('<', '<='))} {second}")
        wanted = " AND ".join(rng.choice((bounds, bounds[:1], bounds[1:])))
        if len(columns) == len(self.clustering) and rng.random() < 0.3:
            wanted = f"{names} IN ({first}, {second})"
        using = self._using(ttl=False)
        return f"DELETE FROM {self.name}{using} WHERE {_where(partition)} AND {wanted}"

    def _delete_partition(self, partition: dict[str, str]) -> str:
        return f"DELETE FROM {self.name}{self._using(ttl=False)} WHERE {_where(partition)}"

    def _count(self) -> str:
        rng = self.rng
        column = rng.choice(self.columns)
        key = self._draw(self.partition)
        if column.kind == "regular":
            key |= self._draw(self.clustering)
        by = f"{rng.choice('+-')} {rng.randrange(1000)}"
        return f"UPDATE {self.name} SET {column.name} = {column.name} {by} WHERE {_where(key)}"


def _where(key: dict[str, str]) -> str:
    return " AND ".join(f"{name} = {value}" for name, value in key.items())


def execute(session: Any, statement: str) -> bool:
    """Run a statement; what the table holds may make it one that Cassandra refuses: then False."""
    try:
        session.execute(statement)
        return True
    except InvalidRequest as error:
        if not any(reason in str(error) for reason in REFUSED):
            raise AssertionError(statement) from error
        return False


def random_tables(seed: int, count: int) -> list[RandomTable]:
    """The tables of a seed; the last one counts."""
    rng = Random(seed)
    return [RandomTable(rng, f"t{n}", counter=n == count - 1) for n in range(count)]


def random_statements(tables: Sequence[RandomTable], count: int) -> Iterator[str]:
    """Writes to all of the tables in turn."""
    for number in range(count):
        yield tables[number % len(tables)].statement()
