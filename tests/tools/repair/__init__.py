"""`nodetool repair -full` of a running node.

The Java runtime of the tests lacks what nodetool needs to connect. Compiled with
the pinned ecj of the dumper, once, into the cache.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from cdc_tail.local.cache import cache_dir, exclusive
from cdc_tail.local.cassandra import CassandraNode, java
from cdc_tail.local.jars import class_path, fetch, parse_lock

TIMEOUT_SECONDS = 300
_SOURCE = Path(__file__).parent / "Repair.java"
_COMPILER = Path(__file__).parents[1] / "dumper" / "ecj.lock"


def repair(node: CassandraNode, keyspace: str) -> str:
    """Repair the keyspace with the node's neighbours and return what Cassandra says of it.

    Raises CalledProcessError if the repair failed, TimeoutExpired if it did not end.
    """
    # Cassandra answers with classes of its own libraries.
    classes = ":".join(map(str, (_classes(), *class_path(node.series))))
    return _run([str(java()), "-cp", classes, "Repair", str(node.pid), keyspace])


def _classes() -> Path:
    target = cache_dir() / "repair" / hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    with exclusive(cache_dir() / "repair" / ".lock"):
        if not (target / "Repair.class").exists():
            compiler = ":".join(map(str, fetch(parse_lock(_COMPILER.read_text()))))
            command = [str(java()), "-cp", compiler, "org.eclipse.jdt.internal.compiler.batch.Main"]
            _run([*command, "-17", "-nowarn", "-proc:none", "-d", str(target), str(_SOURCE)])
    return target


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
    )
    if done.returncode != 0:
        raise subprocess.CalledProcessError(
            done.returncode, command[:1], done.stdout[-3000:], done.stderr[-3000:]
        )
    return done.stdout
