"""Mirrors created and evolved: a table's definition in, relations and catalog brought up to it.

It works in the caller's transaction and never commits. It removes nothing: what Cassandra drops is
kept, or renamed aside where its name is needed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from psycopg import sql

from cdc_tail.errors import SchemaMismatch
from checkpoints.install import lock_ddl
from parsers.schema import Table
from sinks.postgres.catalog import (
    BUCKETS,
    Connection,
    Mirror,
    as_seen_by,
    load_mirrors,
    mirrors_of,
)
from sinks.postgres.dropped import decide_again
from sinks.postgres.evolve import Changes, evolve, insert_column, plan
from sinks.postgres.names import (
    JOINED_SUFFIX,
    STATE_COLUMN,
    STATIC_SUFFIX,
    column_name,
    relation_name,
    schema_name,
)
from sinks.postgres.relation import Ddl, DdlMode, describe, relation_names
from sinks.postgres.typemap import Mapping, catalog_name
from sinks.postgres.view import refresh_view
from sinks.postgres.wanted import Wanted, WantedColumn, wanted_mirrors

_LAST: Final = 2**63 - 1
# High half of the table ids that Cassandra 6.0 counts up (TableId.MAGIC).
_COUNTED_IDS: Final = 1956074401491665062


def ensure_mirrors(
    connection: Connection,
    table: Table,
    mapping: Mapping | None = None,
    *,
    written_us: int = _LAST,
    mode: DdlMode = "create",
) -> list[Mirror]:
    """Bring the mirrors of a table up to its definition and return them, as it sees them.

    `written_us` is the definition's newest timestamp: one that is older than what the mirror was
    brought up to changes nothing. A table that is known as dropped keeps its (dropped) mirrors; for
    an older incarnation that never had any the list is empty. Needs no lock where nothing changes.
    In "verify" mode no relation is touched: what is missing is named.

    Raises SchemaMismatch where the relations can't be brought up to the definition, ConfigError
    where the mapping is impossible.
    """
    known = load_mirrors(connection, table.keyspace, table.name)
    wanted = _wanted(table, mapping, known)
    if not _is_current(table, wanted, known, written_us):
        lock_ddl(connection)
        known = load_mirrors(connection, table.keyspace, table.name)
        if _is_superseded(table, known):
            return mirrors_of(connection, table)
        lock_buckets(connection, known)
        ddl = Ddl(connection, mode)
        wanted = _wanted(table, mapping, known)
        changed = _change(ddl, table, wanted, known, written_us)
        if ddl.missing:
            raise SchemaMismatch(
                f"the mirror lacks {len(ddl.missing)} changes, and may not be changed",
                hint="run " + "; ".join(ddl.missing),
                table=str(table),
            )
        if any(changes.retired for changes in changed):
            mask_key = None if mapping is None else mapping.mask_key
            decide_again(connection, table, mirrors_of(connection, table), mask_key)
        known = load_mirrors(connection, table.keyspace, table.name)
    own = [mirror for mirror in known if mirror.table_id == table.id]
    problems = [problem for mirror in own for problem in check_relation(connection, mirror)]
    if problems:
        raise SchemaMismatch(
            "; ".join(problems),
            hint="undo what was changed by hand, or rename the relation and take a snapshot",
            table=str(table),
        )
    return [as_seen_by(table, mirror) for mirror in own]


def drop_mirrors(connection: Connection, table_id: UUID) -> None:
    """Note that Cassandra's table is dropped: relations and rows stay as they are."""
    connection.execute(
        "UPDATE cdc_tail.mirror SET dropped_at = coalesce(dropped_at, now()) WHERE table_id = %s",
        (table_id,),
    )


def lock_buckets(connection: Connection, mirrors: Sequence[Mirror]) -> None:
    """Wait until nobody applies to the mirrors, and keep it so until the transaction ends."""
    connection.execute(
        """
        SELECT FROM cdc_tail.bucket WHERE mirror_id = ANY (%s)
        ORDER BY mirror_id, bucket FOR UPDATE
        """,
        ([mirror.mirror_id for mirror in mirrors],),
    )


