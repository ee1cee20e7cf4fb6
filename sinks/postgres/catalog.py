"""The catalog of mirrors in PostgreSQL: which relation and columns mirror which table.

It reads and installs the catalog; ddl.py changes relations and writes it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from checkpoints.install import install_script
from parsers.cql_types import CqlType
from parsers.schema import KEY_KINDS, ColumnKind, Table
from parsers.type_text import parse_class
from sinks.postgres.names import STATE_COLUMN

MirrorKind = Literal["rows", "static"]
Connection = psycopg.Connection[Any]

BUCKETS: Final = 16


@dataclass(frozen=True, slots=True)
class MirrorColumn:
    """One column of a mirror; `cid` is its number inside `_cdc`, `name` the relation's column.

    `added_after_us` is the time of the drop (writetime, microseconds) after which the column was
    added again, `dropped_us` that of the drop that retired it. `mask` is as masks.py has it.
    """

    cid: int
    cql_name: str
    name: str
    kind: ColumnKind
    position: int
    cql_type: CqlType
    pg_type: str
    added_after_us: int | None = None
    dropped_us: int | None = None
    mask: str | None = None

    def is_newer_than(self, last_drop_us: int | None) -> bool:
        """Whether a definition is from before the drop after which the column was added again.

        `last_drop_us` is the last drop that the definition knows. What such a definition calls by
        the column's name is void in the mirror.
        """
        return self.added_after_us is not None and (
            last_drop_us is None or last_drop_us < self.added_after_us
        )


@dataclass(frozen=True, slots=True)
class Mirror:
    """A relation that mirrors the rows (or the static rows) of a Cassandra table.

    `relation` is quoted and qualified. `key` is the relation's primary key: partition key, then
    clustering columns (for static rows the partition key alone). `columns` are the others that
    the Cassandra table has; `retired` those that it had, whose values are kept as they were.
    `generation` changes with the columns. A dropped mirror's table does not exist any more.
    `joined_view` is the view that joins static rows to the rows, `defined_us` the writetime of the
    definition that the mirror was last brought up to.
    """

    mirror_id: int
    kind: MirrorKind
    keyspace: str
    table_name: str
    table_id: UUID
    relation_schema: str
    relation_name: str
    key: tuple[MirrorColumn, ...]
    columns: tuple[MirrorColumn, ...]
    retired: tuple[MirrorColumn, ...]
    gc_grace_seconds: int
    generation: int
    is_dropped: bool
    joined_view: str | None
    defined_us: int
    state_column: str = STATE_COLUMN

    @property
    def identifier(self) -> sql.Identifier:
        """The relation, for composing statements."""
        return sql.Identifier(self.relation_schema, self.relation_name)

    @property
    def relation(self) -> str:
        """The relation as it stands in a statement: quoted and with its schema."""
        return self.identifier.as_string(None)

    def column(self, cql_name: str) -> MirrorColumn | None:
        """The column that mirrors the Cassandra column of that name now."""
        return next((c for c in (*self.key, *self.columns) if c.cql_name == cql_name), None)


def mirrors_of(connection: Connection, table: Table) -> list[Mirror]:
    """The mirrors of a table by its id, for writing what is decoded with this definition of it."""
    found = load_mirrors(connection, table.keyspace, table.name)
    return [as_seen_by(table, mirror) for mirror in found if mirror.table_id == table.id]


def as_seen_by(table: Table, mirror: Mirror) -> Mirror:
    """The mirror in the words of a definition that may be older than the mirror is.

    Key columns bear the names that they have in the definition. A column that was added again
    after a drop that the definition does not know gets a name that no column has: nothing decoded
    with the definition may reach it.
    """
    names = {(column.kind, column.position): column.name for column in table.primary_key}
    dropped = {column.name: column.dropped_time_us for column in table.dropped.values()}
    return replace(
        mirror,
        key=tuple(replace(c, cql_name=names[c.kind, c.position]) for c in mirror.key),
        columns=tuple(
            replace(c, cql_name=f"{c.cql_name}\0{c.cid}")
            if c.is_newer_than(dropped.get(c.cql_name))
            else c
            for c in mirror.columns
        ),
    )


def install(connection: Connection) -> None:
    """Create cdc-tail's own tables where they are missing, in the caller's transaction."""
    script = files("sinks.postgres").joinpath("catalog.sql").read_bytes()
    install_script(connection, "mirror", script)


def load_mirrors(
    connection: Connection, keyspace: str | None = None, table: str | None = None
) -> list[Mirror]:
    """All mirrors (or those of a keyspace, or of a table), dropped ones included."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """
            SELECT m.*, (SELECT max(b.generation) FROM cdc_tail.bucket b
                         WHERE b.mirror_id = m.mirror_id) AS generation
            FROM cdc_tail.mirror m
            WHERE coalesce(m.keyspace_name = %(keyspace)s, true)
              AND coalesce(m.table_name = %(table)s, true)
            ORDER BY m.mirror_id
            """,
            {"keyspace": keyspace, "table": table},
        ).fetchall()
        columns = cursor.execute(
            "SELECT * FROM cdc_tail.mirror_column WHERE mirror_id = ANY (%s) ORDER BY cid",
            ([row["mirror_id"] for row in rows],),
        ).fetchall()
    by_mirror: dict[int, list[dict[str, Any]]] = {row["mirror_id"]: [] for row in rows}
    for column in columns:
        by_mirror[column["mirror_id"]].append(column)
    return [_mirror(row, by_mirror[row["mirror_id"]]) for row in rows]


def _mirror(row: dict[str, Any], column_rows: list[dict[str, Any]]) -> Mirror:
    columns = [(column["dropped_us"] is not None, _column(column)) for column in column_rows]
    live = [column for is_dropped, column in columns if not is_dropped]
    key = [column for column in live if column.kind in KEY_KINDS]
    return Mirror(
        mirror_id=row["mirror_id"],
        kind=row["kind"],
        keyspace=row["keyspace_name"],
        table_name=row["table_name"],
        table_id=row["table_id"],
        relation_schema=row["relation_schema"],
        relation_name=row["relation_name"],
        key=tuple(sorted(key, key=lambda c: (c.kind != "partition_key", c.position))),
        columns=tuple(column for column in live if column.kind not in KEY_KINDS),
        retired=tuple(column for is_dropped, column in columns if is_dropped),
        gc_grace_seconds=row["gc_grace_seconds"],
        generation=row["generation"],
        is_dropped=row["dropped_at"] is not None,
        joined_view=row["joined_view"],
        defined_us=row["defined_us"],
    )


def _column(row: dict[str, Any]) -> MirrorColumn:
    return MirrorColumn(
        cid=row["cid"],
        cql_name=row["column_name"],
        name=row["relation_column"],
        kind=row["kind"],
        position=row["position"],
        cql_type=parse_class(row["type_class"], {}, row["column_name"]),
        pg_type=row["pg_type"],
        added_after_us=row["added_after_us"],
        dropped_us=row["dropped_us"],
        mask=row["mask"],
    )
