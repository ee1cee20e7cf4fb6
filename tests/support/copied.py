"""A snapshot of a test's keyspace, and its mirrors held against SELECT."""

from __future__ import annotations

from typing import Any

import psycopg

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.settings import Settings
from cdc_tail.snapshot import Progress, Snapshots
from tests.support.keyspace import Keyspace
from tests.support.mirrored import differing
from tests.support.oracle import raw_session, read_table


def settings_for(node: CassandraNode, dsn: str, include: str, **snapshot: Any) -> Settings:
    """Settings of a sidecar beside the node that mirrors one keyspace."""
    return Settings.model_validate(
        {
            "node": "copied",
            "cassandra": {"host": node.address, "port": node.native_port, "cdc_raw": node.cdc_raw},
            "postgres": {"dsn": dsn},
            "mirror": {"include": (f"{include}.*",)},
            "snapshot": {"page_rows": 10} | snapshot,
        }
    )


def copy_all(keyspace: Keyspace, dsn: str, **snapshot: Any) -> dict[str, Progress]:
    """Copy every mirrored table of the keyspace; what came of it by table."""
    found = {}
    with Snapshots(settings_for(keyspace.node, dsn, keyspace.name, **snapshot)) as work:
        for table in work.tables():
            done = work.copy(table)
            assert done is not None
            found[table.name] = done
    return found


def selected(keyspace: Keyspace) -> dict[str, Any]:
    """What SELECT gives of every table with CDC."""
    tables = keyspace.session.execute(
        "SELECT table_name, id, cdc FROM system_schema.tables WHERE keyspace_name = %s",
        (keyspace.name,),
    )
    raw = raw_session(keyspace.node)
    return {
        row.table_name: read_table(raw, keyspace.name, row.table_name) | {"id": str(row.id)}
        for row in tables
        if row.cdc
    }


def differences_of(keyspace: Keyspace, dsn: str) -> dict[str, list[str]]:
    """How the mirrors differ from SELECT, by table; empty where they don't."""
    with psycopg.connect(dsn) as connection:
        return differing(connection, selected(keyspace))
