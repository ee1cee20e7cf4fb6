"""What a mirror's `_cdc` column says of live cells, against WRITETIME() and TTL() of a SELECT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from psycopg import sql

from parsers.cql_types import CqlType
from sinks.postgres.catalog import Connection, Mirror
from sinks.postgres.names import STATE_COLUMN
from tests.support.mirrored import mirror_columns, mirrors_of
from tests.support.pg_values import from_field, storable
from tests.support.row_state import RowState, StateCell, read_state


def differing_states(
    connection: Connection, tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """By table: cells whose writetime or expiry is not what SELECT said of them.

    `tables` are as `read_table` gives them, with the table's id. Multi-cell columns are compared
    where Cassandra tells the times of their elements (5.0 and later).
    """
    found = {}
    for name, state in tables.items():
        lines = _differences(state, mirrors_of(connection, state["id"]), connection)
        if lines:
            found[name] = lines
    return found


def _differences(
    table: Mapping[str, Any], mirrors: Mapping[str, Mirror], connection: Connection
) -> list[str]:
    if not mirrors:
        return ["it has no mirror"]
    states = {kind: _states(connection, mirror) for kind, mirror in mirrors.items()}
    columns = mirror_columns(mirrors)
    lines = []
    for row in table["rows"]:
        key = {
            name: storable(cell["value"], columns[name].cql_type, columns[name].pg_type)
            for name, cell in row["key"].items()
        }
        for name, cell in row["cells"].items():
            if "writetime" not in cell:
                continue
            kind = "static" if columns[name].kind == "static" else "rows"
            place = _text([key[c.cql_name] for c in mirrors[kind].key])
            row_state = states[kind].get(place)
            if row_state is None:
                lines.append(f"{place} has no state")
                continue
            said = _said(row_state, columns[name].cid, table["selected_at_seconds"][1])
            lines += [
                f"{place} {name}: {problem}"
                for problem in _problems(cell, said, table["selected_at_seconds"])
            ]
    return lines


def _states(connection: Connection, mirror: Mirror) -> dict[str, RowState]:
    names = sql.SQL(", ").join(
        sql.Identifier(name) for name in (*(c.name for c in mirror.key), STATE_COLUMN)
    )
    statement = sql.SQL("SELECT {} FROM {}").format(names, mirror.identifier)
    result = connection.pgconn.exec_params(statement.as_bytes(connection), [], result_format=1)
    assert not result.error_message, result.error_message
    found = {}
    for number in range(result.ntuples):
        fields = [result.get_value(number, at) for at in range(result.nfields)]
        types: list[tuple[CqlType, str]] = [(c.cql_type, c.pg_type) for c in mirror.key]
        key = [from_field(data, *kind) for data, kind in zip(fields, types, strict=False)]
        state = fields[-1]
        assert state is not None
        found[_text(key)] = read_state(state)
    return found


def _text(key: list[Any]) -> str:
    return json.dumps(key, ensure_ascii=False)


def _said(state: RowState, cid: int, now_s: int) -> list[StateCell]:
    """The live cells of a column."""
    return [
        cell
        for (number, _, _), cell in state.cells.items()
        if number == cid
        and not cell.tombstone
        and not cell.complex_deletion
        and (cell.deletion_time_s is None or cell.deletion_time_s > now_s)
    ]


def _problems(cell: Mapping[str, Any], said: list[StateCell], between: list[int]) -> list[str]:
    is_many = isinstance(cell["writetime"], list)
    wanted = sorted(one for one in _many(cell["writetime"]) if one is not None)
    have = sorted(one.writetime_us for one in said)
    if wanted != have:
        return [f"writetimes {have} instead of {wanted}"]
    if is_many or "ttl" not in cell:
        expiring = [one for one in said if one.ttl_s]
        return ["it has a TTL"] if expiring and not is_many else []
    (one,) = said
    if one.deletion_time_s is None:
        return ["it has no TTL"]
    if not between[0] <= one.deletion_time_s - cell["ttl"] <= between[1]:
        return [f"it expires at {one.deletion_time_s}, TTL {cell['ttl']} at {between}"]
    return []


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
