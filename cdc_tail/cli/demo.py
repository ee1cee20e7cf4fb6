"""`cdc-tail demo`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from cdc_tail.cli.common import JsonOption, print_json, told
from cdc_tail.errors import ConfigError


def demo(
    series: Annotated[
        str, typer.Option("--cassandra", help="Cassandra's series.", metavar="4.0|4.1|5.0")
    ] = "5.0",
    writes: Annotated[int, typer.Option(help="How many writes to send.", min=1)] = 5_000,
    rate: Annotated[float, typer.Option(help="Writes per second.", min=1)] = 500,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", envvar="KEEP", help="Leave everything running afterwards, to look around."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the whole way of the data on this machine: Cassandra, commit log, PostgreSQL.

    Starts a real Cassandra node and a real PostgreSQL (no Docker, no root), creates a small shop,
    writes to it, tails it live, and compares every row. The first run fetches Cassandra's jars.
    Everything is stopped and removed at the end and on Ctrl-C, unless --keep (or KEEP=1) is given.
    Exits 0 when the mirror equals Cassandra.

    **Examples**

    `cdc-tail demo`

    `cdc-tail demo --writes 20000 --rate 2000 --keep`
    """
    try:
        from cdc_tail.demo import Demo, DemoOptions
    except ImportError as error:
        raise ConfigError(
            f"the demo needs packages that are not installed: {error.name}",
            hint="pip install 'cdc-tail[demo]'",
        ) from error
    # A terminated demo stops its servers, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    view = RichView(told)
    result = Demo(
        DemoOptions(series=series, writes=writes, writes_per_second=rate, keep_running=keep), view
    ).run()
    if as_json:
        print_json(_as_dict(result))
    else:
        _tell(Console(), result, keep=keep)
    if result.differing or result.never_seen:
        raise typer.Exit(1)


class RichView:
    """Steps with a spinner and their time, on a terminal; plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status: Status | None = None
        self._text = ""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step is under way while the `with` block runs."""
        began = time.monotonic()
        self._text = text
        with self._console.status(text) as self._status:
            yield
        self._status = None
        self._console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]")

    def detail(self, text: str) -> None:
        """What the present step is doing."""
        if self._status is not None:
            self._status.update(f"{self._text} [dim]{text}[/]")

    def traffic(self, acknowledged: int, of: int, applied: int, rate: float) -> None:
        """How far the traffic is."""
        self.detail(f"{acknowledged:,} of {of:,} written, {applied:,} applied, {rate:,.0f}/s")


def _tell(console: Console, result: Any, *, keep: bool) -> None:
    table = Table(title="Mirror = Cassandra, row by row", title_justify="left")
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("")
    for name, rows, differing in result.tables:
        verdict = f"[red]{differing:,} differ[/]" if differing else "[green]equal[/]"
        table.add_row(name, f"{rows:,}", verdict)
    console.print(table)
    report = result.report
    writes = sum(report.writes.values())
    console.print(
        f"{writes:,} writes at {report.writes_per_second:,.0f}/s"
        f" ({', '.join(f'{n:,} {kind}s' for kind, n in _by_kind(report).items())}),"
        " a column added half-way"
    )
    console.print(
        "write to visible: "
        + ", ".join(
            f"p{100 * share:g} {1000 * result.percentile(share):.0f} ms"
            for share in (0.5, 0.9, 0.99, 1.0)
        )
        + f" ({len(result.latencies_seconds):,} writes looked up)"
    )
    if result.never_seen:
        console.print(f"[red]{result.never_seen:,} writes did not become visible[/]")
    if keep:
        console.print("\nStill running:")
        for name, where in result.where.items():
            console.print(f"  {name:12} {where}", highlight=False, soft_wrap=True)
        console.print(f"  {'stop it':12} {result.stop_command}", highlight=False, soft_wrap=True)
    elif not os.environ.get("KEEP"):
        console.print("[dim]Run it with KEEP=1 to look around afterwards.[/]")


def _by_kind(report: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for (_, kind), count in report.writes.items():
        found[kind] = found.get(kind, 0) + count
    return found


def _as_dict(result: Any) -> dict[str, Any]:
    return {
        "tables": [
            {"relation": name, "rows": rows, "differing": differing}
            for name, rows, differing in result.tables
        ],
        "writes": sum(result.report.writes.values()),
        "writes_per_second": result.report.writes_per_second,
        "write_to_visible_seconds": {
            f"p{100 * share:g}": result.percentile(share) for share in (0.5, 0.9, 0.99, 1.0)
        },
        "never_seen": result.never_seen,
        "drain_seconds": result.drain_seconds,
        "where": result.where,
    }
