"""CQL types and values as Arrow's: numbers, text, bytes and times; all else as JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from parsers.cql_types import CqlType, Native
from parsers.render import render

Plain = int | float | str | bytes | bool | None

_EPOCH_DATE: Final = 1 << 31
_NS_PER_DAY: Final = 86_400_000_000_000


def _date(data: bytes) -> int:
    """Days since 1970; Cassandra counts from 2^31 days before."""
    return int.from_bytes(data) - _EPOCH_DATE


def _rendered(cql_type: CqlType) -> Callable[[bytes], Plain]:
    def value(data: bytes) -> Plain:
        found = render(cql_type, data)
        assert not isinstance(found, list | dict)  # of a native type
        return found

    return value


def _integer(data: bytes) -> int:
    return int.from_bytes(data, signed=True)


_NATIVE: Final[dict[str, tuple[pa.DataType, Callable[[bytes], Plain]]]] = {
    "ascii": (pa.string(), bytes.decode),
    "bigint": (pa.int64(), _integer),
    "blob": (pa.binary(), bytes),
    "boolean": (pa.bool_(), lambda data: data != b"\0"),
    "counter": (pa.int64(), _rendered(Native("counter"))),
    "date": (pa.date32(), _date),
    "double": (pa.float64(), lambda data: float(render(Native("double"), data))),  # type: ignore[arg-type]
    "float": (pa.float32(), lambda data: float(render(Native("float"), data))),  # type: ignore[arg-type]
    "inet": (pa.string(), _rendered(Native("inet"))),
    "int": (pa.int32(), _integer),
    "smallint": (pa.int16(), _integer),
    "text": (pa.string(), bytes.decode),
    "time": (pa.time64("ns"), _integer),
    "timestamp": (pa.timestamp("ms", "UTC"), _integer),
    "timeuuid": (pa.string(), _rendered(Native("timeuuid"))),
    "tinyint": (pa.int8(), _integer),
    "uuid": (pa.string(), _rendered(Native("uuid"))),
}
# An empty value of these is a value; of the others it is null, as in a mirror.
_MAY_BE_EMPTY: Final = frozenset({"ascii", "blob", "text"})


def arrow_type(cql_type: CqlType) -> pa.DataType:
    """The Arrow type of a column: `string` for what is written as JSON text."""
    if isinstance(cql_type, Native) and cql_type.name in _NATIVE:
        return _NATIVE[cql_type.name][0]
    return pa.string()


def converter(cql_type: CqlType) -> Callable[[bytes | None], Plain]:
    """From a serialized value to what its `arrow_type` takes.

    Raises ValueError for bytes that are no value of the type.
    """
    if isinstance(cql_type, Native) and cql_type.name in _NATIVE:
        convert = _NATIVE[cql_type.name][1]
        may_be_empty = cql_type.name in _MAY_BE_EMPTY
        return lambda data: None if data is None or not (data or may_be_empty) else convert(data)
    return lambda data: json_of(cql_type, data)


def json_of(cql_type: CqlType, data: bytes | None) -> str | None:
    """JSON of a value; a number or text of a type that Arrow lacks (decimal, …) stands for itself.

    None for null and for an empty value of a type without one.
    """
    found = render(cql_type, data)
    if found is None or isinstance(found, str):
        return found
    return json.dumps(found, ensure_ascii=False)
