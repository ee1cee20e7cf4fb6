"""What Cassandra says a table holds: every row of a SELECT with writetimes and TTLs, as JSON."""

from __future__ import annotations

import time
from typing import Any

from cassandra import InvalidRequest
from cassandra.protocol import ResultMessage, _ProtocolHandler
from cassandra.query import SimpleStatement

from cdc_tail.local.cassandra import CassandraNode
from tests.support.canonical import canonical

PAGE_ROWS = 1000


class _RawResult(ResultMessage):  # type: ignore[misc]
    """A result that keeps each value as the bytes that Cassandra sent."""

    def recv_results_rows(
        self, f: Any, protocol_version: int, user_type_map: Any, result_metadata: Any, _: Any
    ) -> None:
        self.recv_results_metadata(f, user_type_map)
        metadata = self.column_metadata or result_metadata
        count = int.from_bytes(f.read(4), "big")
        self.column_names = [column[2] for column in metadata]
        self.column_types = [column[3] for column in metadata]
        self.parsed_rows = [self.recv_row(f, len(metadata)) for _ in range(count)]


class _RawHandler(_ProtocolHandler):  # type: ignore[misc]
    message_types_by_opcode = _ProtocolHandler.message_types_by_opcode | {
        ResultMessage.opcode: _RawResult
    }


def raw_session(node: CassandraNode) -> Any:
    """A session of the node whose rows are tuples of bytes, for `read_table`."""
    session = node.session()
    session.client_protocol_handler = _RawHandler
    return session


def read_table(raw: Any, keyspace: str, table: str) -> dict[str, Any]:
    """Rows of a table in SELECT's order; see docs of the golden cases for the form.

    `raw` is a session from `raw_session`.
    """
    columns = raw.cluster.metadata.keyspaces[keyspace].tables[table].columns
    key = [c.name for c in raw.cluster.metadata.keyspaces[keyspace].tables[table].primary_key]
    names = [*key, *(name for name in columns if name not in key)]
    target = f'"{keyspace}"."{table}"'
    asked = [f'"{name}"' for name in names]
    extras: list[tuple[str, str]] = []
    for name in names:
        extras += [
            (name, function)
            for function in ("writetime", "ttl")
            if name not in key and _allowed(raw, f'{function}("{name}")', target)
        ]
    asked += [f'{function}("{name}")' for name, function in extras]
    since = int(time.time())
    result = raw.execute(
        SimpleStatement(f"SELECT {', '.join(asked)} FROM {target}", fetch_size=PAGE_ROWS)
    )
    types = result.column_types
    rows = [_row(values, types, names, key, extras) for values in result]
    return {
        "key": key,
        "columns": {name: str(columns[name].cql_type) for name in names},
        "selected_at_seconds": [since, int(time.time())],
        "rows": rows,
    }


def _allowed(raw: Any, expression: str, target: str) -> bool:
    try:
        raw.execute(f"SELECT {expression} FROM {target} LIMIT 1")
    except InvalidRequest:  # multi-cell columns before 5.0, counters' TTL, ...
        return False
    return True


def _row(
    values: tuple[bytes | None, ...],
    types: list[Any],
    names: list[str],
    key: list[str],
    extras: list[tuple[str, str]],
) -> dict[str, Any]:
    cells: dict[str, dict[str, Any]] = {}
    for name, data, cql_type in zip(names, values, types, strict=False):
        cells[name] = {"value": canonical(data, cql_type)}
        if data is not None:
            cells[name]["hex"] = data.hex()
    behind = zip(extras, values[len(names) :], types[len(names) :], strict=True)
    for (name, function), data, cql_type in behind:
        if data is not None:
            cells[name][function] = canonical(data, cql_type)
    return {
        "key": {name: cells[name] for name in key},
        "cells": {name: cell for name, cell in cells.items() if name not in key},
    }
