"""Cassandra's order of values, type by type, as clustering columns and multi-cell columns are
sorted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from functools import cmp_to_key
from typing import Any

from tests.reference.catalog import UserTypes
from tests.reference.cursor import Cursor, signed
from tests.reference.reconcile import Clustering, Compare
from tests.reference.schema import RefColumn
from tests.reference.types import CqlType


def _sign(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _floating(layout: str) -> Callable[[bytes], tuple[bool, float, bool]]:
    def key(data: bytes) -> tuple[bool, float, bool]:
        value = struct.unpack(layout, data)[0]
        nan = value != value
        # All NaNs are equal and greatest, whatever their bits; -0 comes before 0.
        return (nan, 0.0 if nan else value, not nan and data[0] < 0x80)

    return key


def _decimal(data: bytes) -> Decimal:
    scale, unscaled = struct.unpack(">i", data[:4])[0], int.from_bytes(data[4:], "big", signed=True)
    with localcontext() as context:
        context.prec = 100_000
        return Decimal(unscaled).scaleb(-scale)


def time_of(uuid: bytes) -> int:
    """The timestamp of a version 1 UUID: 60 bits, of 100 ns."""
    low, mid, high = uuid[0:4], uuid[4:6], uuid[6:8]
    return int.from_bytes(high + mid + low, "big") & 0x0FFFFFFFFFFFFFFF


def timeuuid_key(uuid: bytes) -> tuple[int, list[int]]:
    """The order of timeuuids, and so of list elements: by time, then by the low bytes as signed
    ones.
    """
    return time_of(uuid), [signed(byte, 8) for byte in uuid[8:]]


def _uuid(uuid: bytes) -> tuple[int, int, bytes]:
    version = uuid[6] >> 4
    return version, time_of(uuid) if version == 1 else 0, uuid


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


# What is not here is ordered by its unsigned bytes: text, ascii, blob, inet, date, time.
_KEYS: dict[str, Callable[[bytes], object]] = {
    "tinyint": _integer,
    "smallint": _integer,
    "int": _integer,
    "bigint": _integer,
    "timestamp": _integer,
    "varint": _integer,
    "boolean": lambda data: data != b"\0",
    "float": _floating(">f"),
    "double": _floating(">d"),
    "decimal": _decimal,
    "timeuuid": timeuuid_key,
    "uuid": _uuid,
}


def _elements(data: bytes, per_item: int) -> list[bytes | None]:
    cursor = Cursor(data)
    return [_sized(cursor) for _ in range(cursor.i32() * per_item)]


def _sized(cursor: Cursor) -> bytes | None:
    length = cursor.i32()
    return None if length < 0 else cursor.take(length)


def _fields(data: bytes) -> list[bytes | None]:
    cursor = Cursor(data)
    found = []
    while cursor.remaining:
        found.append(_sized(cursor))
    return found


def _vector(data: bytes, type_: CqlType) -> list[bytes | None]:
    cursor = Cursor(data)
    length = type_.arguments[0].fixed_length
    return [
        cursor.vint_bytes() if length is None else cursor.take(length)
        for _ in range(type_.dimension)
    ]


class Order:
    """Compares values; `user_types` are those of the keyspace."""

    def __init__(self, user_types: UserTypes) -> None:
        self._user_types = user_types

    def compare(self, type_: CqlType, left: bytes | None, right: bytes | None) -> int:
        """Negative, 0 or positive; null before empty before everything else."""
        if not left or not right:
            return _sign((left is not None, bool(left)), (right is not None, bool(right)))
        if type_.name in ("list", "set", "map"):
            per_item = len(type_.arguments)
            types = type_.arguments * max(len(left), len(right))
            return self._sequence(types, _elements(left, per_item), _elements(right, per_item))
        if type_.name == "tuple":
            return self._sequence(type_.arguments, _fields(left), _fields(right))
        if type_.user:
            return self._sequence(self._user_types[type_.name].types, _fields(left), _fields(right))
        if type_.name == "vector":
            types = type_.arguments * type_.dimension
            return self._sequence(types, _vector(left, type_), _vector(right, type_))
        key = _KEYS.get(type_.name, bytes)
        return _sign(key(left), key(right))

    def _sequence(
        self, types: Sequence[CqlType], left: Sequence[bytes | None], right: Sequence[bytes | None]
    ) -> int:
        for type_, a, b in zip(types, left, right, strict=False):
            found = self.compare(type_, a, b)
            if found:
                return found
        # Fields that are not there count as null; more elements come after fewer.
        longer = [item for item in (*left[len(right) :], *right[len(left) :]) if item is not None]
        return _sign(len(left), len(right)) if longer else 0

    def sorted(self, type_: CqlType, values: Sequence[bytes]) -> list[bytes]:
        """The values in the type's order."""

        def compare(left: bytes, right: bytes) -> int:
            return self.compare(type_, left, right)

        return sorted(values, key=cmp_to_key(compare))

    def of_clustering(self, columns: Sequence[RefColumn]) -> Compare:
        """The order of clusterings, DESC columns reversed, over the prefix that both have."""

        def compare(left: Clustering, right: Clustering) -> int:
            for column, a, b in zip(columns, left, right, strict=False):
                found = self.compare(column.type, a, b)
                if found:
                    return -found if column.descending else found
            return 0

        return compare
