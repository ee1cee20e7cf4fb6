"""The golden cases that can be recorded: every public function of modules in `tests/tools/cases`.

A case takes a driver session whose keyspace is its own; it does DDL and DML through it. Its name is
the function's. Without a decorator it is recorded on every series with default options; `recorded`
narrows that, and may be repeated for variants, or for series whose settings have other names:

    @recorded(series=("5.0",), storage_compatibility_mode="NONE", variant="v8")
    def scalars(session): ...

A case that drops a table says what the table held last by yielding its name before the drop.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.jars import RELEASES
from tests.tools import cases

ALL_SERIES = tuple(RELEASES)
Run = Callable[[Any], Iterator[str] | None]


@dataclass(frozen=True)
class Case:
    """One case to record: a function, the series it is for, and the options of its node.

    `replicas` is the size of the cluster; the log of the first node is recorded.
    """

    name: str
    run: Run
    series: tuple[str, ...]
    options: NodeOptions
    replicas: int = 1


def recorded(
    *,
    series: tuple[str, ...] = ALL_SERIES,
    variant: str = "",
    replicas: int = 1,
    **node_options: Any,
) -> Callable[[Run], Run]:
    """Record the case on these series with these NodeOptions, as `<name>_<variant>`."""

    def mark(run: Run) -> Run:
        name = run.__name__ + (f"_{variant}" if variant else "")
        options = NodeOptions(**({"commitlog_segment_size_mib": 1} | node_options))
        vars(run).setdefault("variants", []).append(Case(name, run, series, options, replicas))
        return run

    return mark


def all_cases() -> list[Case]:
    """Every case; a name may come more than once, for different series."""
    found: list[Case] = []
    taken: set[tuple[str, str]] = set()
    for module_info in pkgutil.iter_modules(cases.__path__):
        module = importlib.import_module(f"{cases.__name__}.{module_info.name}")
        for name, run in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("_") or run.__module__ != module.__name__:
                continue
            if "variants" not in vars(run):
                recorded()(run)
            for case in vars(run)["variants"]:
                for series in case.series:
                    if (case.name, series) in taken:
                        raise ValueError(f"two cases are called {case.name} on {series}")
                    taken.add((case.name, series))
                found.append(case)
    return found
