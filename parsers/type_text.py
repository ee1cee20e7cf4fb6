"""A type's text parsed: CQL as `system_schema` and DESCRIBE write it, or Java class names.

Source of the rules: `CQLTypeParser` and `TypeParser` of Apache Cassandra.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from parsers.cql_types import (
    MARSHAL,
    NATIVE_NAMES,
    CqlType,
    CustomType,
    ListType,
    MapType,
    Native,
    SetType,
    TupleType,
    UdtType,
    VectorType,
)

_NATIVE_CLASSES: Final[dict[str, str]] = {
    "AsciiType": "ascii",
    "BooleanType": "boolean",
    "ByteType": "tinyint",
    "BytesType": "blob",
    "CounterColumnType": "counter",
    "DateType": "timestamp",
    "DecimalType": "decimal",
    "DoubleType": "double",
    "DurationType": "duration",
    "EmptyType": "empty",
    "FloatType": "float",
    "InetAddressType": "inet",
    "Int32Type": "int",
    "IntegerType": "varint",
    "LegacyTimeUUIDType": "timeuuid",
    "LongType": "bigint",
    "ShortType": "smallint",
    "SimpleDateType": "date",
    "TimestampType": "timestamp",
    "TimeType": "time",
    "TimeUUIDType": "timeuuid",
    "UTF8Type": "text",
    "UUIDType": "uuid",
}


class TypeTextError(ValueError):
    """A type's text can't be understood, or names a user-defined type that is not known."""


def parse_type(text: str, udts: Mapping[str, UdtType], keyspace: str) -> CqlType:
    """Parse a type as `system_schema` or DESCRIBE writes it.

    `udts` holds the user-defined types of `keyspace` by name: a column can use no others.
    Raises TypeTextError naming the text where it is malformed or a type is not known.
    """
    parser = _Parser(text, udts, keyspace)
    parsed = parser.cql_type(nested=False)
    parser.expect_end()
    return parsed


_TOKEN: Final = re.compile(
    r"""\s*(?: (?P<quoted>"(?:[^"]|"")*") | (?P<string>'(?:[^']|'')*')
             | (?P<word>[\w$]+(?:\.[\w$]+)*) | (?P<mark>[<>,.():]|=>) )""",
    re.VERBOSE,
)

# Deep nesting is not a type that Cassandra accepts in practice; hostile text must not exhaust the
# interpreter's stack.
_MAX_DEPTH: Final = 64


class _Parser:
    """Recursive descent over one type's text: CQL syntax, or Java class names in quotes."""

    def __init__(self, text: str, udts: Mapping[str, UdtType], keyspace: str) -> None:
        self._text = text
        self._udts = udts
        self._keyspace = keyspace
        self._tokens = self._tokenize(text)
        self._next = 0
        self._depth = 0

    def _error(self, message: str) -> TypeTextError:
        return TypeTextError(f"type {self._text!r} in keyspace {self._keyspace!r}: {message}")

    def _tokenize(self, text: str) -> list[tuple[str, str]]:
        tokens: list[tuple[str, str]] = []
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(f"unexpected character at {at}")
            kind = match.lastgroup or ""
            tokens.append((kind, match.group(kind)))
            at = match.end()
        return tokens

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "its end")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._next += 1
        return token

    def _expect(self, mark: str) -> None:
        kind, value = self._take()
        if (kind, value) != ("mark", mark):
            raise self._error(f"{mark!r} expected, found {value!r}")

    def _accept(self, mark: str) -> bool:
        if self._peek() == ("mark", mark):
            self._next += 1
            return True
        return False

    def expect_end(self) -> None:
        """Raise TypeTextError where anything is left."""
        if self._next < len(self._tokens):
            raise self._error(f"unexpected {self._peek()[1]!r}")

    def _listed(self, item: Callable[[], CqlType], close: str) -> tuple[CqlType, ...]:
        items = [item()]
        while self._accept(","):
            items.append(item())
        self._expect(close)
        return tuple(items)

    def cql_type(self, *, nested: bool) -> CqlType:
        """One CQL type; inside another type everything is frozen, said or not."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"nested deeper than {_MAX_DEPTH}")
        parsed = self._cql_type(nested)
        self._depth -= 1
        return parsed.freeze() if nested else parsed

    def _cql_type(self, nested: bool) -> CqlType:
        kind, value = self._take()
        if kind == "string":
            return parse_class(value[1:-1].replace("''", "'"), self._udts, self._keyspace)
        if kind == "quoted":
            return self._udt(value[1:-1].replace('""', '"'), qualified=True)
        if kind != "word":
            raise self._error(f"a type expected, found {value!r}")
        if value.startswith(MARSHAL):
            self._next -= 1
            return self.class_type()
        name = value.lower()
        if self._accept("<"):
            return self._parametrized(name, nested)
        if name == "varchar":
            return Native("text")
        if name in NATIVE_NAMES:
            return Native(name)
        return self._udt(name, qualified="." not in name)

    def _parametrized(self, name: str, nested: bool) -> CqlType:
        if name == "frozen":
            inner = self.cql_type(nested=nested)
            self._expect(">")
            return inner.freeze()
        if name == "vector":
            element = self.cql_type(nested=True)
            self._expect(",")
            return VectorType(element, self._dimension(">"))
        arguments = self._listed(lambda: self.cql_type(nested=True), ">")
        return self._collection(name, arguments)

    def _collection(self, name: str, arguments: tuple[CqlType, ...]) -> CqlType:
        if name == "tuple":
            return TupleType(arguments)
        if name == "map" and len(arguments) == 2:
            return MapType(arguments[0], arguments[1], False)
        if name == "list" and len(arguments) == 1:
            return ListType(arguments[0], False)
        if name == "set" and len(arguments) == 1:
            return SetType(arguments[0], False)
        raise self._error(f"{name!r} with {len(arguments)} parameters is no type")

    def _dimension(self, close: str) -> int:
        _, digits = self._take()
        if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 2**31:
            raise self._error(f"a dimension expected, found {digits!r}")
        self._expect(close)
        return int(digits)

    def _udt(self, name: str, *, qualified: bool) -> UdtType:
        keyspace = self._keyspace
        if qualified and self._accept("."):
            keyspace = name
            kind, value = self._take()
            if kind == "quoted":
                name = value[1:-1].replace('""', '"')
            elif kind == "word":
                name = value.lower()
            else:
                raise self._error(f"a type's name expected, found {value!r}")
        elif not qualified:
            keyspace, _, name = name.partition(".")
        udt = self._udts.get(name) if keyspace == self._keyspace else None
        if udt is None:
            raise self._error(f"type {keyspace}.{name} is not known")
        return replace(udt, frozen=False)

    def class_type(self) -> CqlType:
        """One Java class name with its parameters, as `TypeParser` reads it."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._error(f"nested deeper than {_MAX_DEPTH}")
        kind, value = self._take()
        if kind != "word":
            raise self._error(f"a class name expected, found {value!r}")
        name = value.removeprefix(MARSHAL)
        start = self._next
        try:
            if name in _NATIVE_CLASSES:
                return Native(_NATIVE_CLASSES[name])
            if not self._accept("("):
                return CustomType(value)
            if name == "UserType":
                return self._user_type()
            if name == "VectorType":
                element = self.class_type().freeze()
                self._expect(",")
                return VectorType(element, self._dimension(")"))
            if name in ("FrozenType", "ReversedType"):
                inner = self.class_type()
                self._expect(")")
                return inner.freeze() if name == "FrozenType" else inner
            if name in ("ListType", "SetType", "MapType", "TupleType"):
                arguments = self._listed(lambda: self.class_type().freeze(), ")")
                return self._collection(name.removesuffix("Type").lower(), arguments)
            return CustomType(value + self._skip_parameters(start))
        finally:
            self._depth -= 1

    def _user_type(self) -> UdtType:
        _, keyspace = self._take()
        self._expect(",")
        name = self._hex_name()
        names: list[str] = []
        types: list[CqlType] = []
        while self._accept(","):
            names.append(self._hex_name())
            self._expect(":")
            types.append(self.class_type().freeze())
        self._expect(")")
        return UdtType(keyspace, name, tuple(names), tuple(types), False)

    def _hex_name(self) -> str:
        _, digits = self._take()
        try:
            return bytes.fromhex(digits).decode()
        except ValueError as error:
            raise self._error(f"a name in hexadecimal expected, found {digits!r}") from error

    def _skip_parameters(self, start: int) -> str:
        """The parameters of a class that we don't know, kept as text; the opening '(' is taken."""
        depth = 1
        while depth:
            kind, value = self._take()
            if kind == "end":
                raise self._error("')' expected, found its end")
            if kind == "mark" and value in "()":
                depth += 1 if value == "(" else -1
        return "".join(value for _, value in self._tokens[start : self._next])


