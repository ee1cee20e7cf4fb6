"""The Parquet archive beside a real node: every change once, also when killed, read by DuckDB."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from cdc_tail.local.cassandra import CassandraNode
from tests.conftest import NodeFactory
from tests.support.keyspace import Keyspace
from tests.support.live import one_value
from tests.support.sidecar import Sidecar, wait_until

KeyspaceMaker = Callable[[CassandraNode], Keyspace]


class Archive:
    """The change files of one table, read by DuckDB."""

    def __init__(self, root: Path, table: str) -> None:
        self._glob = f"{root}/keyspace=*/table={table}/*/*.parquet"

    def query(self, columns: str, behind: str = "") -> list[tuple[Any, ...]]:
        read = "read_parquet(?, union_by_name = true, hive_partitioning = true)"
        with duckdb.connect() as connection:
            return connection.execute(
                f"SELECT {columns} FROM {read} {behind}", [self._glob]
            ).fetchall()


def settings(keyspace: Keyspace, root: Path) -> dict[str, object]:
    return {
        "mirror.include": f"{keyspace.name}.*",
        "watch.keep_segments": True,
        "parquet.location": root,
        "parquet.roll_seconds": 1,
    }


def test_every_change_with_its_kind_and_times(
    cassandra_node: NodeFactory, keyspace: KeyspaceMaker, database: str, tmp_path: Path
) -> None:
    space = keyspace(cassandra_node())
    session = space.session
    session.execute(
        "CREATE TABLE t (k int, c text, s int static, v bigint, m map<text, int>, d decimal,"
        " PRIMARY KEY (k, c)) WITH cdc = true"
    )
    hour_us = 1_767_243_600_000_000  # 2026-01-01T05:00Z
    first = (
        "INSERT INTO t (k, c, v, m, d) VALUES (1, 'a', 5, {'x': 1}, 1.50) USING TTL 100000000"
        f" AND TIMESTAMP {hour_us + 2}"
    )
    for statement in (
        first,
        f"UPDATE t USING TIMESTAMP {hour_us + 1} SET v = 7, m['y'] = 2 WHERE k = 1 AND c = 'b'",
        f"UPDATE t USING TIMESTAMP {hour_us + 3} SET s = 9 WHERE k = 1",
        f"DELETE v FROM t USING TIMESTAMP {hour_us + 4} WHERE k = 1 AND c = 'a'",
        f"DELETE FROM t USING TIMESTAMP {hour_us + 5} WHERE k = 1 AND c = 'b'",
        f"DELETE FROM t USING TIMESTAMP {hour_us + 6} WHERE k = 1 AND c > 'x'",
        f"DELETE FROM t USING TIMESTAMP {hour_us + 3_600_000_000} WHERE k = 2",
        "ALTER TABLE t ADD extra text",
        f"INSERT INTO t (k, c, extra) VALUES (3, 'z', 'new') USING TIMESTAMP {hour_us + 7}",
    ):
        session.execute(statement)
    root = tmp_path / "archive"
    with Sidecar(space.node, database, tmp_path, settings=settings(space, root)) as sidecar:
        sidecar.wait_live()
        assert sidecar.stop() == 0
    archive = Archive(root, "t")
    order = "ORDER BY _cdc_writetime_us"
    assert archive.query(
        "_cdc_op, _cdc_static, _cdc_writetime_us - 1767243600000000, k, c, v, d, s, extra, hour",
        order,
    ) == [
        ("update", False, 1, 1, "b", 7, None, None, None, "2026-01-01T05"),
        ("insert", False, 2, 1, "a", 5, "1.50", None, None, "2026-01-01T05"),
        ("update", True, 3, 1, None, None, None, 9, None, "2026-01-01T05"),
        ("update", False, 4, 1, "a", None, None, None, None, "2026-01-01T05"),
        ("delete", False, 5, 1, "b", None, None, None, None, "2026-01-01T05"),
        ("delete_range", False, 6, 1, None, None, None, None, None, "2026-01-01T05"),
        ("insert", False, 7, 3, "z", None, None, None, "new", "2026-01-01T05"),
        ("delete_partition", False, 3_600_000_000, 2, *[None] * 5, "2026-01-01T06"),
    ]
    ((ttl, cells),) = archive.query("_cdc_ttl_seconds, _cdc_cells", "WHERE c = 'a' AND v = 5")
    assert ttl == 100_000_000
    kinds = {(cell["column"], cell["path"]): (cell["kind"], cell["value"]) for cell in cells}
    assert kinds["m", None] == ("delete_elements", None)
    assert kinds["m", "x"] == ("element", "1")
    assert kinds["v", None] == ("write", "5")
    ((start,),) = archive.query("_cdc_start", "WHERE _cdc_op = 'delete_range'")
    assert start == '{"clustering": {"c": "x"}, "inclusive": false}'


def test_killed_at_any_time_every_change_is_there_once(
    cassandra_node: NodeFactory, keyspace: KeyspaceMaker, database: str, tmp_path: Path
) -> None:
    space = keyspace(cassandra_node())
    space.session.execute("CREATE TABLE t (k int PRIMARY KEY, v int) WITH cdc = true")
    insert = space.session.prepare("INSERT INTO t (k, v) VALUES (?, ?)")
    root = tmp_path / "archive"
    sidecar = Sidecar(space.node, database, tmp_path, settings=settings(space, root))
    written = 0

    def files() -> int:
        try:
            return int(
                one_value(
                    database,
                    "SELECT count(*) FROM cdc_tail.parquet_file WHERE committed_at IS NOT NULL",
                )
            )
        except psycopg.errors.UndefinedTable:
            return 0

    def has_more_than(seen: int) -> bool:
        return files() > seen

    with sidecar:
        for kills in range(4):
            for _ in range(200):
                space.session.execute(insert, (written, kills))
                written += 1
            before = files()
            if kills % 2:
                wait_until(partial(has_more_than, before), sidecar, 60)
            else:
                sidecar.wait_live()
            sidecar.kill()
            sidecar.start()
        sidecar.wait_live()
        assert sidecar.stop() == 0
    counted = Archive(root, "t").query("count(*), count(DISTINCT k), min(k), max(k)")
    assert counted == [(written, written, 0, written - 1)]
    manifest = one_value(
        database, "SELECT sum(changes) FROM cdc_tail.parquet_file WHERE committed_at IS NOT NULL"
    )
    assert manifest == written
    on_disk = {str(one.relative_to(root)) for one in root.rglob("*.parquet")}
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT path FROM cdc_tail.parquet_file").fetchall()
    assert on_disk == {path for (path,) in rows}
    assert not [*root.rglob("*.partial")]
