"""How the demo looks: steps with a bar and their time, and the tables at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:  # its packages are optional
    from cdc_tail.demo import DemoResult

BAR_WIDTH = 24
# Where no terminal can redraw a bar, a line tells from time to time.
LINE_EVERY_SECONDS = 10.0


class DemoScreen:
    """Steps on a terminal with spinner and bar; plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._line_at = 0.0

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """A step is under way while the `with` block runs."""
        began = self._line_at = time.monotonic()
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(BAR_WIDTH),
            TextColumn("{task.fields[detail]}", style="dim"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        ) as self._progress:
            self._progress.add_task(text, total=None, detail="")
            yield
        self._progress = None
        self._console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]")

    def progress(self, done: int, total: int | None, detail: str) -> None:
        """How far the present step is."""
        said = f"{done:,} {detail}" if total is None else f"{done:,} of {total:,} {detail}"
        if self._progress is None:
            return
        (task,) = self._progress.task_ids or (None,)
        if task is not None:
            self._progress.update(task, completed=done, total=total, detail=said)
        elif time.monotonic() - self._line_at >= LINE_EVERY_SECONDS:
            self._line_at = time.monotonic()
            self._console.print(f"  {said}")

    def tell(self, text: str) -> None:
        """Something to be read."""
        for line in text.splitlines():
            self._console.print(f"  {line}", style="dim", markup=False, soft_wrap=True)


def show_result(console: Console, result: DemoResult, *, keeps_running: bool) -> None:
    """Print the tables of a finished demo."""
    console.print()
    console.print(_tables(result))
    console.print(_figures(result))
    where = dict(result.where)
    if keeps_running:
        where["stop it"] = result.stop_command
        console.print("\n[bold]Where to look:[/]")
    else:
        console.print("\nWhere it was; with [bold]KEEP=1[/] it stays, to look around:")
    for name, place in where.items():
        # Not wrapped, so that it can be copied.
        console.print(f"  {name:12}{place}", markup=False, highlight=False, soft_wrap=True)


def _tables(result: DemoResult) -> Table:
    verdict = "equal" if result.is_equal else "NOT equal"
    table = Table(
        title=f"PostgreSQL and {result.source}: {verdict}, row by row", title_justify="left"
    )
    table.add_column("mirror")
    for name in ("inserts", "updates", "deletes", "rows"):
        table.add_column(name, justify="right")
    table.add_column("compared")
    for one in sorted(result.tables, key=lambda one: one.relation):
        relation = one.relation.replace('"', "")
        name = relation.rpartition(".")[2]
        counts = (result.writes[name, kind] for kind in ("insert", "update", "delete"))
        table.add_row(
            relation,
            *(f"{count:,}" if count else "·" for count in counts),
            f"{one.rows:,}",
            f"[red]{one.differing:,} differ[/]" if one.differing else "[green]equal[/]",
        )
    return table


def _figures(result: DemoResult) -> Table:
    figures = Table.grid(padding=(0, 2))
    figures.add_row(
        "events",
        f"{result.events:,} applied in {result.seconds:.1f} s: {result.events_per_second:,.0f}/s"
        + ("" if result.recorded else ", as fast as they were written"),
    )
    if result.recorded:
        figures.add_row("write to visible", "only a running Cassandra can tell")
    else:
        shares = ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)
        figures.add_row(
            "write to visible",
            ", ".join(f"{name} {1000 * result.latency_seconds(s):.0f} ms" for name, s in shares)
            + f" ({len(result.latencies_seconds):,} writes looked up)",
        )
    figures.add_row("on the way", "a column was added to customers half-way")
    if result.never_seen:
        figures.add_row("[red]lost[/]", f"{result.never_seen:,} writes did not become visible")
    if result.failures:
        figures.add_row("[red]refused[/]", f"{result.failures:,} writes, by Cassandra")
    return figures
