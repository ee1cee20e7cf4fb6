"""Values against the plain Python renderer, known vectors, and bytes that are none."""

from __future__ import annotations

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from parsers.json_text import json_text
from parsers.render import render
from parsers.values import (
    CompiledType,
    check,
    compile_type,
    elements_to_pg,
    from_pg,
    is_exact,
    reason_text,
    to_json,
    to_pg,
)
from tests.support.values import (
    DEFAULT_PG_TYPES,
    item,
    svint,
    typed_values,
    types,
    values,
    varint,
)

NULL_FIELD = struct.pack(">i", -1)
DURATION = svint(2) + svint(3) + svint(1_999)
# One global shard: header count, its index, counter id, clock, count.
CONTEXT = b"\0\1\x80\0" + b"\x11" * 16 + struct.pack(">qq", 1, 5)


def scalar(
    name: str, pg_type: str | None = None, *, key: bool = False, nul: str = "reject"
) -> CompiledType:
    return compile_type(Native(name), pg_type or DEFAULT_PG_TYPES[name], key, nul)


def content(field: bytes) -> bytes:
    assert struct.unpack(">i", field[:4])[0] == len(field) - 4
    return field[4:]


def expect_reason(compiled: CompiledType, value: bytes, words: str) -> None:
    assert words in reason_text(check(compiled, value))
    with pytest.raises(ValueError, match=re.escape(words)):
        to_pg(compiled, value)


@given(typed_values())
def test_json_is_what_the_renderer_says(pair: tuple[CqlType, bytes]) -> None:
    cql_type, value = pair
    compiled = compile_type(cql_type, "jsonb")
    expected = json_text(cql_type, render(cql_type, value))
    assert to_json(compiled, value).decode() == expected


@given(types().flatmap(lambda t: st.tuples(st.just(t), values(t), st.data())))
def test_damaged_bytes_are_refused_or_are_another_value(
    case: tuple[CqlType, bytes, st.DataObject],
) -> None:
    cql_type, value, data = case
    damaged = bytearray(value)
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    cut += data.draw(st.binary(max_size=5))
    compiled = compile_type(cql_type, "jsonb")
    if check(compiled, cut) == 0:
        # Whatever passes must be a value to the second opinion, too; and the same one.
        assert to_json(compiled, cut).decode() == json_text(cql_type, render(cql_type, cut))
    else:
        with pytest.raises(ValueError):
            to_pg(compiled, cut)


@given(
    st.sampled_from(sorted(DEFAULT_PG_TYPES.items())).flatmap(
        lambda names: st.tuples(
            st.just(Native(names[0])),
            st.just(names[1]),
            values(Native(names[0])) if names[0] != "counter" else st.just(b"\0" * 8),
        )
    )
)
def test_exact_values_come_back(case: tuple[Native, str, bytes]) -> None:
    cql_type, pg_type, value = case
    compiled = compile_type(cql_type, pg_type)
    if check(compiled, value):
        return
    field = to_pg(compiled, value)
    if is_exact(compiled, value):
        assert from_pg(compiled, content(field)) == value
    elif cql_type.name not in ("duration", "time", "decimal", "counter", "empty"):
        assert field == NULL_FIELD


@pytest.mark.parametrize(
    ("name", "pg_type", "value", "field"),
    [
        ("tinyint", "int2", b"\xff", "ffff"),
        ("tinyint", "int8", b"\x80", "ffffffffffffff80"),
        ("smallint", "int4", b"\x80\x00", "ffff8000"),
        ("int", "int4", b"\x01\x02\x03\x04", "01020304"),
        ("int", "int8", b"\xff\xff\xff\xfe", "fffffffffffffffe"),
        ("boolean", "bool", b"\x02", "01"),
        ("text", "text", b"", ""),
        ("blob", "bytea", b"\x00\xff", "00ff"),
        ("timestamp", "timestamptz", struct.pack(">q", 946_684_800_001), "00000000000003e8"),
        ("timestamp", "int8", struct.pack(">q", -1), "ffffffffffffffff"),
        ("date", "date", struct.pack(">I", 2**31 + 10_957), "00000000"),
        ("date", "int4", struct.pack(">I", 2**31 - 1), "ffffffff"),
        ("time", "time", struct.pack(">q", 1_999), "0000000000000001"),
        ("time", "int8", struct.pack(">q", 1_999), "00000000000007cf"),
        ("duration", "interval", DURATION, "00000000000000010000000300000002"),
        ("inet", "inet", b"\x7f\0\0\1", "022000047f000001"),
        ("varint", "numeric", varint(-10_000), "00010001400000000001"),
        ("varint", "numeric", b"\0", "0000000000000000"),
        ("decimal", "numeric", struct.pack(">i", 1) + varint(15), "000200000000000100011388"),
        ("decimal", "numeric", struct.pack(">i", -5) + varint(3), "0001000100000000001e"),
        ("counter", "int8", struct.pack(">q", 7), "0000000000000007"),
        ("counter", "int8", CONTEXT, "0000000000000005"),
    ],
)  # fmt: skip
def test_known_fields(name: str, pg_type: str, value: bytes, field: str) -> None:
    assert content(to_pg(scalar(name, pg_type), value)).hex() == field