def check_relation(connection: Connection, mirror: Mirror) -> list[str]:
    """How the relation differs from what the catalog says, in words; empty where it does not."""
    found = describe(connection, mirror.relation_schema, mirror.relation_name)
    if found is None or not found.is_table:
        return [f"{mirror.relation} does not exist"]
    columns = (*mirror.key, *mirror.columns)
    expected = {c.name: catalog_name(c.pg_type) for c in columns} | {STATE_COLUMN: "bytea"}
    problems = [
        f"column {name} of {mirror.relation} is {found.columns.get(name, 'missing')}, not {type_}"
        for name, type_ in expected.items()
        if found.columns.get(name) != type_
    ]
    key = {column.name for column in mirror.key}
    if found.key != key:
        problems.append(f"the primary key of {mirror.relation} is not ({', '.join(sorted(key))})")
    return problems


def _wanted(table: Table, mapping: Mapping | None, known: Sequence[Mirror]) -> list[Wanted]:
    kinds = {mirror.kind for mirror in known if mirror.table_id == table.id}
    return wanted_mirrors(table, mapping or Mapping(), has_static="static" in kinds)


def _is_current(
    table: Table, wanted: Sequence[Wanted], known: Sequence[Mirror], written_us: int
) -> bool:
    """Whether there is nothing to do."""
    own = {mirror.kind: mirror for mirror in known if mirror.table_id == table.id}
    if _is_superseded(table, known):
        return True
    return all(
        (mirror := own.get(want.kind)) is not None
        and not _changes(mirror, want, written_us)
        and not _new_gc_grace(table, mirror, written_us)
        for want in wanted
    )


def _is_superseded(table: Table, known: Sequence[Mirror]) -> bool:
    """Whether the table is known as dropped, or as older than the one under its name."""
    own = [mirror for mirror in known if mirror.table_id == table.id]
    if own:
        return all(mirror.is_dropped for mirror in own)
    return any(_is_older(table.id, mirror.table_id) for mirror in known)


def _is_older(table_id: UUID, other: UUID) -> bool:
    """Whether an id is known to be older; ids that were given by hand tell nothing."""
    if table_id.version == other.version == 1:
        return table_id.time < other.time
    high, low = divmod(table_id.int, 1 << 64)
    other_high, other_low = divmod(other.int, 1 << 64)
    return high == other_high == _COUNTED_IDS and low < other_low


def _changes(mirror: Mirror, wanted: Wanted, written_us: int) -> Changes:
    return plan(mirror, wanted) if written_us >= mirror.defined_us else Changes()


def _new_gc_grace(table: Table, mirror: Mirror, written_us: int) -> bool:
    is_newer = written_us >= mirror.defined_us
    return is_newer and table.gc_grace_seconds != mirror.gc_grace_seconds


def _change(
    ddl: Ddl, table: Table, wanted: Sequence[Wanted], known: Sequence[Mirror], written_us: int
) -> list[Changes]:
    """Make every change, and return them; the buckets of all mirrors that are known are locked."""
    own = {mirror.kind: mirror for mirror in known if mirror.table_id == table.id}
    for mirror in known:
        if mirror.table_id != table.id:
            _set_aside(ddl, mirror)
    renamed: dict[str, str] = {}
    changed = []
    for want in wanted:
        if want.kind not in own:
            _create(ddl, table, want, written_us)
            continue
        mirror = own[want.kind]
        if changes := _changes(mirror, want, written_us):
            renamed |= evolve(ddl, mirror, changes, dict(want.dropped_us))
            _bump(ddl.connection, mirror)
            changed.append(changes)
        if written_us >= mirror.defined_us:
            ddl.connection.execute(
                """
                UPDATE cdc_tail.mirror SET gc_grace_seconds = %s, defined_us = %s
                WHERE mirror_id = %s
                """,
                (table.gc_grace_seconds, _stored_us(written_us, mirror), mirror.mirror_id),
            )
    if ddl.mode == "create":
        _change_view(ddl, table, renamed)
    return changed


def _stored_us(written_us: int, mirror: Mirror | None = None) -> int:
    """The timestamp to keep: without one (a caller that has none) later ones must still count."""
    if written_us != _LAST:
        return written_us
    return -_LAST if mirror is None else mirror.defined_us


