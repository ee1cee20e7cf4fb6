"""`cdc-tail status`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json
from cdc_tail.status_source import ask_database, ask_process, status_url

_ALIVE = ("live", "catching_up")


def status(
    url: Annotated[
        str | None,
        typer.Option(
            help="Address of the process. Default: from the settings.", metavar="http://HOST:PORT"
        ),
    ] = None,
    node: Annotated[str | None, typer.Option(help="Node to look up in the database.")] = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the process on this node is doing: position, backlog, errors, time left.

    Asks the running process; if none answers, shows what the database knows of the node. Exits 0
    while changes flow, 1 otherwise.

    **Examples**

    `cdc-tail status`

    `cdc-tail status --json | jq .oldest_unapplied_age_seconds`
    """
    settings = config.load(config_file, options={"node": node, "postgres.dsn": postgres})
    found = ask_process((url or status_url(settings)).rstrip("/"), settings.http.tls)
    if found is None:
        found = ask_database(settings).as_dict()
    if as_json:
        print_json(found)
    else:
        Console().print(_table(found))
    if found["state"] not in _ALIVE:
        raise typer.Exit(1)


def _table(found: dict[str, Any]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    for name, value in found.items():
        if value is None or value == []:
            continue
        shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        if isinstance(value, dict):
            shown = "\n".join(f"{key}: {inner}" for key, inner in value.items())
        elif isinstance(value, int) and not isinstance(value, bool) and name != "pid":
            shown = f"{value:,}"
        table.add_row(name.replace("_", " "), shown)
    return table
