"""Rendered values against what Cassandra prints for them, written down by hand."""

from __future__ import annotations

import json
import struct

import pytest

from parsers.cql_types import CustomType, ListType, MapType, Native, SetType, TupleType, UdtType
from parsers.json_text import java_double, json_text, quote
from parsers.render import render, render_key
from tests.support.values import item, svint, varint


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("int", b"\xff\xff\xff\xfe", -2),
        ("boolean", b"\2", True),
        ("text", "größer".encode(), "größer"),
        ("text", b"", ""),
        ("int", b"", None),
        ("blob", b"\0\xab", "0x00ab"),
        ("float", struct.pack(">f", 0.1), 0.1),
        ("double", struct.pack(">d", float("-inf")), "-Infinity"),
        ("varint", varint(-(2**70)), -(2**70)),
        ("varint", varint(10**5000), "1" + "0" * 5000),
        ("decimal", struct.pack(">i", 2) + varint(-5), "-0.05"),
        ("decimal", struct.pack(">i", -2) + varint(12), "1.2E+3"),
        ("decimal", struct.pack(">i", 7) + varint(1), "1E-7"),
        ("date", struct.pack(">I", 2**31 + 19_675), "2023-11-14"),
        ("date", struct.pack(">I", 2**31 - 719_529), "-0001-12-31"),
        ("timestamp", struct.pack(">q", -1), "1969-12-31 23:59:59.999Z"),
        ("time", struct.pack(">q", 3_661_000_000_007), "01:01:01.000000007"),
        ("duration", svint(-14) + svint(-3) + svint(-3_600_000_000_001), "-1y2mo3d1h1ns"),
        ("inet", b"\x7f\0\0\1", "127.0.0.1"),
        ("inet", b"\x20\1\x0d\xb8" + b"\0" * 11 + b"\1", "2001:db8:0:0:0:0:0:1"),
        ("uuid", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        ("counter", b"\0\0" + b"\1" * 16 + struct.pack(">qq", 9, -4), -4),
    ],
)
def test_scalars(name: str, value: bytes, expected: object) -> None:
    rendered = render(Native(name), value)
    assert rendered == expected
    assert type(rendered) is type(expected)
    json.dumps(rendered)


def test_collections() -> None:
    numbers = struct.pack(">i", 2) + item(b"\0\0\0\1") + item(None)
    assert render(ListType(Native("int"), True), numbers) == [1, None]
    entries = struct.pack(">i", 1) + item(struct.pack(">d", 1e10)) + item(numbers)
    map_type = MapType(Native("double"), ListType(Native("int"), True), True)
    assert render(map_type, entries) == {"1.0E10": [1, None]}
    assert json_text(map_type, render(map_type, entries)) == '{"1.0E10": [1, null]}'
    udt = UdtType("ks", "t", ("a", "Big"), (Native("int"), Native("decimal")), True)
    value = item(None) + item(struct.pack(">i", 1) + b"\x0f")
    assert render(udt, value) == {"a": None, '"Big"': "1.5"}
    assert json_text(udt, render(udt, value)) == '{"a": null, "\\"Big\\"": 1.5}'
    # Older than the type's last field.
    assert render(udt, item(b"\0\0\0\1")) == {"a": 1, '"Big"': None}
    assert render(TupleType((Native("text"),)), b"") is None
    assert render(CustomType("org.example.Type"), b"\1") == "0x01"


def test_keys_are_strings_of_their_json() -> None:
    listed = ListType(Native("text"), True)
    value = struct.pack(">i", 1) + item(b'"')
    assert render_key(listed, value) == '["\\""]'
    assert render_key(Native("boolean"), b"\0") == "false"
    assert render_key(Native("int"), b"") == ""


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (-1.5e300, "-1.5E300"),
        (5e-324, "4.9E-324"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
    ],
)
def test_doubles_as_java_prints_them(number: float, text: str) -> None:
    assert java_double(number) == text
    assert float(text) == number


def test_strings_are_escaped_as_cassandra_does() -> None:
    assert quote('a"\\/\n\x01\x1fü\x7f') == '"a\\"\\\\/\\n\\u0001\\u001Fü\x7f"'


def test_bytes_that_are_no_value_are_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes are no int"):
        render(Native("int"), b"\0\0\0")
    with pytest.raises(ValueError, match="null in a set"):
        render(SetType(Native("int"), True), struct.pack(">i", 1) + item(None))
    with pytest.raises(ValueError):
        render(Native("text"), b"\xff")
