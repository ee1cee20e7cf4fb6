"""CQL types: their text, what of them shows on the wire, and that texts are read back."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parsers.cql_types import (
    NATIVE_NAMES,
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
from parsers.type_text import TypeTextError, class_text, parse_class, parse_type

INT, TEXT = Native("int"), Native("text")
ADDRESS = UdtType("ks", "address", ("street", "Zip Code"), (TEXT, INT), False)
UDTS = {"address": ADDRESS, 'Odd "one"': UdtType("ks", 'Odd "one"', ("x",), (INT,), False)}

frozen_types = st.recursive(
    st.sampled_from([Native(name) for name in sorted(NATIVE_NAMES)])
    | st.just(CustomType("com.example.PointType(a=>b,c)"))
    | st.sampled_from([udt.freeze() for udt in UDTS.values()]),
    lambda inner: (
        st.builds(ListType, inner, st.just(True))
        | st.builds(SetType, inner, st.just(True))
        | st.builds(MapType, inner, inner, st.just(True))
        | st.lists(inner, min_size=1, max_size=3).map(lambda fields: TupleType(tuple(fields)))
        | st.builds(VectorType, inner, st.integers(1, 2000))
    ),
    max_leaves=8,
)
column_types = (
    frozen_types
    | st.builds(ListType, frozen_types, st.just(False))
    | st.builds(SetType, frozen_types, st.just(False))
    | st.builds(MapType, frozen_types, frozen_types, st.just(False))
    | st.sampled_from(sorted(UDTS.values(), key=str))
)


@given(column_types)
def test_text_is_read_back(cql_type: CqlType) -> None:
    assert parse_type(str(cql_type), UDTS, "ks") == cql_type


@given(column_types)
def test_class_text_is_read_back_without_any_other_definition(cql_type: CqlType) -> None:
    assert parse_class(class_text(cql_type), {}, "another") == cql_type


@pytest.mark.parametrize(
    ("text", "cql_type"),
    [
        ("varchar", TEXT),
        ("INT", INT),
        ("list<int>", ListType(INT, False)),
        ("frozen<list<int>>", ListType(INT, True)),
        # Whatever is inside another type is frozen, said or not.
        ("frozen<map<text,list<address>>>", MapType(TEXT, ListType(ADDRESS.freeze(), True), True)),
        ("tuple<int, list<text>>", TupleType((INT, ListType(TEXT, True)))),
        ("frozen<tuple<int>>", TupleType((INT,))),
        ("address", ADDRESS),
        ("ks.address", ADDRESS),
        ('"ks".address', ADDRESS),
        ('frozen<"Odd ""one""">', UDTS['Odd "one"'].freeze()),
        ("vector<float, 3>", VectorType(Native("float"), 3)),
        ("'org.apache.cassandra.db.marshal.EmptyType'", Native("empty")),
        ("'org.apache.cassandra.db.marshal.DateType'", Native("timestamp")),
        ("'com.example.Point(a,b)'", CustomType("com.example.Point(a,b)")),
    ],
)
def test_texts_of_system_schema(text: str, cql_type: CqlType) -> None:
    assert parse_type(text, UDTS, "ks") == cql_type


@pytest.mark.parametrize(
    "text",
    [
        *("", "nosuch", "other.address", "list<int", "list<int>>", "list<int, int>", "map<int>"),
        *("set<>", "vector<int, 0>", "vector<int>", "vector<int, x>", "'a(b'", "'a.b(c'"),
        *('"address', "int int", "frozen<" * 500 + "int" + ">" * 500),
    ],
)
def test_a_malformed_text_is_an_error_that_quotes_it(text: str) -> None:
    with pytest.raises(TypeTextError) as caught:
        parse_type(text, UDTS, "ks")
    assert text.strip("'") in str(caught.value)


@given(st.text(alphabet="intlsfrozemapvctu<>(),'\"._ 3=\n", max_size=40))
def test_any_text_gives_a_type_or_an_error(text: str) -> None:
    with suppress(TypeTextError):
        assert isinstance(parse_type(text, UDTS, "ks"), CqlType)


@pytest.mark.parametrize(
    ("cql_type", "length"),
    [
        (INT, 4),
        (Native("timestamp"), 8),
        (Native("empty"), 0),
        # Of one size each, and yet written with their length.
        (Native("smallint"), None),
        (Native("date"), None),
        (Native("time"), None),
        (Native("counter"), None),
        (VectorType(Native("float"), 3), 12),
        (VectorType(VectorType(Native("double"), 2), 3), 48),
        (VectorType(Native("smallint"), 2), None),
        (TupleType((INT,)), None),
        (CustomType("org.apache.cassandra.db.marshal.LexicalUUIDType"), 16),
    ],
)
def test_which_cell_values_have_no_length(cql_type: CqlType, length: int | None) -> None:
    assert cql_type.fixed_length == length


def test_only_non_frozen_collections_and_user_types_are_multi_cell() -> None:
    assert ListType(INT, False).is_multicell
    assert ADDRESS.is_multicell
    assert not ADDRESS.freeze().is_multicell
    assert not MapType(INT, INT, True).is_multicell
    assert not TupleType((INT,)).is_multicell
    assert not VectorType(INT, 2).is_multicell
