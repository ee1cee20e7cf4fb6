"""`cdc-tail status`."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json
from cdc_tail.settings import Settings
from cdc_tail.status_source import ask_database, ask_process, status_url

_ALIVE = ("live", "catching_up")
_WATCH_SECONDS: Final = 1.0
_ASKED_AT_ONCE: Final = 16
# What is shown of each of several processes, and its heading.
_COMPARED: Final = {
    "oldest_unapplied_age_seconds": "age s",
    "mutations_per_second": "per s",
    "mutations_total": "mutations",
    "backlog_segments": "segments behind",
    "dead_letters": "dead letters",
    "parked": "parked",
    "cdc_raw_full_in_seconds": "full in s",
}


def status(
    url: Annotated[
        list[str] | None,
        typer.Option(
            help="Address of the process; several times for several processes. Default: from the"
            " settings.",
            metavar="http://HOST:PORT",
        ),
    ] = None,
    node: Annotated[str | None, typer.Option(help="Node to look up in the database.")] = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every second, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the process on this node is doing: position, backlog, errors, time left.

    Asks the running process; if none answers, shows what the database knows of the node. Of
    several processes it shows one line each, the state being `no_answer` where none answers. Exits
    0 while changes flow everywhere, 1 otherwise.

    **Examples**

    `cdc-tail status --watch`

    `cdc-tail status --url http://cassandra-1:8080 --url http://cassandra-2:8080`

    `cdc-tail status --json | jq .oldest_unapplied_age_seconds`
    """
    settings = config.load(config_file, options={"node": node, "postgres.dsn": postgres})
    urls = [one.rstrip("/") for one in url or [status_url(settings)]]
    found = _ask(settings, urls)
    if not watch:
        _show(found, as_json=as_json)
    elif as_json:
        while True:
            _show(found, as_json=True)
            sys.stdout.flush()
            time.sleep(_WATCH_SECONDS)
            found = _ask(settings, urls)
    else:
        with Live(_rendered(found), auto_refresh=False, screen=sys.stdout.isatty()) as live:
            while True:
                time.sleep(_WATCH_SECONDS)
                live.update(_rendered(_ask(settings, urls)), refresh=True)
    if any(one["state"] not in _ALIVE for one in found):
        raise typer.Exit(1)


def _ask(settings: Settings, urls: list[str]) -> list[dict[str, Any]]:
    """One status per address; of a single one that does not answer, what the database knows."""
    if len(urls) == 1:
        answer = ask_process(urls[0], settings.http.tls)
        return [answer or ask_database(settings, urls[0]).as_dict()]
    with ThreadPoolExecutor(min(len(urls), _ASKED_AT_ONCE)) as pool:
        answers = pool.map(lambda one: ask_process(one, settings.http.tls), urls)
        return [
            answer or {"node": one, "state": "no_answer"}
            for one, answer in zip(urls, answers, strict=True)
        ]


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            print_json(one)
    else:
        Console().print(_rendered(found))


def _rendered(found: list[dict[str, Any]]) -> Table:
    return _table(found[0]) if len(found) == 1 else _lines(found)


def _lines(found: list[dict[str, Any]]) -> Table:
    """One line per process: what one compares."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("node", "state", *_COMPARED.values()):
        table.add_column(name, justify="left" if name in ("node", "state") else "right")
    for one in found:
        values = (one.get(name) for name in _COMPARED)
        shown = ["-" if value is None else f"{value:,}" for value in values]
        style = "" if one["state"] in _ALIVE else "bold red"
        table.add_row(Text(str(one["node"])), Text(one["state"], style), *shown)
    return table


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
