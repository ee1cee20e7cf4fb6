"""What hides a column's values: applied where a cell is decoded, so that nothing behind sees them.

A hashed value becomes the HMAC-SHA-256 of Cassandra's bytes of it, in hexadecimal; of a multi-cell
column that is done to each element and to what names it. It knows no settings and no PostgreSQL.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Literal

from parsers.cql_types import CqlType, ListType, MapType, Native, SetType, UdtType

_TEXT = Native("text")


@dataclass(frozen=True, slots=True)
class Mask:
    """How one column is hidden.

    `key` is that of a hash. A constant has `field`, PostgreSQL's binary form of what every value
    becomes (None: NULL), and `text`, the same as it is printed.
    """

    kind: Literal["hash", "constant"]
    key: bytes = b""
    field: bytes | None = None
    text: str | None = None

    def __repr__(self) -> str:
        return f"Mask({self.kind!r})"  # a key has no place in a log


def hashed(key: bytes, value: bytes) -> bytes:
    """What stands for a value under a hash: 64 hexadecimal digits."""
    return hmac.digest(key, value, "sha256").hex().encode()


def hashed_type(cql_type: CqlType) -> CqlType:
    """The type of a column's values once they are hashed: text, or multi-cell with text in it."""
    if not cql_type.is_multicell:
        return _TEXT
    match cql_type:
        case ListType():
            return ListType(_TEXT, False)
        case SetType():
            return SetType(_TEXT, False)
        case MapType():
            return MapType(_TEXT, _TEXT, False)
        case UdtType():
            texts = (_TEXT,) * len(cql_type.field_types)
            return UdtType(cql_type.keyspace, cql_type.name, cql_type.field_names, texts, False)
    raise ValueError(f"values of {cql_type} can't be hashed")
