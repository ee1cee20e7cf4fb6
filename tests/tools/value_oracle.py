"""Asks Cassandra's own types for the JSON and for the order of values; needs no running node."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cdc_tail.local.cache import cache_dir, exclusive
from cdc_tail.local.cassandra import java
from cdc_tail.local.cassandra_config import EXPORTS, OPENS
from cdc_tail.local.jars import class_path, fetch, parse_lock
from parsers.cql_types import CqlType
from tests.support.values import java_class

_HOME = Path(__file__).parent
_SOURCE = _HOME / "oracle" / "ValueOracle.java"
_SILENT = '<configuration><root level="OFF"/></configuration>'


def _run(command: list[str], questions: str = "") -> str:
    done = subprocess.run(command, input=questions, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def _classes(series: str) -> Path:
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    target = cache_dir() / "oracle" / f"{series}-{digest}"
    with exclusive(cache_dir() / "oracle" / ".lock"):
        if not target.exists():
            compiler = fetch(parse_lock((_HOME / "dumper" / "ecj.lock").read_text()))
            staging = Path(tempfile.mkdtemp(prefix="staging-", dir=target.parent))
            try:
                _run(
                    [
                        *(str(java()), "-cp", ":".join(map(str, compiler))),
                        *(
                            "org.eclipse.jdt.internal.compiler.batch.Main",
                            "-8",
                            "-nowarn",
                        ),
                        *("-proc:none", "-d", str(staging)),
                        *("-cp", ":".join(map(str, class_path(series))), str(_SOURCE)),
                    ]
                )
                staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return target


def ask(series: str, questions: Iterable[tuple[CqlType, tuple[bytes, ...]]]) -> list[str]:
    """One answer per question: the JSON of one value, the order (-1, 0, 1) of two.

    An answer that starts with "!" is the exception that Cassandra threw.
    """
    lines = [
        "\t".join([java_class(cql_type), *(value.hex() for value in values)])
        for cql_type, values in questions
    ]
    with tempfile.TemporaryDirectory(prefix="cdc-tail-oracle-") as name:
        log_config = Path(name) / "logback.xml"
        log_config.write_text(_SILENT)
        answers = _run(
            [
                *(
                    str(java()),
                    "-Xmx512m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                ),
                f"-Dlogback.configurationFile={log_config.as_uri()}",
                *(f"--add-exports={module}=ALL-UNNAMED" for module in EXPORTS),
                *(f"--add-opens={module}=ALL-UNNAMED" for module in OPENS),
                "-Dfile.encoding=UTF-8",
                "-cp",
                os.pathsep.join(map(str, [_classes(series), *class_path(series)])),
                "cdctail.oracle.ValueOracle",
            ],
            "\n".join(lines) + "\n",
        )
    # Only the line feed ends an answer: text may hold other separators.
    result = answers.removesuffix("\n").split("\n")
    assert len(result) == len(lines)
    return result