@pytest.mark.parametrize("name", sorted(DEFAULT_PG_TYPES.keys() - {"text", "ascii", "blob"}))
def test_an_empty_value_is_null_but_in_a_key(name: str) -> None:
    assert to_pg(scalar(name), b"") == NULL_FIELD
    expect_reason(scalar(name, key=True), b"", "empty value in a key")


@pytest.mark.parametrize("name", ["text", "ascii", "blob"])
def test_empty_text_and_blobs_are_empty(name: str) -> None:
    expected = b'\1"0x"' if name == "blob" else b'\1""'
    assert content(to_pg(scalar(name, "jsonb"), b"")) == expected
    assert to_pg(scalar(name), b"") == to_pg(scalar(name, key=True), b"") == b"\0\0\0\0"


@pytest.mark.parametrize("prefix", ["", "x", "1234567", "12345678", "123456789abcdef"])
def test_nul_in_text_is_refused_replaced_or_stripped(prefix: str) -> None:
    value = prefix.encode() + b"\0end"
    expect_reason(scalar("text"), value, "U+0000")
    expect_reason(scalar("text", nul="strip", key=True), value, "U+0000")
    assert content(to_pg(scalar("text", nul="strip"), value)).decode() == prefix + "end"
    replaced = scalar("text", nul="replace")
    assert content(to_pg(replaced, value)).decode() == prefix + "\ufffdend"
    assert not is_exact(replaced, value)
    json = compile_type(ListType(Native("text"), True), "jsonb", nul="replace")
    assert to_json(json, struct.pack(">i", 1) + item(value)).decode() == f'["{prefix}\ufffdend"]'


@pytest.mark.parametrize(
    "bad",
    [b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xe0\x80\x80", b"\xe2\x82", b"\xed\xa0\x80",
     b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\xe2\x28\xa1"],
)  # fmt: skip
@pytest.mark.parametrize("prefix", [b"", b"abc", b"abcdefgh", "äöüß€😀".encode()])
def test_text_that_is_not_utf8_is_refused(bad: bytes, prefix: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        (prefix + bad).decode()
    expect_reason(scalar("text"), prefix + bad, "UTF-8")
    expect_reason(scalar("text"), prefix + bad + b"and more text", "UTF-8")


def days(number: int) -> bytes:
    return struct.pack(">I", number + 2**31)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("int", b"\1\2\3", "size"),
        ("date", days(-2_440_589), "date is outside"),
        ("date", days(-2_545_700), "date is outside"),
        ("date", days(2_145_042_906), "date is outside"),
        ("timestamp", struct.pack(">q", -(2**63)), "timestamp is outside"),
        ("timestamp", struct.pack(">q", 2**63 - 1), "timestamp is outside"),
        ("time", struct.pack(">q", 86_400 * 10**9), "within one day"),
        ("time", struct.pack(">q", -1), "within one day"),
        ("decimal", struct.pack(">i", 16_384) + b"\1", "numeric"),
        ("decimal", struct.pack(">i", -131_072) + b"\1", "numeric"),
        ("decimal", struct.pack(">i", 1), "decimal is malformed"),
        ("varint", b"\1" + b"\0" * 54_427, "numeric"),
        ("inet", b"12345", "size"),
        ("uuid", b"\0" * 15, "size"),
        ("duration", b"\2", "duration"),
        ("duration", b"\0\0\0\0", "duration"),
        ("duration", svint(-1) + svint(1) + svint(0), "duration"),
        ("duration", svint(2**31) + svint(0) + svint(0), "duration"),
        ("counter", b"\0\1\x80", "counter"),
        ("empty", b"x", "size"),
    ],
)
def test_values_that_postgres_can_not_hold(name: str, value: bytes, words: str) -> None:
    expect_reason(scalar(name), value, words)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("date", days(-2_440_588)),
        ("date", days(2_145_042_905)),
        ("timestamp", struct.pack(">q", -210_866_803_200_000)),
        ("decimal", struct.pack(">i", 16_383) + b"\1"),
        ("decimal", struct.pack(">i", -131_000) + b"\1"),
        ("varint", varint(2**435_411 - 1)),
        ("double", struct.pack(">d", float("nan"))),
    ],
)
def test_values_at_the_limits_pass(name: str, value: bytes) -> None:
    assert check(scalar(name), value) == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("double", struct.pack(">d", -0.0), "-0.0"),
        ("float", struct.pack(">f", -0.0), "-0.0"),
        ("double", b"\xff\xf8\0\0\0\0\0\0", "NaN"),
        ("float", b"\x7f\x80\0\1", "NaN"),
        ("time", struct.pack(">q", 1), "microseconds"),
        ("varint", b"\0\1", "leading bytes"),
        ("decimal", struct.pack(">i", 0) + b"\xff\xff", "leading bytes"),
    ],
)
def test_keys_that_postgres_would_merge_are_refused(name: str, value: bytes, words: str) -> None:
    assert check(scalar(name), value) == 0
    expect_reason(scalar(name, key=True), value, words)
    nested = compile_type(TupleType((Native(name),)), "jsonb", key=True)
    if name != "time":
        expect_reason(nested, item(value), words)


