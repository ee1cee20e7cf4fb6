"""A mirror relation ready to be written: compiled for its bytes, with its statements composed.

Statements take binary arrays as $1, $2, … (raw cursors), so that a name may hold any character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from psycopg import sql

from cdc_tail.errors import SchemaMismatch
from parsers._catalog import CompiledTable
from parsers._relation import Relation
from parsers._work import MASK_BITS
from parsers.cql_types import CqlType, Native
from parsers.schema import Column, Table
from sinks.postgres.catalog import Connection, Mirror, MirrorColumn
from sinks.postgres.keytype import ensure_key_type, key_type
from sinks.postgres.relation import type_sql

_MOST_STATEMENTS: Final = 100


@dataclass(frozen=True)
class Target:
    """One mirror relation. `attributes` are its columns in PostgreSQL's order."""

    mirror: Mirror
    relation: Relation
    attributes: tuple[str, ...]
    written: tuple[str, ...]
    connection: Connection
    # Statements as they are sent: to compose one takes longer than to execute it for a few rows.
    _made: dict[object, bytes] = field(default_factory=dict)

    @property
    def table(self) -> str:
        """Cassandra's table, "keyspace.table"."""
        return f"{self.mirror.keyspace}.{self.mirror.table_name}"

    def _once(self, name: object, make: Callable[[], sql.Composed]) -> bytes:
        """The statement of that name, composed when it is first asked for."""
        if name not in self._made:
            if len(self._made) >= _MOST_STATEMENTS:  # of different columns that updates change
                self._made.clear()
            self._made[name] = make().as_bytes(self.connection)
        return self._made[name]

    @property
    def _key_names(self) -> list[sql.Identifier]:
        return [sql.Identifier(column.name) for column in self.mirror.key]

    def _on_key(self, alias: str, columns: int) -> sql.Composed:
        """Join condition of the relation `t` with key records `alias`."""
        return sql.SQL(" AND ").join(
            sql.SQL("t.{} = {}.{}").format(
                name, sql.Identifier(alias), sql.Identifier(f"k{number}")
            )
            for number, name in enumerate(self._key_names[:columns])
        )

    def _from_keys(self, columns: int) -> sql.Composed:
        """The relation `t` joined with an array of key records `k`, numbered by `n` from 1."""
        fields = [sql.Identifier(f"k{number}") for number in range(len(self.mirror.key))]
        return sql.SQL("unnest($1::{}[]) WITH ORDINALITY AS k ({}, n) JOIN {} AS t ON {}").format(
            key_type(self.mirror),
            sql.SQL(", ").join(fields),
            self.mirror.identifier,
            self._on_key("k", columns),
        )

    @cached_property
    def read_states(self) -> bytes:
        """(numbers int4[], states bytea[], places tid[]) of the rows there are, by key records."""
        return (
            sql.SQL("SELECT array_agg(k.n::int4), array_agg(t.{}), array_agg(t.ctid) FROM {}")
            .format(sql.Identifier(self.mirror.state_column), self._from_keys(len(self.mirror.key)))
            .as_bytes(self.connection)
        )

    @cached_property
    def scan_columns(self) -> tuple[str, ...]:
        """The clustering columns that identify a row; none where the state keeps the clustering."""
        if self.relation.keeps_clustering or self.relation.static:
            return ()
        return tuple(c.name for c in self.mirror.key if c.kind == "clustering")

    @cached_property
    def scan_partitions(self) -> sql.Composed:
        """(number, state, clustering columns) of every row of partitions."""
        n = sum(column.kind == "partition_key" for column in self.mirror.key)
        clusterings = sql.SQL("").join(
            sql.SQL(", t.{}").format(sql.Identifier(name)) for name in self.scan_columns
        )
        return sql.SQL("SELECT k.n::int4, t.{}{} FROM {}").format(
            sql.Identifier(self.mirror.state_column), clusterings, self._from_keys(n)
        )

    def read_keys(self, is_first: bool, condition: sql.Composable) -> sql.Composed:
        """Key columns and state of some rows ($1: how many) in key order; after the key $2, …

        `condition` is one on the columns of the relation.
        """
        key = sql.SQL(", ").join(self._key_names)
        after = sql.SQL(", ").join(
            sql.SQL("${}::{}").format(sql.SQL(str(n)), type_sql(c.cql_type, c.pg_type))
            for n, c in enumerate(self.mirror.key, start=2)
        )
        return sql.SQL(
            "SELECT {key}, {state} FROM {relation} WHERE {condition}{where} ORDER BY {key} LIMIT $1"
        ).format(
            key=key,
            state=sql.Identifier(self.mirror.state_column),
            relation=self.mirror.identifier,
            condition=condition,
            where=sql.SQL("" if is_first else " AND ({}) > ({})").format(key, after),
        )

    def read_values(self, columns: list[int]) -> bytes:
        """Like `read_states`, with the values of columns (of the compiled table) instead."""
        return self._once(("values", *columns), lambda: self._read_values(columns))

    def _read_values(self, columns: list[int]) -> sql.Composed:
        names = []
        for index in columns:
            cql_name = self.relation.table.columns[index].name
            column = self.mirror.column(cql_name)
            assert column is not None
            names.append(sql.SQL("array_agg({})").format(_aggregable(column)))
        return sql.SQL("SELECT array_agg(k.n::int4), {} FROM {}").format(
            sql.SQL(", ").join(names), self._from_keys(len(self.mirror.key))
        )

    @cached_property
    def copy(self) -> bytes:
        """Insert whole rows."""
        return (
            sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
            .format(self.mirror.identifier, sql.SQL(", ").join(map(sql.Identifier, self.written)))
            .as_bytes(self.connection)
        )

    @cached_property
    def insert(self) -> bytes:
        """Insert the rows of an array of row records."""
        aliases = {name: sql.Identifier(f"a{at}") for at, name in enumerate(self.attributes)}
        return (
            sql.SQL(
                "INSERT INTO {relation} ({names}) SELECT {values} "
                "FROM unnest($1::{relation}[]) AS r ({aliases})"
            )
            .format(
                relation=self.mirror.identifier,
                names=sql.SQL(", ").join(map(sql.Identifier, self.written)),
                values=sql.SQL(", ").join(aliases[name] for name in self.written),
                aliases=sql.SQL(", ").join(aliases.values()),
            )
            .as_bytes(self.connection)
        )

    @cached_property
    def delete(self) -> bytes:
        """Delete the rows of an array of key records."""
        fields = [sql.Identifier(f"k{number}") for number in range(len(self.mirror.key))]
        return (
            sql.SQL("DELETE FROM {} AS t USING unnest($1::{}[]) AS k ({}) WHERE {}")
            .format(
                self.mirror.identifier,
                key_type(self.mirror),
                sql.SQL(", ").join(fields),
                self._on_key("k", len(self.mirror.key)),
            )
            .as_bytes(self.connection)
        )

    def update(self, changed: list[int], masks: int, *, in_place: bool = False) -> bytes:
        """Update from an array of row records and `masks` int8[] masks (see `changed_rows`).

        With `in_place` a tid[] follows them: rows are looked up there, not in the primary key, and
        what lies there under another key is left alone.
        """
        name = ("update", masks, in_place, *changed)
        return self._once(name, lambda: self._update(changed, masks, in_place=in_place))

    def _update(self, changed: list[int], masks: int, *, in_place: bool) -> sql.Composed:
        aliases = [sql.Identifier(f"a{number}") for number in range(len(self.attributes))]
        position = {name: number for number, name in enumerate(self.attributes)}
        state = sql.Identifier(self.mirror.state_column)
        assignments = [
            sql.SQL("{} = r.{}").format(state, aliases[position[self.mirror.state_column]])
        ]
        for number, attribute in enumerate(changed):
            name = sql.Identifier(self.attributes[attribute])
            new: sql.Composable = sql.SQL("r.{}").format(aliases[attribute])
            if masks:
                new = sql.SQL("CASE WHEN r.{} & {} <> 0 THEN {} ELSE t.{} END").format(
                    sql.Identifier(f"m{number // MASK_BITS}"),
                    sql.Literal(1 << number % MASK_BITS),
                    new,
                    name,
                )
            assignments.append(sql.SQL("{} = {}").format(name, new))
        names = [*aliases, *(sql.Identifier(f"m{number}") for number in range(masks))]
        arrays = [f", ${number + 2}::int8[]" for number in range(masks)]
        conditions: list[sql.Composable] = [
            sql.SQL("t.{} = r.{}").format(
                sql.Identifier(column.name), aliases[position[column.name]]
            )
            for column in self.mirror.key
        ]
        if in_place:
            names.append(sql.Identifier("place"))
            arrays.append(f", ${masks + 2}::tid[]")
            conditions.append(sql.SQL("t.ctid = r.place"))
        return sql.SQL(
            "UPDATE {relation} AS t SET {assignments} "
            "FROM unnest($1::{relation}[]{arrays}) AS r ({names}) WHERE {on}"
        ).format(
            relation=self.mirror.identifier,
            assignments=sql.SQL(", ").join(assignments),
            arrays=sql.SQL("".join(arrays)),
            names=sql.SQL(", ").join(names),
            on=sql.SQL(" AND ").join(conditions),
        )


