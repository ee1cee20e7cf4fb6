"""The workflows of GitHub, read by actionlint; what they run are targets of the Makefile."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import yaml

from tests.tools.programs import program

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_actionlint_has_no_objection() -> None:
    subprocess.run([program("actionlint"), *WORKFLOWS], cwd=ROOT, check=True)


def test_every_target_that_they_make_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made: set[str] = set()
    for workflow in WORKFLOWS:
        for job in yaml.safe_load(workflow.read_text())["jobs"].values():
            made |= set(job.get("strategy", {}).get("matrix", {}).get("target", ()))
            for step in job["steps"]:
                for command in re.findall(r"^make (.*)$", step.get("run", ""), re.MULTILINE):
                    made |= {word for word in command.split() if re.fullmatch("[a-z-]+", word)}
    assert made and made <= targets
