"""`cdc-tail replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json, told
from cdc_tail.log import configure
from cdc_tail.replay import Outcome, Replay
from cdc_tail.settings import LogSettings


def replay(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Segments, or folders that hold segments.", metavar="PATH..."),
    ],
    schema: Annotated[
        Path | None,
        typer.Option(
            help="CREATE statements as DESCRIBE KEYSPACE prints them, for tables whose definition"
            " is not in the segments. `WITH ID = ...` tells whose mutations are whose.",
            metavar="FILE.cql",
        ),
    ] = None,
    postgres: PostgresOption = None,
    node: Annotated[
        str, typer.Option(help="Name under which what can't be applied is kept.")
    ] = "replay",
    skip_corrupt: Annotated[
        bool, typer.Option(help="Pass over damaged sections and count them, instead of stopping.")
    ] = False,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply recorded segments to a database, in segment order, without a Cassandra node.

    Safe to run twice, also beside a running `cdc-tail run`: a change that the mirror knows already
    changes nothing. Exits 0 when everything is applied; otherwise it tells what is missing and why.

    **Examples**

    `cdc-tail replay /backup/cdc_raw --schema shop.cql --postgres postgresql://u:p@db/mirror`

    `cdc-tail replay CommitLog-7-1795443948001.log --postgres "dbname=mirror host=/tmp"`
    """
    settings = config.load(
        config_file,
        options={
            "node": node,
            "postgres.dsn": postgres,
            "watch.skip_corrupt": skip_corrupt or None,
        },
    )
    configure(LogSettings(level="warning", format=settings.log.format))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[mutations]:,} mutations"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=told, disable=not told.is_terminal) as progress:
        task = progress.add_task("replaying", total=None, mutations=0)
        work = Replay(
            settings,
            paths,
            schema,
            lambda now: progress.update(
                task, completed=now.size_bytes, mutations=now.mutations, refresh=False
            ),
        )
        progress.update(task, total=work.total_bytes)
        outcome = work.run()
        progress.update(task, completed=work.total_bytes)
    if as_json:
        print_json(outcome.as_dict())
    else:
        _tell(outcome)
    shortfall = outcome.shortfall()
    if shortfall is not None:
        raise shortfall


def _tell(outcome: Outcome) -> None:
    applied = outcome.applied
    print(f"{outcome.mutations:,} mutations of {len(outcome.tables)} tables applied", end="")
    print(f" from {outcome.segments:,} segments")
    print(
        f"{applied.inserted:,} rows inserted, {applied.updated:,} updated,"
        f" {applied.deleted:,} deleted, {applied.unchanged:,} unchanged"
    )
