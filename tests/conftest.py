"""Fixtures of every test: a database and Cassandra nodes, real, started when first used.

Tests below `tests/unit` need neither; what is below `tests/integration` and `tests/crash` carries
the marker of its folder, so that `-m "not integration"` leaves it out.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.postgres import PostgresServer
from tests.support.keyspace import Keyspace

if os.environ.get("CDC_TAIL_TEST_TRACED"):  # `make test-coverage`: ten times as slow
    from hypothesis import settings

    settings.register_profile("traced", deadline=None)
    settings.load_profile("traced")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background has them, and what they start, ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

MARKED_FOLDERS = ("integration", "crash")
NodeFactory = Callable[..., CassandraNode]

_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0]
        if folder in MARKED_FOLDERS:
            item.add_marker(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the whole run; CDC_TAIL_TEST_POSTGRES names another `bin` folder."""
    programs = os.environ.get("CDC_TAIL_TEST_POSTGRES")
    # Without fsync a database is made ten times as fast; only a crash of the machine would tell.
    with PostgresServer(
        programs=Path(programs) if programs else None, settings={"fsync": "off"}
    ) as server:
        yield server


@pytest.fixture
def database(postgres: PostgresServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """Connection URI of an empty database of this test alone."""
    name = _name_of(request)
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="session")
def cassandra_node() -> Iterator[NodeFactory]:
    """`cassandra_node(series="5.0", **node_options)`: a running node shared by the whole run.

    Nodes are kept per series and options, and so is their `cdc_raw`: it holds the mutations of
    other tests too. A test works in its own keyspace and neither stops the node nor removes
    segments; one that must do so takes `new_cassandra_node`.
    """
    nodes: dict[str, CassandraNode] = {}

    def node(series: str = "5.0", **options: object) -> CassandraNode:
        key = f"{series} {sorted(options.items())}"
        if key not in nodes:
            nodes[key] = _node(series, options)
            nodes[key].__enter__()
        return nodes[key]

    yield node
    for started in nodes.values():
        started.__exit__(None, None, None)


@pytest.fixture
def new_cassandra_node() -> Iterator[NodeFactory]:
    """`new_cassandra_node(series="5.0", **node_options)`: a running node of this test alone."""
    nodes: list[CassandraNode] = []

    def node(series: str = "5.0", **options: object) -> CassandraNode:
        nodes.append(_node(series, options))
        return nodes[-1].__enter__()

    yield node
    for started in nodes:
        started.__exit__(None, None, None)


@pytest.fixture
def keyspace(request: pytest.FixtureRequest) -> Iterator[Callable[[CassandraNode], Keyspace]]:
    """`keyspace(node)`: a new keyspace of this test with a session that uses it; dropped after."""
    made: list[Keyspace] = []

    def make(node: CassandraNode) -> Keyspace:
        made.append(Keyspace.create(node, _name_of(request)))
        return made[-1]

    yield make
    for one in made:
        one.drop()


def _node(series: str, options: dict[str, object]) -> CassandraNode:
    # Small segments and heap, so that five series fit beside each other; a test may say otherwise.
    defaults: dict[str, object] = {"commitlog_segment_size_mib": 1, "heap_mib": 640}
    return CassandraNode(series, options=NodeOptions(**(defaults | options)))  # type: ignore[arg-type]


def _name_of(request: pytest.FixtureRequest) -> str:
    """A new lower-case name that tells its test; both databases take up to 48 characters."""
    plain = re.sub(r"\W+", "_", request.node.name).lower()
    return f"t{next(_numbers)}_{plain[:40]}".rstrip("_")