def _aggregable(column: MirrorColumn) -> sql.Composed:
    """A column of the relation `t` as array_agg takes it in whatever it holds.

    Arrays of different lengths have no array in common; their binary forms, as bytea, do.
    """
    form = "array_send(t.{})" if column.pg_type.endswith("[]") else "t.{}"
    return sql.SQL(form).format(sql.Identifier(column.name))


def column_types(table: Table, mirrors: Iterable[Mirror]) -> dict[str, str]:
    """PostgreSQL's type by column of `table`, as its mirrors have them: what CompiledTable takes.

    The mirrors may be ahead of the definition (another process has read on): a key column that was
    renamed meanwhile is found by its place, and a column that was dropped and added again since is
    left out, so that what the definition calls by its name is void.
    """
    types = dict.fromkeys(_hidden(table), "bytea")
    for mirror in mirrors:
        types |= {own.name: column.pg_type for own, column in _paired_keys(table, mirror)}
        types |= {c.cql_name: c.pg_type for c in mirror.columns if not _is_newer(c, table)}
    return types


def _paired_keys(table: Table, mirror: Mirror) -> Iterable[tuple[Column, MirrorColumn]]:
    """The key columns of a definition with those of the mirror (of static rows: fewer)."""
    return zip(table.primary_key, mirror.key, strict=False)


