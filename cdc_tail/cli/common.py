"""What commands share: options, and how they print; decides nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cdc_tail.errors import CdcTailError

# What is data goes to stdout, what is told to people goes to stderr: pipes stay clean.
told = Console(stderr=True, highlight=False)

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Settings file (TOML). Default: the one named by CDC_TAIL_CONFIG, if any.",
        metavar="FILE",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")
]
PostgresOption = Annotated[
    str | None,
    typer.Option(
        "--postgres",
        help="Database of the mirror, as postgresql://user:password@host:port/name.",
        metavar="DSN",
    ),
]


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def tell_error(error: CdcTailError) -> None:
    """What went wrong, where, and what to do next."""
    told.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
    if error.hint:
        told.print(f"[bold]next:[/] {_plain(error.hint)}", soft_wrap=True)


def _plain(text: str) -> str:
    """The text without meaning for rich's markup."""
    return text.replace("[", r"\[")
