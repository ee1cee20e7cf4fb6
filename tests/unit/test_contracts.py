"""The packages import one way only: cdc_tail, sinks, checkpoints, parsers, and two leaves.

Compiled modules are read as text: tools that follow imports don't see into a .pyx.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ORDER = ("parsers", "checkpoints", "sinks", "cdc_tail")
"""Inner to outer: a package imports those before it, and itself."""
LEAVES = {"cdc_tail.errors", "cdc_tail.failpoints"}
"""What everybody may import: they import nothing of ours, nor does their package."""

_STATEMENT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w., ]+))", re.MULTILINE)


def sources(*suffixes: str) -> list[Path]:
    return [
        path
        for package in ORDER
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in suffixes
    ]


def imported(path: Path) -> set[str]:
    """The dotted names of the modules that a source file imports, wherever in it."""
    text = path.read_text()
    if path.suffix == ".py":
        names = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                names.add(node.module or "")
        return names
    found = set()
    for origin, listed in _STATEMENT.findall(text):
        names_in_list = origin or listed
        found |= {name.split(" as ")[0].strip() for name in names_in_list.split(",")}
    return found


def upward(path: Path) -> set[str]:
    """The imports that the package of this file may not have."""
    package = path.relative_to(ROOT).parts[0]
    outer = ORDER[ORDER.index(package) + 1 :]
    return {name for name in imported(path) if name.split(".")[0] in outer and name not in LEAVES}


@pytest.mark.parametrize("path", sources(".py", ".pyx", ".pxd", ".pyi"), ids=lambda p: p.stem)
def test_nothing_imports_upward(path: Path) -> None:
    assert upward(path) == set()


@pytest.mark.parametrize(
    "name", ["cdc_tail/errors.py", "cdc_tail/failpoints.py", "cdc_tail/__init__.py"]
)
def test_the_leaves_import_nothing_of_ours(name: str) -> None:
    ours = {module for module in imported(ROOT / name) if module.split(".")[0] in ORDER}
    assert ours == set()


def test_an_upward_import_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "parsers").mkdir()
    module = tmp_path / "parsers" / "_bad.pyx"
    module.write_text("from libc.stdint cimport int32_t\ncdef f():\n    import sinks.base as b\n")
    assert upward(module) == {"sinks.base"}
    module = tmp_path / "parsers" / "bad.py"
    module.write_text("def f():\n    from cdc_tail.pipeline import run\n")
    assert upward(module) == {"cdc_tail.pipeline"}
    module.write_text("from cdc_tail.errors import CdcTailError\nimport parsers.schema\n")
    assert upward(module) == set()
