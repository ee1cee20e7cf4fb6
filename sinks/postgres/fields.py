"""Stored values of user-defined types that got fields, or other names of fields, written anew.

Fields are only ever added or renamed, so the place of a field tells which one it is. Statements
work on JSON as text: a map's key is JSON inside a string, and stays as the decoder writes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import count, zip_longest

from psycopg import sql

from parsers.cql_types import (
    CqlType,
    ListType,
    MapType,
    SetType,
    TupleType,
    UdtType,
    VectorType,
)
from sinks.postgres.catalog import Connection

Retyped = tuple[str, str, CqlType, CqlType]
"""A column of a relation: its name, its PostgreSQL type, its type as it was and as it is."""

_NULL = sql.SQL("'null'")


def rewrite(connection: Connection, relation: sql.Identifier, columns: Iterable[Retyped]) -> None:
    """Bring the values of columns to their new types, in every row of the relation.

    The caller keeps others from writing it. Raises psycopg.Error.
    """
    assignments = []
    for name, pg_type, old, new in columns:
        column = sql.SQL("t.{}").format(sql.Identifier(name))
        value = _field(pg_type, old, new, column)
        if value is not None:
            assignments.append((column, sql.Identifier(name), value))
    if assignments:
        connection.execute(
            sql.SQL("UPDATE {} AS t SET {} WHERE num_nonnulls({}) > 0").format(
                relation,
                sql.SQL(", ").join(
                    sql.SQL("{} = {}").format(name, value) for _, name, value in assignments
                ),
                sql.SQL(", ").join(column for column, _, _ in assignments),
            )
        )


def _field(
    pg_type: str, old: CqlType, new: CqlType, column: sql.Composable
) -> sql.Composable | None:
    """A column's new value; None where it does not change."""
    places = count()
    base = pg_type.removesuffix("[]")
    if base not in ("jsonb", "text"):
        return None  # bytea holds Cassandra's bytes
    as_base = sql.SQL("::jsonb" if base == "jsonb" else "")
    if pg_type == base:
        text = _text(old, new, column + sql.SQL("::json"), places)
        return None if text is None else sql.SQL("({}){}").format(text, as_base)
    element = sql.SQL("e.v::json")
    text = _text(_element(old), _element(new), element, places)
    if text is None:
        return None
    return sql.SQL(
        "coalesce((SELECT array_agg(({}){} ORDER BY e.n)"
        " FROM unnest({}) WITH ORDINALITY AS e (v, n)), {})"
    ).format(text, as_base, column, column)


def _text(
    old: CqlType, new: CqlType, value: sql.Composable, places: Iterator[int]
) -> sql.Composable | None:
    """The JSON text of a value (an expression of type json); None where it does not change."""
    if old == new:
        return None
    v = _alias(places)
    match old, new:
        case UdtType(), UdtType():
            return _when("object", value, v, _object(old, new, v, places))
        case ((ListType() | SetType() | VectorType()), _):
            item = _items(v, places, lambda e, _: _text(_element(old), _element(new), e, places))
            return None if item is None else _when("array", value, v, item)
        case TupleType(befores), TupleType(afters):
            pairs = list(zip(befores, afters, strict=True))
            return _when(
                "array", value, v, _items(v, places, lambda e, n: _by_place(pairs, e, n, places))
            )
        case MapType(), MapType():
            return _when("object", value, v, _map(old, new, v, places))
    return None


def _when(
    kind: str, value: sql.Composable, v: sql.Identifier, text: sql.Composable | None
) -> sql.Composable | None:
    """`text` where the value, which it calls v, is of that JSON type; else the value as it is."""
    if text is None:
        return None
    return sql.SQL(
        "(SELECT CASE json_typeof({v}.v) WHEN {kind} THEN {text} ELSE {v}.v::text END"
        " FROM (SELECT {value} AS v) AS {v})"
    ).format(v=v, kind=sql.Literal(kind), text=text, value=value)


def _object(old: UdtType, new: UdtType, v: sql.Identifier, places: Iterator[int]) -> sql.Composable:
    parts: list[sql.Composable] = []
    fields = zip_longest(old.field_names, old.field_types, new.field_names, new.field_types)
    for number, (old_name, old_type, new_name, new_type) in enumerate(fields):
        if new_name is None:
            break
        opening = ("{" if number == 0 else ", ") + f"{json_name(new_name)}: "
        parts.append(sql.Literal(opening))
        if old_name is None:
            parts.append(_NULL)
            continue
        member = sql.SQL("({}.v -> {})").format(v, sql.Literal(json.loads(json_name(old_name))))
        text = _text(old_type.freeze(), new_type.freeze(), member, places)
        parts.append(sql.SQL("coalesce({}, {})").format(text or member + sql.SQL("::text"), _NULL))
    parts.append(sql.Literal("}"))
    return sql.SQL(" || ").join(parts)


def _items(
    v: sql.Identifier,
    places: Iterator[int],
    item_text: Callable[[sql.Composable, sql.Composable], sql.Composable | None],
) -> sql.Composable | None:
    e = _alias(places)
    text = item_text(sql.SQL("{}.v").format(e), sql.SQL("{}.n").format(e))
    if text is None:
        return None
    return sql.SQL(
        "(SELECT '[' || coalesce(string_agg({text}, ', ' ORDER BY {e}.n), '') || ']'"
        " FROM json_array_elements({v}.v) WITH ORDINALITY AS {e} (v, n))"
    ).format(text=text, e=e, v=v)


def _by_place(
    pairs: list[tuple[CqlType, CqlType]],
    element: sql.Composable,
    number: sql.Composable,
    places: Iterator[int],
) -> sql.Composable | None:
    cases = [
        sql.SQL("WHEN {} THEN {}").format(sql.Literal(place), text)
        for place, (old, new) in enumerate(pairs, 1)
        if (text := _text(old, new, element, places)) is not None
    ]
    if not cases:
        return None
    return sql.SQL("CASE {} {} ELSE {}::text END").format(number, sql.SQL(" ").join(cases), element)


def _map(
    old: MapType, new: MapType, v: sql.Identifier, places: Iterator[int]
) -> sql.Composable | None:
    e = _alias(places)
    key: sql.Composable = sql.SQL("{}.k").format(e)
    item: sql.Composable = sql.SQL("{}.v").format(e)
    new_key = _text(old.key, new.key, key + sql.SQL("::json"), places)
    new_item = _text(old.value, new.value, item, places)
    if new_key is None and new_item is None:
        return None
    return sql.SQL(
        "(SELECT '{{' || coalesce(string_agg(to_json({key})::text || ': ' || {item}, ', '"
        " ORDER BY {e}.n), '') || '}}' FROM json_each({v}.v) WITH ORDINALITY AS {e} (k, v, n))"
    ).format(key=new_key or key, item=new_item or item + sql.SQL("::text"), e=e, v=v)


def _element(cql_type: CqlType) -> CqlType:
    assert isinstance(cql_type, ListType | SetType | VectorType)
    return cql_type.element


def _alias(places: Iterator[int]) -> sql.Identifier:
    return sql.Identifier(f"a{next(places)}")


def json_name(field: str) -> str:
    """A field's name in JSON, as the decoder writes it: in its CQL quotes where it has capitals."""
    return json.dumps(field if field == field.lower() else f'"{field}"', ensure_ascii=False)
