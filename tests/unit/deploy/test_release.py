"""One version everywhere, and workflows whose targets exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import cdc_tail
from tests.tools.release import disagreeing, notes

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_chart_and_program_have_one_version() -> None:
    assert disagreeing(f"v{cdc_tail.__version__}") == []
    assert len(disagreeing("v99.0.0")) == 3


def test_notes_are_the_part_of_the_version() -> None:
    text = "# Changelog\n\n## Unreleased\n\n- new\n\n## 1.2.3 (2026-01-02)\n\n- old\n"
    text += "\n## 1.2.30\n\n- x\n"
    assert notes("1.2.3", text) == "- old\n"
    with pytest.raises(ValueError, match="no part on 9"):
        notes("9", text)


def test_targets_of_workflows_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for workflow in WORKFLOWS:
        content = yaml.safe_load(workflow.read_text(encoding="utf-8"))
        used: set[str] = set()
        for job in content["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {})
            used |= set(matrix.get("target", []))
            for step in job["steps"]:
                found = re.match(r"make ((?:[a-z-]+ ?)+)", step.get("run", ""))
                used |= set(found.group(1).split()) if found else set()
        assert used and used <= targets, workflow.name
