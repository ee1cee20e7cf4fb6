"""Cassandra's own tables: the definitions needed to read schema changes in-band, and what to skip.

The definitions are the union over 3.11 to 6.0: a mutation names the columns that it holds, so one
definition reads them all.
"""

from __future__ import annotations

import hashlib
from typing import Final
from uuid import UUID

from parsers.schema import Column, ColumnKind, Table
from parsers.type_text import parse_type


def system_table_id(keyspace: str, name: str) -> UUID:
    """The id of a system table: a name-based UUID, the same on every node and version."""
    # usedforsecurity: MD5 is what TableId.forSystemTable uses to name a table, nothing is protected
    digest = hashlib.md5((keyspace + name).encode(), usedforsecurity=False).digest()
    return UUID(bytes=digest, version=3)


def _columns(text: str, kind: ColumnKind) -> tuple[Column, ...]:
    columns = []
    for position, declaration in enumerate(filter(None, text.split("; "))):
        name, _, type_text = declaration.partition(" ")
        key = kind in ("partition_key", "clustering")
        columns.append(
            Column(
                name, name.encode(), kind, position if key else -1, parse_type(type_text, {}, "")
            )
        )
    return tuple(columns)


def _table(keyspace: str, name: str, partition: str, clustering: str, regulars: str) -> Table:
    return Table(
        keyspace,
        name,
        system_table_id(keyspace, name),
        _columns(partition, "partition_key"),
        _columns(clustering, "clustering"),
        (),
        _columns(regulars, "regular"),
        gc_grace_seconds=604_800 if keyspace == "system_schema" else 0,
    )


_FROZEN_MAP: Final = "frozen<map<text, text>>"

_TABLE_OPTIONS: Final = (
    "additional_write_policy text; allow_auto_snapshot boolean; "
    f"auto_repair {_FROZEN_MAP}; bloom_filter_fp_chance double; caching {_FROZEN_MAP}; "
    f"cdc boolean; comment text; compaction {_FROZEN_MAP}; compression {_FROZEN_MAP}; "
    "crc_check_chance double; dclocal_read_repair_chance double; default_time_to_live int; "
    f"extensions frozen<map<text, blob>>; fast_path {_FROZEN_MAP}; gc_grace_seconds int; id uuid; "
    "incremental_backups boolean; max_index_interval int; memtable text; "
    "memtable_flush_period_in_ms int; min_index_interval int; read_repair text; "
    "read_repair_chance double; speculative_retry text; "
)

_SCHEMA_TABLES: Final[dict[str, tuple[str, str]]] = {
    "keyspaces": (
        "",
        f"durable_writes boolean; fast_path {_FROZEN_MAP}; replication {_FROZEN_MAP}",
    ),
    "tables": ("table_name text", _TABLE_OPTIONS + "flags frozen<set<text>>"),
    "views": (
        "view_name text",
        _TABLE_OPTIONS + "base_table_id uuid; base_table_name text; where_clause text; "
        "include_all_columns boolean",
    ),
    "columns": (
        "table_name text; column_name text",
        "clustering_order text; column_name_bytes blob; kind text; position int; type text",
    ),
    "column_masks": (
        "table_name text; column_name text",
        (
            "function_keyspace text; function_name text; "
            "function_argument_types frozen<list<text>>; "
            "function_argument_values frozen<list<text>>; "
            "function_argument_nulls frozen<list<boolean>>"
        ),
    ),
    "dropped_columns": (
        "table_name text; column_name text",
        "dropped_time timestamp; kind text; type text",
    ),
    "types": (
        "type_name text",
        "field_names frozen<list<text>>; field_types frozen<list<text>>",
    ),
    "indexes": ("table_name text; index_name text", f"kind text; options {_FROZEN_MAP}"),
    "triggers": ("table_name text; trigger_name text", f"options {_FROZEN_MAP}"),
    "functions": (
        "function_name text; argument_types frozen<list<text>>",
        (
            "argument_names frozen<list<text>>; body text; language text; return_type text; "
            "called_on_null_input boolean"
        ),
    ),
    "aggregates": (
        "aggregate_name text; argument_types frozen<list<text>>",
        "final_func text; initcond text; return_type text; state_func text; state_type text",
    ),
}

SCHEMA_TABLES: Final[dict[str, Table]] = {
    name: _table("system_schema", name, "keyspace_name text", clustering, regulars)
    for name, (clustering, regulars) in _SCHEMA_TABLES.items()
}
"""The tables of `system_schema` by name."""

LOCAL_TABLE: Final = _table(
    "system",
    "local",
    "key text",
    "",
    "bootstrapped text; broadcast_address inet; broadcast_port int; cluster_name text; "
    "cql_version text; data_center text; gossip_generation int; host_id uuid; "
    "listen_address inet; listen_port int; native_protocol_version text; partitioner text; "
    "rack text; release_version text; rpc_address inet; rpc_port int; schema_version uuid; "
    "thrift_version text; tokens set<text>; truncated_at map<uuid, blob>",
)
"""`system.local`: its `truncated_at` is the only trace that a TRUNCATE leaves."""

SYSTEM_TABLES: Final[tuple[Table, ...]] = (*SCHEMA_TABLES.values(), LOCAL_TABLE)
"""The system tables that are decoded."""

_SKIPPED_NAMES: Final[dict[str, str]] = {
    "system": (
        "IndexInfo available_ranges available_ranges_v2 batches batchlog built_views "
        "compaction_history consensus_migration_state hints local_metadata_log "
        "metadata_snapshots paxos paxos_repair_history "
        "peer_events peer_events_v2 peers peers_v2 prepared_statements range_xfers repairs "
        "schema_aggregates schema_columnfamilies schema_columns schema_functions "
        "schema_keyspaces schema_triggers schema_usertypes size_estimates snapshots "
        "sstable_activity sstable_activity_v2 table_estimates top_partitions transferred_ranges "
        "transferred_ranges_v2 view_builds_in_progress views_builds_in_progress"
    ),
    "system_auth": (
        "cidr_groups cidr_permissions credentials identity_to_role network_permissions "
        "permissions resource_role_permissons_index role_members role_permissions roles users"
    ),
    "system_distributed": (
        "auto_repair_history auto_repair_priority compression_dictionaries "
        "parent_repair_history partition_denylist repair_history view_build_status"
    ),
    "system_traces": "events sessions",
    "system_cluster_metadata": "distributed_metadata_log",
}

SKIPPED_TABLE_IDS: Final[frozenset[UUID]] = frozenset(
    system_table_id(keyspace, name)
    for keyspace, names in _SKIPPED_NAMES.items()
    for name in names.split()
)
"""System tables whose mutations are passed over without being decoded.

`system.batches` and `system.paxos` are among them: they hold user data that is not written yet.
"""
