"""Whether a value that Cassandra sent and one that PostgreSQL holds are the same; reads neither.

Both sides are brought to plain Python by code of its own, not by the decoder that wrote the mirror:
an error in that decoder must show here.
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import struct
import uuid
from decimal import Decimal
from typing import Any, Final

from parsers.cql_types import CqlType, ListType, Native, SetType, VectorType
from parsers.render import render
from parsers.values import compile_type, to_pg

MAY_BE_EMPTY: Final = frozenset({"ascii", "text", "varchar", "blob"})
_US_PER_DAY: Final = 86_400_000_000
_TIMESTAMP: Final = re.compile(
    r"(\d+)-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?\+00( BC)?"
)
_DATE: Final = re.compile(r"(\d+)-(\d\d)-(\d\d)( BC)?")
_TIME: Final = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
_INTERVAL: Final = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?"
    r"(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d{1,6}))?S)?)?"
)


def from_cassandra(cql_type: CqlType, pg_type: str, value: bytes | None) -> Any:
    """The value as plain Python, in the form that its column in the mirror should give.

    `value` is as the native protocol sends it; None is null.
    """
    if value is None or (not value and not _may_be_empty(cql_type)):
        return None
    if pg_type == "jsonb":
        return render(cql_type, value)
    if pg_type.endswith("[]") or pg_type == "vector":
        element = pg_type.removesuffix("[]") if pg_type != "vector" else "float4"
        inner, values = elements_of(cql_type, value)
        return [from_cassandra(inner, element, one) for one in values]
    if isinstance(cql_type, Native) and cql_type.name != "empty":
        plain = _native(cql_type.name, pg_type, value)
        if plain is not None:
            return plain
    # A type of one's own choice: what else it could be than the mirror's own form is not known.
    field = to_pg(compile_type(cql_type, pg_type), value)[4:]
    return "\\x" + field.hex() if pg_type == "bytea" else field.decode()


def from_postgres(pg_type: str, text: str | None) -> Any:
    """The value as plain Python from its text (UTC, interval style iso_8601); None is NULL."""
    if text is None:
        return None
    if pg_type.endswith("[]"):
        return [from_postgres(pg_type.removesuffix("[]"), one) for one in _array(text)]
    match pg_type:
        case "bool":
            return text == "true"
        case "int2" | "int4" | "int8":
            return int(text)
        case "numeric":
            return Decimal(text)
        case "float4":
            return _float(_as_float4(float(text)))
        case "float8":
            return _float(float(text))
        case "vector":
            return [_float(_as_float4(float(one))) for one in text.strip("[]").split(",")]
        case "jsonb":
            return json.loads(text, parse_float=Decimal)
        case "inet":
            return ipaddress.ip_address(text.partition("/")[0])
        case "timestamptz":
            return _timestamp_us(text)
        case "date":
            return _date_days(text)
        case "time":
            return _time_us(text)
        case "interval":
            return _interval(text)
    return text


def same(expected: Any, actual: Any) -> bool:
    """Whether two plain values are equal; numbers and decimals in text are compared as numbers."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(
            same(value, actual[key]) for key, value in expected.items()
        )
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, str) != isinstance(actual, str):
        return _as_number(expected) == _as_number(actual) is not None
    if isinstance(expected, float) and isinstance(actual, Decimal | float):
        return expected == float(actual)
    return bool(expected == actual)


def _as_number(value: Any) -> Decimal | None:
    """Decimals stand in JSON as numbers or as text, depending on who wrote them."""
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return None


def _may_be_empty(cql_type: CqlType) -> bool:
    return not isinstance(cql_type, Native) or cql_type.name in MAY_BE_EMPTY


def _native(name: str, pg_type: str, value: bytes) -> Any:
    """None where there is no plain form for this pair."""
    match name, pg_type:
        case ("ascii" | "text" | "varchar", "text"):
            return value.decode()
        case ("tinyint" | "smallint" | "int" | "bigint" | "counter", "int2" | "int4" | "int8"):
            return int.from_bytes(value, signed=True)
        case ("time" | "timestamp", "int8"):
            return int.from_bytes(value, signed=True)
        case ("varint", "numeric"):
            return Decimal(int.from_bytes(value, signed=True))
        case ("decimal", "numeric"):
            scale = int.from_bytes(value[:4], signed=True)
            digits = Decimal(int.from_bytes(value[4:], signed=True)).as_tuple()
            return Decimal((digits.sign, digits.digits, -scale))
        case ("float", "float4"):
            return _float(struct.unpack(">f", value)[0])
        case ("double", "float8"):
            return _float(struct.unpack(">d", value)[0])
        case ("boolean", "bool"):
            return value != b"\0"
        case ("blob", "bytea"):
            return "\\x" + value.hex()
        case ("uuid" | "timeuuid", "uuid"):
            return str(uuid.UUID(bytes=value))
        case ("inet", "inet"):
            return ipaddress.ip_address(value)
        case ("timestamp", "timestamptz"):
            return int.from_bytes(value, signed=True) * 1000
        case ("date", "date" | "int4"):
            return int.from_bytes(value) - (1 << 31)
        case ("time", "time"):
            return int.from_bytes(value, signed=True) // 1000
        case ("duration", "interval"):
            return _duration(value)
    return None


