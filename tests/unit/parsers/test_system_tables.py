"""Cassandra's own tables: ids and columns as real nodes have them."""

from __future__ import annotations

from uuid import UUID

import pytest

from parsers.system_tables import (
    LOCAL_TABLE,
    SCHEMA_TABLES,
    SKIPPED_TABLE_IDS,
    SYSTEM_TABLES,
    system_table_id,
)


@pytest.mark.parametrize(
    ("keyspace", "name", "table_id"),
    [
        ("system_schema", "keyspaces", "abac5682-dea6-31c5-b535-b3d6cffd0fb6"),
        ("system_schema", "tables", "afddfb9d-bc1e-3068-8056-eed6c302ba09"),
        ("system_schema", "columns", "24101c25-a2ae-3af7-87c1-b40ee1aca33f"),
        ("system_schema", "column_masks", "738cc5ed-0168-3268-b9d1-853d4bc278af"),
        ("system", "local", "7ad54392-bcdd-35a6-8417-4e047860b377"),
        ("system", "batches", "919a4bc5-7a33-3573-b03e-13fc3f68b465"),
        ("system", "paxos", "b7b7f0c2-fd0a-3410-8c05-3ef614bb7c2d"),
    ],
)
def test_ids_are_those_that_nodes_have(keyspace: str, name: str, table_id: str) -> None:
    assert system_table_id(keyspace, name) == UUID(table_id)


def test_batches_and_paxos_are_never_decoded() -> None:
    # They hold user data that is not, and may never be, written.
    assert system_table_id("system", "batches") in SKIPPED_TABLE_IDS
    assert system_table_id("system", "paxos") in SKIPPED_TABLE_IDS


def test_what_is_decoded_is_not_skipped() -> None:
    assert not SKIPPED_TABLE_IDS & {table.id for table in SYSTEM_TABLES}


def test_only_truncated_at_and_tokens_are_multi_cell() -> None:
    multi_cell = {column.name for column in LOCAL_TABLE.columns if column.is_complex}
    assert multi_cell == {"tokens", "truncated_at"}
    assert not any(
        column.is_complex for table in SCHEMA_TABLES.values() for column in table.columns
    )
