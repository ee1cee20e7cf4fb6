"""The JSON form of CQL values, read from bytes that the driver serialized."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import pytest
from cassandra.cqltypes import lookup_casstype
from cassandra.util import Date, Duration, Time

from tests.support.canonical import EMPTY, canonical

PROTOCOL = 5
UUID = uuid.UUID("11111111-2222-1333-8444-555555555555")


@pytest.mark.parametrize(
    ("type_name", "value", "expected"),
    [
        ("UTF8Type", "🐘\t", "🐘\t"),
        ("UTF8Type", "", ""),
        ("BytesType", b"\x00\xff", "0x00ff"),
        ("ByteType", -128, -128),
        ("LongType", -(2**63), -(2**63)),
        ("IntegerType", -(2**200), -(2**200)),
        ("DecimalType", Decimal("-12.00"), "-1200e-2"),
        ("DecimalType", Decimal("3e7"), "3e7"),
        ("FloatType", float("-inf"), "-Infinity"),
        ("DoubleType", float("nan"), "NaN"),
        ("DoubleType", 0.1, 0.1),
        ("BooleanType", False, False),
        ("InetAddressType", "::1", "::1"),
        ("InetAddressType", "10.0.0.1", "10.0.0.1"),
        ("UUIDType", UUID, str(UUID)),
        ("TimestampType", -1, -1),
        ("SimpleDateType", Date(-3), -3),
        ("TimeType", Time(86_399_999_999_999), 86_399_999_999_999),
        ("DurationType", Duration(-14, -400, -(10**15)), [-14, -400, -(10**15)]),
        ("DurationType", Duration(0, 1, 2**62), [0, 1, 2**62]),
        ("ListType(Int32Type)", [3, 1], [3, 1]),
        ("SetType(UTF8Type)", {"a"}, ["a"]),
        ("MapType(UTF8Type,ListType(Int32Type))", {"k": [1]}, [["k", [1]]]),
        ("TupleType(Int32Type,UTF8Type)", (1, None), [1, None]),
        ("VectorType(FloatType,2)", [1.5, -2.0], [1.5, -2.0]),
        ("VectorType(UTF8Type,2)", ["a", "bc"], ["a", "bc"]),
    ],
)
def test_a_value_has_one_json_form(type_name: str, value: Any, expected: Any) -> None:
    cql_type = lookup_casstype(f"org.apache.cassandra.db.marshal.{type_name}")
    assert canonical(cql_type.serialize(value, PROTOCOL), cql_type) == expected


def test_null_and_empty_differ() -> None:
    number = lookup_casstype("org.apache.cassandra.db.marshal.Int32Type")
    assert canonical(None, number) is None
    assert canonical(b"", number) == EMPTY


def test_a_short_tuple_ends_in_nulls() -> None:
    pair = lookup_casstype("org.apache.cassandra.db.marshal.TupleType(Int32Type,Int32Type)")
    assert canonical(bytes.fromhex("0000000400000007"), pair) == [7, None]
