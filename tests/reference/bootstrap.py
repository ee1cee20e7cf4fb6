"""The tables of `system_schema` itself: the union over the versions, since a header names
only the columns present.
"""

from __future__ import annotations

from uuid import UUID

from tests.reference.schema import RefTable, table

_FM = "frozen<map<text, text>>"
_PARAMETERS = (
    f"bloom_filter_fp_chance double; caching {_FM}; comment text; compaction {_FM}; compression "
    f"{_FM};"
    "crc_check_chance double; dclocal_read_repair_chance double; default_time_to_live int;"
    "extensions frozen<map<text, blob>>; flags frozen<set<text>>; gc_grace_seconds int; id uuid;"
    "max_index_interval int; memtable_flush_period_in_ms int; min_index_interval int;"
    "read_repair_chance double; speculative_retry text; cdc boolean;"
    "additional_write_policy text; read_repair text; memtable text; allow_auto_snapshot boolean;"
    f"incremental_backups boolean; auto_repair {_FM}; fast_path {_FM};"
)


def _schema_table(name: str, table_id: str, clustering: str, regular: str) -> RefTable:
    return table(
        "system_schema",
        name,
        table_id,
        partition_key="keyspace_name text",
        clustering=clustering,
        regular=regular,
    )


_TABLES = [
    _schema_table(
        "keyspaces",
        "abac5682-dea6-31c5-b535-b3d6cffd0fb6",
        "",
        f"durable_writes boolean; replication {_FM}; fast_path {_FM}",
    ),
    _schema_table("tables", "afddfb9d-bc1e-3068-8056-eed6c302ba09", "table_name text", _PARAMETERS),
    _schema_table(
        "views",
        "9786ac1c-dd58-3201-a7cd-ad556410c985",
        "view_name text",
        _PARAMETERS
        + "base_table_id uuid; base_table_name text; where_clause text; include_all_columns "
        "boolean;",
    ),
    _schema_table(
        "columns",
        "24101c25-a2ae-3af7-87c1-b40ee1aca33f",
        "table_name text; column_name text",
        "clustering_order text; column_name_bytes blob; kind text; position int; type text",
    ),
    _schema_table(
        "column_masks",
        "738cc5ed-0168-3268-b9d1-853d4bc278af",
        "table_name text; column_name text",
        "function_keyspace text; function_name text; function_argument_types frozen<list<text>>;"
        "function_argument_values frozen<list<text>>; function_argument_nulls "
        "frozen<list<boolean>>",
    ),
    _schema_table(
        "dropped_columns",
        "5e7583b5-f3f4-3af1-9a39-b7e1d6f5f11f",
        "table_name text; column_name text",
        "dropped_time timestamp; kind text; type text",
    ),
    _schema_table(
        "types",
        "5a8b1ca8-6602-3f77-a045-9273d308917a",
        "type_name text",
        "field_names frozen<list<text>>; field_types frozen<list<text>>",
    ),
    _schema_table(
        "indexes",
        "0feb57ac-311f-382f-ba6d-9024d305702f",
        "table_name text; index_name text",
        f"kind text; options {_FM}",
    ),
    _schema_table(
        "triggers",
        "4df70b66-6b05-3251-95a1-32b54005fd48",
        "table_name text; trigger_name text",
        f"options {_FM}",
    ),
    _schema_table(
        "functions",
        "96489b79-80be-3e14-a701-66a0b9159450",
        "function_name text; argument_types frozen<list<text>>",
        "argument_names frozen<list<text>>; body text; language text; return_type text; "
        "called_on_null_input boolean",
    ),
    _schema_table(
        "aggregates",
        "924c5587-2e3a-345b-b10c-12f37c1ba895",
        "aggregate_name text; argument_types frozen<list<text>>",
        "final_func text; initcond text; return_type text; state_func text; state_type text",
    ),
]

SYSTEM_SCHEMA: dict[UUID, RefTable] = {found.id: found for found in _TABLES}
