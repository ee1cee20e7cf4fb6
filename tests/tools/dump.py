"""Asks Cassandra's own CommitLogReader what segments hold, one JSON line per mutation; or times it.

    python -m tests.tools.dump 5.0 cdc_raw/CommitLog-8-*.log > reader.jsonl

Needs no running node and no system JDK: the dumper's Java sources are compiled with the pinned ecj
against the pinned jars of the version, once, into the cache. The form is in `dumper/README.md`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cdc_tail.local.cache import cache_dir, exclusive
from cdc_tail.local.cassandra import java
from cdc_tail.local.cassandra_config import EXPORTS, OPENS
from cdc_tail.local.jars import class_path, fetch, parse_lock

_HOME = Path(__file__).parent / "dumper"
# Which sources of `src/` a series takes besides `common`.
_SHIMS = {
    "3.11": ("v3_11",),
    "4.0": ("v4_on", "v4_0"),
    "4.1": ("v4_on", "v4_0"),
    "5.0": ("v4_on", "v4_0"),
    "6.0": ("v4_on", "v6_0"),
}
# The dump is over before a second tier of the JIT would pay; a timing wants all of it.
_SHORT = ("-Xmx512m", "-XX:TieredStopAtLevel=1")
_LONG = ("-Xmx1g", "-Xms1g")
_SILENT = '<configuration><root level="OFF"/></configuration>'


class DumpError(Exception):
    """The dumper could not be built or ended with an error; the message is what it said."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DumpError(f"{done.stdout[-4000:]}{done.stderr[-4000:]}")


def _sources(series: str) -> list[Path]:
    folders = ("common", *_SHIMS[series])
    return sorted(path for name in folders for path in (_HOME / "src" / name).rglob("*.java"))


def classes(series: str) -> Path:
    """The folder of the compiled dumper for a series; compiles it where the cache lacks it."""
    jars = class_path(series)
    digest = hashlib.sha256("\n".join(jar.name for jar in jars).encode())
    for source in _sources(series):
        digest.update(source.read_bytes())
    target = cache_dir() / "dumper" / f"{series}-{digest.hexdigest()[:16]}"
    if not target.exists():
        with exclusive(cache_dir() / "dumper" / ".lock"):
            if not target.exists():
                _compile(series, jars, target)
    return target


def _compile(series: str, jars: Sequence[Path], target: Path) -> None:
    compiler = fetch(parse_lock((_HOME / "ecj.lock").read_text()))
    staging = Path(tempfile.mkdtemp(prefix="staging-", dir=target.parent))
    try:
        _run(
            [
                str(java()),
                "-cp",
                ":".join(map(str, compiler)),
                "org.eclipse.jdt.internal.compiler.batch.Main",
                *("-8", "-nowarn", "-proc:none", "-d", str(staging)),
                *("-cp", ":".join(map(str, jars))),
                *map(str, _sources(series)),
            ]
        )
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _log_version(segment: Path) -> int:
    with segment.open("rb") as file:
        return int.from_bytes(file.read(4), "big")


def _config(series: str, folder: Path, version: int, encryption: Mapping[str, Any] | None) -> Path:
    config: dict[str, Any] = {
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "endpoint_snitch": "SimpleSnitch",
        "cluster_name": "dump",
        "listen_address": "127.0.0.1",
        "rpc_address": "127.0.0.1",
        "commitlog_sync": "periodic",
        "data_file_directories": [str(folder / "data")],
        "seed_provider": [
            {
                "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
                "parameters": [{"seeds": "127.0.0.1"}],
            }
        ],
    }
    for name in ("commitlog", "cdc_raw", "hints", "saved_caches"):
        config[f"{name}_directory"] = str(folder / name)
    if series in ("3.11", "4.0"):
        config["commitlog_sync_period_in_ms"] = 10_000
    else:
        config["commitlog_sync_period"] = "10000ms"
    if version >= 8:
        # The deletion times that a node takes for valid depend on this mode, not on the segment.
        config["storage_compatibility_mode"] = "NONE"
    if encryption is not None:
        config["transparent_data_encryption_options"] = dict(encryption)
    path = folder / "cassandra.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path


def dump(
    series: str, segments: Sequence[Path], *, encryption: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """What the CommitLogReader of `series` says about `segments`, given in the order of their ids.

    All must be of one log version. `encryption` is a node's `transparent_data_encryption_options`.
    """
    arguments = [str(segment.resolve()) for segment in segments]
    return _lines(series, _version_of(segments), "Dump", arguments, _SHORT, encryption)


def time_reader(
    series: str, schema: Path, segments: Sequence[Path], *, passes: int
) -> list[dict[str, int]]:
    """Times of the CommitLogReader of `series` over all `segments`, per pass; the first warm up.

    A line has `wall_ns`, `cpu_ns` of the reading thread (so without garbage collection),
    `mutations` and their `mutation_bytes`. The mutations in segment `schema` define the tables.
    """
    arguments = [str(passes), *(str(segment.resolve()) for segment in (schema, *segments))]
    return _lines(series, _version_of(segments), "Timing", arguments, _LONG, None)


def _version_of(segments: Sequence[Path]) -> int:
    versions = {_log_version(segment) for segment in segments}
    if len(versions) != 1:
        raise DumpError(f"the segments are of log versions {sorted(versions)}; dump them apart")
    return versions.pop()


def _lines(
    series: str,
    version: int,
    program: str,
    arguments: Sequence[str],
    jvm_options: Sequence[str],
    encryption: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """The lines of JSON that a program of the dumper writes."""
    with tempfile.TemporaryDirectory(prefix="cdc-tail-dump-") as name:
        folder = Path(name)
        (folder / "logback.xml").write_text(_SILENT)
        config = _config(series, folder, version, encryption)
        properties = {
            "cassandra.config": config.as_uri(),
            "cassandra.storagedir": folder,
            "logback.configurationFile": (folder / "logback.xml").as_uri(),
            "java.io.tmpdir": folder,
        }
        out = folder / "reader.jsonl"
        _run(
            [
                str(java()),
                *jvm_options,
                "-XX:+UseSerialGC",
                *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
                *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
                *(f"-D{key}={value}" for key, value in properties.items()),
                "-cp",
                os.pathsep.join(map(str, [classes(series), *class_path(series)])),
                f"cdctail.dumper.{program}",
                str(out),
                *arguments,
            ]
        )
        return [json.loads(line) for line in out.read_text().splitlines()]


def main(arguments: list[str]) -> None:
    """Prints the dump of the segments named behind the series."""
    series, *names = arguments
    for line in dump(series, sorted(map(Path, names), key=lambda path: path.name)):
        print(json.dumps(line, separators=(",", ":"), ensure_ascii=False))


if __name__ == "__main__":
    main(sys.argv[1:])
