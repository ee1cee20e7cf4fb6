"""Hypothesis strategies for CQL types and for the bytes of their values, extremes included."""

from __future__ import annotations

import struct
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from parsers.cql_types import (
    MARSHAL,
    CqlType,
    ListType,
    MapType,
    Native,
    SetType,
    TupleType,
    UdtType,
    VectorType,
)
from parsers.values import compare, compile_type

NULL: Final = struct.pack(">i", -1)

DEFAULT_PG_TYPES: Final = {
    "ascii": "text", "text": "text", "tinyint": "int2", "smallint": "int2", "int": "int4",
    "bigint": "int8", "counter": "int8", "varint": "numeric", "decimal": "numeric",
    "float": "float4", "double": "float8", "boolean": "bool", "blob": "bytea", "inet": "inet",
    "uuid": "uuid", "timeuuid": "uuid", "timestamp": "timestamptz", "date": "date", "time": "time",
    "duration": "interval", "empty": "bytea",
}  # fmt: skip

_JAVA_CLASSES: Final = {
    "ascii": "AsciiType", "text": "UTF8Type", "tinyint": "ByteType", "smallint": "ShortType",
    "int": "Int32Type", "bigint": "LongType", "varint": "IntegerType", "decimal": "DecimalType",
    "float": "FloatType", "double": "DoubleType", "boolean": "BooleanType", "blob": "BytesType",
    "inet": "InetAddressType", "uuid": "UUIDType", "timeuuid": "TimeUUIDType",
    "timestamp": "TimestampType", "date": "SimpleDateType", "time": "TimeType",
    "duration": "DurationType", "empty": "EmptyType",
}  # fmt: skip

# Types of which a clustering column, a set's element or a map's key can be.
ORDERED: Final = tuple(sorted(_JAVA_CLASSES.keys() - {"duration", "empty"}))
SCALARS: Final = (*ORDERED, "duration")

