"""Waiting for a live mirror, and comparing it with what its node's SELECT says at the end."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from cdc_tail.local.cassandra import CassandraNode
from tests.support.mirrored import differing
from tests.support.oracle import raw_session, read_table

SETTLE_SECONDS = 120
RETRY_SECONDS = 0.2


def assert_mirror_equals_select(
    node: CassandraNode,
    keyspace: str,
    dsn: str,
    *,
    settle_seconds: float = SETTLE_SECONDS,
    consistency: int | None = None,
) -> dict[str, int]:
    """Every CDC table of the keyspace has a mirror that becomes equal to its SELECT.

    Nothing else may write meanwhile. `consistency` is the driver's level of the SELECT.
    Returns the number of rows by "keyspace.table".
    """
    raw = raw_session(node)
    if consistency is not None:
        raw.cluster.profile_manager.default.consistency_level = consistency
    tables = {f"{keyspace}.{name}": id_ for name, id_ in _cdc_tables(node, keyspace).items()}
    assert tables
    deadline = time.monotonic() + settle_seconds
    while True:
        with psycopg.connect(dsn) as connection:
            expected = {
                name: read_table(raw, *name.split(".")) | {"id": tables[name]} for name in tables
            }
            found = differing(connection, expected)
        if not found:
            return {name: len(state["rows"]) for name, state in expected.items()}
        assert time.monotonic() < deadline, found
        time.sleep(RETRY_SECONDS)


def _cdc_tables(node: CassandraNode, keyspace: str) -> dict[str, str]:
    session = node.session()
    rows = session.execute(
        "SELECT table_name, id, cdc FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,)
    )
    return {row.table_name: str(row.id) for row in rows if row.cdc}


def one_value(dsn: str, query: str, *parameters: Any) -> Any:
    """The first column of the first row of a query of PostgreSQL, None if there is no row."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else row[0]
