"""Bundles of random histories on a real node, and their log applied in several ways.

Many histories share one node, one wait for their TTLs and one pass over the log, so that each
costs little. What differs is told by seed, with the way in which the log was applied.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import psycopg

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.postgres import PostgresServer
from tests.support.kept_log import KeptLog
from tests.support.mirrored import differing
from tests.support.mirrored_state import differing_states
from tests.support.node_log import Logged, Node
from tests.support.oracle import raw_session, read_table
from tests.support.random_cql import execute

SHORT_TTL_SECONDS: Final = 2
Tables = dict[str, dict[str, Any]]


class History(Protocol):
    """CQL statements, in a keyspace of their own."""

    @property
    def keyspace(self) -> str: ...
    @property
    def statements(self) -> Sequence[str]: ...


@dataclass
class Bundle:
    """Histories that were run on a node: what SELECT gives then, and their part of the log.

    `tables` are by "keyspace.table".
    """

    histories: Sequence[History]
    now_s: int = 0
    tables: Tables = field(default_factory=dict)
    log: list[Logged] = field(default_factory=list)

    @property
    def keyspaces(self) -> set[str]:
        return {history.keyspace for history in self.histories}


def run(
    node: CassandraNode,
    histories: Sequence[History],
    execute: Callable[[Any, str], object] = execute,
) -> Bundle:
    """Run histories one after the other, and read what came of them."""
    session = node.session(schema_metadata_enabled=False, token_metadata_enabled=False)
    kept = KeptLog(node)
    before = kept.end()
    for history in histories:
        make_keyspace(session, history.keyspace)
        for statement in history.statements:
            execute(session, statement)
            kept.keep()
    time.sleep(SHORT_TTL_SECONDS + 1)
    bundle = Bundle(histories)
    raw = raw_session(node)
    for history in histories:
        bundle.tables |= select_all(session, raw, history.keyspace)
    bundle.now_s = int(time.time())
    bundle.log = kept.after(before)
    for history in histories:
        session.execute(f"DROP KEYSPACE {history.keyspace}")
    for one in (raw, session):
        one.cluster.shutdown()
    return bundle


def make_keyspace(session: Any, keyspace: str) -> None:
    """Create a keyspace anew, and use it."""
    session.execute(f"DROP KEYSPACE IF EXISTS {keyspace}")
    session.execute(
        f"CREATE KEYSPACE {keyspace} WITH replication = "
        "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    )
    session.execute(f"USE {keyspace}")


def select_all(session: Any, raw: Any, keyspace: str) -> Tables:
    """What SELECT gives of every table of a keyspace, with the table's id.

    `raw` is a session from `raw_session`; it learns of the keyspace's tables.
    """
    raw.cluster.refresh_schema_metadata()
    rows = session.execute(
        "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,)
    )
    return {
        f"{keyspace}.{row.table_name}": read_table(raw, keyspace, row.table_name)
        | {"id": str(row.id)}
        for row in rows
    }


Way = Callable[[Bundle, str, Random], list[Node]]


def in_order(bundle: Bundle, dsn: str, rng: Random) -> list[Node]:
    """As tailed: schema changes where they stand. Then all of it a second time."""
    node = _node(bundle, dsn, max_events=rng.choice((1, 3, 17, 400)))
    for _ in range(2):
        node.follow(bundle.log)
    return [node]


def one_behind(bundle: Bundle, dsn: str, rng: Random) -> list[Node]:
    """Two sidecars, each as tailed, of which the second begins when the first has read all."""
    nodes = [_node(bundle, dsn, max_events=rng.choice((3, 50))) for _ in range(2)]
    for node in nodes:
        node.follow(bundle.log)
    return nodes


def shuffled(bundle: Bundle, dsn: str, rng: Random) -> list[Node]:
    """In any order, every mutation twice, in tiny batches."""
    node = _node(bundle, dsn, max_events=7)
    node.learn(bundle.log)
    node.take(rng.sample(bundle.log * 2, 2 * len(bundle.log)))
    return [node]


def two_at_once(bundle: Bundle, dsn: str, rng: Random) -> list[Node]:
    """Two sidecars, each with all mutations in an order of its own."""
    nodes = [_node(bundle, dsn, max_events=rng.choice((5, 50))) for _ in range(2)]
    orders = [rng.sample(bundle.log, len(bundle.log)) for _ in nodes]
    failures: list[BaseException] = []

    def take(node: Node, order: list[Logged]) -> None:
        try:
            node.take(order)
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits
            failures.append(error)

    for node in nodes:
        node.learn(bundle.log)
    threads = [threading.Thread(target=take, args=pair) for pair in zip(nodes, orders, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return nodes


WAYS: Final[tuple[Way, ...]] = (in_order, one_behind, shuffled, two_at_once)


def _node(bundle: Bundle, dsn: str, *, max_events: int) -> Node:
    return Node(dsn, bundle.now_s, max_events=max_events, keyspaces=bundle.keyspaces)


def differences(bundle: Bundle, server: PostgresServer, way: Way, seed: int) -> list[str]:
    """Apply the bundle's log in one way to a new database; a line per difference from SELECT."""
    name = f"histories_{way.__name__}_{seed}"
    dsn = server.create_database(name)
    nodes = []
    try:
        nodes = way(bundle, dsn, Random(seed))
        with psycopg.connect(dsn) as connection:
            found = [differing(connection, bundle.tables)]
            found.append(differing_states(connection, bundle.tables))
        rejected = [f"{way.__name__}: refused {one}" for node in nodes for one in node.rejections]
    finally:
        for node in nodes:
            node.connection.close()
        server.drop_database(name)
    return rejected + [
        f"{way.__name__} {table}: {line}"
        for part in found
        for table, lines in part.items()
        for line in lines
    ]
