"""Random histories on a real node: the mirror of its log is what its SELECT gives.

Writes of every kind collide on few keys and timestamps, and tables are altered, truncated and
dropped between them. The log is applied as it stands and twice, in any order, and by two sidecars
at once. A failure names the seed; CDC_TAIL_TEST_SEEDS="17 4711" runs just those.
"""

from __future__ import annotations

import os

import pytest

from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.history_run import WAYS, differences, run
from tests.support.random_history import STATEMENTS, RandomHistory

SEEDS = [int(seed) for seed in os.environ.get("CDC_TAIL_TEST_SEEDS", "1 2 3 4 5").split()]
SERIES = os.environ.get("CDC_TAIL_TEST_SERIES", "4.0 5.0").split()


@pytest.mark.parametrize("series", SERIES)
def test_the_mirror_is_what_select_gives(
    series: str, cassandra_node: NodeFactory, postgres: PostgresServer
) -> None:
    print(f"Cassandra {series}, seeds {SEEDS}")
    bundle = run(
        cassandra_node(series),
        [RandomHistory(seed, STATEMENTS, short_ttls=series != "3.11") for seed in SEEDS],
    )
    found = [line for way in WAYS for line in differences(bundle, postgres, way, SEEDS[0])]
    assert not found, "\n".join(found)
    assert sum(len(table["rows"]) for table in bundle.tables.values()) > len(SEEDS)
