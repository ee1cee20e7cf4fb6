"""What a benchmark found, beside its reference and its goal: as a table, JSON and a plot.

It measures nothing itself.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of a measure's value, or of its ratio to the reference; inclusive."""

    of: Literal["ratio", "value"]
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, measured: float) -> bool:
        """Whether a value (or ratio) lies within the bounds."""
        return (self.at_least is None or measured >= self.at_least) and (
            self.at_most is None or measured <= self.at_most
        )

    def __str__(self) -> str:
        unit = "x" if self.of == "ratio" else ""
        bounds = [
            f"{sign} {_number(bound)}{unit}"
            for sign, bound in ((">=", self.at_least), ("<=", self.at_most))
            if bound is not None
        ]
        return ", ".join(bounds)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure: what was measured, in which unit, and what stands beside it from the same run."""

    what: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None
    goal: Goal | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Value by reference value, both in the same unit; None without a reference."""
        return self.value / self.reference_value if self.reference_value else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.goal is None:
            return None
        measured = self.ratio if self.goal.of == "ratio" else self.value
        if measured is None:
            raise ValueError(f"{self.what}: a goal for the ratio needs a reference value")
        return self.goal.is_met(measured)

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "reference": self.reference,
            "reference_value": self.reference_value,
            "ratio": self.ratio,
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and how it was measured."""

    command: str
    began_at: str
    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    load_before: float
    load_after: float

    def __str__(self) -> str:
        return (
            f"{self.command}\n{self.began_at}: {self.cpu}, {self.cores} cores, "
            f"{self.memory_gib:.0f} GiB, {self.system}, Python {self.python}; "
            f"load average {self.load_before:.1f} before, {self.load_after:.1f} after"
        )


def this_machine(command: str, began_at: datetime, load_before: float) -> Machine:
    """What a run ran on, told at its end; `load_before` is the load average at its beginning."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        command=command,
        began_at=began_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cpu=names[0] if names else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=pages / 2**30,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load_before=load_before,
        load_after=os.getloadavg()[0],
    )


def print_table(measures: Iterable[Measure], machine: Machine, console: Console) -> None:
    """The table for people, with the machine below it."""
    table = Table(title="cdc-tail benchmarks", title_justify="left")
    for name, justify in (
        ("what", "left"), ("measured", "right"), ("reference", "left"), ("its value", "right"),
        ("ratio", "right"), ("goal", "right"), ("met", "left"), ("note", "left"),
    ):  # fmt: skip
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for one in measures:
        table.add_row(*_cells(one))
    console.print(table)
    console.print(str(machine), highlight=False)


def markdown(measures: Sequence[Measure], machine: Machine) -> str:
    """The same table for a page."""
    lines = [
        "| what | measured | reference | its value | ratio | goal | met | note |",
        "|---|--:|---|--:|--:|--:|---|---|",
        *("| " + " | ".join(_cells(one)) + " |" for one in measures),
    ]
    return "\n".join(lines) + "\n\n```\n" + str(machine) + "\n```\n"


def write_json(measures: Iterable[Measure], machine: Machine, path: Path) -> None:
    """{"machine": {...}, "measures": [{...}, ...]}, see `Measure.as_dict`."""
    told = {name: getattr(machine, name) for name in machine.__slots__}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"machine": told, "measures": [m.as_dict() for m in measures]}, indent=1) + "\n"
    )


def write_plot(measures: Iterable[Measure], path: Path) -> None:
    """Every measure that has a goal, as a share of it on a logarithmic axis; needs matplotlib.

    The suffix of `path` (svg, png) tells the format. Right of the line is better than the goal.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    shown = [(one, share) for one in measures if (share := _share_of_goal(one)) is not None]
    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.32 * len(shown)), layout="constrained")
    axes.barh(
        [one.what for one, _ in shown],
        [share - 1 for _, share in shown],
        left=1,
        color=["#2a7f62" if one.met else "#c0392b" for one, _ in shown],
    )
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("times as good as the goal")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _share_of_goal(one: Measure) -> float | None:
    if one.goal is None:
        return None
    measured = one.ratio if one.goal.of == "ratio" else one.value
    if not measured or measured < 0:
        return None
    if one.goal.at_least is not None:
        return measured / one.goal.at_least
    return None if one.goal.at_most is None else one.goal.at_most / measured


def _cells(one: Measure) -> list[str]:
    return [
        one.what,
        f"{_number(one.value)} {one.unit}",
        one.reference,
        "" if one.reference_value is None else f"{_number(one.reference_value)} {one.unit}",
        "" if one.ratio is None else f"{_number(one.ratio)}x",
        "" if one.goal is None else str(one.goal),
        {None: "", True: "yes", False: "NO"}[one.met],
        one.note,
    ]


def _number(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
