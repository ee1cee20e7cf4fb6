"""The places where tests end the process: each is listed and in the code once."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cdc_tail.failpoints import FAILPOINTS, VARIABLE, point

ROOT = Path(__file__).parents[3]


def places_in_the_code() -> list[str]:
    return [
        node.args[0].value
        for package in ("cdc_tail", "sinks", "checkpoints", "parsers")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "point"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]


def test_each_listed_place_is_in_the_code_once() -> None:
    assert sorted(places_in_the_code()) == sorted(FAILPOINTS)


def visiting(armed: str, *places: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that visits these places, and prints what it came to."""
    code = f"from cdc_tail.failpoints import point\nfor p in {places}: point(p); print(p)"
    return subprocess.run(
        [sys.executable, "-u", "-c", code],
        env=os.environ | {VARIABLE: armed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_process_ends_at_the_named_visit() -> None:
    done = visiting("sink.locked@2", "sink.read", "sink.locked", "sink.locked", "sink.read")
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == ["sink.read", "sink.locked"]


@pytest.mark.parametrize("armed", ["sink.loked", "sink.locked=explode", "sink.locked@x"])
def test_a_name_that_is_no_place_is_refused(armed: str) -> None:
    done = visiting(armed)
    assert done.returncode == 1 and "ValueError" in done.stderr


def test_without_the_variable_it_is_an_empty_function() -> None:
    assert VARIABLE not in os.environ
    assert point.__code__.co_names == () and not point.__code__.co_freevars
