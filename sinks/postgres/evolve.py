"""An existing mirror brought up to a newer definition of its table: first planned, then done."""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg import sql

from cdc_tail.errors import SchemaMismatch
from parsers.type_text import class_text
from sinks.postgres.catalog import Connection, Mirror, MirrorColumn
from sinks.postgres.fields import rewrite
from sinks.postgres.names import STATE_COLUMN, column_name, fit
from sinks.postgres.relation import Ddl
from sinks.postgres.typemap import pg_type
from sinks.postgres.wanted import Wanted, WantedColumn


@dataclass(slots=True)
class Changes:
    """What a mirror lacks; all empty where it is up to date."""

    renamed: list[tuple[MirrorColumn, WantedColumn]] = field(default_factory=list)
    retyped: list[tuple[MirrorColumn, WantedColumn]] = field(default_factory=list)
    retired: list[tuple[MirrorColumn, int]] = field(default_factory=list)
    """With the writetime (microseconds) of the drop."""
    added: list[WantedColumn] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.renamed or self.retyped or self.retired or self.added)


def plan(mirror: Mirror, wanted: Wanted) -> Changes:
    """What it takes to bring the mirror up to `wanted`.

    Columns are retired and added again only where `dropped_columns` proves it: a process that is
    behind in its log comes with an older definition, and must not undo what is newer.
    Raises SchemaMismatch where no change of the relation that keeps its data would do.
    """
    changes = Changes()
    shape = [(c.kind, c.position) for c in mirror.key]
    if shape != [(w.source.kind, w.source.position) for w in wanted.key]:
        raise _mismatch(mirror, "its primary key has other columns than the mirror's")
    for column, want in zip(mirror.key, wanted.key, strict=True):
        if column.cql_name != want.source.name:
            changes.renamed.append((column, want))
        _plan_type(mirror, column, want, changes)
    live = {column.cql_name: column for column in mirror.columns}
    for want in wanted.columns:
        name = want.source.name
        known = live.pop(name, None)
        dropped_us = wanted.dropped_us.get(name)
        if known is None:
            gone = [c.dropped_us for c in mirror.retired if c.cql_name == name]
            if all(dropped_us is not None and us is not None and dropped_us >= us for us in gone):
                changes.added.append(want)
        elif _was_dropped(known, dropped_us):
            changes.added.append(want)
            live[name] = known
        elif not known.is_newer_than(dropped_us):
            _plan_type(mirror, known, want, changes)
    for name, column in live.items():
        dropped_us = wanted.dropped_us.get(name)
        if name in wanted.omitted:
            raise _mismatch(mirror, f"column {name} is to be left out, but the mirror has it")
        if dropped_us is not None and _was_dropped(column, dropped_us):
            changes.retired.append((column, dropped_us))
    return changes


def _was_dropped(column: MirrorColumn, dropped_us: int | None) -> bool:
    """Whether the drop is one that came after the mirror's column was added."""
    return dropped_us is not None and (
        column.added_after_us is None or dropped_us > column.added_after_us
    )


def _plan_type(mirror: Mirror, column: MirrorColumn, want: WantedColumn, changes: Changes) -> None:
    if want.is_chosen and want.pg_type != column.pg_type:
        raise _mismatch(
            mirror,
            f"column {column.cql_name} is mapped to {want.pg_type}, the mirror has "
            f"{column.pg_type}",
        )
    if want.mask != column.mask:
        raise _mismatch(
            mirror,
            f"column {column.cql_name} is to be masked by {_said(want.mask)}, the mirror has"
            f" {_said(column.mask)}",
        )
    if want.source.type != column.cql_type:
        # A user-defined type that got a field stays jsonb. Nothing else can change since 3.11.
        if pg_type(want.source.type) != pg_type(column.cql_type):
            raise _mismatch(
                mirror,
                f"column {column.cql_name} was {column.cql_type} and is now {want.source.type}",
            )
        changes.retyped.append((column, want))


def _said(mask: str | None) -> str:
    return mask or "nothing"


def _mismatch(mirror: Mirror, message: str) -> SchemaMismatch:
    return SchemaMismatch(
        message,
        hint=f"drop {mirror.relation} and its row in cdc_tail.mirror, and take a snapshot",
        table=f"{mirror.keyspace}.{mirror.table_name}",
    )


def evolve(
    ddl: Ddl, mirror: Mirror, changes: Changes, dropped_us: dict[str, int]
) -> dict[str, str]:
    """Make the changes; returns the columns of the relation that were renamed, old to new.

    The caller holds the locks of the mirror's buckets. `dropped_us` are the last drops by name.
    """
    connection = ddl.connection
    names = {c.cid: c.name for c in (*mirror.key, *mirror.columns, *mirror.retired)}
    before = dict(names)
    for column, us in changes.retired:
        _update(connection, mirror, column.cid, dropped_us=us)
    for column, want in changes.renamed:
        taken = {STATE_COLUMN, *names.values()}
        names[column.cid] = column_name(want.source.name, taken)
        _rename(ddl, mirror, column, names[column.cid])
        _update(connection, mirror, column.cid, column_name=want.source.name)
    for column, want in changes.retyped:
        source = want.source
        _update(
            connection,
            mirror,
            column.cid,
            cql_type=str(source.type),
            type_class=class_text(source.type),
        )
    if not ddl.missing:
        rewrite(
            connection,
            mirror.identifier,
            [
                (names[column.cid], column.pg_type, column.cql_type, want.source.type)
                for column, want in changes.retyped
                if column.mask is None
            ],
        )
    for want in changes.added:
        name = want.source.name
        for old in (*mirror.retired, *(column for column, _ in changes.retired)):
            aside = fit(name, f"__dropped_{old.cid}")
            if old.cql_name == name and names[old.cid] != aside:
                names[old.cid] = aside
                _rename(ddl, mirror, old, aside)
        cid = max(names) + 1
        names[cid] = column_name(name, {STATE_COLUMN, *names.values()})
        ddl.add_column(mirror.identifier, names[cid], want)
        insert_column(connection, mirror.mirror_id, cid, names[cid], want, dropped_us.get(name))
    return {before[cid]: names[cid] for cid in before if before[cid] != names[cid]}


def _rename(ddl: Ddl, mirror: Mirror, column: MirrorColumn, new_name: str) -> None:
    ddl.rename_column(mirror.identifier, column.name, new_name)
    _update(ddl.connection, mirror, column.cid, relation_column=new_name)


def _update(connection: Connection, mirror: Mirror, cid: int, **values: str | int) -> None:
    for name, value in values.items():
        connection.execute(
            sql.SQL(
                "UPDATE cdc_tail.mirror_column SET {} = %s WHERE mirror_id = %s AND cid = %s"
            ).format(sql.Identifier(name)),
            (value, mirror.mirror_id, cid),
        )


def insert_column(
    connection: Connection,
    mirror_id: int,
    cid: int,
    name: str,
    column: WantedColumn,
    added_after_us: int | None,
) -> None:
    """Register a column of a mirror under its number and its name in the relation."""
    source = column.source
    connection.execute(
        """
        INSERT INTO cdc_tail.mirror_column (mirror_id, cid, column_name, relation_column, kind,
            position, cql_type, type_class, pg_type, added_after_us, mask)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            mirror_id,
            cid,
            source.name,
            name,
            source.kind,
            source.position,
            str(source.type),
            class_text(source.type),
            column.pg_type,
            added_after_us,
            column.mask,
        ),
    )