def parse_class(text: str, udts: Mapping[str, UdtType], keyspace: str) -> CqlType:
    """Parse a Java class name with parameters, e.g. `org.apache.cassandra.db.marshal.Int32Type`.

    A class that is no CQL type gives a CustomType. Raises TypeTextError where it is malformed.
    """
    parser = _Parser(text, udts, keyspace)
    parsed = parser.class_type()
    parser.expect_end()
    return parsed


_CLASSES: Final[dict[str, str]] = {
    native: name
    for name, native in _NATIVE_CLASSES.items()
    if name not in ("DateType", "LegacyTimeUUIDType")
}


def class_text(cql_type: CqlType) -> str:
    """The type as a Java class name with its parameters: unlike CQL it holds UDTs' definitions.

    `parse_class` reads it back, and needs no user-defined types to do so.
    """
    match cql_type:
        case Native(name):
            return MARSHAL + _CLASSES[name]
        case CustomType(name):
            return name
        case TupleType(fields):
            return f"{MARSHAL}TupleType({','.join(map(class_text, fields))})"
        case VectorType(element, dimension):
            return f"{MARSHAL}VectorType({class_text(element)},{dimension})"
        case ListType(element, frozen):
            text = f"{MARSHAL}ListType({class_text(element)})"
        case SetType(element, frozen):
            text = f"{MARSHAL}SetType({class_text(element)})"
        case MapType(key, value, frozen):
            text = f"{MARSHAL}MapType({class_text(key)},{class_text(value)})"
        case UdtType(keyspace, name, names, types, frozen):
            text = f"{MARSHAL}UserType({keyspace},{name.encode().hex()}"
            for field_name, field_type in zip(names, types, strict=True):
                text += f",{field_name.encode().hex()}:{class_text(field_type)}"
            text += ")"
        case _:
            raise ValueError(f"{cql_type!r} has no Java class")
    return f"{MARSHAL}FrozenType({text})" if frozen else text
