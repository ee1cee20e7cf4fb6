"""The mirror of every golden case is what Cassandra's SELECT gave, in any order and any batches.

The clock stands at the second of the SELECT.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from cdc_tail.local.postgres import PostgresServer
from sinks.base import Applied
from sinks.postgres import applier, scan, writes
from tests.support.golden import GoldenCase, golden_cases
from tests.support.mirrored import differing
from tests.support.node_log import UNBOUNDED, Logged, Node, mutations_of

KEYS = {
    "cdc-tail:1": bytes.fromhex("ea3364d62a6e582f7228c3091e37e1cd"),
    "cdc-tail:2": bytes.fromhex("7c5c5a37866c53ff1d370c4f3008aee8324c37647880d6545064f37502abca89"),
}
TINY = 7
NULL_CLUSTERING = '[2, "no d", null]'
Replaying = Callable[[GoldenCase], "Replayed"]


class Replayed:
    """One golden case and the database that it is replayed into."""

    def __init__(self, case: GoldenCase, dsn: str, folder: Path) -> None:
        self.case = case
        self.dsn = dsn
        self.logs = case.unpack(folder)
        self.tables: dict[str, Any] = case.expected["tables"]
        self.now_s = max(state["selected_at_seconds"][1] for state in self.tables.values())

    @property
    def mutations(self) -> list[Logged]:
        return mutations_of(self.logs, KEYS)

    def node(self, max_events: int = UNBOUNDED) -> Node:
        return Node(self.dsn, self.now_s, keys=KEYS, max_events=max_events)

    def check(self, *nodes: Node, as_logged: bool = False) -> None:
        """The mirrors equal SELECT, and what could not be mirrored was set aside."""
        expected: dict[str, list[str]] = {}
        if self.case.name == "compact_storage":
            # No primary key in PostgreSQL holds a null: the row is a dead letter.
            expected["dense"] = [f"{NULL_CLUSTERING} is missing"]
        if self.case.name == "cdc_switched" and as_logged:
            # Written before `cdc = true`: a snapshot's business.
            expected["t"] = ["[1] is missing"]
        for node in nodes:
            refused = {f"{one.table.name}.{one.column}" for one in node.rejections}
            assert refused == ({"dense.d"} if "dense" in expected else set())
            assert not {str(one) for one in node.unknown} & {t["id"] for t in self.tables.values()}
        with psycopg.connect(self.dsn) as connection:
            assert differing(connection, self.tables) == expected


@pytest.fixture(scope="module")
def dsn(postgres: PostgresServer) -> Iterator[str]:
    """One database for all cases: making one takes longer than replaying most of them."""
    dsn = postgres.create_database("golden_replay")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("ALTER DATABASE golden_replay SET synchronous_commit = off")
    yield dsn
    postgres.drop_database("golden_replay")


@pytest.fixture
def replaying(dsn: str, tmp_path: Path) -> Iterator[Replaying]:
    yield lambda case: Replayed(case, dsn, tmp_path)
    with psycopg.connect(dsn) as connection:
        schemas = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$|^public$'"
        ).fetchall()
        for (schema,) in schemas:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def cases(*, newest_only: bool = False) -> pytest.MarkDecorator:
    """All golden cases, or of each the one of the newest series."""
    found = golden_cases()
    if newest_only:
        found = list({case.name: case for case in found}.values())
    return pytest.mark.parametrize("case", found, ids=str)


@cases()
def test_as_logged_and_again(case: GoldenCase, replaying: Replaying) -> None:
    replayed = replaying(case)
    with replayed.node() as node:
        node.replay(replayed.logs)
        replayed.check(node, as_logged=True)
    with replayed.node(max_events=TINY) as node:
        again = node.replay(replayed.logs)
        replayed.check(node, as_logged=True)
        # Digests of values that were read back to settle a tie may be noted; nothing else changes.
        assert again == Applied(unchanged=again.unchanged, updated=again.updated)
    with replayed.node(max_events=TINY) as node:
        third = node.replay(replayed.logs)
        assert third == Applied(unchanged=third.unchanged)
        replayed.check(node, as_logged=True)


@cases(newest_only=True)
def test_in_tiny_batches_and_pages(
    case: GoldenCase, replaying: Replaying, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deletion reads its partition page by page: here three rows at a time, then fewer.

    Rows are looked up and updated two at a time.
    """
    monkeypatch.setattr(scan, "MOST_ROWS", 3)
    monkeypatch.setattr(scan, "PAGE_BYTES", 100)
    monkeypatch.setattr(applier, "ROUND_ROWS", 2)
    monkeypatch.setattr(writes, "ROUND_ROWS", 2)
    replayed = replaying(case)
    with replayed.node(max_events=TINY) as node:
        node.replay(replayed.logs)
        replayed.check(node, as_logged=True)


@cases(newest_only=True)
def test_mutations_in_any_order_and_twice(case: GoldenCase, replaying: Replaying) -> None:
    replayed = replaying(case)
    mutations = replayed.mutations
    with replayed.node(max_events=TINY) as node:
        node.learn(mutations)
        shuffled = mutations * 2
        random.Random(str(case)).shuffle(shuffled)
        node.take(shuffled)
        replayed.check(node)


@cases(newest_only=True)
def test_two_nodes_at_once_from_both_ends(case: GoldenCase, replaying: Replaying) -> None:
    replayed = replaying(case)
    mutations = replayed.mutations
    with (
        replayed.node(max_events=TINY) as one,
        replayed.node(max_events=TINY + 4) as other,
    ):
        for node in (one, other):
            node.learn(mutations)
        with ThreadPoolExecutor() as pool:
            taken = [
                pool.submit(one.take, mutations),
                pool.submit(other.take, mutations[::-1]),
            ]
        for future in taken:
            future.result()
        replayed.check(one, other)


@pytest.mark.parametrize(
    "case", [c for c in golden_cases() if len(c.facts["segments"]) > 1], ids=str
)
def test_segments_from_the_last_to_the_first(case: GoldenCase, replaying: Replaying) -> None:
    replayed = replaying(case)
    with replayed.node() as node:
        node.learn(replayed.mutations)
        node.replay(replayed.logs[::-1])
        replayed.check(node)
