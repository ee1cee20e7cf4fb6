"""`cdc-tail verify`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json, told
from cdc_tail.database import Database
from cdc_tail.log import configure
from cdc_tail.settings import LogSettings


def verify(
    table: Annotated[
        list[str] | None,
        typer.Option(help="Only this table; may be repeated.", metavar="KEYSPACE.TABLE"),
    ] = None,
    cassandra_host: Annotated[str | None, typer.Option(help="Node to ask.")] = None,
    cassandra_port: Annotated[int | None, typer.Option(help="Its CQL port.")] = None,
    postgres: PostgresOption = None,
    settle_seconds: Annotated[
        float,
        typer.Option(help="How long a differing row may take to become equal, while changes flow."),
    ] = 15,
    repair: Annotated[
        bool, typer.Option("--repair", help="Write the rows that differ as Cassandra has them.")
    ] = False,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare Cassandra with the mirror while both are in use.

    Reads every row of every mirrored table; PostgreSQL sums up its own, and only where sums differ
    rows are compared one by one. Prints the rows that differ by key: missing, extra, or with other
    values; with --repair they are written anew, else nothing is changed. Exits 0 when the mirror
    equals Cassandra (or does so now), 1 when it does not.

    **Examples**

    `cdc-tail verify --table shop.orders --table shop.customers`

    `cdc-tail verify --table shop.orders --repair`

    `cdc-tail verify --json | jq 'select(.kind == "missing") | .key'`
    """
    # The driver takes a while to load; other commands do without.
    from cdc_tail.cluster import connect
    from cdc_tail.verify import Verifier

    settings = config.load(
        config_file,
        options={
            "cassandra.host": cassandra_host,
            "cassandra.port": cassandra_port,
            "postgres.dsn": postgres,
        },
    )
    configure(LogSettings(level="warning", format=settings.log.format))
    differing = rows = repaired = 0
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed:,} rows"))
    with (
        Database(settings).connect() as conn,
        connect(settings.cassandra) as session,
        Progress(
            *columns, TimeElapsedColumn(), console=told, disable=not told.is_terminal
        ) as progress,
    ):
        task = progress.add_task("comparing", total=None)
        verifier = Verifier(
            session,
            conn,
            settle_seconds=settle_seconds,
            consistency=settings.snapshot.consistency,
            repair=repair,
            mask_key=settings.mirror.mask_bytes(),
            on_rows=lambda more: progress.advance(task, more),
        )
        for mirror in verifier.mirrors(table or ()):
            progress.update(task, description=f"{mirror.keyspace}.{mirror.table_name}")
            result = verifier.verify(mirror)
            rows += result.rows
            differing += len(result.differences)
            repaired += result.repaired
            for one in result.differences:
                if as_json:
                    print_json(one.as_dict())
                else:
                    print(one)
            if not as_json:
                found = f"{len(result.differences):,} differ" if result.differences else "equal"
                print(f"{result.table} -> {result.relation}: {result.rows:,} rows, {found}")
    if differing:
        told.print(f"{differing:,} of {rows:,} rows differ, {repaired:,} are repaired")
    if repaired < differing:
        raise typer.Exit(1)
