"""Many random histories, as in tests/integration/test_random_histories.py.

CDC_TAIL_HISTORIES (200) says how many, CDC_TAIL_TEST_SEED the first of the seeds; a failure names
those that differ.
"""

from __future__ import annotations

import os
import random

import pytest

from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.history_run import WAYS, differences, run
from tests.support.random_history import STATEMENTS, RandomHistory

HISTORIES = int(os.environ.get("CDC_TAIL_HISTORIES", "200"))
FIRST = int(os.environ.get("CDC_TAIL_TEST_SEED", random.randrange(1 << 30)))
SERIES = os.environ.get("CDC_TAIL_TEST_SERIES", "4.0 5.0").split()
AT_ONCE = 10


@pytest.mark.long
@pytest.mark.timeout(120 + 30 * HISTORIES)
@pytest.mark.parametrize("series", SERIES)
def test_the_mirror_is_what_select_gives(
    series: str, cassandra_node: NodeFactory, postgres: PostgresServer
) -> None:
    # Every series takes its share of them.
    share = SERIES.index(series)
    seeds = range(FIRST + share, FIRST + HISTORIES, len(SERIES))
    print(f"Cassandra {series}, seeds {seeds}")
    found = []
    for first in range(0, len(seeds), AT_ONCE):
        some = seeds[first : first + AT_ONCE]
        bundle = run(cassandra_node(series), [RandomHistory(seed, STATEMENTS) for seed in some])
        for way in WAYS:
            found += differences(bundle, postgres, way, some[0])
    assert not found, "\n".join(found)
