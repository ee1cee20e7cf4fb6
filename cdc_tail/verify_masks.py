"""What a masked column of the mirror should show of a value that Cassandra sent; reads neither.

As verify_values.py, it shares no code with the decoder but the hash itself.
"""

from __future__ import annotations

from typing import Any

from cdc_tail.verify_values import elements_of, from_cassandra, from_postgres
from parsers.cql_types import CqlType, ListType, MapType, SetType, UdtType
from parsers.masking import Mask, hashed
from sinks.postgres.catalog import MirrorColumn


def expected_value(column: MirrorColumn, mask: Mask | None, raw: bytes | None) -> Any:
    """As plain Python, in the form of `from_postgres`; `raw` is as the native protocol has it."""
    if mask is None:
        return from_cassandra(column.cql_type, column.pg_type, raw)
    if raw is None:
        return None
    if mask.kind == "hash":
        return _hashes(column.cql_type, raw, mask.key)
    return from_postgres(column.pg_type, mask.text)


def expected_text(column: MirrorColumn, mask: Mask, raw: bytes) -> str | None:
    """As PostgreSQL prints it; of jsonb, the hashes alone are told apart."""
    if mask.kind == "constant":
        return mask.text
    found = _hashes(column.cql_type, raw, mask.key)
    if isinstance(found, list):
        return "{" + ",".join(found) + "}"  # digits need no quotes
    if isinstance(found, str):
        return found
    raise ValueError("jsonb is compared by row")


def _hashes(cql_type: CqlType, raw: bytes, key: bytes) -> Any:
    """One hash; of a multi-cell value, each element's in the order of the mirror's."""

    def digits(value: bytes) -> str:
        return hashed(key, value).decode()

    if not cql_type.is_multicell:
        return digits(raw)
    match cql_type:
        case ListType():
            return [digits(one or b"") for one in elements_of(cql_type, raw)[1]]
        case SetType():
            return sorted(digits(one or b"") for one in elements_of(cql_type, raw)[1])
        case MapType():
            items = _items(raw[4:])
            return {digits(k or b""): digits(v or b"") for k, v in zip(items[::2], items[1::2])}
        case UdtType():
            values = _items(raw)
            values += [None] * (len(cql_type.field_names) - len(values))
            return {
                name if name == name.lower() else f'"{name}"': value and digits(value)
                for name, value in zip(cql_type.field_names, values)
            }
    raise ValueError(f"values of {cql_type} can't be hashed")


def _items(data: bytes) -> list[bytes | None]:
    """Values with their lengths (int32, negative: null) before them."""
    found: list[bytes | None] = []
    position = 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], signed=True)
        position += 4
        found.append(None if length < 0 else data[position : position + length])
        position += max(0, length)
    return found
