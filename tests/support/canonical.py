"""CQL values as JSON: one exact form per type, made from serialized bytes, not from driver types.

| CQL type                      | JSON                                                          |
|-------------------------------|---------------------------------------------------------------|
| ascii, text, varchar          | string                                                        |
| tinyint .. bigint, varint, counter | number without fraction, of any size                     |
| float, double                 | number, or "NaN", "Infinity", "-Infinity"                     |
| decimal                       | "<unscaled>e<-scale>", such as "-1200e-2"                     |
| boolean                       | true, false                                                   |
| blob                          | "0x" and hex digits                                           |
| inet, uuid, timeuuid          | string, as CQL prints it                                      |
| timestamp                     | milliseconds since 1970                                       |
| date                          | days since 1970                                               |
| time                          | nanoseconds since midnight                                    |
| duration                      | [months, days, nanoseconds]                                   |
| list, set, vector, tuple      | array (a set in Cassandra's order; a short tuple ends in nulls) |
| map                           | array of [key, value], in Cassandra's order                   |
| UDT                           | object of its fields                                          |
| null                          | null                                                          |
| empty (no bytes, not text or blob) | {"empty": true}                                          |
"""

from __future__ import annotations

import ipaddress
import math
import struct
import uuid
from collections.abc import Callable
from typing import Any

EMPTY = {"empty": True}


def _real(layout: str) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        value = struct.unpack(layout, data)[0]
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "Infinity" if value > 0 else "-Infinity"
        return value

    return read


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _text(data: bytes) -> str:
    return data.decode()


def _blob(data: bytes) -> str:
    return "0x" + data.hex()


def _decimal(data: bytes) -> str:
    return f"{_signed(data[4:])}e{-_signed(data[:4])}"


def _duration(data: bytes) -> list[int]:
    parts = []
    position = 0
    for _ in range(3):
        value, position = _unsigned_vint(data, position)
        parts.append((value >> 1) ^ -(value & 1))
    return parts


def _unsigned_vint(data: bytes, position: int) -> tuple[int, int]:
    first = data[position]
    extra = 8 - (~first & 0xFF).bit_length()
    value = first & (0xFF >> extra)
    for byte in data[position + 1 : position + 1 + extra]:
        value = value << 8 | byte
    return value, position + 1 + extra


SCALARS: dict[str, Callable[[bytes], Any]] = {
    "ascii": _text,
    "text": _text,
    "varchar": _text,
    "tinyint": _signed,
    "smallint": _signed,
    "int": _signed,
    "bigint": _signed,
    "varint": _signed,
    "counter": _signed,
    "timestamp": _signed,
    "time": _signed,
    "float": _real(">f"),
    "double": _real(">d"),
    "decimal": _decimal,
    "boolean": lambda data: data != b"\0",
    "blob": _blob,
    "inet": lambda data: str(ipaddress.ip_address(data)),
    "uuid": lambda data: str(uuid.UUID(bytes=data)),
    "timeuuid": lambda data: str(uuid.UUID(bytes=data)),
    "date": lambda data: int.from_bytes(data, "big") - 2**31,
    "duration": _duration,
}
MAY_BE_EMPTY = ("ascii", "text", "varchar", "blob")
WRAPPERS = ("frozen", "org.apache.cassandra.db.marshal.ReversedType")


def canonical(data: bytes | None, cql_type: Any) -> Any:
    """The JSON form of a serialized value; `cql_type` is a type class of cassandra-driver."""
    if data is None:
        return None
    name = cql_type.typename
    if name in WRAPPERS:
        return canonical(data, cql_type.subtypes[0])
    if name.endswith("CompositeType"):
        return _blob(data)
    if not data and name not in MAY_BE_EMPTY:
        return EMPTY
    if name in SCALARS:
        return SCALARS[name](data)
    if name in ("list", "set"):
        return [canonical(item, cql_type.subtypes[0]) for item in _elements(data, 1)]
    if name == "map":
        items = _elements(data, 2)
        key, value = cql_type.subtypes
        return [
            [canonical(k, key), canonical(v, value)]
            for k, v in zip(items[::2], items[1::2], strict=True)
        ]
    if hasattr(cql_type, "vector_size"):
        return _vector(data, cql_type)
    if hasattr(cql_type, "subtypes"):  # a tuple or UDT; a UDT's type is named after itself
        fields = _fields(data, len(cql_type.subtypes))
        values = [canonical(f, t) for f, t in zip(fields, cql_type.subtypes, strict=True)]
        names = getattr(cql_type, "fieldnames", None)
        return dict(zip(names, values, strict=True)) if names and None not in names else values
    raise NotImplementedError(f"no canonical form for {name}")


def _elements(data: bytes, per_item: int) -> list[bytes | None]:
    count = int.from_bytes(data[:4], "big") * per_item
    items, position = [], 4
    for _ in range(count):
        item, position = _sized(data, position)
        items.append(item)
    return items


def _fields(data: bytes, count: int) -> list[bytes | None]:
    fields: list[bytes | None] = []
    position = 0
    while position < len(data):
        field, position = _sized(data, position)
        fields.append(field)
    return fields + [None] * (count - len(fields))


def _sized(data: bytes, position: int) -> tuple[bytes | None, int]:
    size = _signed(data[position : position + 4])
    position += 4
    return (None, position) if size < 0 else (data[position : position + size], position + size)


def _vector(data: bytes, cql_type: Any) -> list[Any]:
    size = cql_type.subtype.serial_size()
    values, position = [], 0
    for _ in range(cql_type.vector_size):
        if size is None:
            length, position = _unsigned_vint(data, position)
        else:
            length = size
        values.append(canonical(data[position : position + length], cql_type.subtype))
        position += length
    return values
