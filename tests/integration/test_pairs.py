"""Pairs of writes to one row on a real node, in both orders: the mirror is what SELECT gives.

Every pair is written to two partitions, the one first here and the other there. Then the log is
applied from either end, write by write and all at once. CDC_TAIL_TEST_SEED says which pairs.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.history_run import Bundle, Way, differences, run
from tests.support.node_log import UNBOUNDED, Node
from tests.support.random_cql import TYPES, Column, RandomTable

SEED = int(os.environ.get("CDC_TAIL_TEST_SEED", "7"))
SERIES = os.environ.get("CDC_TAIL_TEST_SERIES", "4.0 5.0").split()
TABLES = 5
PAIRS = int(os.environ.get("CDC_TAIL_PAIRS", "30"))
PLACE = "/*pair*/"


class PairTable(RandomTable):
    """A table of which every partition has one row, and static columns."""

    def __init__(self, rng: Random, name: str, *, short_ttls: bool) -> None:
        super().__init__(rng, name, short_ttls=short_ttls)
        number = Column("p0", "int", "key", lambda _: PLACE)
        row = Column("c0", "int", "key", lambda _: "1")
        self.partition, self.clustering, self._order = [number], [row], ["ASC"]
        self._values = {"p0": [PLACE], "c0": ["1"]}
        self.stamped = 1.0

    def pair(self) -> tuple[str, str]:
        """Two writes to the row PLACE."""
        return self.write_to({"p0": PLACE}), self.write_to({"p0": PLACE})


class Pairs:
    """Pairs of writes to some tables, as a history."""

    def __init__(self, seed: int, *, short_ttls: bool) -> None:
        rng = Random(seed)
        self.keyspace = f"pairs_{seed}"
        tables = [PairTable(rng, f"t{number}", short_ttls=short_ttls) for number in range(TABLES)]
        self.statements = [*TYPES, *(table.cql for table in tables)]
        for table in tables:
            for number in range(PAIRS):
                one, other = table.pair()
                self.statements += [s.replace(PLACE, str(number)) for s in (one, other)]
                self.statements += [s.replace(PLACE, str(PAIRS + number)) for s in (other, one)]


def _taken(bundle: Bundle, dsn: str, step: int, max_events: int) -> list[Node]:
    node = Node(dsn, bundle.now_s, max_events=max_events, keyspaces=bundle.keyspaces)
    node.learn(bundle.log)
    node.take(bundle.log[::step])
    return [node]


def forwards(bundle: Bundle, dsn: str, _: Random) -> list[Node]:
    return _taken(bundle, dsn, 1, 1)


def backwards(bundle: Bundle, dsn: str, _: Random) -> list[Node]:
    return _taken(bundle, dsn, -1, 1)


def at_once(bundle: Bundle, dsn: str, _: Random) -> list[Node]:
    return _taken(bundle, dsn, 1, UNBOUNDED)


def at_once_backwards(bundle: Bundle, dsn: str, _: Random) -> list[Node]:
    return _taken(bundle, dsn, -1, UNBOUNDED)


WAYS: tuple[Way, ...] = (forwards, backwards, at_once, at_once_backwards)


@pytest.mark.parametrize("series", SERIES)
def test_pairs_merge_as_in_cassandra(
    series: str, cassandra_node: NodeFactory, postgres: PostgresServer
) -> None:
    print(f"Cassandra {series}, seed {SEED}")
    # 3.11 settles a tie by the clock: see the limitations.
    pairs = Pairs(SEED, short_ttls=series != "3.11")
    bundle = run(cassandra_node(series), [pairs])
    found = [line for way in WAYS for line in differences(bundle, postgres, way, SEED)]
    assert not found, "\n".join(found)
    assert sum(len(table["rows"]) for table in bundle.tables.values()) > PAIRS
