"""Values as JSON-able Python, for people and for `inspect`; slow and plain, not for the mirror.

Source of the encodings: the serializers of Apache Cassandra (`org.apache.cassandra.serializers`).
"""

from __future__ import annotations

import ipaddress
import math
import struct
import uuid
from collections.abc import Callable, Iterator
from typing import Final

from parsers.cql_types import (
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
from parsers.json_text import Json, json_text, udt_member

# 4214 digits: below sys.int_info.default_max_str_digits.
_LARGEST_INT_BITS: Final = 14_000
_MS_PER_DAY: Final = 86_400_000
_NS_PER_DAY: Final = 86_400_000_000_000
_DURATION_UNITS: Final = (
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
)


def render(cql_type: CqlType, value: bytes | None) -> Json:
    """The value in the form of Cassandra's `toJson`, as what `json.loads` would give for it.

    None is null, and so is an empty value of a type that has no empty value. NaN and infinities
    are the strings "NaN", "Infinity" and "-Infinity"; decimals are strings, so that no reader of
    the JSON rounds them, and so are varints of thousands of digits. Raises ValueError if the bytes
    are not a value of the type.
    """
    if value is None:
        return None
    if isinstance(cql_type, Native):
        return _native(cql_type.name, value)
    if isinstance(cql_type, CustomType):
        return "0x" + value.hex()
    if not value:
        return None
    if isinstance(cql_type, ListType | SetType):
        items = list(_collection(value, 1))
        if isinstance(cql_type, SetType) and None in items:
            raise ValueError("a null in a set")
        return [render(cql_type.element, item) for item in items]
    if isinstance(cql_type, MapType):
        entries = _collection(value, 2)
        return {
            render_key(cql_type.key, key): render(cql_type.value, item)
            for key, item in zip(entries, entries, strict=True)
        }
    if isinstance(cql_type, TupleType):
        return [
            render(field, item)
            for field, item in zip(
                cql_type.fields, _fields(value, len(cql_type.fields)), strict=True
            )
        ]
    if isinstance(cql_type, UdtType):
        fields = _fields(value, len(cql_type.field_names))
        return {
            udt_member(name): render(field, item)
            for name, field, item in zip(
                cql_type.field_names, cql_type.field_types, fields, strict=True
            )
        }
    if isinstance(cql_type, VectorType):
        return [render(cql_type.element, item) for item in _vector(cql_type, value)]
    raise TypeError(f"{cql_type!r} is not a type with values")


def render_key(cql_type: CqlType, value: bytes | None) -> str:
    """The value as the name of a JSON member: its text, or the JSON of what is no string."""
    if value is None:
        raise ValueError("a null as the key of a map")
    rendered = render(cql_type, value)
    if isinstance(rendered, str):
        return rendered
    if rendered is None:
        return ""
    return json_text(cql_type, rendered)


def _native(name: str, value: bytes) -> Json:
    if name in ("text", "ascii"):
        return value.decode()
    if name == "blob":
        return "0x" + value.hex()
    if not value:
        return None
    try:
        return _SCALARS[name](value)
    except struct.error as error:
        raise ValueError(f"{len(value)} bytes are no {name}") from error


def _unpack(layout: str) -> Callable[[bytes], int]:
    def unpack(value: bytes) -> int:
        number: int = struct.unpack(layout, value)[0]
        return number

    return unpack


_int64: Final = _unpack(">q")


def _floating(number: float) -> Json:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _double(value: bytes) -> Json:
    return _floating(struct.unpack(">d", value)[0])


def _float(value: bytes) -> Json:
    number: float = struct.unpack(">f", value)[0]
    if not math.isfinite(number):
        return _floating(number)
    # The shortest decimal that is this float: 0.1, not 0.10000000149011612.
    for precision in range(2, 10):
        shortest = float(f"{number:.{precision - 1}e}")
        try:
            if struct.pack(">f", shortest) == value:
                return shortest
        except OverflowError:
            continue
    return number


def _varint(value: bytes) -> int | str:
    number = int.from_bytes(value, "big", signed=True)
    # Python refuses to write larger ones, in json.dumps too.
    return number if number.bit_length() <= _LARGEST_INT_BITS else _digits(number)


def _digits(number: int) -> str:
    if number < 0:
        return "-" + _digits(-number)
    if number.bit_length() <= _LARGEST_INT_BITS:
        return str(number)
    high, low = divmod(number, 10**4000)
    return _digits(high) + str(low).rjust(4000, "0")


def _decimal(value: bytes) -> str:
    # java.math.BigDecimal.toString
    if len(value) < 5:
        raise ValueError(f"{len(value)} bytes are no decimal")
    scale = int.from_bytes(value[:4], "big", signed=True)
    unscaled = int.from_bytes(value[4:], "big", signed=True)
    digits = _digits(abs(unscaled))
    sign = "-" if unscaled < 0 else ""
    adjusted = len(digits) - 1 - scale
    if scale == 0:
        return sign + digits
    if scale > 0 and adjusted >= -6:
        digits = digits.rjust(scale + 1, "0")
        return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return sign + mantissa + (f"E{adjusted:+d}" if adjusted else "")


def _date_text(days: int) -> str:
    # Civil date of days since 1970-01-01, proleptic Gregorian calendar, counted from 0000-03-01.
    era, day_of_era = divmod(days + 719_468, 146_097)
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month_index = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month_index + 2) // 5 + 1
    month = month_index + 3 if month_index < 10 else month_index - 9
    year += era * 400 + (month <= 2)
    sign = "-" if year < 0 else "+" if year > 9999 else ""
    return f"{sign}{abs(year):04d}-{month:02d}-{day:02d}"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _date(value: bytes) -> str:
    return _date_text(_unpack(">I")(value) - 2**31)


