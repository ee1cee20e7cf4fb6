"""Types from their text: the lengths that framing depends on, and which are multi-cell."""

from __future__ import annotations

import pytest

from tests.reference.errors import DecodeError
from tests.reference.types import parse_type


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("int", 4),
        ("timestamp", 8),
        ("timeuuid", 16),
        ("boolean", 1),
        ("empty", 0),
        ("smallint", None),  # variable, whatever one would expect
        ("tinyint", None),
        ("date", None),
        ("time", None),
        ("counter", None),
        ("frozen<list<int>>", None),
        ("tuple<int, int>", None),
        ("vector<float, 3>", 12),
        ("vector<vector<int, 2>, 3>", 24),
        ("vector<smallint, 2>", None),
        ('"Mixed Case"', None),
        ('"int"', None),  # a user type in quotes
        ("'org.apache.cassandra.db.marshal.LexicalUUIDType'", 16),
        (
            "'org.apache.cassandra.db.marshal.ReversedType(org.apache.cassandra.db.marshal.Int32Type)'",
            4,
        ),
        ("'org.example.Custom'", None),
    ],
)
def test_fixed_length(text: str, length: int | None) -> None:
    assert parse_type(text).fixed_length == length


@pytest.mark.parametrize(
    ("text", "multi_cell"),
    [
        ("list<int>", True),
        ("map<text, frozen<set<int>>>", True),
        ("address", True),
        ('"Mixed Case"', True),
        ("frozen<address>", False),
        ("frozen<map<text, int>>", False),
        ("tuple<int, list<int>>", False),
        ("vector<int, 2>", False),
        ("text", False),
        ("'org.apache.cassandra.db.marshal.DynamicCompositeType'", False),
    ],
)
def test_multi_cell(text: str, multi_cell: bool) -> None:
    assert parse_type(text).multi_cell is multi_cell


@pytest.mark.parametrize(
    "text", ["", "list<int", "map<int>", "int>", "list<int>>", "vector<int, x>", "int int", "<"]
)
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_type(text)
