"""`cdc-tail snapshot`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json, told
from cdc_tail.errors import CdcTailError
from cdc_tail.log import configure
from cdc_tail.settings import LogSettings

if TYPE_CHECKING:
    from cdc_tail.snapshot import Progress as Copied


def snapshot(
    table: Annotated[
        list[str] | None,
        typer.Option(help="Only this table; may be repeated.", metavar="KEYSPACE.TABLE"),
    ] = None,
    parallel: Annotated[int | None, typer.Option(help="Token ranges read at a time.")] = None,
    rate: Annotated[
        int | None, typer.Option(help="Read no more than so many rows a second; 0: no bound.")
    ] = None,
    consistency: Annotated[
        str | None, typer.Option(help="Consistency level of the reads.", metavar="LEVEL")
    ] = None,
    remove_missing: Annotated[
        bool,
        typer.Option(
            "--remove-missing",
            help="Then compare, and remove what the mirror has and Cassandra has not: after a gap"
            " in the log, deletions are missing, too.",
        ),
    ] = False,
    cassandra_host: Annotated[str | None, typer.Option(help="Node to ask.")] = None,
    cassandra_port: Annotated[int | None, typer.Option(help="Its CQL port.")] = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the rows that mirrored tables have in Cassandra, while `cdc-tail run` goes on.

    For tables that had rows before their changes were captured, and after a gap in the log. Every
    value keeps its own writetime, so newer changes win over the copy whenever they come. What was
    interrupted goes on where it was. Exits 0 when all is copied.

    **Examples**

    `cdc-tail snapshot --table shop.orders --parallel 8`

    `cdc-tail snapshot --table shop.orders --remove-missing`

    `cdc-tail snapshot --rate 5000 --consistency ALL --json`
    """
    # The driver takes a while to load; other commands do without.
    from cdc_tail.snapshot import Snapshots

    settings = config.load(
        config_file,
        options={
            "cassandra.host": cassandra_host,
            "cassandra.port": cassandra_port,
            "postgres.dsn": postgres,
            "snapshot.parallel": parallel,
            "snapshot.max_rows_per_second": rate,
            "snapshot.consistency": consistency,
        },
    )
    configure(LogSettings(level="warning", format=settings.log.format))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("ranges, {task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    busy: list[str] = []
    refused = 0
    with Progress(*columns, console=told, disable=not told.is_terminal) as progress:
        task = progress.add_task("connecting", total=None, rows=0)

        def show(now: Copied) -> None:
            progress.update(
                task,
                description=now.table,
                completed=now.ranges_done,
                total=now.ranges,
                rows=now.rows,
            )

        with Snapshots(settings, show) as work:
            for one in work.tables(table or ()):
                done = work.copy(one, remove_missing=remove_missing)
                if done is None:
                    busy.append(str(one))
                    continue
                refused += done.refused
                if as_json:
                    print_json(dataclasses.asdict(done))
                else:
                    _tell(done)
    if busy:
        raise CdcTailError(
            f"{', '.join(busy)}: another process is copying it",
            hint="wait for it, or stop it and run this again: it goes on where that was",
        )
    if refused:
        told.print(f"{refused:,} rows are refused: see cdc_tail.dead_letter")
        raise typer.Exit(23)


def _tell(done: Copied) -> None:
    applied = done.applied
    print(
        f"{done.table}: {done.rows:,} rows read{' (with what was read before)' * done.is_resumed};"
        f" {applied.inserted:,} inserted, {applied.updated:,} updated,"
        f" {applied.unchanged:,} unchanged, {done.repaired:,} set right"
    )
