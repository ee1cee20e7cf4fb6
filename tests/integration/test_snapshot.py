"""Rows that were there before the log was read, copied from a real node: SELECT is the judge."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from cassandra import InvalidRequest

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.copied import copy_all, differences_of
from tests.support.keyspace import Keyspace
from tests.support.random_cql import TYPES, RandomTable, random_statements, random_tables

SEED = 11
TABLES = 8
STATEMENTS = 400


@pytest.fixture(params=["5.0", "4.0"])
def ks(
    request: pytest.FixtureRequest,
    cassandra_node: NodeFactory,
    keyspace: Callable[[CassandraNode], Keyspace],
) -> Keyspace:
    return keyspace(cassandra_node(request.param))


def write(ks: Keyspace, tables: list[RandomTable], count: int) -> None:
    for statement in random_statements(tables, count):
        try:
            ks.session.execute(statement)
        except InvalidRequest as error:
            raise AssertionError(statement) from error


@pytest.fixture
def tables(ks: Keyspace) -> list[RandomTable]:
    made = random_tables(SEED, TABLES)[:-1]
    for statement in (*TYPES, *(table.cql for table in made)):
        ks.session.execute(statement)
    return made


def test_what_is_copied_is_what_select_gives(
    ks: Keyspace, tables: list[RandomTable], database: str
) -> None:
    write(ks, tables, STATEMENTS)
    time.sleep(3)  # short TTLs are over
    done = copy_all(ks, database)
    assert differences_of(ks, database) == {}
    assert sum(one.rows for one in done.values()) > 50
    again = copy_all(ks, database)
    assert differences_of(ks, database) == {}
    assert not any(one.applied.inserted for one in again.values())
