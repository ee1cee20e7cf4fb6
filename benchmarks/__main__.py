"""`python -m benchmarks [TOPIC ...]`: measure, show the table, write JSON and plot.

A topic is a module of this folder that has `measure(context: Context) -> list[Measure]`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import benchmarks
from benchmarks.context import Context
from benchmarks.report import (
    Measure,
    markdown,
    print_table,
    this_machine,
    write_json,
    write_plot,
)

# Those that others are compared with come first; what is not named here follows by name.
FIRST = ("decode", "apply", "catch_up", "latency")


def topics() -> dict[str, Callable[[Context], list[Measure]]]:
    """Every topic by its name, in the order of a full run."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    names.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    found = {}
    for name in names:
        if name == "__main__":
            continue
        measure = getattr(importlib.import_module(f"benchmarks.{name}"), "measure", None)
        if measure is not None:
            found[name] = measure
    return found


def main(
    names: Annotated[list[str] | None, typer.Argument(help="Topics; all by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes, rough figures.")] = False,
    folder: Annotated[Path, typer.Option(help="Where results are written.")] = Path(
        "benchmarks/results"
    ),
    known: Annotated[bool, typer.Option("--list", help="Name the topics and end.")] = False,
) -> None:
    """Measure side by side, in one run, and write results.json, results.md and results.svg."""
    console = Console()
    found = topics()
    if known:
        console.print("\n".join(found))
        return
    unknown = set(names or ()) - found.keys()
    if unknown:
        raise typer.BadParameter(f"no such topic: {', '.join(sorted(unknown))}; --list names them")
    began_at, load = datetime.now(UTC), os.getloadavg()[0]
    measures: list[Measure] = []
    command = "python -m benchmarks " + " ".join(sys.argv[1:])
    with Context(quick, console) as context:
        for name, measure in found.items():
            if not names or name in names:
                console.print(f"[bold]{name}")
                measures += measure(context)
                # After every topic, so that what was measured is not lost with a later one.
                machine = this_machine(command.strip(), began_at, load)
                write_json(measures, machine, folder / "results.json")
    machine = this_machine(command.strip(), began_at, load)
    print_table(measures, machine, console)
    write_json(measures, machine, folder / "results.json")
    (folder / "results.md").write_text(markdown(measures, machine))
    write_plot(measures, folder / "results.svg")


if __name__ == "__main__":
    typer.run(main)
