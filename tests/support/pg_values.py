"""PostgreSQL's binary fields and the JSON inside jsonb as the canonical values of canonical.py.

A second reading of what the compiled modules write, in plain Python. It also says what of a
canonical value a mirror can hold at all (`storable`): the whole list of what a mirror loses:

| Cassandra                              | the mirror                                           |
|----------------------------------------|------------------------------------------------------|
| empty (no bytes, not text or blob)     | NULL                                                 |
| nanoseconds of time and duration       | microseconds, except inside jsonb                    |
| scale of a decimal                     | its value                                            |
| -0.0 inside jsonb                      | 0.0                                                  |
| order of a map                         | that of jsonb (compared here by key)                 |
"""

from __future__ import annotations

import ipaddress
import json
import math
import re
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

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
from tests.support.canonical import EMPTY

POSTGRES_EPOCH_DAYS = 10_957
MICROSECONDS_PER_DAY = 86_400_000_000
Canonical = Any


# -- what of a canonical value can be stored


def storable(value: Canonical, cql_type: CqlType, pg_type: str) -> Canonical:
    """A canonical value as a mirror column of that type gives it back."""
    return _storable(value, cql_type, in_json=pg_type == "jsonb")


def _storable(value: Canonical, cql_type: CqlType, in_json: bool) -> Canonical:
    if value is None or value == EMPTY:
        return None
    match cql_type:
        case Native("float" | "double") if isinstance(value, float | int):
            return _real(float(value), in_json)
        case Native("decimal"):
            return _decimal(Decimal(value))
        case Native("time") if not in_json:
            return value // 1000 * 1000
        case Native("duration") if not in_json:
            months, days, nanoseconds = value
            sign = -1 if nanoseconds < 0 else 1
            return [months, days, sign * (abs(nanoseconds) // 1000 * 1000)]
        case ListType(element) | SetType(element) | VectorType(element, _):
            return [_storable(item, element, in_json) for item in value]
        case MapType(key, item_type):
            return _sorted_map(
                [_storable(k, key, in_json), _storable(v, item_type, in_json)] for k, v in value
            )
        case TupleType(fields):
            return [_storable(v, t, in_json) for v, t in zip(value, fields, strict=True)]
        case UdtType():
            types = dict(zip(cql_type.field_names, cql_type.field_types, strict=True))
            return {name: _storable(v, types[name], in_json) for name, v in value.items()}
    return value


def _real(value: float, in_json: bool) -> str:
    """Text, so that -0.0 differs from 0.0 and NaN equals NaN."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value + 0.0) if in_json else repr(value)


def _decimal(value: Decimal) -> str:
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    if not text.strip("0"):
        return "0e0"
    assert isinstance(exponent, int)
    return f"{'-' if sign else ''}{text.lstrip('0')}e{exponent + len(digits) - len(text)}"


def _sorted_map(pairs: Any) -> list[list[Canonical]]:
    return sorted((list(pair) for pair in pairs), key=lambda pair: json.dumps(pair[0]))


# -- binary fields


def from_field(data: bytes | None, cql_type: CqlType, pg_type: str) -> Canonical:
    """The stored value of a column, from PostgreSQL's binary form."""
    if data is None:
        return None
    if pg_type.endswith("[]"):
        assert isinstance(cql_type, ListType | SetType | VectorType)
        element = pg_type.removesuffix("[]")
        return [from_field(item, cql_type.element, element) for item in _array(data)]
    if pg_type == "jsonb":
        assert data[0] == 1, "jsonb's binary form has version 1"
        text = data[1:].decode()
        return from_json(json.loads(text, parse_int=Decimal, parse_float=Decimal), cql_type)
    if cql_type == Native("varint"):
        return int(Decimal(_numeric(data)))
    return _FIELDS[pg_type](data)


def _array(data: bytes) -> list[bytes | None]:
    dimensions, _, _ = struct.unpack_from(">iiI", data)
    if dimensions == 0:
        return []
    assert dimensions == 1
    count, lower = struct.unpack_from(">ii", data, 12)
    assert lower == 1
    items: list[bytes | None] = []
    position = 20
    for _ in range(count):
        (size,) = struct.unpack_from(">i", data, position)
        position += 4
        items.append(None if size < 0 else data[position : position + size])
        position += max(size, 0)
    assert position == len(data)
    return items


def _numeric(data: bytes) -> str:
    count, weight, sign, _ = struct.unpack_from(">hhHH", data)
    assert sign in (0, 0x4000), "no mirror holds a NaN or infinite numeric"
    digits = struct.unpack_from(f">{count}H", data, 8)
    text = "".join(f"{digit:04}" for digit in digits) or "0"
    return _decimal(Decimal(f"{'-' if sign else ''}{text}e{4 * (weight - count + 1)}"))


def _inet(data: bytes) -> str:
    family, bits, is_cidr, size = data[:4]
    assert (family, bits, is_cidr) in ((2, 32, 0), (3, 128, 0)) and size == len(data) - 4
    return str(ipaddress.ip_address(data[4:]))


def _interval(data: bytes) -> list[int]:
    microseconds, days, months = struct.unpack(">qii", data)
    return [months, days, microseconds * 1000]


def _timestamptz(data: bytes) -> int:
    (microseconds,) = struct.unpack(">q", data)
    assert microseconds % 1000 == 0
    return int(microseconds + POSTGRES_EPOCH_DAYS * MICROSECONDS_PER_DAY) // 1000


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


_FIELDS: dict[str, Callable[[bytes], Canonical]] = {
    "bool": lambda data: data != b"\0",
    "bytea": lambda data: "0x" + data.hex(),
    "date": lambda data: _integer(data) + POSTGRES_EPOCH_DAYS,
    "float4": lambda data: _real(struct.unpack(">f", data)[0], False),
    "float8": lambda data: _real(struct.unpack(">d", data)[0], False),
    "inet": _inet,
    "int2": _integer,
    "int4": _integer,
    "int8": _integer,
    "interval": _interval,
    "numeric": _numeric,
    "text": bytes.decode,
    "time": lambda data: _integer(data) * 1000,
    "timestamptz": _timestamptz,
    "uuid": lambda data: str(uuid.UUID(bytes=data)),
}


# -- JSON as Cassandra's toJson writes it


def from_json(value: Any, cql_type: CqlType) -> Canonical:
    """The canonical form of parsed JSON (numbers as Decimal)."""
    if value is None:
        return None
    match cql_type:
        case Native(name):
            return _JSON[name](value) if name in _JSON else value
        case CustomType():
            return value
        case ListType(element) | SetType(element) | VectorType(element, _):
            return [from_json(item, element) for item in value]
        case MapType(key, item_type):
            return _sorted_map(
                [_from_member(k, key), from_json(v, item_type)] for k, v in value.items()
            )
        case TupleType(fields):
            return [from_json(v, t) for v, t in zip(value, fields, strict=True)]
        case UdtType():
            members = dict(
                zip(
                    map(_member, cql_type.field_names),
                    cql_type.field_names,
                    strict=True,
                )
            )
            types = dict(zip(cql_type.field_names, cql_type.field_types, strict=True))
            given = {members[member]: item for member, item in value.items()}
            return {name: from_json(given[name], types[name]) for name in cql_type.field_names}
    raise NotImplementedError(str(cql_type))


def _member(field: str) -> str:
    """A UDT field as toJson names it: in its CQL quotes where it has capitals."""
    return field if field == field.lower() else f'"{field}"'


def _from_member(name: str, cql_type: CqlType) -> Canonical:
    """A map key, which JSON has as a string: a string itself, or the JSON of another value."""
    if isinstance(cql_type, Native) and cql_type.name in ("ascii", "text"):
        return name
    if not name:
        return None
    if isinstance(cql_type, Native) and cql_type.name in _QUOTED:
        return from_json(name, cql_type)
    return from_json(json.loads(name, parse_int=Decimal, parse_float=Decimal), cql_type)


def _json_real(layout: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if isinstance(value, str):
            return value
        return _real(struct.unpack(layout, struct.pack(layout, float(value)))[0], True)

    return read


def _json_date(text: str) -> int:
    match = re.fullmatch(r"([+-]?)(\d{4,})-(\d\d)-(\d\d)", text)
    assert match, text
    year = int(match[2]) * (-1 if match[1] == "-" else 1)
    return days_from_civil(year, int(match[3]), int(match[4]))


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; year 0 is 1 BC."""
    # 400 years have 146,097 days; a year that begins in March ends in its leap day.
    if month <= 2:
        year -= 1
        month += 12
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * (month - 3) + 2) // 5 + day - 719_469


def _json_clock(text: str) -> int:
    hours, minutes, seconds = text.split(":")
    whole, _, fraction = seconds.partition(".")
    total = (int(hours) * 60 + int(minutes)) * 60 + int(whole)
    return total * 10**9 + int(fraction.ljust(9, "0"))


def _json_timestamp(text: str) -> int:
    match = re.fullmatch(r"(\S+) (\S+)Z", text)
    assert match, text
    return _json_date(match[1]) * 86_400_000 + _json_clock(match[2]) // 10**6


_DURATION = re.compile(
    r"(-?)(?:(\d+)y)?(?:(\d+)mo)?(?:(\d+)d)?"
    r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?(?:(\d+)us)?(?:(\d+)ns)?"
)


def _json_duration(text: str) -> list[int]:
    match = _DURATION.fullmatch(text)
    assert match, text
    sign = -1 if match[1] else 1
    years, months, days, hours, minutes, seconds, ms, us, ns = (
        int(g or 0) for g in match.groups()[1:]
    )
    clock = ((hours * 60 + minutes) * 60 + seconds) * 10**9 + ms * 10**6 + us * 1000 + ns
    return [sign * (12 * years + months), sign * days, sign * clock]


_INTEGERS = ("bigint", "counter", "int", "smallint", "tinyint", "varint")
_QUOTED = ("blob", "date", "duration", "inet", "time", "timestamp", "timeuuid", "uuid")
_JSON: dict[str, Callable[[Any], Canonical]] = {
    **dict.fromkeys(_INTEGERS, int),
    "date": _json_date,
    "decimal": lambda value: _decimal(Decimal(value)),
    "double": _json_real(">d"),
    "duration": _json_duration,
    "float": _json_real(">f"),
    "inet": lambda text: str(ipaddress.ip_address(text)),
    "time": _json_clock,
    "timestamp": _json_timestamp,
}
