"""Statements on the relations of mirrors, and what relations really look like; it decides nothing.

In "create" mode statements are executed. In "verify" mode, for people who manage their relations
themselves, they are collected, so that all that is missing can be named at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from psycopg import sql

from parsers.cql_types import CqlType, VectorType
from sinks.postgres.catalog import Connection
from sinks.postgres.names import STATE_COLUMN
from sinks.postgres.typemap import is_collatable
from sinks.postgres.wanted import WantedColumn

DdlMode = Literal["create", "verify"]

# Room for a row's next version on the same page: an UPDATE then needs no new index entries (HOT).
_FILLFACTOR: Final = 90


@dataclass(slots=True)
class Ddl:
    """Runs statements on relations, or in "verify" mode collects those that are missing."""

    connection: Connection
    mode: DdlMode
    missing: list[str] = field(default_factory=list)

    def run(self, statement: sql.Composed) -> None:
        """Execute the statement, or note it as missing."""
        if self.mode == "create":
            self.connection.execute(statement)
        else:
            self.missing.append(statement.as_string(self.connection))

    def create_schema(self, schema: str) -> None:
        """Create the schema unless it is there: IF NOT EXISTS would ask for the right to do so."""
        found = self.connection.execute(
            "SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)
        ).fetchone()
        if found is None:
            self.run(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))

    def create_table(
        self,
        relation: sql.Identifier,
        key: list[tuple[str, WantedColumn]],
        columns: list[tuple[str, WantedColumn]],
    ) -> None:
        """Create the relation of a mirror; columns come with their names in PostgreSQL."""
        definitions = [
            *(column_definition(name, column, is_key=True) for name, column in key),
            *(column_definition(name, column) for name, column in columns),
            sql.SQL("{} bytea").format(sql.Identifier(STATE_COLUMN)),
        ]
        self.run(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({})) WITH (fillfactor = {})").format(
                relation,
                sql.SQL(", ").join(definitions),
                sql.SQL(", ").join(sql.Identifier(name) for name, _ in key),
                sql.Literal(_FILLFACTOR),
            )
        )

    def add_column(self, relation: sql.Identifier, name: str, column: WantedColumn) -> None:
        """Add a column, NULL in every row: PostgreSQL rewrites nothing."""
        self.run(
            sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(
                relation, column_definition(name, column)
            )
        )

    def rename_column(self, relation: sql.Identifier, name: str, new_name: str) -> None:
        """Rename a column of a relation or a view."""
        self.run(
            sql.SQL("ALTER TABLE {} RENAME COLUMN {} TO {}").format(
                relation, sql.Identifier(name), sql.Identifier(new_name)
            )
        )

    def rename(self, relation: sql.Identifier, new_name: str) -> None:
        """Rename a relation or a view within its schema."""
        self.run(sql.SQL("ALTER TABLE {} RENAME TO {}").format(relation, sql.Identifier(new_name)))


def column_definition(name: str, column: WantedColumn, *, is_key: bool = False) -> sql.Composed:
    """A column as CREATE TABLE and ADD COLUMN take it."""
    # Text in a key sorts by its bytes, as Cassandra sorts it, and costs a memcmp per comparison.
    collation = sql.SQL(' COLLATE "C"' if is_key and is_collatable(column.pg_type) else "")
    return sql.SQL("{} {}{}").format(
        sql.Identifier(name), type_sql(column.source.type, column.pg_type), collation
    )


def type_sql(cql_type: CqlType, pg_type: str) -> sql.Composable:
    """A type of ours in a statement; pgvector's gets the dimension."""
    if pg_type == "vector" and isinstance(cql_type, VectorType):
        return sql.SQL("vector({})").format(sql.Literal(cql_type.dimension))
    # Quoted, so that a name such as time is the type's internal one.
    base = pg_type.removesuffix("[]")
    return sql.SQL("{}{}").format(sql.Identifier(base), sql.SQL("[]" if pg_type != base else ""))


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view as PostgreSQL has it: `pg_type.typname` by column, and the primary key."""

    is_table: bool
    columns: dict[str, str]
    key: frozenset[str]


def describe(connection: Connection, schema: str, name: str) -> Relation | None:
    """The relation of that name, None where there is none."""
    found = connection.execute(
        """
        SELECT c.oid, c.relkind IN ('r', 'p')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = %s
        """,
        (schema, name),
    ).fetchone()
    if found is None:
        return None
    oid, is_table = found
    columns = connection.execute(
        """
        SELECT a.attname, t.typname, coalesce(a.attnum = ANY (i.indkey), false)
        FROM pg_attribute a
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
        WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY a.attnum
        """,
        (oid,),
    ).fetchall()
    return Relation(
        is_table,
        {column: type_name for column, type_name, _ in columns},
        frozenset(column for column, _, in_key in columns if in_key),
    )


def relation_names(connection: Connection, schema: str) -> set[str]:
    """The names that are taken in a schema: of tables, views, indexes and sequences."""
    rows = connection.execute(
        """
        SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s
        """,
        (schema,),
    )
    return {name for (name,) in rows}