_TEXT: Final = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def integers(bits: int) -> st.SearchStrategy[bytes]:
    """Two's complement of a fixed width, small numbers and limits more often."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    numbers = st.integers(low, high) | st.sampled_from([low, -1, 0, 1, high])
    return numbers.map(lambda n: n.to_bytes(bits // 8, "big", signed=True))


def varint(number: int) -> bytes:
    """The minimal two's complement, as Java's BigInteger.toByteArray gives it."""
    length = (number if number >= 0 else ~number).bit_length() // 8 + 1
    return number.to_bytes(length, "big", signed=True)


def svint(number: int) -> bytes:
    """A signed vint: zigzag, then the number of extra bytes as leading one bits."""
    zigzag = (number << 1) ^ (number >> 63)
    extra = min(8, max(0, (zigzag.bit_length() - 1) // 7))
    prefix = (0xFF << (8 - extra)) & 0xFF
    body = zigzag.to_bytes(extra + 1 if extra < 8 else 9, "big")
    return bytes([body[0] | prefix]) + body[1:]


def uvint(number: int) -> bytes:
    """An unsigned vint below 2^14, enough for the lengths that tests write."""
    return bytes([number]) if number < 0x80 else struct.pack(">H", 0x8000 | number)


_BIG: Final = (
    st.integers(-(2**70), 2**70)
    | st.integers(-(2**2000), 2**2000)
    | st.sampled_from(
        [sign * (base + off) for sign in (1, -1) for off in (-1, 0, 1)
         for base in (0, 2**7, 2**31, 2**63, 2**64, 10**8, 10**16, 10**40, 2**2000)]
    )
)  # fmt: skip


def _decimals() -> st.SearchStrategy[bytes]:
    scales = st.integers(-40, 40) | st.integers(-2000, 2000)
    return st.builds(lambda n, s: struct.pack(">i", s) + varint(n), _BIG, scales)


def _durations() -> st.SearchStrategy[bytes]:
    limit = 2**31 - 1
    parts = st.tuples(
        st.integers(0, limit) | st.integers(0, 30),
        st.integers(0, limit) | st.integers(0, 30),
        st.integers(0, 2**63 - 1) | st.integers(0, 10**13),
    )
    return st.builds(
        lambda p, sign: b"".join(svint(sign * n) for n in p),
        parts,
        st.sampled_from([1, -1]),
    )


def _timeuuids() -> st.SearchStrategy[bytes]:
    # Version 1, any time and node.
    return st.binary(min_size=16, max_size=16).map(
        lambda b: b[:6] + bytes([b[6] & 0x0F | 0x10]) + b[7:]
    )


def _floats(layout: str, width: int) -> st.SearchStrategy[bytes]:
    return st.floats(width=32 if width == 4 else 64, allow_nan=True).map(
        lambda f: struct.pack(layout, f)
    ) | st.binary(min_size=width, max_size=width)


_SCALAR_VALUES: Final[dict[str, st.SearchStrategy[bytes]]] = {
    "ascii": st.text(st.characters(min_codepoint=1, max_codepoint=127)).map(str.encode),
    "text": _TEXT.map(str.encode),
    "blob": st.binary(),
    "boolean": st.sampled_from([b"\0", b"\1"]),
    "tinyint": integers(8),
    "smallint": integers(16),
    "int": integers(32),
    "bigint": integers(64),
    "varint": _BIG.map(varint),
    "decimal": _decimals(),
    "float": _floats(">f", 4),
    "double": _floats(">d", 8),
    "date": st.integers(-2_440_588, 2**31 - 1).map(lambda d: struct.pack(">I", d + 2**31))
    | st.sampled_from([b"\x80\0\0\0", b"\0\0\0\0", b"\xff\xff\xff\xff"]),
    "time": st.integers(0, 86_400 * 10**9 - 1).map(lambda n: struct.pack(">q", n)),
    "timestamp": st.integers(-(10**14), 10**14).map(lambda n: struct.pack(">q", n)) | integers(64),
    "duration": _durations(),
    "uuid": st.uuids().map(lambda u: u.bytes) | _timeuuids(),
    "timeuuid": _timeuuids(),
    "inet": st.binary(min_size=4, max_size=4)
    | st.binary(min_size=16, max_size=16)
    | st.binary(min_size=4, max_size=4).map(lambda b: b"\0" * 10 + b"\xff\xff" + b),
    "empty": st.just(b""),
}


def item(value: bytes | None) -> bytes:
    """An element of a collection, a field of a tuple or UDT: i32 length and bytes."""
    return NULL if value is None else struct.pack(">i", len(value)) + value


def values(cql_type: CqlType) -> st.SearchStrategy[bytes]:
    """Bytes of a frozen value of the type as Cassandra would have written them."""
    if isinstance(cql_type, Native):
        return _SCALAR_VALUES[cql_type.name]
    if isinstance(cql_type, ListType):
        return st.lists(values(cql_type.element), max_size=5).map(_collection)
    if isinstance(cql_type, SetType):
        return _distinct(cql_type.element).map(_collection)
    if isinstance(cql_type, MapType):
        value_type = cql_type.value
        return _distinct(cql_type.key).flatmap(
            lambda keys: st.lists(values(value_type), min_size=len(keys), max_size=len(keys)).map(
                lambda items: _map(keys, items)
            )
        )
    if isinstance(cql_type, TupleType):
        return _fields(cql_type.fields)
    if isinstance(cql_type, UdtType):
        return _fields(cql_type.field_types)
    if isinstance(cql_type, VectorType):
        fixed = cql_type.element.fixed_length is not None
        size = cql_type.dimension
        return st.lists(values(cql_type.element), min_size=size, max_size=size).map(
            lambda items: b"".join(i if fixed else uvint(len(i)) + i for i in items)
        )
    raise TypeError(f"no values of {cql_type!r}")


def _collection(items: list[bytes]) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(map(item, items))


def _map(keys: list[bytes], items: list[bytes]) -> bytes:
    pairs = zip(keys, items, strict=True)
    return struct.pack(">i", len(keys)) + b"".join(item(k) + item(v) for k, v in pairs)


def _distinct(element: CqlType) -> st.SearchStrategy[list[bytes]]:
    # Sorted in Cassandra's order, without two that compare as equal.
    return st.lists(values(element), max_size=5).map(lambda keys: in_order(element, keys))


def in_order(cql_type: CqlType, unsorted: list[bytes]) -> list[bytes]:
    """The values in Cassandra's order, of equal ones the first."""
    compiled = compile_type(cql_type, "jsonb")
    result: list[bytes] = []
    for value in unsorted:
        orders = [compare(compiled, value, other) for other in result]
        if 0 not in orders:
            result.insert(sum(order > 0 for order in orders), value)
    return result


