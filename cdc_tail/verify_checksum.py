"""One number for many rows, reckoned from Cassandra's bytes here and from the mirror in PostgreSQL.

Here each row is put together as PostgreSQL's `record_send` would, by code that shares nothing with
the decoder that wrote the mirror. Sums that are equal say that the rows are; sums that differ say
only that the rows must be looked at.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from psycopg import sql

from cdc_tail.verify_masks import expected_text
from cdc_tail.verify_values import MAY_BE_EMPTY, elements_of, from_cassandra
from parsers.cql_types import CqlType, ListType, Native, SetType, VectorType
from parsers.masking import Mask
from sinks.postgres.catalog import MirrorColumn

Pack = Callable[[bytes], bytes]

# A sum of so many bits of each row's digest: PostgreSQL's bigint takes them with a sign to spare.
_DIGEST_BYTES: Final = 7
_TEXT_OID: Final = 25
_US_FROM_1970_TO_2000: Final = 946_684_800_000_000
_DAYS_FROM_1970_TO_2000: Final = 10_957
_NULL: Final = b"\xff\xff\xff\xff"
_int32 = struct.Struct(">i").pack
_int64 = struct.Struct(">q").pack


def _signed(width: int) -> Pack:
    return lambda raw: int.from_bytes(raw, signed=True).to_bytes(width, signed=True)


def _inet(raw: bytes) -> bytes:
    family, bits = (2, 32) if len(raw) == 4 else (3, 128)
    return bytes((family, bits, 0, len(raw))) + raw


def _interval(raw: bytes) -> bytes:
    months, days, micros = from_cassandra(Native("duration"), "interval", raw)
    return struct.pack(">qii", micros, days, months)


def _identity(raw: bytes) -> bytes:
    return raw


# What PostgreSQL's binary form of a value is, by the types on both sides.
_BINARY: Final[dict[str, tuple[frozenset[str], Pack]]] = {
    "text": (frozenset({"ascii", "text"}), _identity),
    "int2": (frozenset({"tinyint", "smallint"}), _signed(2)),
    "int4": (frozenset({"tinyint", "smallint", "int"}), _signed(4)),
    "int8": (frozenset({"int", "bigint", "counter", "time", "timestamp"}), _signed(8)),
    "float4": (frozenset({"float"}), _identity),
    "float8": (frozenset({"double"}), _identity),
    "bool": (frozenset({"boolean"}), lambda raw: b"\1" if raw != b"\0" else b"\0"),
    "bytea": (frozenset({"blob"}), _identity),
    "uuid": (frozenset({"uuid", "timeuuid"}), _identity),
    "inet": (frozenset({"inet"}), _inet),
    "interval": (frozenset({"duration"}), _interval),
    "timestamptz": (
        frozenset({"timestamp"}),
        lambda raw: _int64(int.from_bytes(raw, signed=True) * 1000 - _US_FROM_1970_TO_2000),
    ),
    "date": (
        frozenset({"date"}),
        lambda raw: _int32(int.from_bytes(raw) - (1 << 31) - _DAYS_FROM_1970_TO_2000),
    ),
    "time": (frozenset({"time"}), lambda raw: _int64(int.from_bytes(raw, signed=True) // 1000)),
}


class RowSums:
    """Sums over rows of one relation."""

    def __init__(
        self,
        columns: Sequence[MirrorColumn],
        oid_of: Callable[[str], int],
        masks: Mapping[str, Mask],
    ) -> None:
        """`oid_of` gives the oid of a PostgreSQL type, `masks` those of columns by their name."""
        self._columns = [_Column(column, oid_of, masks.get(column.cql_name)) for column in columns]
        self._header = _int32(len(self._columns))

    def expression(self, alias: str) -> sql.Composed:
        """What PostgreSQL reckons of the rows `alias`."""
        fields = [
            sql.SQL("{}.{}{}").format(
                sql.Identifier(alias), sql.Identifier(one.name), sql.SQL("::text" * one.as_text)
            )
            for one in self._columns
        ]
        return sql.SQL(
            "sum(('x' || encode(substr(sha256(record_send(ROW({}))), 1, {}), 'hex'))"
            "::bit({})::bigint)"
        ).format(
            sql.SQL(", ").join(fields),
            sql.Literal(_DIGEST_BYTES),
            sql.SQL(str(8 * _DIGEST_BYTES)),
        )

    def add(self, rows: Sequence[Sequence[bytes | None]]) -> int | None:
        """The sum over rows as Cassandra sent them; None where a value has no form of PostgreSQL's.

        That is so for types of one's own choice: their rows are compared one by one.
        """
        total = 0
        columns = self._columns
        try:
            for row in rows:
                parts = [self._header]
                for column, raw in zip(columns, row, strict=True):
                    column.put(parts, raw)
                digest = hashlib.sha256(b"".join(parts)).digest()
                total += int.from_bytes(digest[:_DIGEST_BYTES])
        except (ValueError, ArithmeticError, struct.error):
            return None  # what no column can hold differs anyway, and is told by row
        return total


class _Column:
    """How one column's values stand in a record."""

    def __init__(
        self, column: MirrorColumn, oid_of: Callable[[str], int], mask: Mask | None
    ) -> None:
        self.name = column.name
        cql_type, pg_type = column.cql_type, column.pg_type
        self._pack: Callable[[bytes], bytes | None] | None = (
            None if mask is not None else _binary(cql_type, pg_type, oid_of)
        )
        self.as_text = self._pack is None
        if mask is not None:
            self._pack = _masked(column, mask)
        elif self._pack is None:
            self._pack = _text(cql_type, pg_type)
        self._oid = struct.pack(">I", _TEXT_OID if self.as_text else oid_of(pg_type))
        self._null = self._oid + _NULL
        self._may_be_empty = (
            mask is not None or not isinstance(cql_type, Native) or cql_type.name in MAY_BE_EMPTY
        )

    def put(self, parts: list[bytes], raw: bytes | None) -> None:
        if raw is None or (not raw and not self._may_be_empty):
            parts.append(self._null)
            return
        assert self._pack is not None
        packed = self._pack(raw)
        if packed is None:
            parts.append(self._null)
        else:
            parts += self._oid, _int32(len(packed)), packed


