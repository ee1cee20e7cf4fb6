"""The jars of one Cassandra version: pinned by a lock file, fetched by jgo, checked by SHA-256.

A lock file has one line per jar, `group:artifact:type:classifier:version size_bytes sha256`, and
names no repository: jgo's own configuration decides where a coordinate comes from. Resolution of
dependencies happens only in `resolve_lock`, when a maintainer pins a new version.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from cdc_tail.local.cache import cache_dir, exclusive
from cdc_tail.local.errors import JarsUnavailable, LocalStackError

# Series that people name -> the release that its lock file pins.
RELEASES = {
    "3.11": "3.11.19",
    "4.0": "4.0.19",
    "4.1": "4.1.10",
    "5.0": "5.0.9",
    "6.0": "6.0-alpha2",
}
# Natives of machines that a node of ours never runs on: half of the download of 5.0.
FOREIGN_CLASSIFIERS = ("osx", "windows", "riscv")
# 3.11's server part starts only with the Thrift classes, which its own POM leaves out.
EXTRA_ROOTS = {"3.11": ["org.apache.cassandra:cassandra-thrift:3.11.19"]}
# 3.11 pins an object-size library that Java 17 does not accept; 4.0's runs and has the same calls.
REPLACED = {"3.11": {("com.github.jbellis", "jamm"): "0.3.2"}}
DOWNLOADS_AT_ONCE = 6
HTTP_TIMEOUT_SECONDS = 60

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned jar: Maven coordinates, size and digest."""

    group: str
    artifact: str
    type: str
    classifier: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where it lives below the cache's `jars` folder."""
        suffix = f"-{self.classifier}" if self.classifier else ""
        return Path(self.group) / f"{self.artifact}-{self.version}{suffix}.{self.type}"

    @property
    def coordinate(self) -> str:
        return f"{self.group}:{self.artifact}:{self.type}:{self.classifier}:{self.version}"


def parse_lock(text: str) -> list[Jar]:
    """Jars of a lock file in class-path order; `#` opens a comment."""
    jars = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        coordinate, size_bytes, sha256 = line.split()
        group, artifact, type_, classifier, version = coordinate.split(":")
        jars.append(Jar(group, artifact, type_, classifier, version, int(size_bytes), sha256))
    return jars


def read_lock(series: str) -> list[Jar]:
    """The committed lock of a series such as "5.0"."""
    if series not in RELEASES:
        raise LocalStackError(
            f"no Cassandra {series} is pinned", hint=f"choose one of {', '.join(RELEASES)}"
        )
    lock = resources.files("cdc_tail.local") / "locks" / f"cassandra-{series}.lock"
    return parse_lock(lock.read_text())


def class_path(series: str, progress: Progress | None = None) -> list[Path]:
    """Paths of every jar of a series, fetched where the cache lacks them.

    Raises JarsUnavailable if one is missing and can't be downloaded. Presence is judged by size at
    each call (100 stats); the digest is checked once, when a jar enters the cache, by rename.
    `progress(done, total)` is called while jars are fetched.
    """
    return fetch(read_lock(series), progress)


def fetch(jars: list[Jar], progress: Progress | None = None) -> list[Path]:
    """Paths of `jars` in their order, downloading what the cache lacks; see `class_path`."""
    root = cache_dir() / "jars"
    machine = {"x86_64": "x86_64", "aarch64": "aarch_64"}.get(platform.machine(), "")
    jars = [j for j in jars if not j.classifier.startswith("linux-") or machine in j.classifier]
    if _missing(jars, root):
        with exclusive(root / ".lock"):
            # Another process may have filled the cache while we waited for the lock.
            _download(_missing(jars, root), root, progress)
    return [root / jar.path for jar in jars]


def _missing(jars: Iterable[Jar], root: Path) -> list[Jar]:
    missing = []
    for jar in jars:
        path = root / jar.path
        if not path.exists() or path.stat().st_size != jar.size_bytes:
            missing.append(jar)
    return missing


def _download(jars: list[Jar], root: Path, progress: Progress | None) -> None:
    if not jars:
        return
    staging = Path(tempfile.mkdtemp(prefix="staging-", dir=root))
    done = 0
    try:
        context = _maven_context(staging)
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            for jar, path in zip(jars, pool.map(lambda j: _fetch_one(context, j), jars)):
                if _sha256(path) != jar.sha256:
                    raise LocalStackError(
                        f"{jar.coordinate} was downloaded but is not the pinned file",
                        hint="check the Maven mirror that jgo is configured to use",
                    )
                target = root / jar.path
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
                done += 1
                if progress:
                    progress(done, len(jars))
    finally:
        shutil.rmtree(staging)


def _maven_context(repo_cache: Path) -> Any:
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError as error:
        raise LocalStackError(
            "jgo, which fetches Cassandra's jars, is not installed",
            hint="pip install 'cdc-tail[demo]'",
        ) from error
    # None means jgo's default; a person behind a mirror has it in jgo's own configuration file.
    repositories = GlobalSettings.load().repositories or None
    return MavenContext(
        repo_cache=repo_cache, remote_repos=repositories, timeout=HTTP_TIMEOUT_SECONDS
    )


def _fetch_one(context: Any, jar: Jar) -> Path:
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    try:
        return Path(component.artifact(jar.classifier, jar.type).resolve())
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo's are the other
        raise JarsUnavailable(
            f"{jar.coordinate} is not cached and could not be downloaded: {error}",
            hint="connect to the network once, or copy another machine's cache folder and set "
            "CDC_TAIL_CACHE to it",
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve_lock(series: str) -> str:
    """Resolve the dependency tree of a series anew and return the text of its lock file.

    For maintainers: downloads every POM and jar into a temporary folder.
    """
    with tempfile.TemporaryDirectory(prefix="cdc-tail-lock-") as folder:
        context = _maven_context(Path(folder))
        roots = [f"org.apache.cassandra:cassandra-all:{RELEASES[series]}"]
        roots += EXTRA_ROOTS.get(series, [])
        inputs, transitive = context.resolver.resolve(
            [context.create_dependency(root) for root in roots]
        )
        replaced = REPLACED.get(series, {})
        unpinned = [
            Jar(
                group=d.groupId,
                artifact=d.artifactId,
                type=d.type,
                classifier=d.classifier or "",
                version=replaced.get((d.groupId, d.artifactId), d.version),
                size_bytes=0,
                sha256="",
            )
            for d in [*inputs, *transitive]
            if not any(name in (d.classifier or "") for name in FOREIGN_CLASSIFIERS)
        ]
        with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
            paths = list(pool.map(lambda jar: _fetch_one(context, jar), unpinned))
        lines = [
            f"{jar.coordinate} {path.stat().st_size} {_sha256(path)}"
            for jar, path in zip(unpinned, paths)
        ]
    title = f"# Jars of Apache Cassandra {RELEASES[series]}, in class-path order."
    return "\n".join([title, *lines]) + "\n"
