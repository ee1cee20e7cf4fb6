"""JSON and order of values against Cassandra's own types, for every series that has them."""

from __future__ import annotations

import json
import re
import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st

from parsers.cql_types import CqlType, Native
from parsers.values import compare, compile_type, to_json
from tests.support.values import ORDERED, drawn, typed_values, types, values, varint
from tests.tools.value_oracle import ask

EXAMPLES = 500
SERIES = ["3.11", "4.0", "4.1", "5.0", "6.0"]
NOT_FINITE = {"NaN", "Infinity", "-Infinity"}
TIMESTAMP = re.compile(r"[-+]?\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z")
COMMON_ERA = re.compile(r"(1[6-9]|[2-9]\d)\d\d-")


def loads(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal, object_pairs_hook=list)


def is_same(ours: Any, theirs: Any) -> bool:
    """Equal but for what is documented to differ: NaN, infinities, eras, needless digits."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(is_same, ours, theirs))
    if isinstance(ours, Decimal) and isinstance(theirs, Decimal):
        return ours == theirs or is_same_float(ours, theirs)
    if isinstance(ours, str) and (theirs is None or theirs == "null") and ours in NOT_FINITE:
        return True
    if isinstance(ours, str) and isinstance(theirs, str) and ours != theirs:
        return is_same_text(ours, theirs)
    return bool(ours == theirs)


def is_same_float(ours: Decimal, theirs: Decimal) -> bool:
    # Java 17 prints a digit too many for some floats and doubles, never another number.
    digits = len(ours.as_tuple().digits)
    if digits <= 9 and abs(ours) < Decimal("3.4028235E38"):
        return struct.pack(">f", ours) == struct.pack(">f", theirs)
    return digits <= 17 and float(ours) == float(theirs)


def is_same_text(ours: str, theirs: str) -> bool:
    if TIMESTAMP.fullmatch(ours):
        # Before the Gregorian calendar 3.11 counts by the Julian one; no series prints the era;
        # and years of more than four digits have a sign in some series.
        return TIMESTAMP.fullmatch(theirs) is not None and not COMMON_ERA.match(ours)
    if ours.lstrip("+") == theirs:
        # A date beyond the year 9999, of which 3.11 prints no sign.
        return True
    try:
        # A number, or a whole value, as the key of a map.
        return is_same(loads(ours), loads(theirs))
    except json.JSONDecodeError:
        return False


def test_the_comparison_of_this_test_sees_differences() -> None:
    assert is_same(loads('{"1.0E10": [1.50, "NaN"]}'), loads('{"1.0E10": [1.5, null]}'))
    assert not is_same(loads('["a", null]'), loads('["a", ""]'))
    assert not is_same(loads("[1, 2]"), loads("[2, 1]"))
    assert not is_same(loads("[0.1]"), loads("[0.1000001]"))
    assert not is_same(loads('{"2": 1}'), loads('{"1": 1}'))
    assert not is_same("2024-01-01 00:00:00.000Z", "2024-01-01 00:00:00.001Z")


@pytest.mark.parametrize("series", SERIES)
def test_json_is_cassandras(series: str) -> None:
    pairs: list[tuple[CqlType, bytes]] = drawn(
        typed_values(vectors=series in ("5.0", "6.0")), EXAMPLES
    )
    answers = ask(series, [(cql_type, (value,)) for cql_type, value in pairs])
    compared = 0
    for (cql_type, value), theirs in zip(pairs, answers, strict=True):
        if theirs.startswith("!"):
            # toJson itself fails on a tuple or UDT whose trailing fields are absent, and on nulls
            # deep inside; the order test below covers what it refuses.
            continue
        ours = to_json(compile_type(cql_type, "jsonb"), value).decode()
        compared += 1
        assert is_same(loads(ours), loads(theirs)), (
            cql_type,
            value.hex(),
            ours,
            theirs,
        )
    assert compared > EXAMPLES * 0.8


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


def close_decimals() -> st.SearchStrategy[tuple[CqlType, bytes, bytes]]:
    # Numbers of few digits at scales near each other: 1.0 and 1.00, 999 and 1E+3.
    decimal = st.builds(
        lambda n, zeros, scale: struct.pack(">i", scale + zeros) + varint(n * 10**zeros),
        st.sampled_from([0, 1, -1, 9, 10, -10, 99, 999, -999, 12345678901234567890]),
        st.integers(0, 20),
        st.integers(-3, 3),
    )
    return st.tuples(st.just(Native("decimal")), decimal, decimal)


def pairs_of(vectors: bool) -> st.SearchStrategy[tuple[CqlType, bytes, bytes]]:
    def of_type(cql_type: CqlType) -> st.SearchStrategy[tuple[CqlType, bytes, bytes]]:
        return st.tuples(st.just(cql_type), values(cql_type), values(cql_type))

    scalars = st.sampled_from(ORDERED).map(Native).flatmap(of_type)
    return types(ordered=True, vectors=vectors).flatmap(of_type) | scalars | close_decimals()


@pytest.mark.parametrize("series", SERIES)
def test_order_is_cassandras(series: str) -> None:
    drawn_pairs = drawn(pairs_of(series in ("5.0", "6.0")), EXAMPLES)
    answers = ask(series, [(t, (left, right)) for t, left, right in drawn_pairs])
    compared = 0
    for (cql_type, left, right), theirs in zip(drawn_pairs, answers, strict=True):
        if theirs.startswith("!"):
            continue
        compared += 1
        compiled = compile_type(cql_type, "jsonb")
        ours = sign(compare(compiled, left, right))
        assert ours == int(theirs), (cql_type, left.hex(), right.hex())
        assert sign(compare(compiled, right, left)) == -ours
        assert compare(compiled, left, left) == 0
    assert compared > EXAMPLES * 0.9
