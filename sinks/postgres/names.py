"""Names in PostgreSQL for Cassandra's names: the same wherever PostgreSQL allows it.

It composes no SQL: quoting is `psycopg.sql`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container
from typing import Final

MAX_BYTES: Final = 63
"""PostgreSQL cuts longer identifiers off (NAMEDATALEN - 1)."""

STATE_COLUMN: Final = "_cdc"
STATIC_SUFFIX: Final = "__static"
JOINED_SUFFIX: Final = "__joined"

# PostgreSQL refuses columns with the names of its system columns.
_RESERVED_COLUMNS: Final = frozenset(
    {STATE_COLUMN, "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
)
_RESERVED_SCHEMAS: Final = frozenset({"cdc_tail", "information_schema"})


def schema_name(keyspace: str) -> str:
    """The schema of a keyspace: its name; `ks_` before those that PostgreSQL or we reserve."""
    reserved = keyspace.startswith("pg_") or keyspace in _RESERVED_SCHEMAS
    return fit(f"ks_{keyspace}" if reserved else keyspace)


def relation_name(table: str, suffix: str = "", taken: Container[str] = ()) -> str:
    """The relation of a table, with `suffix`; a hash tells it from a name that is taken."""
    return _free(fit(table, suffix), table + suffix, taken)


def column_name(column: str, taken: Container[str] = ()) -> str:
    """The relation's column for a column; `_` is added to a name that is reserved."""
    wanted = column + "_" if column in _RESERVED_COLUMNS else column
    return _free(fit(wanted), column, taken)


def fit(name: str, suffix: str = "") -> str:
    """`name` + `suffix`, shortened with a hash of the whole name where it would be too long."""
    room = MAX_BYTES - len(suffix.encode())
    plain = name.replace("\0", "")
    if plain == name != "" and len(name.encode()) <= room:
        return name + suffix
    shortened = plain.encode()[: room - 9].decode(errors="ignore")
    return f"{shortened}_{_hash(name)}{suffix}"


def _free(name: str, source: str, taken: Container[str]) -> str:
    if name not in taken:
        return name
    return fit(name, "_" + _hash(source))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
