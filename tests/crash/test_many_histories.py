"""Many random histories, as in tests/integration/test_random_histories.py, and many examples of the
state machine of tests/support/cql_machine.py.

CDC_TAIL_HISTORIES (200) and CDC_TAIL_EXAMPLES (100) say how many, CDC_TAIL_TEST_SEED the first of
the seeds. A failure names the histories that differ: `python -m tests.tools.shrink SEED` finds out
by which statements.
"""

from __future__ import annotations

import os
import random
from functools import partial

import pytest
from hypothesis import seed
from hypothesis.stateful import run_state_machine_as_test

from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.cql_machine import Mirroring, Servers, machine_settings
from tests.support.history_run import WAYS, differences, run
from tests.support.random_history import STATEMENTS, RandomHistory

HISTORIES = int(os.environ.get("CDC_TAIL_HISTORIES", "200"))
EXAMPLES = int(os.environ.get("CDC_TAIL_EXAMPLES", "100"))
FIRST = int(os.environ.get("CDC_TAIL_TEST_SEED", random.randrange(1 << 30)))
# 6.0-alpha2 runs, too, until it can't read an sstable that it wrote itself
# (CorruptSSTableException, once in some twenty histories).
SERIES = os.environ.get("CDC_TAIL_TEST_SERIES", "3.11 4.0 4.1 5.0").split()
AT_ONCE = 10


@pytest.mark.long
@pytest.mark.timeout(300 + 60 * HISTORIES)
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
        bundle = run(
            cassandra_node(series),
            [RandomHistory(one, STATEMENTS, short_ttls=series != "3.11") for one in some],
        )
        for way in WAYS:
            found += differences(bundle, postgres, way, some[0])
        print(f"{some}: {len(found)} differences so far")
    assert not found, "\n".join(found)


@pytest.mark.long
@pytest.mark.timeout(600 + 60 * EXAMPLES)
def test_whatever_is_said_to_a_table(cassandra_node: NodeFactory, postgres: PostgresServer) -> None:
    print(f"seed {FIRST}")
    servers = Servers(cassandra_node("5.0"), postgres)
    machine = seed(FIRST)(partial(Mirroring, servers))
    try:
        run_state_machine_as_test(
            machine,  # type: ignore[arg-type]  # called without arguments
            settings=machine_settings(EXAMPLES),
        )
    finally:
        servers.close()
