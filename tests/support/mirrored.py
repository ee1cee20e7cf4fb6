"""What a mirror holds and what Cassandra's SELECT says, in one form, so that both can be compared.

A row is a dict of canonical values by Cassandra's column names; see pg_values.py for what a mirror
can hold of them. A table with static columns is read through its view, as SELECT shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import sql

from sinks.postgres.catalog import Connection, Mirror, MirrorColumn, load_mirrors
from tests.support.pg_values import from_field, storable

Row = dict[str, Any]
Rows = dict[str, Row]
"""Rows by their primary key (JSON text, so that failures can be read)."""


def mirrors_of(connection: Connection, table_id: UUID | str) -> dict[str, Mirror]:
    """The mirrors of a table by kind ("rows", "static"); none where it was never mirrored."""
    wanted = UUID(str(table_id))
    return {one.kind: one for one in load_mirrors(connection) if one.table_id == wanted}


def mirror_columns(mirrors: Mapping[str, Mirror]) -> dict[str, MirrorColumn]:
    """All columns of a table's mirrors by Cassandra's names, the key first and in order."""
    static = mirrors["static"].columns if "static" in mirrors else ()
    return {c.cql_name: c for c in (*mirrors["rows"].key, *static, *mirrors["rows"].columns)}


def read_mirror(connection: Connection, mirrors: Mapping[str, Mirror]) -> Rows:
    """The rows of a table's mirror."""
    rows = mirrors["rows"]
    relation = rows.identifier
    if "static" in mirrors:
        view = mirrors["static"].joined_view
        assert view is not None, f"{rows.relation} has static columns but no view"
        relation = sql.Identifier(rows.relation_schema, view)
    columns = mirror_columns(mirrors)
    names = sql.SQL(", ").join(sql.Identifier(c.name) for c in columns.values())
    statement = sql.SQL("SELECT {} FROM {}").format(names, relation).as_bytes(connection)
    result = connection.pgconn.exec_params(statement, [], result_format=1)
    assert not result.error_message, result.error_message
    found: Rows = {}
    for number in range(result.ntuples):
        row = {
            name: from_field(result.get_value(number, field), column.cql_type, column.pg_type)
            for field, (name, column) in enumerate(columns.items())
        }
        _add(found, row, [c.cql_name for c in rows.key])
    return found


def expected_rows(state: Mapping[str, Any], mirrors: Mapping[str, Mirror]) -> Rows:
    """The rows of one table of `expected.json.gz` (or of `read_table`), as a mirror holds them.

    Of a column that the mirror does not have (yet), the bytes: they differ from anything.
    """
    columns = mirror_columns(mirrors)
    found: Rows = {}
    for row in state["rows"]:
        values = row["key"] | row["cells"]
        stored = {
            name: (
                storable(cell["value"], columns[name].cql_type, columns[name].pg_type)
                if name in columns
                else cell.get("hex")
            )
            for name, cell in values.items()
        }
        _add(found, stored, state["key"])
    return found


def _add(rows: Rows, row: Row, key: list[str]) -> None:
    text = json.dumps([row[name] for name in key], ensure_ascii=False)
    while text in rows:  # which no other row may have
        text += " again"
    rows[text] = row


def differences(expected: Rows, mirrored: Rows) -> list[str]:
    """One line per row or value that differs."""
    lines = [f"{key} is missing" for key in expected if key not in mirrored]
    lines += [
        f"{key} should not be there: {mirrored[key]}" for key in mirrored if key not in expected
    ]
    for key in expected.keys() & mirrored.keys():
        want, have = expected[key], mirrored[key]
        if want.keys() != have.keys():
            lines.append(f"{key} has columns {sorted(have)} instead of {sorted(want)}")
        lines += [
            f"{key} {name}: {have[name]!r} instead of {want[name]!r}"
            for name in want.keys() & have.keys()
            if want[name] != have[name]
        ]
    return lines


def differing(
    connection: Connection, tables: Mapping[str, Mapping[str, Any]]
) -> dict[str, list[str]]:
    """What differs between the mirrors and the tables of `expected.json.gz`, by table."""
    found = {}
    for name, state in tables.items():
        mirrors = mirrors_of(connection, state["id"])
        if not mirrors:
            found[name] = ["it has no mirror"]
            continue
        lines = differences(expected_rows(state, mirrors), read_mirror(connection, mirrors))
        if lines:
            found[name] = lines
    return found
