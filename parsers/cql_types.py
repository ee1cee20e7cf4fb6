"""CQL types as values, and what of them shows on the wire; it parses no text and no data.

Source of the rules: `CQL3Type` and `AbstractType.valueLengthIfFixed` of Apache Cassandra.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

NATIVE_NAMES: Final = frozenset(
    {
        *("ascii", "bigint", "blob", "boolean", "counter", "date", "decimal", "double"),
        *("duration", "empty", "float", "inet", "int", "smallint", "text", "time"),
        *("timestamp", "timeuuid", "tinyint", "uuid", "varint"),
    }
)

# Cell values of these types carry no length on the wire. tinyint, smallint, date and time do carry
# one, although each has a single legal size.
_FIXED_LENGTHS: Final[dict[str, int]] = {
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

MARSHAL: Final = "org.apache.cassandra.db.marshal."

_CUSTOM_FIXED_LENGTHS: Final[dict[str, int]] = {"LexicalUUIDType": 16}

_BARE_NAME: Final = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class CqlType:
    """Base of all CQL types; `str()` gives the text that `system_schema` holds."""

    @property
    def is_multicell(self) -> bool:
        """Whether a column of this type is stored as one cell per element (a complex column)."""
        return False

    @property
    def fixed_length(self) -> int | None:
        """Bytes of a cell value written without a length prefix; None where a prefix is written."""
        return None

    def freeze(self) -> CqlType:
        """The same type as it is inside another type or a primary key: a single value."""
        return self


@dataclass(frozen=True, slots=True)
class Native(CqlType):
    """A built-in scalar type, by its CQL name (`varchar` is `text`)."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in NATIVE_NAMES:
            raise ValueError(f"{self.name!r} is not a native CQL type")

    @property
    def fixed_length(self) -> int | None:
        return _FIXED_LENGTHS.get(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ListType(CqlType):
    """`list<element>`."""

    element: CqlType
    frozen: bool

    @property
    def is_multicell(self) -> bool:
        return not self.frozen

    def freeze(self) -> ListType:
        return ListType(self.element.freeze(), True)

    def __str__(self) -> str:
        return _frozen_text(f"list<{self.element}>", self.frozen)


@dataclass(frozen=True, slots=True)
class SetType(CqlType):
    """`set<element>`."""

    element: CqlType
    frozen: bool

    @property
    def is_multicell(self) -> bool:
        return not self.frozen

    def freeze(self) -> SetType:
        return SetType(self.element.freeze(), True)

    def __str__(self) -> str:
        return _frozen_text(f"set<{self.element}>", self.frozen)


@dataclass(frozen=True, slots=True)
class MapType(CqlType):
    """`map<key, value>`."""

    key: CqlType
    value: CqlType
    frozen: bool

    @property
    def is_multicell(self) -> bool:
        return not self.frozen

    def freeze(self) -> MapType:
        return MapType(self.key.freeze(), self.value.freeze(), True)

    def __str__(self) -> str:
        return _frozen_text(f"map<{self.key}, {self.value}>", self.frozen)


@dataclass(frozen=True, slots=True)
class TupleType(CqlType):
    """`tuple<...>`; always a single value."""

    fields: tuple[CqlType, ...]

    def freeze(self) -> TupleType:
        return TupleType(tuple(field.freeze() for field in self.fields))

    def __str__(self) -> str:
        return f"frozen<tuple<{', '.join(map(str, self.fields))}>>"


@dataclass(frozen=True, slots=True)
class UdtType(CqlType):
    """A user-defined type with its fields in declared order; equal only if the fields are, too."""

    keyspace: str
    name: str
    field_names: tuple[str, ...]
    field_types: tuple[CqlType, ...]
    frozen: bool

    def __post_init__(self) -> None:
        if len(self.field_names) != len(self.field_types):
            raise ValueError(
                f"type {self.keyspace}.{self.name}: {len(self.field_names)} field names "
                f"but {len(self.field_types)} field types"
            )

    @property
    def is_multicell(self) -> bool:
        return not self.frozen

    def freeze(self) -> UdtType:
        return replace(self, field_types=tuple(t.freeze() for t in self.field_types), frozen=True)

    def __str__(self) -> str:
        return _frozen_text(quote_name(self.name), self.frozen)


@dataclass(frozen=True, slots=True)
class VectorType(CqlType):
    """`vector<element, dimension>`; always a single value (Cassandra 5.0 and later)."""

    element: CqlType
    dimension: int

    def __post_init__(self) -> None:
        if self.dimension < 1:
            raise ValueError(f"a vector's dimension must be at least 1, not {self.dimension}")

    @property
    def fixed_length(self) -> int | None:
        element = self.element.fixed_length
        return None if element is None else element * self.dimension

    def freeze(self) -> VectorType:
        return VectorType(self.element.freeze(), self.dimension)

    def __str__(self) -> str:
        return f"vector<{self.element}, {self.dimension}>"


@dataclass(frozen=True, slots=True)
class CustomType(CqlType):
    """A type known by its Java class only (with its parameters); its values are opaque bytes."""

    class_name: str

    @property
    def fixed_length(self) -> int | None:
        return _CUSTOM_FIXED_LENGTHS.get(self.class_name.removeprefix(MARSHAL))

    def __str__(self) -> str:
        return "'" + self.class_name + "'"


def _frozen_text(text: str, frozen: bool) -> str:
    return f"frozen<{text}>" if frozen else text


def quote_name(name: str) -> str:
    """A CQL identifier as it has to be written: bare where that is enough, else double-quoted."""
    if _BARE_NAME.match(name) and name not in NATIVE_NAMES:
        return name
    return '"' + name.replace('"', '""') + '"'
