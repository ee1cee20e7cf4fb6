"""Which PostgreSQL type a CQL type is mirrored in, and what of that can be chosen.

It converts no value: the compiled value modules do, and they refuse a pair that has no conversion.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from cdc_tail.errors import ConfigError
from parsers.cql_types import CqlType, CustomType, ListType, Native, SetType, VectorType
from parsers.masking import hashed

_NATIVE: Final[dict[str, str]] = {
    "ascii": "text",
    "bigint": "int8",
    "blob": "bytea",
    "boolean": "bool",
    "counter": "int8",
    "date": "date",
    "decimal": "numeric",
    "double": "float8",
    "duration": "interval",
    "empty": "bytea",
    "float": "float4",
    "inet": "inet",
    "int": "int4",
    "smallint": "int2",
    "text": "text",
    "time": "time",
    "timestamp": "timestamptz",
    "timeuuid": "uuid",
    "tinyint": "int2",
    "uuid": "uuid",
    "varint": "numeric",
}

SCALARS: Final = frozenset(_NATIVE.values()) | {"jsonb"}
PG_TYPES: Final = SCALARS | {f"{name}[]" for name in SCALARS} | {"vector"}
"""Every type that a column of a mirror can have, by PostgreSQL's internal name."""

OMIT: Final = "omit"
"""In a mapping instead of a type: the column is left out of the mirror."""
CONSTANT: Final = "constant:"
_FINGERPRINT: Final = 16


def is_mask(choice: str) -> bool:
    """Whether what was chosen hides the column's values: hash, null or constant:VALUE."""
    return choice in ("hash", "null") or choice.startswith(CONSTANT)


def hash_mask(key: bytes) -> str:
    """What the catalog notes of a column that is hashed with this key."""
    return f"hash:{hashed(key, b'cdc-tail: fingerprint of the key')[:_FINGERPRINT].decode()}"


@dataclass(frozen=True, slots=True)
class Mapping:
    """What was chosen about the mirror's columns.

    `columns` gives a PostgreSQL type, "omit" or a mask by "keyspace.table.column" in Cassandra's
    names. `pgvector` says that the database has that extension, `mask_key` is the key of hashes.
    Raises ConfigError for an unknown type, and for a mask without a key.
    """

    columns: MappingABC[str, str] = field(default_factory=lambda: MappingProxyType({}))
    pgvector: bool = False
    mask_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, choice in self.columns.items():
            if is_mask(choice):
                if self.mask_key is None:
                    raise ConfigError(
                        f"column {name} is masked, but there is no key for it",
                        hint="set mirror.mask_key (CDC_TAIL_MIRROR_MASK_KEY), the same everywhere",
                    )
            elif choice not in PG_TYPES and choice != OMIT:
                raise ConfigError(
                    f"column {name} is mapped to {choice!r}, which no mirror can have",
                    hint="one of: omit, hash, null, constant:VALUE, " + ", ".join(sorted(PG_TYPES)),
                )

    def override(self, keyspace: str, table: str, column: str) -> str | None:
        """What was chosen for the column, None where nothing was."""
        return self.columns.get(f"{keyspace}.{table}.{column}")


def pg_type(cql_type: CqlType, *, pgvector: bool = False) -> str:
    """The type that a column is mirrored in if nothing else was chosen."""
    match cql_type:
        case Native(name):
            return _NATIVE[name]
        case VectorType(Native("float"), _) if pgvector:
            return "vector"
        case ListType(Native(name)) | SetType(Native(name)) | VectorType(Native(name), _):
            return f"{_NATIVE[name]}[]"
        case CustomType():
            return "bytea"
    return "jsonb"


def catalog_name(name: str) -> str:
    """The type's name as `pg_type.typname` has it: `_int4` for `int4[]`."""
    return f"_{name.removesuffix('[]')}" if name.endswith("[]") else name


def is_collatable(name: str) -> bool:
    """Whether a column of the type can carry a collation."""
    return name in ("text", "text[]")
