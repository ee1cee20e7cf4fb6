"""CQL types from their text: whether a value has a fixed length, and whether a column of the type
is multi-cell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from tests.reference.errors import DecodeError

_MARSHAL = "org.apache.cassandra.db.marshal."

# Everything that is not here is variable; note tinyint, smallint, date, time and counter among the
# variable ones.
_FIXED_LENGTH = {
    "empty": 0,
    "boolean": 1,
    "int": 4,
    "float": 4,
    "bigint": 8,
    "double": 8,
    "timestamp": 8,
    "uuid": 16,
    "timeuuid": 16,
}
_FIXED_LENGTH_CLASSES = {
    "EmptyType": 0,
    "BooleanType": 1,
    "Int32Type": 4,
    "FloatType": 4,
    "LongType": 8,
    "DoubleType": 8,
    "TimestampType": 8,
    "DateType": 8,
    "UUIDType": 16,
    "TimeUUIDType": 16,
    "LexicalUUIDType": 16,
    "LegacyTimeUUIDType": 16,
}
NATIVE = frozenset(_FIXED_LENGTH) | {
    "ascii", "text", "varchar", "blob", "tinyint", "smallint", "varint", "decimal", "date", "time",
    "duration", "inet", "counter",
}  # fmt: skip
_COLLECTIONS = {"list": 1, "set": 1, "map": 2}


@dataclass(frozen=True)
class CqlType:
    """A type. `name` is native, list, set, map, tuple, vector, custom or (with `user` set) a user
    type's name.
    """

    name: str
    arguments: tuple[CqlType, ...] = ()
    frozen: bool = False
    dimension: int = 0
    class_name: str = ""
    user: bool = False

    @property
    def fixed_length(self) -> int | None:
        """Bytes of every non-empty value, or None for a type whose values carry their length."""
        if self.name == "vector":
            element = self.arguments[0].fixed_length
            return None if element is None else element * self.dimension
        if self.name == "custom":
            bare = self.class_name.removeprefix(_MARSHAL)
            while bare.startswith("ReversedType("):
                bare = bare[len("ReversedType(") : -1].removeprefix(_MARSHAL)
            return _FIXED_LENGTH_CLASSES.get(bare)
        return None if self.user else _FIXED_LENGTH.get(self.name)

    @property
    def multi_cell(self) -> bool:
        """True where a regular or static column of the type holds one cell per element."""
        return not self.frozen and (self.name in _COLLECTIONS or self.user)


_TOKEN = re.compile(r"""\s*(?:'((?:[^']|'')*)'|"((?:[^"]|"")*)"|([A-Za-z0-9_.]+)|([<>,]))""")


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text.rstrip()):
            match = _TOKEN.match(text, position)
            if match is None:
                raise DecodeError(f"not a type: {text}")
            kind = ("class", "quoted", "word", "mark")[(match.lastindex or 1) - 1]
            self.tokens.append((kind, match[match.lastindex or 1]))
            position = match.end()
        self.tokens.append(("end", ""))

    def next(self, expected: str | None = None) -> tuple[str, str]:
        token = self.tokens.pop(0)
        if expected is not None and token[1] != expected:
            raise DecodeError(f"not a type: {self.text}")
        return token

    def number(self) -> int:
        token = self.next()[1]
        if not token.isdecimal():
            raise DecodeError(f"not a type: {self.text}")
        return int(token)

    def arguments(self) -> tuple[CqlType, ...]:
        self.next("<")
        found = [self.type()]
        while self.tokens[0][1] == ",":
            self.next()
            found.append(self.type())
        self.next(">")
        return tuple(found)

    def type(self) -> CqlType:
        kind, token = self.next()
        if kind == "class":
            return CqlType("custom", class_name=token.replace("''", "'"), frozen=True)
        if kind == "quoted":
            return CqlType(token.replace('""', '"'), user=True)
        if kind != "word":
            raise DecodeError(f"not a type: {self.text}")
        word = token.lower()
        if self.tokens[0] != ("mark", "<"):
            return CqlType(word) if word in NATIVE else CqlType(word, user=True)
        if word == "vector":
            self.next("<")
            element = self.type()
            self.next(",")
            dimension = self.number()
            self.next(">")
            return CqlType("vector", (element,), frozen=True, dimension=dimension)
        inner = self.arguments()
        if word == "frozen":
            return replace(inner[0], frozen=True)
        if word == "tuple":
            return CqlType("tuple", inner, frozen=True)
        if len(inner) != _COLLECTIONS.get(word):
            raise DecodeError(f"not a type: {self.text}")
        return CqlType(word, inner)


def parse_type(text: str) -> CqlType:
    """A type as `system_schema` writes it, for example `map<text, frozen<list<int>>>`."""
    parser = _Parser(text)
    found = parser.type()
    if parser.tokens[0][0] != "end":
        raise DecodeError(f"not a type: {text}")
    return found
