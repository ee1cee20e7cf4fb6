"""`cdc-tail dlq`: list, show, retry and discard what was set aside."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, PostgresOption, print_json, told
from cdc_tail.errors import ConfigError
from cdc_tail.inspect import key_text
from cdc_tail.letters import Letters, Settled, wanted_from
from cdc_tail.log import configure
from cdc_tail.settings import LogSettings

app = typer.Typer(
    help="Look through the mutations that were set aside; apply them again, or give them up.",
    no_args_is_help=True,
)

_CELL_CHARACTERS = 120

SchemaOption = Annotated[
    Path | None,
    typer.Option(
        help="CREATE statements of tables that neither PostgreSQL nor the node knows, as `replay`"
        " takes them.",
        metavar="FILE.cql",
    ),
]
NodeOption = Annotated[
    str | None, typer.Option(help="Node whose records to use. Default: from the settings.")
]
TableOption = Annotated[
    str | None, typer.Option(help="Only of this table.", metavar="KEYSPACE.TABLE")
]
ReasonOption = Annotated[str | None, typer.Option(help="Only where the reason holds this text.")]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(help="Records, as `dlq list` names them.", metavar="ID...")
]
AllOption = Annotated[
    bool, typer.Option("--all", help="All that are open, or that --table and --reason leave.")
]


def _letters(
    config_file: Path | None,
    node: str | None,
    postgres: str | None,
    schema: Path | None = None,
) -> Letters:
    configure(LogSettings(level="warning"))
    settings = config.load(config_file, options={"node": node, "postgres.dsn": postgres})
    return Letters(settings, schema)


@app.command("list")
def list_(
    state: Annotated[
        str,
        typer.Option(
            help="open: to be settled; parked: waits for its table; or what was settled.",
            metavar="open|parked|retried|discarded",
        ),
    ] = "open",
    table: TableOption = None,
    reason: ReasonOption = None,
    after: Annotated[
        str | None, typer.Option(help="Go on behind this record: `next` of the page before.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Most records to list.", min=1, max=999)] = 100,
    node: NodeOption = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was set aside, oldest first.

    **Examples**

    `cdc-tail dlq list --table shop.orders`

    `cdc-tail dlq list --json | jq -r '.records[].reason' | sort | uniq -c`
    """
    wanted = wanted_from(state, table, reason)
    page = _letters(config_file, node, postgres).page(wanted, after=after, limit=limit)
    if as_json:
        print_json(page)
        return
    shown = Table(box=None, pad_edge=False)
    for name in ("id", "table", "key", "reason", "bytes", "seen", "last seen"):
        shown.add_column(name, overflow="fold")
    for one in page["records"]:
        shown.add_row(*map(_cell, _row(one)))
    Console().print(shown)
    if page["next"]:
        told.print(f"more: --after {page['next']}")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="The record.", metavar="ID")],
    node: NodeOption = None,
    schema: SchemaOption = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one record with its mutation decoded; with --json its raw bytes, too."""
    found = _letters(config_file, node, postgres, schema).show(name)
    if as_json:
        print_json(found)
        return
    shown = Table(show_header=False, box=None, pad_edge=False)
    shown.add_column(style="dim")
    shown.add_column(overflow="fold")
    for field, value in found.items():
        if value is not None and field not in ("raw", "mutation"):
            text = key_text(value) if isinstance(value, dict) else str(value)
            shown.add_row(field.replace("_", " "), _cell(text))
    for number, update in enumerate(found["mutation"].get("updates", ()), start=1):
        for field, value in update.items():
            shown.add_row(f"update {number} {field.replace('_', ' ')}", _cell(str(value)))
    if "error" in found["mutation"]:
        shown.add_row("not decodable", _cell(found["mutation"]["error"]["message"]))
    Console().print(shown)


@app.command("retry")
def retry(
    names: IdsArgument = None,
    every: AllOption = False,
    table: TableOption = None,
    reason: ReasonOption = None,
    node: NodeOption = None,
    schema: SchemaOption = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Apply records again, with the schema and the settings of today; safe beside `cdc-tail run`.

    Exits 0 when all of them are applied, 23 otherwise: what is refused again stays open.

    **Examples**

    `cdc-tail dlq retry 17 18`

    `cdc-tail dlq retry --all --reason "check constraint"`
    """
    letters = _letters(config_file, node, postgres, schema)
    chosen = _chosen(letters, names, every=every, table=table, reason=reason)
    _finish(letters.retry(chosen), as_json=as_json)


@app.command("discard")
def discard(
    names: IdsArgument = None,
    every: AllOption = False,
    table: TableOption = None,
    reason: ReasonOption = None,
    node: NodeOption = None,
    postgres: PostgresOption = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give records up: they stay as a trace, with their bytes, and are not applied any more."""
    letters = _letters(config_file, node, postgres)
    chosen = _chosen(letters, names, every=every, table=table, reason=reason)
    _finish(letters.discard(chosen), as_json=as_json)


def _chosen(
    letters: Letters, names: list[str] | None, *, every: bool, table: str | None, reason: str | None
) -> list[str]:
    if bool(names) == every:
        raise ConfigError("name the records, or give --all", hint="`cdc-tail dlq list` shows them")
    if names:
        if table is not None or reason is not None:
            raise ConfigError("--table and --reason choose among --all", hint="leave them out")
        return list(dict.fromkeys(names))
    return letters.names(wanted_from("open", table, reason))


def _finish(settled: list[Settled], *, as_json: bool) -> None:
    if as_json:
        print_json({"results": [one.as_dict() for one in settled]})
    else:
        for one in settled:
            line = Text(f"{_plain(one.name)}  {one.result.replace('_', ' ')}")
            if one.reason is not None:
                line.append(f"  {_plain(one.reason)}", style="dim")
            Console(soft_wrap=True, highlight=False).print(line)
        if not settled:
            told.print("there are none")
    if not all(one.is_done for one in settled):
        raise typer.Exit(23)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    key = one["key"]
    return (
        one["id"],
        f"{one['keyspace']}.{one['table']}" if one["table"] else str(one["table_id"] or ""),
        key_text(key) if isinstance(key, dict) else key or "",
        one["reason"] or "waits for its table's definition",
        f"{one['size_bytes']:,}",
        str(one["seen"]),
        one["last_seen"][:19],
    )


def _cell(text: str) -> Text:
    plain = _plain(text[:_CELL_CHARACTERS])
    return Text(plain + ("…" if len(text) > _CELL_CHARACTERS else ""))


def _plain(text: str) -> str:
    """Without what moves a terminal's cursor or turns its text around."""
    return "".join(
        one if unicodedata.category(one)[0] != "C" else f"\\u{ord(one):04x}" for one in text
    )
