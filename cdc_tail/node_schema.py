"""The node's schema and limits, asked by a process of its own: the driver's memory goes with it.

That is 25 MB (8 of the driver, 13 of numpy, which the driver takes in where it is installed) and a
thread that wakes up, for what is asked once at a start.
"""

from __future__ import annotations

import logging
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from cdc_tail.errors import CdcTailError, SourceUnavailable
from cdc_tail.settings import CassandraSettings
from parsers.schema_state import Update

# Beyond what the driver allows itself for connecting and for each of a dozen answers.
_TIMEOUT_SECONDS: Final = 180.0

_CHILD: Final = "from cdc_tail.node_schema import answer; answer()"


@dataclass(frozen=True, slots=True)
class NodeSchema:
    """What the node told: see `SchemaLog.refresh`, and `cdc_total_space` where it shows that."""

    updates: list[Update]
    settled_us: int
    cdc_total_space_bytes: int | None


def ask(settings: CassandraSettings) -> NodeSchema:
    """Ask the node. Raises SourceUnavailable where it does not answer, ConfigError of its TLS."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            input=pickle.dumps(settings),  # not by arguments: the password is among them
            stdout=subprocess.PIPE,
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SourceUnavailable(f"the process that asks the node failed: {error}") from error
    told = pickle.loads(done.stdout)  # our own child's
    if isinstance(told, CdcTailError):
        raise told
    assert isinstance(told, NodeSchema)
    return told


def answer() -> None:
    """What the child does: settings from stdin, the answer or the error to stdout."""
    # Ctrl-C reaches the whole process group; our parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()  # what fails is told by the answer
    settings = pickle.load(sys.stdin.buffer)
    told: NodeSchema | CdcTailError
    try:
        told = _read(settings)
    except CdcTailError as error:
        told = error
    pickle.dump(told, sys.stdout.buffer)


def _read(settings: CassandraSettings) -> NodeSchema:
    from cdc_tail.cluster import cdc_total_space_bytes, connect
    from cdc_tail.schema_source import read_schema, settled_until_us

    with connect(settings) as session:
        settled_us = settled_until_us(session)
        return NodeSchema(read_schema(session), settled_us, cdc_total_space_bytes(session))