def test_mapped_addresses_are_refused_inside_keys_alone() -> None:
    mapped = b"\0" * 10 + b"\xff\xff\1\2\3\4"
    assert check(scalar("inet", key=True), mapped) == 0
    nested = compile_type(TupleType((Native("inet"),)), "jsonb", key=True)
    expect_reason(nested, item(mapped), "inside IPv6")
    assert check(nested, item(mapped[-4:])) == 0


def test_canonical_nan_and_whole_microseconds_are_good_keys() -> None:
    assert check(scalar("double", key=True), struct.pack(">d", float("nan"))) == 0
    assert check(scalar("time", key=True), struct.pack(">q", 1000)) == 0


@pytest.mark.parametrize(
    ("cql_type", "value"),
    [
        (ListType(Native("int"), True), struct.pack(">i", 2) + item(b"\0\0\0\1")),
        (ListType(Native("int"), True), struct.pack(">i", -1)),
        (ListType(Native("int"), True), struct.pack(">i", 2**31 - 1)),
        (ListType(Native("int"), True), struct.pack(">ii", 1, 2**31 - 1) + b"\0" * 4),
        (ListType(Native("int"), True), struct.pack(">i", 0) + b"\0"),
        (MapType(Native("int"), Native("int"), True), struct.pack(">i", 2**30)),
        (
            MapType(Native("int"), Native("int"), True),
            struct.pack(">i", 1) + item(b"\0\0\0\1"),
        ),
        (
            MapType(Native("int"), Native("int"), True),
            struct.pack(">i", 1) + item(None) * 2,
        ),
        (SetType(Native("int"), True), struct.pack(">i", 1) + item(None)),
        (TupleType((Native("int"),)), item(b"\0\0\0\1") * 2),
        (TupleType((Native("int"),)), item(b"\0\0\0\1")[:-1]),
        (VectorType(Native("float"), 2), b"\0" * 7),
        (VectorType(Native("text"), 2), b"\1a"),
        (VectorType(Native("text"), 1), b"\xff" * 9),
    ],
)
def test_hostile_lengths_are_refused(cql_type: CqlType, value: bytes) -> None:
    for pg_type in ("jsonb", "text"):
        assert check(compile_type(cql_type, pg_type), value) != 0
    with pytest.raises(ValueError):
        render(cql_type, value)


def test_lists_are_arrays_and_nulls_in_them_null() -> None:
    compiled = compile_type(ListType(Native("int"), True), "int4[]")
    value = struct.pack(">i", 2) + item(b"\0\0\0\7") + item(None)
    assert content(to_pg(compiled, value)).hex() == (
        "00000001000000000000001700000002000000010000000400000007ffffffff"
    )
    empty = content(to_pg(compiled, struct.pack(">i", 0)))
    assert empty.hex() == "000000000000000000000017"


