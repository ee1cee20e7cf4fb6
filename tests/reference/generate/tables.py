"""Random tables, and the `system_schema` mutation that makes them known in a log."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from uuid import UUID

from tests.reference.bootstrap import SYSTEM_SCHEMA
from tests.reference.catalog import UserType, UserTypes
from tests.reference.generate.values import KEY_TYPES, NATIVE
from tests.reference.model import Cell, Liveness, Mutation, PartitionUpdate, Row
from tests.reference.schema import RefColumn, RefTable
from tests.reference.types import CqlType, parse_type
from tests.reference.versions import LogVersion

KEYSPACE = "random"
TYPE_TEXTS = {
    "point": (("x", "int"), ("y", "double"), ("label", "text")),
    "place": (("at", "frozen<point>"), ("names", "frozen<list<text>>"), ("code", "smallint")),
}
USER_TYPES: UserTypes = {
    name: UserType(tuple(f for f, _ in fields), tuple(parse_type(t) for _, t in fields))
    for name, fields in TYPE_TEXTS.items()
}
_IDS = {table.name: table.id for table in SYSTEM_SCHEMA.values()}


def _native(choose: Random) -> str:
    return choose.choice(NATIVE)


def _frozen(choose: Random, *, vectors: bool) -> str:
    key = choose.choice(KEY_TYPES)
    kinds = [
        f"frozen<list<{_native(choose)}>>",
        f"frozen<set<{key}>>",
        f"frozen<map<{key}, frozen<list<{_native(choose)}>>>>",
        f"frozen<tuple<{_native(choose)}, {_native(choose)}>>",
        "frozen<point>",
        "frozen<place>",
    ]
    if vectors:
        # A vector's elements cannot be empty, so a fixed type and a variable one that never is.
        kinds += [f"vector<float, {choose.randrange(1, 9)}>", "vector<smallint, 3>"]
    return choose.choice(kinds)


def _multi_cell(choose: Random) -> str:
    key = choose.choice(KEY_TYPES)
    return choose.choice(
        (
            f"list<{_native(choose)}>",
            f"set<{key}>",
            f"map<{key}, {_native(choose)}>",
            "map<text, frozen<point>>",
            "point",
            "place",
        )
    )


def random_table(choose: Random, number: int, *, vectors: bool) -> RefTable:
    """The `number`-th table of a seed; `vectors` where the version has them (5.0 and later)."""
    texts = [
        (f"p{index}", "partition_key", choose.choice(KEY_TYPES), False)
        for index in range(choose.choice((1, 1, 2, 3)))
    ]
    clustering = choose.choice((0, 1, 1, 2, 3))
    for index in range(clustering):
        type_text = choose.choice((*KEY_TYPES, "frozen<list<int>>", "frozen<tuple<int, text>>"))
        texts.append((f"c{index}", "clustering", type_text, choose.random() < 0.4))
    counter = choose.random() < 0.08
    kinds = ["regular"] * choose.choice((0, 1, 3, 8, 63, 64, 70))
    kinds += ["static"] * (choose.choice((0, 0, 1, 3)) if clustering else 0)
    for index, kind in enumerate(kinds):
        type_text = _native(choose)
        if counter:
            type_text = "counter"
        elif choose.random() < 0.3:
            type_text = _multi_cell(choose)
        elif choose.random() < 0.2:
            type_text = _frozen(choose, vectors=vectors)
        texts.append((f"{kind[0]}{index:02}", kind, type_text, False))
    columns: dict[str, RefColumn] = {}
    for name, kind, type_text, descending in texts:
        is_key = kind in ("partition_key", "clustering")
        position = int(name[1:]) if is_key else -1
        columns[name] = RefColumn(name, kind, parse_type(type_text), position, descending)
    flags = {"compound", "counter"} if counter else {"compound"}
    table_id = UUID(int=choose.getrandbits(128), version=1)
    return RefTable(KEYSPACE, f"t{number}", table_id, columns, cdc=True, flags=frozenset(flags))


def type_text(type_: CqlType) -> str:
    """A type as `system_schema` writes it."""
    if type_.name == "vector":
        return f"vector<{type_text(type_.arguments[0])}, {type_.dimension}>"
    text = type_.name
    if type_.arguments:
        text += "<" + ", ".join(type_text(argument) for argument in type_.arguments) + ">"
    return f"frozen<{text}>" if type_.frozen else text


def _texts(items: list[str]) -> bytes:
    sized = [len(item.encode()).to_bytes(4, "big") + item.encode() for item in items]
    return len(items).to_bytes(4, "big") + b"".join(sized)


def _row(clustering: list[str], cells: dict[str, bytes], writetime_us: int) -> Row:
    return Row(
        tuple(value.encode() for value in clustering),
        liveness=Liveness(writetime_us),
        cells=tuple(Cell(name, writetime_us, value=cells[name]) for name in sorted(cells)),
    )


def _update(name: str, rows: list[Row]) -> PartitionUpdate:
    columns = sorted({cell.column for row in rows for cell in row.cells})
    rows = sorted(rows, key=lambda row: row.clustering)
    return PartitionUpdate(
        _IDS[name],
        f"system_schema.{name}",
        KEYSPACE.encode(),
        unfiltereds=tuple(rows),
        regular_columns=tuple(columns),
    )


def definition(table: RefTable, writetime_us: int, version: LogVersion) -> Mutation:
    """What CREATE TABLE (and CREATE TYPE before it) writes, as far as a decoder needs it."""
    types = [
        _row(
            [name],
            {
                "field_names": _texts([field for field, _ in fields]),
                "field_types": _texts([text for _, text in fields]),
            },
            writetime_us,
        )
        for name, fields in TYPE_TEXTS.items()
    ]
    about = {"id": table.id.bytes, "flags": _texts(sorted(table.flags)), "cdc": b"\x01"}
    columns = [
        _row(
            [table.name, column.name],
            {
                "clustering_order": (
                    b"none"
                    if column.kind != "clustering"
                    else b"desc"
                    if column.descending
                    else b"asc"
                ),
                "column_name_bytes": column.name.encode(),
                "kind": column.kind.encode(),
                "position": column.position.to_bytes(4, "big", signed=True),
                "type": type_text(column.type).encode(),
            },
            writetime_us,
        )
        for column in table.columns.values()
    ]
    updates = (
        _update("types", types),
        _update("tables", [_row([table.name], about, writetime_us)]),
        _update("columns", columns),
    )
    epoch = 0 if version.table_epoch else None
    return Mutation(tuple(replace(update, epoch=epoch) for update in updates))
