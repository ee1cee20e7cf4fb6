"""Programs that the deployment's tests run, found or fetched; nothing of the product needs them.

What is on PATH is taken. Else Prometheus comes from Debian's package, unpacked into the cache
without root, and the others are built by Go, whose toolchain the `deploy` extra holds.
`python -m tests.tools.programs` fetches all of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cdc_tail.local.cache import cache_dir, exclusive

BUILD_SECONDS = 3600


@dataclass(frozen=True)
class DebianPackage:
    """A package and the program in it."""

    package: str
    path: str

    def fetch(self, folder: Path) -> Path:
        """Download and unpack; the program stays where the package has it."""
        with tempfile.TemporaryDirectory() as downloads:
            _run(["apt-get", "download", self.package], cwd=Path(downloads))
            for package in Path(downloads).glob("*.deb"):
                _run(["dpkg-deb", "--extract", str(package), str(folder)])
        return folder / self.path


@dataclass(frozen=True)
class GoModule:
    """A command of a Go module at a version."""

    command: str
    version: str

    def fetch(self, folder: Path) -> Path:
        """Build; minutes of CPU, once."""
        go = shutil.which("go") or str(Path(sys.executable).with_name("go"))
        environment = os.environ | {"GOBIN": str(folder), "GOTOOLCHAIN": "local"}
        _run([go, "install", f"{self.command}@{self.version}"], env=environment)
        return folder / self.command.rpartition("/")[2]


PROGRAMS: dict[str, DebianPackage | GoModule] = {
    "prometheus": DebianPackage("prometheus", "usr/bin/prometheus"),
    "promtool": DebianPackage("prometheus", "usr/bin/promtool"),
    "alertmanager": GoModule("github.com/prometheus/alertmanager/cmd/alertmanager", "v0.28.1"),
    "amtool": GoModule("github.com/prometheus/alertmanager/cmd/amtool", "v0.28.1"),
    "actionlint": GoModule("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.7"),
    # The library that Docker Compose reads its files with; its program has no better name.
    "cmd": GoModule("github.com/compose-spec/compose-go/v2/cmd", "v2.16.2"),
    "helm": GoModule("helm.sh/helm/v3/cmd/helm", "v3.21.4"),
}


def program(name: str) -> str:
    """Path of a program of PROGRAMS; RuntimeError says what to install if it can't be had."""
    source = PROGRAMS[name]
    if found := shutil.which(name):
        return found
    package = source.package if isinstance(source, DebianPackage) else f"{name}-{source.version}"
    root = cache_dir() / "programs"
    with exclusive(root / f".{package}.lock"):
        folder = root / package
        target = folder / (source.path if isinstance(source, DebianPackage) else name)
        if not target.exists():
            print(f"fetching {name}", file=sys.stderr)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                source.fetch(folder)
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", None) or error
                raise RuntimeError(f"no {name}: install it, or {source} ({said})") from error
    return str(target)


def _run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    subprocess.run(
        command, cwd=cwd, env=env, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS
    )


if __name__ == "__main__":
    for each in PROGRAMS:
        print(each, program(each))
