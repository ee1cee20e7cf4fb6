"""The demo's traffic on a real node: paced, acknowledged, and as Cassandra then has it."""

from __future__ import annotations

from collections.abc import Callable

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.shop import TABLES, Shop
from cdc_tail.local.traffic import Acknowledged, run_traffic
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace


def test_traffic_writes_what_it_reports(
    cassandra_node: NodeFactory, keyspace: Callable[[CassandraNode], Keyspace]
) -> None:
    space = keyspace(cassandra_node("5.0"))
    shop = Shop(space.session, space.name, seed=7)
    shop.create()
    seen: list[Acknowledged] = []
    report = run_traffic(shop, writes_per_second=400, writes=800, on_acknowledged=seen.append)
    assert report.acknowledged == len(seen) == 800
    assert not report.failures
    assert 1.9 < report.duration_seconds < 10
    assert {kind for _, kind in report.writes} == {"insert", "update", "delete"}
    assert {table for table, _ in report.writes} == set(TABLES) - {"order_lines"}

    # The last writer of each row is what Cassandra holds: by revision, or gone.
    last = {}
    for one in sorted(seen, key=lambda one: one.write.revision):
        last[one.write.table, *one.write.key.values()] = one.write
    for write in last.values():
        where = " AND ".join(f"{name} = %s" for name in write.key)
        row = space.session.execute(
            f"SELECT revision FROM {write.table} WHERE {where}", list(write.key.values())
        ).one()
        assert (row is None) == (write.kind == "delete")
        assert row is None or row.revision == write.revision
    points = space.session.execute("SELECT loyalty_points FROM customers").all()
    assert any(row.loyalty_points is not None for row in points)
    assert all(one.acknowledged_at_seconds >= one.sent_at_seconds for one in seen)