def _time(value: bytes) -> str:
    nanoseconds = _int64(value)
    if not 0 <= nanoseconds < _NS_PER_DAY:
        raise ValueError(f"{nanoseconds} ns are not within one day")
    return f"{_clock(nanoseconds // 10**9)}.{nanoseconds % 10**9:09d}"


def _timestamp(value: bytes) -> str:
    days, milliseconds = divmod(_int64(value), _MS_PER_DAY)
    return f"{_date_text(days)} {_clock(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


def _vint(value: bytes, position: int) -> tuple[int, int]:
    # Unsigned; returns the number and the position behind it.
    if position >= len(value):
        raise ValueError("the bytes end before a length or number does")
    first = value[position]
    extra = 8 - (first ^ 0xFF).bit_length()
    end = position + 1 + extra
    if end > len(value):
        raise ValueError("the bytes end before a length or number does")
    return int.from_bytes(bytes([first & (0xFF >> extra)]) + value[position + 1 : end], "big"), end


def _duration(value: bytes) -> str:
    parts, position = [], 0
    for _ in range(3):
        number, position = _vint(value, position)
        parts.append((number >> 1) ^ -(number & 1))
    if position != len(value):
        raise ValueError("bytes behind a duration")
    if min(parts) < 0 < max(parts) or any(not -(2**31) <= n < 2**31 for n in parts[:2]):
        raise ValueError("months, days and nanoseconds of a duration do not fit together")
    months, days, nanoseconds = map(abs, parts)
    text = "-" if min(parts) < 0 else ""
    text += f"{months // 12}y" if months >= 12 else ""
    text += f"{months % 12}mo" if months % 12 else ""
    text += f"{days}d" if days else ""
    for unit, size in _DURATION_UNITS:
        amount, nanoseconds = divmod(nanoseconds, size)
        text += f"{amount}{unit}" if amount else ""
    return text


def _uuid(value: bytes) -> str:
    if len(value) != 16:
        raise ValueError(f"{len(value)} bytes are no uuid")
    return str(uuid.UUID(bytes=value))


def _inet(value: bytes) -> str:
    if len(value) == 4:
        return str(ipaddress.IPv4Address(value))
    if len(value) != 16:
        raise ValueError(f"{len(value)} bytes are no address")
    mapped = ipaddress.IPv6Address(value).ipv4_mapped
    if mapped is not None:
        return str(mapped)
    return ":".join(f"{group:x}" for group in struct.unpack(">8H", value))


def _boolean(value: bytes) -> bool:
    return _unpack(">B")(value) != 0


def _counter(value: bytes) -> int:
    # A total, or a context: header count, headers, shards of id, clock and count.
    if len(value) == 8:
        return _int64(value)
    if len(value) < 2:
        raise ValueError("a counter context without a header")
    start = 2 + 2 * abs(int.from_bytes(value[:2], "big", signed=True))
    if start > len(value) or (len(value) - start) % 32:
        raise ValueError("a counter context does not end with a shard")
    total = sum(_int64(value[at + 24 : at + 32]) for at in range(start, len(value), 32))
    return (total + 2**63) % 2**64 - 2**63


def _empty(value: bytes) -> Json:
    raise ValueError(f"{len(value)} bytes where there should be none")


_SCALARS: Final[dict[str, Callable[[bytes], Json]]] = {
    "boolean": _boolean,
    "tinyint": _unpack(">b"),
    "smallint": _unpack(">h"),
    "int": _unpack(">i"),
    "bigint": _int64,
    "counter": _counter,
    "varint": _varint,
    "decimal": _decimal,
    "float": _float,
    "double": _double,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "duration": _duration,
    "uuid": _uuid,
    "timeuuid": _uuid,
    "inet": _inet,
    "empty": _empty,
}


def _item(value: bytes, position: int) -> tuple[bytes | None, int]:
    # i32 length, bytes; a negative length is null.
    if position + 4 > len(value):
        raise ValueError("the bytes end before a length does")
    size = int.from_bytes(value[position : position + 4], "big", signed=True)
    position += 4
    if size < 0:
        return None, position
    if position + size > len(value):
        raise ValueError("the bytes end before an element does")
    return value[position : position + size], position + size


def _collection(value: bytes, per_entry: int) -> Iterator[bytes | None]:
    if len(value) < 4:
        raise ValueError("a collection without its size")
    count = int.from_bytes(value[:4], "big", signed=True) * per_entry
    if not 0 <= count <= len(value) // 4:
        raise ValueError(f"a collection of {len(value)} bytes can't hold {count} items")
    position = 4
    for _ in range(count):
        item, position = _item(value, position)
        yield item
    if position != len(value):
        raise ValueError("bytes behind a collection")


def _fields(value: bytes, count: int) -> Iterator[bytes | None]:
    # Trailing fields may be absent: the value is older than the type.
    position = 0
    for _ in range(count):
        item = None
        if position < len(value):
            item, position = _item(value, position)
        yield item
    if position != len(value):
        raise ValueError("more fields than the type has")


def _vector(cql_type: VectorType, value: bytes) -> Iterator[bytes]:
    size = cql_type.element.fixed_length
    position = 0
    for _ in range(cql_type.dimension):
        length = size
        if length is None:
            length, position = _vint(value, position)
        if position + length > len(value):
            raise ValueError("the bytes end before a vector does")
        yield value[position : position + length]
        position += length
    if position != len(value):
        raise ValueError("bytes behind a vector")
