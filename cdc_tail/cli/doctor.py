"""`cdc-tail doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json
from cdc_tail.doctor import Check, examine
from cdc_tail.log import configure
from cdc_tail.settings import LogSettings

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(
    cdc_raw: Annotated[
        Path | None, typer.Option(help="The node's cdc_raw_directory.", metavar="FOLDER")
    ] = None,
    cassandra_host: Annotated[
        str | None, typer.Option(help="Address of the node's CQL port.")
    ] = None,
    cassandra_port: Annotated[int | None, typer.Option(help="The node's CQL port.")] = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the node, the folder, PostgreSQL and Vault, and say what to change.

    It changes nothing. Exits 0 if `run` can start, 1 if something failed; warnings are no failures.
    With `--json`: `{"ok": bool, "checks": [{"name", "verdict", "found", "change"}]}`, where the
    verdict is ok, warning or failed.

    **Examples**

    `cdc-tail doctor`

    `cdc-tail doctor --json | jq '.checks[] | select(.verdict != "ok")'`
    """
    configure(LogSettings(level="error"))
    settings = config.load(
        config_file,
        options={
            "cassandra.cdc_raw": cdc_raw,
            "cassandra.host": cassandra_host,
            "cassandra.port": cassandra_port,
            "postgres.dsn": postgres,
        },
    )
    checks = list(examine(settings))
    is_ok = all(one.verdict != "failed" for one in checks)
    if as_json:
        print_json({"ok": is_ok, "checks": [one.as_dict() for one in checks]})
    else:
        Console().print(_table(checks))
    if not is_ok:
        raise typer.Exit(1)


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for one in checks:
        found = Text(one.found)
        if one.change:
            found.append(f"\n{one.change}", style="italic")
        table.add_row(Text(one.verdict, style=_STYLES[one.verdict]), one.name, found)
    return table