def _create(ddl: Ddl, table: Table, wanted: Wanted, written_us: int) -> None:
    schema = schema_name(table.keyspace)
    ddl.create_schema(schema)
    name = _relation_to_create(ddl, table, schema, STATIC_SUFFIX if wanted.kind == "static" else "")
    names: list[str] = []
    for column in (*wanted.key, *wanted.columns):
        names.append(column_name(column.source.name, {STATE_COLUMN, *names}))
    named: list[tuple[str, WantedColumn]] = list(
        zip(names, (*wanted.key, *wanted.columns), strict=True)
    )
    key, columns = named[: len(wanted.key)], named[len(wanted.key) :]
    if ddl.mode == "create" or describe(ddl.connection, schema, name) is None:
        ddl.create_table(sql.Identifier(schema, name), key, columns)
    found = ddl.connection.execute(
        """
        INSERT INTO cdc_tail.mirror (keyspace_name, table_name, table_id, kind, relation_schema,
            relation_name, gc_grace_seconds, defined_us)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING mirror_id
        """,
        (
            table.keyspace,
            table.name,
            table.id,
            wanted.kind,
            schema,
            name,
            table.gc_grace_seconds,
            _stored_us(written_us),
        ),
    ).fetchone()
    assert found is not None  # INSERT .. RETURNING of one row
    for cid, (column_in_relation, column) in enumerate(named):
        dropped_us = wanted.dropped_us.get(column.source.name)
        insert_column(ddl.connection, found[0], cid, column_in_relation, column, dropped_us)
    ddl.connection.execute(
        "INSERT INTO cdc_tail.bucket (mirror_id, bucket) SELECT %s, generate_series(0, %s)",
        (found[0], BUCKETS - 1),
    )


def _relation_to_create(ddl: Ddl, table: Table, schema: str, suffix: str) -> str:
    """A name that is free; raises SchemaMismatch where somebody else's relation has the table's."""
    plain = relation_name(table.name, suffix)
    if ddl.mode == "verify":
        return plain
    taken = relation_names(ddl.connection, schema)
    ours = ddl.connection.execute(
        """
        SELECT FROM cdc_tail.mirror
        WHERE relation_schema = %(schema)s AND %(name)s IN (relation_name, joined_view)
        """,
        {"schema": schema, "name": plain},
    ).fetchone()
    if plain in taken and ours is None:
        relation = sql.Identifier(schema, plain).as_string(ddl.connection)
        raise SchemaMismatch(
            f"{relation} exists and is no mirror",
            hint='rename it, or adopt it with ddl = "verify"',
            table=str(table),
        )
    return relation_name(table.name, suffix, taken)


def _set_aside(ddl: Ddl, mirror: Mirror) -> None:
    """Rename the mirror of a table that was dropped, whose name is needed again."""
    suffix = STATIC_SUFFIX if mirror.kind == "static" else ""
    aside = relation_name(mirror.table_name, f"{suffix}__dropped_{mirror.mirror_id}")
    if mirror.relation_name == aside:
        return
    ddl.rename(mirror.identifier, aside)
    view = None
    if mirror.joined_view is not None:
        view = relation_name(mirror.table_name, f"{JOINED_SUFFIX}__dropped_{mirror.mirror_id}")
        ddl.rename(sql.Identifier(mirror.relation_schema, mirror.joined_view), view)
    ddl.connection.execute(
        """
        UPDATE cdc_tail.mirror SET relation_name = %s, joined_view = %s,
            dropped_at = coalesce(dropped_at, now())
        WHERE mirror_id = %s
        """,
        (aside, view, mirror.mirror_id),
    )
    _bump(ddl.connection, mirror)


def _bump(connection: Connection, mirror: Mirror) -> None:
    """Tell whoever locks a bucket next that the mirror has to be loaded again."""
    connection.execute(
        "UPDATE cdc_tail.bucket SET generation = generation + 1 WHERE mirror_id = %s",
        (mirror.mirror_id,),
    )


def _change_view(ddl: Ddl, table: Table, renamed: dict[str, str]) -> None:
    mirrors = load_mirrors(ddl.connection, table.keyspace, table.name)
    own = {mirror.kind: mirror for mirror in mirrors if mirror.table_id == table.id}
    if "static" not in own:
        return
    static, schema = own["static"], own["static"].relation_schema
    view = static.joined_view
    if view is None:
        view = relation_name(table.name, JOINED_SUFFIX, relation_names(ddl.connection, schema))
        ddl.connection.execute(
            "UPDATE cdc_tail.mirror SET joined_view = %s WHERE mirror_id = %s",
            (view, static.mirror_id),
        )
    else:
        for name, new_name in renamed.items():
            ddl.rename_column(sql.Identifier(schema, view), name, new_name)
    refresh_view(ddl, own["rows"], static, view)
