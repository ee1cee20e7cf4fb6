"""What the mirrors of a table have to look like, from its definition and the mapping alone."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Final

from cdc_tail.errors import ConfigError, SchemaMismatch
from parsers.cql_types import Native, VectorType
from parsers.masking import hashed_type
from parsers.schema import KEY_KINDS, Column, Table
from sinks.postgres.catalog import MirrorKind
from sinks.postgres.typemap import OMIT, Mapping, hash_mask, is_mask, pg_type

MAX_COLUMNS: Final = 1600
"""PostgreSQL's MaxHeapAttributeNumber; dropped columns count, too."""
MAX_KEY_COLUMNS: Final = 32
"""PostgreSQL's INDEX_MAX_KEYS."""
MAX_VECTOR_DIMENSION: Final = 16_000
"""pgvector's limit for a stored `vector`."""


@dataclass(frozen=True, slots=True)
class WantedColumn:
    """A Cassandra column with the type that it is mirrored in, and the mask that hides it."""

    source: Column
    pg_type: str
    is_chosen: bool
    mask: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """One mirror as it has to be: the columns of its primary key, then the others.

    `omitted` are the Cassandra columns that the mapping leaves out, `dropped_us` the writetime of
    the last drop of each column that was ever dropped.
    """

    kind: MirrorKind
    key: tuple[WantedColumn, ...]
    columns: tuple[WantedColumn, ...]
    omitted: frozenset[str]
    dropped_us: MappingABC[str, int]


def wanted_mirrors(table: Table, mapping: Mapping, *, has_static: bool = False) -> list[Wanted]:
    """The mirrors of a table: its rows, and its static rows where it has static columns.

    `has_static` says that there is a mirror of static rows: it stays when the last column goes.
    Raises SchemaMismatch where PostgreSQL can't hold such a table, ConfigError where the mapping
    leaves out a key column.
    """
    mirrors: list[tuple[MirrorKind, tuple[Column, ...], tuple[Column, ...]]] = []
    match table.layout:
        case "super":
            raise SchemaMismatch(
                "a super column family can't be mirrored",
                hint="copy it into a CQL table",
                table=str(table),
            )
        case "static_compact":
            # The user's columns are the statics; the clustering and regular column are hidden.
            mirrors.append(("rows", table.partition_key, table.statics))
        case "dense":
            shown = tuple(c for c in table.regulars if c.type != Native("empty"))
            mirrors.append(("rows", table.primary_key, shown))
        case _:
            mirrors.append(("rows", table.primary_key, table.regulars))
            if table.statics or has_static:
                mirrors.append(("static", table.partition_key, table.statics))
    dropped_us = {column.name: column.dropped_time_us for column in table.dropped.values()}
    wanted = []
    for kind, key, columns in mirrors:
        omitted = {column.name for column in columns if _choice(table, column, mapping) == OMIT}
        mirror = Wanted(
            kind,
            tuple(_wanted(table, column, mapping) for column in key),
            tuple(_wanted(table, c, mapping) for c in columns if c.name not in omitted),
            frozenset(omitted),
            dropped_us,
        )
        _check_limits(table, mirror)
        wanted.append(mirror)
    return wanted


def _choice(table: Table, column: Column, mapping: Mapping) -> str | None:
    return mapping.override(table.keyspace, table.name, column.name)


def _wanted(table: Table, column: Column, mapping: Mapping) -> WantedColumn:
    chosen = _choice(table, column, mapping)
    if chosen == OMIT:
        raise ConfigError(
            f"column {column.name} is of the primary key and can't be left out",
            hint="map it to a type, or leave out the table",
            table=str(table),
        )
    natural = pg_type(column.type, pgvector=mapping.pgvector and _fits_pgvector(column))
    if chosen is None or not is_mask(chosen):
        return WantedColumn(column, chosen or natural, chosen is not None)
    if column.kind in KEY_KINDS or column.type == Native("counter"):
        what = "of the primary key" if column.kind in KEY_KINDS else "a counter"
        raise ConfigError(
            f"column {column.name} is {what} and can't be masked",
            hint="leave out the table, or what reads it should",
            table=str(table),
        )
    if chosen == "hash":
        assert mapping.mask_key is not None  # or there would be no such mapping
        natural = pg_type(hashed_type(column.type))
        chosen = hash_mask(mapping.mask_key)
    return WantedColumn(column, natural, False, chosen)


def _fits_pgvector(column: Column) -> bool:
    cql_type = column.type
    return isinstance(cql_type, VectorType) and cql_type.dimension <= MAX_VECTOR_DIMENSION


def _check_limits(table: Table, mirror: Wanted) -> None:
    columns = len(mirror.key) + len(mirror.columns) + 1
    if columns > MAX_COLUMNS:
        raise SchemaMismatch(
            f"the mirror needs {columns} columns, PostgreSQL allows {MAX_COLUMNS}",
            hint="leave out columns that nobody reads: map them to `omit`",
            table=str(table),
        )
    if len(mirror.key) > MAX_KEY_COLUMNS:
        raise SchemaMismatch(
            f"the primary key has {len(mirror.key)} columns, "
            f"PostgreSQL allows {MAX_KEY_COLUMNS} in an index",
            hint="leave out the table",
            table=str(table),
        )