def test_a_vector_is_pgvectors_field() -> None:
    compiled = compile_type(VectorType(Native("float"), 2), "vector")
    value = struct.pack(">ff", 1.5, -2)
    assert content(to_pg(compiled, value)) == struct.pack(">hh", 2, 0) + value
    expect_reason(compiled, struct.pack(">ff", 1, float("nan")), "pgvector")
    expect_reason(compiled, struct.pack(">f", 1), "vector is malformed")


def uuid1(clock: int, node: int) -> bytes:
    low, middle, high = clock & 0xFFFFFFFF, clock >> 32 & 0xFFFF, clock >> 48 | 0x1000
    return struct.pack(">IHHQ", low, middle, high, node)


def test_list_elements_stand_in_the_order_of_their_timeuuids() -> None:
    compiled = compile_type(ListType(Native("text"), False), "text[]")
    # The low half is compared by signed bytes: 0x80 comes before 0x01.
    paths = [
        uuid1(5, 1),
        uuid1(2**40, 0),
        uuid1(2**50, 0x80 << 56),
        uuid1(2**50, 1 << 56),
    ]
    cells = [(path, f"e{i}".encode()) for i, path in enumerate(paths)]
    expected = elements_to_pg(compiled, cells)
    assert [expected.index(b"e%d" % i) for i in range(4)] == sorted(
        expected.index(b"e%d" % i) for i in range(4)
    )
    for shuffled in (cells[::-1], [cells[2], cells[0], cells[3], cells[1]]):
        assert elements_to_pg(compiled, shuffled) == expected


@given(st.permutations(range(300)))
def test_large_sets_are_sorted(numbers: list[int]) -> None:
    compiled = compile_type(SetType(Native("int"), False), "jsonb")
    cells = [(struct.pack(">i", n - 150), b"") for n in numbers]
    expected = "[" + ", ".join(str(n - 150) for n in range(300)) + "]"
    assert content(elements_to_pg(compiled, cells)) == b"\1" + expected.encode()


def test_maps_and_user_types_of_cells() -> None:
    map_type = compile_type(MapType(Native("int"), Native("text"), False), "jsonb")
    cells = [(b"\0\0\0\2", b"two"), (b"\xff\xff\xff\xff", b'"')]
    assert content(elements_to_pg(map_type, cells)) == b'\1{"-1": "\\"", "2": "two"}'
    udt = UdtType(
        "ks",
        "t",
        ("a", "B", "c"),
        (Native("int"), Native("text"), Native("int")),
        False,
    )
    fields = [(b"\0\2", b"\0\0\0\5"), (b"\0\1", b"x")]
    assert content(elements_to_pg(compile_type(udt, "jsonb"), fields)) == (
        b'\1{"a": null, "\\"B\\"": "x", "c": 5}'
    )
    assert elements_to_pg(map_type, []) == NULL_FIELD


@pytest.mark.parametrize(
    ("cql_type", "path"),
    [
        (ListType(Native("int"), False), b"\0" * 15),
        (UdtType("ks", "t", ("a",), (Native("int"),), False), b"\0\1"),
        (UdtType("ks", "t", ("a",), (Native("int"),), False), b"\xff\xff"),
        (UdtType("ks", "t", ("a",), (Native("int"),), False), b"\0"),
    ],
)
def test_paths_that_do_not_fit_are_refused(cql_type: CqlType, path: bytes) -> None:
    with pytest.raises(ValueError, match="cell path"):
        elements_to_pg(compile_type(cql_type, "jsonb"), [(path, b"\0\0\0\1")])


def test_pairs_without_a_conversion_are_refused() -> None:
    for cql_type, pg_type in [
        (Native("int"), "uuid"),
        (Native("text"), "text[]"),
        (ListType(Native("int"), True), "uuid[]"),
        (VectorType(Native("int"), 2), "vector"),
        (VectorType(Native("float"), 16_001), "vector"),
        (Native("int"), "money"),
    ]:
        with pytest.raises(ValueError):
            compile_type(cql_type, pg_type)
    deep: CqlType = Native("int")
    for _ in range(70):
        deep = ListType(deep, True)
    with pytest.raises(ValueError, match="nested deeper"):
        compile_type(deep, "jsonb")
    with pytest.raises(ValueError, match="nul policy"):
        compile_type(Native("text"), "text", nul="keep")


def test_custom_types_are_opaque_bytes() -> None:
    compiled = compile_type(CustomType("org.example.Type"), "bytea")
    assert content(to_pg(compiled, b"\0any")) == b"\0any"
    assert to_json(compiled, b"\0") == b'"0x00"'
