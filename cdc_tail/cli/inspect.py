"""`cdc-tail inspect`."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, JsonOption, print_json
from cdc_tail.inspect import Filter, Inspector, describe_header, key_text, known_schema
from cdc_tail.keys import read_keys
from cdc_tail.recorded import recorded_segments


def inspect(
    paths: Annotated[
        list[Path],
        typer.Argument(help="Segments, or folders that hold segments.", metavar="PATH..."),
    ],
    schema: Annotated[
        Path | None,
        typer.Option(
            help="CREATE statements for tables whose definition is not in the segments.",
            metavar="FILE.cql",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Show only this table.", metavar="KEYSPACE.TABLE")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Show only this partition key; columns are joined with a colon."),
    ] = None,
    config_file: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what stands in commit-log segments; needs neither Cassandra nor PostgreSQL.

    With --json one line per mutation, in log order, as docs/inspect.md says. Segments may be open:
    what is not closed by a sync marker yet is not shown. Keys of encrypted ones come from the
    settings (`[encryption]`).

    **Examples**

    `cdc-tail inspect CommitLog-7-1795443948001.log --table shop.orders --key 42`

    `cdc-tail inspect cdc_raw --json | jq -r '.updates[].table' | sort | uniq -c`
    """
    # A reader that has seen enough (`| head`) ends us silently, as it does other filters.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    keys = read_keys(config.load(config_file))
    inspector = Inspector(known_schema(schema), keys)
    wanted = Filter(table=table, key=key)
    people = Console(highlight=False, soft_wrap=True)
    for file in recorded_segments(paths):
        if not as_json:
            people.print(Text(describe_header(file), style="bold"))
        for mutation in inspector.describe_segment(file.path, wanted):
            if as_json:
                print_json(mutation)
            else:
                people.print(_for_people(mutation))


def _for_people(mutation: dict[str, Any]) -> Text:
    text = Text(f"{mutation['position']}  {mutation['size_bytes']} bytes", style="dim")
    if "error" in mutation:
        text.append(f"\n  {mutation['error']['message']}", style="red")
    if "skipped" in mutation:
        text.append(f"  ({mutation['skipped']})")
    for update in mutation.get("updates", ()):
        text.append(
            f"\n  {update['keyspace']}.{update['table']}  {key_text(update['key'])}", style="cyan"
        )
        for name in ("partition_deletion", "static", "rows", "range_tombstones"):
            for part in _parts(update.get(name)):
                text.append(f"\n    {name.removesuffix('s')}  ", style="not dim")
                text.append(_flat(part), style="not dim")
    return text


def _parts(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _flat(value: Any) -> str:
    """A part of an update on one line: name=value, nested ones in brackets."""
    if isinstance(value, dict):
        return " ".join(f"{name}={_nested(inner)}" for name, inner in value.items() if inner != {})
    return str(value)


def _nested(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_flat(value)})"
    if isinstance(value, list):
        return f"[{', '.join(_nested(one) for one in value)}]"
    return str(value)
