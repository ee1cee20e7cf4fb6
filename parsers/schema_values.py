"""Values of the few types that `system_schema` uses, between Cassandra's bytes and Python.

Only schema changes pass through here: data is converted by the compiled modules.
"""

from __future__ import annotations

import struct
from typing import TypeAlias
from uuid import UUID

from parsers.cql_types import CqlType, ListType, MapType, Native, SetType

Value: TypeAlias = "str | bytes | int | bool | UUID | list[Value] | dict[str, Value]"


def decode(cql_type: CqlType, data: bytes) -> Value:
    """The value in `data`: lists and sets as lists, maps as dicts, a timestamp in milliseconds.

    Raises ValueError where `data` is no value of that type, or the type is none of ours.
    """
    if isinstance(cql_type, Native):
        return _decode_scalar(cql_type.name, data)
    if isinstance(cql_type, ListType | SetType):
        return [decode(cql_type.element, item) for item in _items(data, 1)]
    if isinstance(cql_type, MapType):
        items = _items(data, 2)
        return {
            str(decode(cql_type.key, key)): decode(cql_type.value, value)
            for key, value in zip(items[::2], items[1::2], strict=True)
        }
    raise ValueError(f"{cql_type} is not a type of system_schema")


def _decode_scalar(name: str, data: bytes) -> Value:
    match name:
        case "text":
            return data.decode()
        case "blob":
            return data
        case "uuid":
            return UUID(bytes=data)
        case "boolean" if len(data) == 1:
            return data != b"\0"
        case "int" if len(data) == 4:
            return int.from_bytes(data, signed=True)
        case "timestamp" if len(data) == 8:
            return int.from_bytes(data, signed=True)
    raise ValueError(f"{len(data)} bytes are no {name} of system_schema")


def _items(data: bytes, per_entry: int) -> list[bytes]:
    if len(data) < 4:
        raise ValueError("a collection is cut off")
    count = int.from_bytes(data[:4], signed=True) * per_entry
    items: list[bytes] = []
    at = 4
    for _ in range(count):
        length = int.from_bytes(data[at : at + 4], signed=True)
        at += 4
        if length < 0 or length > len(data) - at:
            raise ValueError("an element of a collection is null or cut off")
        items.append(data[at : at + length])
        at += length
    if at != len(data):
        raise ValueError("bytes are left behind a collection")
    return items


def encode(cql_type: CqlType, value: Value) -> bytes:
    """The bytes that Cassandra would store for `value`; the reverse of `decode`."""
    match cql_type, value:
        case Native("text"), str():
            return value.encode()
        case Native("blob"), bytes():
            return value
        case Native("uuid"), UUID():
            return value.bytes
        case Native("boolean"), bool():
            return b"\1" if value else b"\0"
        case Native("int"), int():
            return struct.pack(">i", value)
        case Native("timestamp"), int():
            return struct.pack(">q", value)
        case ((ListType(element) | SetType(element)), list()):
            items = [encode(element, item) for item in value]
            body = b"".join(struct.pack(">i", len(item)) + item for item in items)
            return struct.pack(">i", len(items)) + body
    raise ValueError(f"{value!r} is no {cql_type} of system_schema")
