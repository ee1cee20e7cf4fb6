"""`cdc-tail schema`."""

from __future__ import annotations

from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError
from cdc_tail.schema_changes import Step, steps, written_at
from parsers.schema import Table as CqlTable
from sinks.postgres import history
from sinks.postgres.catalog import Mirror, MirrorColumn, load_mirrors


def schema(
    table: Annotated[
        list[str] | None,
        typer.Option(help="Only this table; may be repeated.", metavar="KEYSPACE.TABLE"),
    ] = None,
    show_history: Annotated[
        bool, typer.Option("--history", help="How the definitions followed one another instead.")
    ] = False,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which tables are mirrored, where, and in which type each column is.

    Asks PostgreSQL alone. What was dropped in Cassandra is shown, too, as it is kept. With
    `--json`, one line per mirror: `table`, `table_id`, `kind` (rows or static), `relation`,
    `joined_view`, `is_dropped` and `columns` (`cql_name`, `name`, `kind`, `cql_type`, `pg_type`,
    `mask`, `is_dropped`).

    With `--history`, every definition that a log brought, by table, and what it changed; as JSON
    `table`, `table_id`, `node`, `position` (0:0: known at the start), `written_at`, `recorded_at`,
    `is_dropped` and `changes`.

    **Examples**

    `cdc-tail schema --table shop.orders`

    `cdc-tail schema --table shop.orders --history`

    `cdc-tail schema --json | jq -r .relation`
    """
    settings = config.load(config_file, options={"postgres.dsn": postgres})
    try:
        with Database(settings).connect() as connection:
            mirrors = load_mirrors(connection)
            recorded = list(steps(history.entries(connection))) if show_history else []
    except psycopg.errors.UndefinedTable as error:
        raise ConfigError(
            "the database has no mirrors", hint="`cdc-tail run` makes its tables at its start"
        ) from error
    wanted = set(table or ())
    names = {f"{one.keyspace}.{one.table_name}" for one in mirrors}
    names |= {str(one.entry.definition.table) for one in recorded}
    if unknown := sorted(wanted - names):
        raise ConfigError(
            f"{unknown[0]} is not mirrored", hint=f"mirrored: {', '.join(sorted(names)) or 'none'}"
        )
    if show_history:
        _print_history([s for s in recorded if not wanted or str(_defined(s)) in wanted], as_json)
        return
    for mirror in mirrors:
        if wanted and f"{mirror.keyspace}.{mirror.table_name}" not in wanted:
            continue
        if as_json:
            print_json(_as_dict(mirror))
        else:
            Console().print(_table(mirror))


def _defined(step: Step) -> CqlTable:
    return step.entry.definition.table


def _print_history(found: list[Step], as_json: bool) -> None:
    if as_json:
        for step in found:
            print_json(step.as_dict())
        return
    head = ""
    for step in found:
        table = _defined(step)
        title = f"{table} ({table.id}) in the log of {step.entry.node}"
        if title != head:
            print(title)
            head = title
        written = (written_at(step.entry.definition.written_us) or "")[:19]
        print(f"  {step.entry.position} {written} {'; '.join(step.changes) or 'no column'}")


def _as_dict(mirror: Mirror) -> dict[str, Any]:
    return {
        "table": f"{mirror.keyspace}.{mirror.table_name}",
        "table_id": str(mirror.table_id),
        "kind": mirror.kind,
        "relation": mirror.relation,
        "joined_view": mirror.joined_view,
        "is_dropped": mirror.is_dropped,
        "columns": [
            {
                "cql_name": column.cql_name,
                "name": column.name,
                "kind": column.kind,
                "cql_type": str(column.cql_type),
                "pg_type": column.pg_type,
                "mask": column.mask,
                "is_dropped": column in mirror.retired,
            }
            for column in _columns(mirror)
        ],
    }


def _columns(mirror: Mirror) -> tuple[MirrorColumn, ...]:
    return (*mirror.key, *mirror.columns, *mirror.retired)


def _table(mirror: Mirror) -> Table:
    state = " (dropped in Cassandra)" if mirror.is_dropped else ""
    table = Table(
        title=f"{mirror.keyspace}.{mirror.table_name} {mirror.kind} -> {mirror.relation}{state}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("column", "kind", "CQL", "PostgreSQL"):
        table.add_column(heading)
    for column in _columns(mirror):
        kind = "dropped" if column in mirror.retired else column.kind.replace("_", " ")
        name = column.cql_name
        shown = name if name == column.name else f"{name} -> {column.name}"
        mask = f", masked by {column.mask}" if column.mask else ""
        table.add_row(shown, kind, str(column.cql_type), column.pg_type + mask)
    return table