def _float(value: float) -> Any:
    """NaN equals NaN here."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def _as_float4(value: float) -> float:
    """The 4-byte float whose shortest text was read as a double."""
    return float(struct.unpack(">f", struct.pack(">f", value))[0])


def _duration(value: bytes) -> tuple[int, int, int]:
    """(months, days, microseconds) of three zigzag vints: months, days, nanoseconds."""
    parts, position = [], 0
    for _ in range(3):
        first = value[position]
        extra = 8 - (~first & 0xFF).bit_length()
        number = first & (0xFF >> extra)
        for byte in value[position + 1 : position + 1 + extra]:
            number = number << 8 | byte
        parts.append((number >> 1) ^ -(number & 1))
        position += 1 + extra
    months, days, nanos = parts
    return months, days, (abs(nanos) // 1000) * (1 if nanos >= 0 else -1)


def elements_of(cql_type: CqlType, value: bytes) -> tuple[CqlType, list[bytes | None]]:
    """A collection's element type and its elements, in the native protocol's form."""
    if isinstance(cql_type, VectorType):
        size = cql_type.element.fixed_length
        if size is None:
            return cql_type.element, _vector_of_variable(value, cql_type.dimension)
        return cql_type.element, [value[at : at + size] for at in range(0, len(value), size)]
    if not isinstance(cql_type, ListType | SetType):
        raise ValueError(f"{cql_type} has no elements")
    found: list[bytes | None] = []
    position = 4
    for _ in range(int.from_bytes(value[:4])):
        length = int.from_bytes(value[position : position + 4], signed=True)
        position += 4
        found.append(None if length < 0 else value[position : position + length])
        position += max(0, length)
    return cql_type.element, found


def _vector_of_variable(value: bytes, dimension: int) -> list[bytes | None]:
    found: list[bytes | None] = []
    position = 0
    for _ in range(dimension):
        first = value[position]
        extra = 8 - (~first & 0xFF).bit_length()
        length = first & (0xFF >> extra)
        for byte in value[position + 1 : position + 1 + extra]:
            length = length << 8 | byte
        position += 1 + extra
        found.append(value[position : position + length])
        position += length
    return found


def _array(text: str) -> list[str | None]:
    """The elements of a one-dimensional array's text."""
    found: list[str | None] = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|([^{},"]+)', text):
        if plain:
            found.append(None if plain == "NULL" else plain)
        else:
            found.append(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
    return found


def _matched(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"not understood: {text!r}")
    return found


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC."""
    year -= month <= 2
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return (
        era * 146_097
        + year_of_era * 365
        + year_of_era // 4
        - year_of_era // 100
        + day_of_year
        - 719_468
    )


def _fraction_us(digits: str | None) -> int:
    return int((digits or "").ljust(6, "0"))


def _timestamp_us(text: str) -> int:
    year, month, day, hour, minute, second, fraction, bc = _matched(_TIMESTAMP, text).groups()
    days = _days(1 - int(year) if bc else int(year), int(month), int(day))
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    return days * _US_PER_DAY + seconds * 1_000_000 + _fraction_us(fraction)


def _date_days(text: str) -> int:
    year, month, day, bc = _matched(_DATE, text).groups()
    return _days(1 - int(year) if bc else int(year), int(month), int(day))


def _time_us(text: str) -> int:
    hour, minute, second, fraction = _matched(_TIME, text).groups()
    seconds = int(hour) * 3600 + int(minute) * 60 + int(second)
    return seconds * 1_000_000 + _fraction_us(fraction)


def _interval(text: str) -> tuple[int, int, int]:
    years, months, days, hours, minutes, sign, seconds, fraction = _matched(_INTERVAL, text).groups(
        default=""
    )
    sub_minute = int(seconds or 0) * 1_000_000 + _fraction_us(fraction)
    micros = int(hours or 0) * 3_600_000_000 + int(minutes or 0) * 60_000_000
    micros += -sub_minute if sign else sub_minute
    return int(years or 0) * 12 + int(months or 0), int(days or 0), micros
