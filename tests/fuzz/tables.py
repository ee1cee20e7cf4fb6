"""The tables of `tables.cql` for the compiled decoder, for its writers and for the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from parsers._catalog import Catalog, CompiledTable
from parsers._relation import Relation
from parsers.cql_file import parse_cql
from parsers.cql_types import CqlType
from parsers.decoder import build_catalog
from parsers.schema import Column, Table
from sinks.postgres.typemap import Mapping
from sinks.postgres.wanted import Wanted, wanted_mirrors
from tests.reference.schema import DroppedColumn, RefColumn, RefTable
from tests.reference.types import CqlType as RefType
from tests.reference.types import parse_type

CQL: Final = Path(__file__).with_name("tables.cql")
STATE_OID: Final = 17
JSONB_OID: Final = 3802
NUMERIC_OID: Final = 1700

_OIDS: Final = {
    "bool": (16, 1000),
    "bytea": (17, 1001),
    "int8": (20, 1016),
    "int2": (21, 1005),
    "int4": (23, 1007),
    "text": (25, 1009),
    "float4": (700, 1021),
    "float8": (701, 1022),
    "inet": (869, 1041),
    "date": (1082, 1182),
    "time": (1083, 1183),
    "timestamptz": (1184, 1185),
    "interval": (1186, 1187),
    "numeric": (NUMERIC_OID, 1231),
    "uuid": (2950, 2951),
    "jsonb": (JSONB_OID, 3807),
    # An extension's type has the oid that a database gave it.
    "vector": (16400, 16401),
}
"""pg_type.oid of each type and of its array, as PostgreSQL's pg_type.dat has them."""


@dataclass(frozen=True)
class Mirrored:
    """A mirror relation: what writes it, and its attributes as (name or None, oid, role).

    `cids` number its columns in states.
    """

    relation: Relation
    cids: dict[str, int]
    attributes: tuple[tuple[str | None, int, str], ...]
    n_clustering: int


def _chosen(tables: list[Table]) -> Mapping:
    """The natural types, but for the columns that tell by their names what they want."""
    numbers = {"time": "int8", "timestamp": "int8", "date": "int4"}
    columns = {}
    for table in tables:
        if table.name != "chosen":
            continue
        for column in table.regulars:
            name = f"{table.keyspace}.{table.name}.{column.name}"
            for wish in ("text", "jsonb", "vector"):
                if column.name.startswith(f"as_{wish}"):
                    columns[name] = wish
            if column.name.startswith("as_number"):
                columns[name] = numbers[str(column.type)]
            if column.name == "left_out":
                columns[name] = "omit"
    return Mapping(columns=columns)


def _oid(pg_type: str) -> int:
    return _OIDS[pg_type.removesuffix("[]")][pg_type.endswith("[]")]


def _relation(compiled: CompiledTable, wanted: Wanted) -> Mirrored:
    table = compiled.table
    attributes: list[tuple[str | None, int, str]] = [
        (column.source.name, _oid(column.pg_type), "key") for column in wanted.key
    ]
    attributes += [
        (column.source.name, _oid(column.pg_type), "column") for column in wanted.columns
    ]
    attributes.append((None, STATE_OID, "state"))
    static = wanted.kind == "static" or table.layout == "static_compact"
    # Not in the columns' order, as in a mirror whose table was altered.
    names = [column.source.name for column in wanted.columns]
    cids = {name: cid for cid, name in enumerate(names[1:] + names[:1], start=1)}
    relation = Relation(
        compiled,
        static=static,
        attributes=attributes,
        cids=cids,
        foreign={},
        renewed={},
        row_type_oid=16500,
        key_type_oid=16501,
        gc_grace_seconds=table.gc_grace_seconds,
    )
    return Mirrored(relation, cids, tuple(attributes), 0 if static else len(table.clustering))


class Tables:
    """All that a fuzzed input is decoded and written with; made once."""

    def __init__(self) -> None:
        self.tables = parse_cql(CQL.read_text())
        mapping = _chosen(self.tables)
        self.mirrored: dict[UUID, list[Mirrored]] = {}
        compiled_tables = []
        for table in self.tables:
            mirrors = wanted_mirrors(table, mapping)
            pg_types = {
                column.source.name: column.pg_type
                for mirror in mirrors
                for column in (*mirror.key, *mirror.columns)
            }
            # Both ways of treating NUL characters.
            nul = "strip" if table.name == "t" else "reject"
            compiled = CompiledTable(table, "mirror", pg_types, nul)
            compiled_tables.append(compiled)
            self.mirrored[table.id] = [_relation(compiled, mirror) for mirror in mirrors]
        self.catalog = build_catalog(compiled_tables)
        # Nothing is checked and nothing is left out: what the reference says, too.
        self.plain_catalog = Catalog([CompiledTable(table, "divert") for table in self.tables])
        self.reference = {table.id: _reference(table) for table in self.tables}


def _reference(table: Table) -> RefTable:
    columns = (*table.partition_key, *table.clustering, *table.statics, *table.regulars)
    return RefTable(
        table.keyspace,
        table.name,
        table.id,
        {column.name: _reference_column(column) for column in columns},
        {
            dropped.name: DroppedColumn(
                RefColumn(dropped.name, dropped.kind, _reference_type(dropped.type)),
                dropped.dropped_time_us,
            )
            for dropped in table.dropped.values()
        },
        table.cdc,
        table.flags,
    )


def _reference_column(column: Column) -> RefColumn:
    return RefColumn(
        column.name, column.kind, _reference_type(column.type), column.position, column.reversed
    )


def _reference_type(cql_type: CqlType) -> RefType:
    return parse_type(str(cql_type))
