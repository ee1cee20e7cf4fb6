"""Checks that a tag, the program, the chart and the changelog name one version.

`python -m tests.tools.release TAG [NOTES]` writes that version's part of the changelog to NOTES.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

import cdc_tail

ROOT = Path(__file__).parents[2]


def notes(version: str, changelog: str) -> str:
    """The changelog's part on a version; ValueError if it has none."""
    for part in changelog.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        if re.fullmatch(rf"{re.escape(version)}( .*)?", title):
            return text.strip() + "\n"
    raise ValueError(f"CHANGELOG.md has no part on {version}")


def disagreeing(tag: str) -> list[str]:
    """What does not name the tag's version."""
    chart = yaml.safe_load((ROOT / "deploy/helm/cdc-tail/Chart.yaml").read_text(encoding="utf-8"))
    named = {
        "cdc_tail.__version__": cdc_tail.__version__,
        "the chart's version": chart["version"],
        "the chart's appVersion": str(chart["appVersion"]),
    }
    return [f"{who} is {what}" for who, what in named.items() if f"v{what}" != tag]


def main(tag: str, target: Path | None) -> None:
    """Exit with what disagrees, or write the notes."""
    wrong = disagreeing(tag)
    if wrong:
        sys.exit(f"not {tag}: {', '.join(wrong)}")
    try:
        text = notes(tag.removeprefix("v"), (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(f"not {tag}: {error}")
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
