"""The least of a random history that still differs: `python -m tests.tools.shrink SEED`.

It runs the history on a node of its own, leaves out more and more of its statements as long as the
mirror differs from SELECT in any way of applying the log, and prints what remains as CQL.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cassandra import AlreadyExists, InvalidRequest
from cassandra.protocol import ConfigurationException, SyntaxException

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer
from tests.support.history_run import WAYS, Way, differences, run
from tests.support.random_history import STATEMENTS, RandomHistory


@dataclass(frozen=True)
class Some:
    """A history of given statements."""

    keyspace: str
    statements: Sequence[str]


def shortest(
    statements: Sequence[str], still_fails: Callable[[Sequence[str]], bool]
) -> Sequence[str]:
    """A part of the statements that fails, of which none can be left out ("ddmin")."""
    pieces = 2
    while len(statements) > 1:
        size = -(-len(statements) // pieces)
        for start in range(0, len(statements), size):
            rest = [*statements[:start], *statements[start + size :]]
            if still_fails(rest):
                statements = rest
                pieces = max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(statements))
    return statements


def possible(session: Any, statement: str) -> None:
    """Run a statement; one that needs what was left out says nothing."""
    with contextlib.suppress(
        InvalidRequest, AlreadyExists, ConfigurationException, SyntaxException
    ):
        session.execute(statement)


def main() -> None:
    """Shrink one history."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--series", default="5.0")
    parser.add_argument("--statements", type=int, default=STATEMENTS)
    parser.add_argument("--way", action="append", choices=[way.__name__ for way in WAYS])
    arguments = parser.parse_args()
    short_ttls = arguments.series != "3.11"
    history = RandomHistory(arguments.seed, arguments.statements, short_ttls=short_ttls)
    ways = [way for way in WAYS if not arguments.way or way.__name__ in arguments.way]
    options = NodeOptions(commitlog_segment_size_mib=1, heap_mib=640)
    with (
        CassandraNode(arguments.series, options=options) as node,
        PostgresServer(settings={"fsync": "off"}) as server,
    ):
        print(*_shrunk(node, server, history, ways), sep=";\n", end=";\n")


def _shrunk(
    node: CassandraNode, server: PostgresServer, history: RandomHistory, ways: Sequence[Way]
) -> Sequence[str]:
    found: list[str] = []

    def fails(statements: Sequence[str], ways: Sequence[Way]) -> bool:
        bundle = run(node, [Some(history.keyspace, statements)], possible)
        found[:] = []
        for way in ways:
            found[:] = differences(bundle, server, way, history.seed)
            if found:
                break
        print(f"-- {len(statements)} statements: {found[0] if found else 'equal'}", flush=True)
        return bool(found)

    failing = [way for way in ways if fails(history.statements, [way])][:1]
    if not failing:
        raise SystemExit(f"seed {history.seed} does not differ")
    return shortest(history.statements, lambda statements: fails(statements, failing))


if __name__ == "__main__":
    main()
