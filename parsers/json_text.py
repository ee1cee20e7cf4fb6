"""Cassandra's spelling of JSON: numbers, escapes, spaces; it knows rendered values, not bytes.

Source: `AbstractType.toJSONString` and its overrides, and `java.lang.Double.toString`.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

from parsers.cql_types import (
    CqlType,
    ListType,
    MapType,
    Native,
    SetType,
    TupleType,
    UdtType,
    VectorType,
)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def udt_member(name: str) -> str:
    """The JSON member name of a UDT field: a name with capitals keeps its CQL quotes."""
    return name if name == name.lower() else f'"{name}"'


def json_text(cql_type: CqlType, rendered: Json) -> str:
    """JSON of a rendered value in Cassandra's spelling of numbers and spaces."""
    if rendered is None:
        return "null"
    if isinstance(rendered, bool):
        return "true" if rendered else "false"
    if isinstance(rendered, float):
        return java_double(rendered)
    if isinstance(rendered, int):
        return str(rendered)
    if isinstance(rendered, str):
        # The only numbers that may be rendered as strings.
        return rendered if cql_type in _NUMBERS else quote(rendered)
    if isinstance(rendered, list):
        types = (
            cql_type.fields
            if isinstance(cql_type, TupleType)
            else [_element(cql_type)] * len(rendered)
        )
        texts = [json_text(t, item) for t, item in zip(types, rendered, strict=True)]
        return "[" + ", ".join(texts) + "]"
    if isinstance(cql_type, UdtType):
        values = zip(cql_type.field_types, rendered.items(), strict=True)
        members = [f"{quote(name)}: {json_text(t, item)}" for t, (name, item) in values]
    else:
        assert isinstance(cql_type, MapType)
        members = [
            f"{quote(name)}: {json_text(cql_type.value, item)}" for name, item in rendered.items()
        ]
    return "{" + ", ".join(members) + "}"


_NUMBERS: Final = (Native("decimal"), Native("varint"))
_ESCAPES: Final = {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"
}  # fmt: skip


def quote(text: str) -> str:
    """A JSON string with the escapes that Cassandra writes."""
    escaped = (_ESCAPES.get(c) or (f"\\u{ord(c):04X}" if c < " " else c) for c in text)
    return '"' + "".join(escaped) + '"'


def java_double(value: float) -> str:
    """`Double.toString` (Java 19 and later) of a finite number."""
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    mantissa, _, exponent_text = f"{abs(value):.16e}".partition("e")
    for precision in range(2, 18):
        text = f"{abs(value):.{precision - 1}e}"
        if float(text) == abs(value):
            mantissa, _, exponent_text = text.partition("e")
            break
    digits = mantissa.replace(".", "").rstrip("0")
    exponent = int(exponent_text)
    sign = "-" if value < 0 else ""
    if not -3 <= exponent < 7:
        return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{sign}{whole}.{digits[exponent + 1 :] or '0'}"


def _element(cql_type: CqlType) -> CqlType:
    assert isinstance(cql_type, ListType | SetType | VectorType)
    return cql_type.element
