"""The state machine of tests/support/cql_machine.py: always the same few examples."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis.stateful import run_state_machine_as_test

from cdc_tail.local.postgres import PostgresServer
from tests.conftest import NodeFactory
from tests.support.cql_machine import Mirroring, Servers, machine_settings

EXAMPLES = 5


@pytest.mark.timeout(600)
def test_the_mirror_is_what_select_gives(
    cassandra_node: NodeFactory, postgres: PostgresServer
) -> None:
    servers = Servers(cassandra_node("5.0"), postgres)
    try:
        run_state_machine_as_test(
            partial(Mirroring, servers),  # type: ignore[arg-type]  # called without arguments
            settings=machine_settings(EXAMPLES, derandomize=True),
        )
    finally:
        servers.close()