def _is_newer(column: MirrorColumn, table: Table) -> bool:
    dropped = table.dropped.get(column.cql_name.encode())
    return column.is_newer_than(None if dropped is None else dropped.dropped_time_us)


def _hidden(table: Table) -> list[str]:
    """The regular column that COMPACT STORAGE adds to a dense table without one; CQL hides it.

    It has no column in the mirror, but its cell is all that a row lives by.
    """
    if table.layout != "dense":
        return []
    return [column.name for column in table.regulars if column.type == Native("empty")]


def _hidden_cids(table: Table, mirror: Mirror) -> dict[str, int]:
    """The number that the hidden column gets in `_cdc` once DROP COMPACT STORAGE shows it."""
    following = 1 + max(c.cid for c in (*mirror.key, *mirror.columns, *mirror.retired))
    return dict.fromkeys(_hidden(table), following)


def _renewed(table: Table, mirror: Mirror) -> dict[str, tuple[CqlType, str]]:
    """Columns whose types the mirror knows with other fields: another process is ahead."""
    pairs = [
        *_paired_keys(table, mirror),
        *((own, c) for c in mirror.columns if (own := table.column(c.cql_name)) is not None),
    ]
    return {own.name: (c.cql_type, c.pg_type) for own, c in pairs if own.type != c.cql_type}


def make_target(connection: Connection, compiled: CompiledTable, mirror: Mirror) -> Target:
    """Compile a mirror for writing rows of `compiled`; creates its key type where missing."""
    key_oid = ensure_key_type(connection, mirror)
    described = connection.execute(
        """
        SELECT c.reltype, a.attname, a.atttypid
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname = %s AND c.relname = %s
        ORDER BY a.attnum
        """,
        (mirror.relation_schema, mirror.relation_name),
    ).fetchall()
    if not described:
        raise SchemaMismatch(
            f"the mirror {mirror.relation} does not exist",
            hint="restore it, or drop its row in cdc_tail.mirror and take a snapshot",
            table=f"{mirror.keyspace}.{mirror.table_name}",
        )
    table = compiled.table
    static = mirror.kind == "static" or table.layout == "static_compact"
    own = {column.name for column in (table.statics if static else table.regulars)}
    keys = {column.name: own_key.name for own_key, column in _paired_keys(table, mirror)}
    columns = {c.name: c.cql_name for c in mirror.columns}
    foreign = {
        c.cql_name: (c.cql_type, c.pg_type)
        for c in mirror.columns
        if c.cql_name not in own or _is_newer(c, table)
    }
    attributes: list[tuple[str | None, int, str]] = []
    for _, name, oid in described:
        if name in keys:
            attributes.append((keys[name], oid, "key"))
        elif name == mirror.state_column:
            attributes.append((None, oid, "state"))
        elif name in columns:
            attributes.append((columns[name], oid, "column"))
        else:
            attributes.append((None, oid, "other"))
    relation = Relation(
        compiled,
        static=static,
        attributes=attributes,
        cids={c.cql_name: c.cid for c in mirror.columns} | _hidden_cids(table, mirror),
        foreign=foreign,
        renewed=_renewed(table, mirror),
        row_type_oid=described[0][0],
        key_type_oid=key_oid,
        gc_grace_seconds=mirror.gc_grace_seconds,
    )
    names = tuple(name for _, name, _ in described)
    written = tuple(
        name for name, (_, _, role) in zip(names, attributes, strict=True) if role != "other"
    )
    return Target(mirror, relation, names, written, connection)