def _binary(cql_type: CqlType, pg_type: str, oid_of: Callable[[str], int]) -> Pack | None:
    """None where the binary form is not known here."""
    if isinstance(cql_type, Native):
        names, pack = _BINARY.get(pg_type, (frozenset(), _identity))
        return pack if cql_type.name in names else None
    if not isinstance(cql_type, ListType | SetType | VectorType) or not pg_type.endswith("[]"):
        return None
    element = _binary(cql_type.element, pg_type[:-2], oid_of)
    if element is None:
        return None
    return _array(cql_type, element, oid_of(pg_type[:-2]))


def _array(cql_type: ListType | SetType | VectorType, element: Pack, oid: int) -> Pack:
    inner = cql_type.element
    may_be_empty = isinstance(inner, Native) and inner.name in MAY_BE_EMPTY

    def pack(raw: bytes) -> bytes:
        _, values = elements_of(cql_type, raw)
        if not values:
            return struct.pack(">iiI", 0, 0, oid)
        parts = []
        has_null = False
        for value in values:
            if value is None or (not value and not may_be_empty):
                has_null = True
                parts.append(_NULL)
            else:
                packed = element(value)
                parts += _int32(len(packed)), packed
        return struct.pack(">iiIii", 1, has_null, oid, len(values), 1) + b"".join(parts)

    return pack


def _text(cql_type: CqlType, pg_type: str) -> Pack:
    """The column's text in PostgreSQL, as far as it can be foreseen."""

    def pack(raw: bytes) -> bytes:
        value = from_cassandra(cql_type, pg_type, raw)
        if isinstance(value, Decimal):
            return format(value, "f").encode()
        if pg_type == "jsonb":
            return _jsonb(value).encode()
        if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return str(value).encode()
        if not isinstance(value, str):
            raise ValueError(f"{pg_type} has no text that is known here")
        return value.encode()

    return pack


def _masked(column: MirrorColumn, mask: Mask) -> Callable[[bytes], bytes | None]:
    """The text of a masked column, None for NULL."""

    def pack(raw: bytes) -> bytes | None:
        text = expected_text(column, mask, raw)
        return None if text is None else text.encode()

    return pack


def _jsonb(value: Any) -> str:
    """JSON as PostgreSQL prints a jsonb: members by the length of their names, then by bytes."""
    if isinstance(value, dict):
        names = sorted((name.encode() for name in value), key=lambda one: (len(one), one))
        members = [
            f"{json.dumps(name.decode(), ensure_ascii=False)}: {_jsonb(value[name.decode()])}"
            for name in names
        ]
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_jsonb, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
