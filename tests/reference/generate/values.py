"""Random values of every type, in the bytes of the log; extremes come often."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from random import Random

from tests.reference.catalog import UserTypes
from tests.reference.encode import uvint, vint_bytes
from tests.reference.types import CqlType

_TEXTS = ("", "a", "é", "日本", "\x00", "line\nbreak", '"quoted"', "𝄞", "x" * 300)


def _integer(choose: Random, size: int) -> bytes:
    bits = size * 8
    edges = (0, 1, -1, (1 << (bits - 1)) - 1, -(1 << (bits - 1)))
    value = choose.choice(edges) if choose.random() < 0.3 else choose.getrandbits(bits)
    return (value & ((1 << bits) - 1)).to_bytes(size, "big")


def _varint(choose: Random) -> bytes:
    value = choose.getrandbits(choose.choice((1, 7, 8, 31, 64, 200, 2000)))
    if choose.random() < 0.5:
        value = -value
    return value.to_bytes((value + (value < 0)).bit_length() // 8 + 1, "big", signed=True)


def _decimal(choose: Random) -> bytes:
    scale = choose.choice((0, 2, -2, 2000, -2000, choose.randrange(-50, 50)))
    return struct.pack(">i", scale) + _varint(choose)


def _duration(choose: Random) -> bytes:
    sign = choose.choice((1, -1))
    months, days = choose.getrandbits(choose.choice((0, 4, 30))), choose.getrandbits(16)
    nanoseconds = choose.getrandbits(choose.choice((0, 30, 62)))
    parts = (sign * months, sign * days, sign * nanoseconds)
    return b"".join(uvint(part << 1 if part >= 0 else -part * 2 - 1) for part in parts)


def _text(choose: Random) -> bytes:
    return (choose.choice(_TEXTS) + "word"[: choose.randrange(5)]).encode()


def timeuuid(choose: Random) -> bytes:
    """A version 1 UUID of any time."""
    data = bytearray(choose.randbytes(16))
    data[6] = 0x10 | data[6] & 0x0F
    data[8] = 0x80 | data[8] & 0x3F
    return bytes(data)


def _uuid(choose: Random) -> bytes:
    data = bytearray(timeuuid(choose))
    data[6] = choose.choice((0x10, 0x30, 0x40)) | data[6] & 0x0F
    return bytes(data)


_NATIVE: Mapping[str, Callable[[Random], bytes]] = {
    "ascii": lambda choose: bytes(choose.choices(range(32, 127), k=choose.randrange(9))),
    "text": _text,
    "varchar": _text,
    "blob": lambda choose: choose.randbytes(choose.choice((0, 1, 20, 500))),
    "boolean": lambda choose: choose.choice((b"\0", b"\1")),
    "tinyint": lambda choose: _integer(choose, 1),
    "smallint": lambda choose: _integer(choose, 2),
    "int": lambda choose: _integer(choose, 4),
    "bigint": lambda choose: _integer(choose, 8),
    "timestamp": lambda choose: _integer(choose, 8),
    "varint": _varint,
    "decimal": _decimal,
    "float": lambda choose: choose.choice((choose.randbytes(4), b"\x7f\xc0\0\0", b"\x80\0\0\0")),
    "double": lambda choose: choose.choice((choose.randbytes(8), b"\x7f\xf0" + bytes(6))),
    "date": lambda choose: _integer(choose, 4),
    "time": lambda choose: choose.randrange(86_400_000_000_000).to_bytes(8, "big"),
    "duration": _duration,
    "inet": lambda choose: choose.randbytes(choose.choice((4, 16))),
    "uuid": _uuid,
    "timeuuid": timeuuid,
}
NATIVE = tuple(sorted(_NATIVE))
KEY_TYPES = tuple(name for name in NATIVE if name != "duration")
# Types whose validation takes an empty value; the others do not know one.
_MAY_BE_EMPTY = frozenset(NATIVE) - {"tinyint", "smallint", "date", "time", "duration"}


class Values:
    """Draws values. `user_types` are those that a type may name."""

    def __init__(self, choose: Random, user_types: UserTypes) -> None:
        self._choose = choose
        self._user_types = user_types

    def value(self, type_: CqlType, *, maybe_empty: bool = True) -> bytes:
        """A value of the type, sometimes the empty one where the type has it."""
        choose = self._choose
        if type_.name in _NATIVE and not type_.user:
            if maybe_empty and type_.name in _MAY_BE_EMPTY and choose.random() < 0.05:
                return b""
            return _NATIVE[type_.name](choose)
        if type_.name in ("list", "set", "map"):
            count = choose.choice((0, 1, 2, 5))
            drawn = [self._sized(t) for _ in range(count) for t in type_.arguments]
            return count.to_bytes(4, "big") + b"".join(drawn)
        if type_.name == "vector":
            return b"".join(
                self._vector_element(type_.arguments[0]) for _ in range(type_.dimension)
            )
        fields = self._user_types[type_.name].types if type_.user else type_.arguments
        present = choose.randrange(1, len(fields) + 1)  # trailing fields may be left away
        return b"".join(
            b"\xff" * 4 if choose.random() < 0.1 else self._sized(field)
            for field in fields[:present]
        )

    def _sized(self, type_: CqlType) -> bytes:
        value = self.value(type_, maybe_empty=False)
        return len(value).to_bytes(4, "big") + value

    def _vector_element(self, type_: CqlType) -> bytes:
        value = self.value(type_, maybe_empty=False)
        return value if type_.fixed_length is not None else vint_bytes(value)
