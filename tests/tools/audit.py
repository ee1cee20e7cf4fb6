"""Known weaknesses of what is installed, by pip-audit; what could not be looked up is no pass.

pip-audit itself ends well where its source of advisories knows not one package, as behind an index
that serves none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

OWN = "cdc-tail"


def judged(dependencies: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """What is weak, as "name version: advisories", and the names that could not be looked up."""
    weak = [
        f"{one['name']} {one['version']}: {', '.join(found['id'] for found in one['vulns'])}"
        for one in dependencies
        if one.get("vulns")
    ]
    return weak, [one["name"] for one in dependencies if "skip_reason" in one]


def main() -> None:
    """Run it over this environment, and exit with what is wrong."""
    done = subprocess.run(
        [
            sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off",
            "--format", "json",
        ],
        check=False, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except ValueError:
        sys.exit(f"pip-audit ended with {done.returncode} and told nothing")
    weak, unknown = judged([one for one in dependencies if one["name"] != OWN])
    if weak:
        sys.exit("\n".join(["known weaknesses:", *weak]))
    if unknown:
        sys.exit(
            f"{len(unknown)} of {len(dependencies) - 1} packages could not be looked up, so nothing"
            f" is known of them: {', '.join(unknown[:5])}{', ...' if len(unknown) > 5 else ''}"
        )


if __name__ == "__main__":
    main()
