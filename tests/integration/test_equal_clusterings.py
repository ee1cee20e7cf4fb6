"""Clusterings that are equal and differ in their bytes, in PostgreSQL's own primary key."""

from __future__ import annotations

from decimal import Decimal

import psycopg

from parsers.decoder import Batch, CompiledTable, build_catalog, decode_kept
from parsers.position import Position
from sinks.postgres.applier import PostgresSink
from sinks.postgres.catalog import install
from sinks.postgres.ddl import ensure_mirrors
from tests.reference.model import Cell, Deletion, PartitionUpdate, Row
from tests.support.histories import LOG_VERSION, NOW, US, subject_of
from tests.support.tables import IDS, table

PRICES = subject_of(
    table(
        "CREATE TABLE ks.prices (k int, c decimal, v int, w int, PRIMARY KEY (k, c))"
        f" WITH CLUSTERING ORDER BY (c DESC) AND ID = {IDS[5]}"
    )
)


def number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def priced(scale: int, unscaled: int, column: str, us: int) -> bytes:
    price = number(scale) + unscaled.to_bytes(2, "big", signed=True)
    price = price[:4] + price[5:] if -128 <= unscaled < 128 else price
    row = Row((price,), cells=(Cell(column, us, value=number(us - US)),))
    return PRICES.encoded(
        PartitionUpdate(
            PRICES.table.id, "", number(1), unfiltereds=(row,), regular_columns=(column,)
        )
    )


def test_decimals_of_another_scale_are_the_same_row(database: str) -> None:
    with psycopg.connect(database) as connection:
        install(connection)
        mirrors = ensure_mirrors(connection, PRICES.table)
        types = {c.cql_name: c.pg_type for one in mirrors for c in (*one.key, *one.columns)}
        compiled = CompiledTable(PRICES.table, "mirror", types)
        sink = PostgresSink(connection)
        sink.attach(compiled, mirrors)
        connection.commit()
        catalog = build_catalog([compiled])

        def apply(*mutations: bytes) -> list[tuple[Decimal, int | None, int | None]]:
            batch = Batch(catalog)
            for at, raw in enumerate(mutations, 1):
                place = Position(1, at)
                assert decode_kept(raw, batch, log_version=LOG_VERSION, position=place) is None
            sink.apply(batch, lambda _: None, now_s=NOW)
            rows = connection.execute("SELECT c, v, w FROM ks.prices ORDER BY c").fetchall()
            connection.commit()
            return rows

        # 1.50 and 1.5 in one batch; then 1.500 and 1E2 before 100.
        found = apply(priced(2, 150, "v", US + 1), priced(1, 15, "w", US + 2))
        assert [(str(c), v, w) for c, v, w in found] == [("1.50", 1, 2)]
        found = apply(priced(3, 1500, "v", US + 3), priced(-2, 1, "v", US + 3))
        assert [(str(c), v, w) for c, v, w in found] == [("1.50", 3, 2), ("100", 3, None)]
        found = apply(priced(0, 100, "w", US + 4))
        assert [(str(c), v, w) for c, v, w in found] == [("1.50", 3, 2), ("100", 3, 4)]
        deletion = PartitionUpdate(PRICES.table.id, "", number(1), deletion=Deletion(US + 3, NOW))
        found = apply(PRICES.encoded(deletion), priced(1, 15, "w", US + 5))
        assert [(str(c), v, w) for c, v, w in found] == [("1.50", None, 5), ("100", None, 4)]