def _fields(types: tuple[CqlType, ...]) -> st.SearchStrategy[bytes]:
    # Nulls anywhere, and trailing fields absent; at least one field is there.
    fields = st.tuples(*(st.none() | values(t) for t in types))
    return st.builds(
        lambda parts, count: b"".join(map(item, parts[:count])),
        fields,
        st.integers(1, len(types)),
    )


def _names(count: int) -> st.SearchStrategy[tuple[str, ...]]:
    alphabet = st.sampled_from(["a", "b_1", "Mixed", 'quo"te', "spa ce", "ünï", "x", "y2"])
    return st.lists(alphabet, min_size=count, max_size=count, unique=True).map(tuple)


def _udts(children: st.SearchStrategy[CqlType]) -> st.SearchStrategy[CqlType]:
    return st.lists(children, min_size=1, max_size=3).flatmap(
        lambda types: _names(len(types)).map(
            lambda names: UdtType("ks", "udt", names, tuple(types), True)
        )
    )


def types(*, ordered: bool = False, vectors: bool = True) -> st.SearchStrategy[CqlType]:
    """Frozen types up to a few levels deep; `ordered`: such as may stand in a primary key."""
    leaves: st.SearchStrategy[CqlType] = st.sampled_from(ORDERED if ordered else SCALARS).map(
        Native
    )
    keys = st.sampled_from(ORDERED).map(Native)

    def extend(children: st.SearchStrategy[CqlType]) -> st.SearchStrategy[CqlType]:
        key = keys if not ordered else children
        options: list[st.SearchStrategy[CqlType]] = [
            children.map(lambda t: ListType(t, True)),
            key.map(lambda t: SetType(t, True)),
            st.builds(lambda k, v: MapType(k, v, True), key, children),
            st.lists(children, min_size=1, max_size=3).map(lambda ts: TupleType(tuple(ts))),
            _udts(children),
        ]
        if vectors:
            options.append(st.builds(VectorType, children, st.integers(1, 3)))
        return st.one_of(options)

    return st.recursive(leaves, extend, max_leaves=5)


def typed_values(
    *, ordered: bool = False, vectors: bool = True
) -> st.SearchStrategy[tuple[CqlType, bytes]]:
    """A type and the bytes of one of its values."""
    return types(ordered=ordered, vectors=vectors).flatmap(
        lambda t: st.tuples(st.just(t), values(t))
    )


def java_class(cql_type: CqlType) -> str:
    """The type as Cassandra's TypeParser reads it."""
    if isinstance(cql_type, Native):
        return MARSHAL + _JAVA_CLASSES[cql_type.name]
    if isinstance(cql_type, ListType | SetType):
        name = "ListType" if isinstance(cql_type, ListType) else "SetType"
        return _frozen(f"{MARSHAL}{name}({java_class(cql_type.element)})")
    if isinstance(cql_type, MapType):
        inner = f"{java_class(cql_type.key)},{java_class(cql_type.value)}"
        return _frozen(f"{MARSHAL}MapType({inner})")
    if isinstance(cql_type, TupleType):
        return f"{MARSHAL}TupleType({','.join(map(java_class, cql_type.fields))})"
    if isinstance(cql_type, UdtType):
        fields = [
            f"{name.encode().hex()}:{java_class(t)}"
            for name, t in zip(cql_type.field_names, cql_type.field_types, strict=True)
        ]
        name = cql_type.name.encode().hex()
        return _frozen(f"{MARSHAL}UserType({cql_type.keyspace},{name},{','.join(fields)})")
    assert isinstance(cql_type, VectorType)
    return f"{MARSHAL}VectorType({java_class(cql_type.element)} , {cql_type.dimension})"


def _frozen(inner: str) -> str:
    return f"{MARSHAL}FrozenType({inner})"


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """About `count` examples of a strategy at once, where asking for each alone would be slow."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found
