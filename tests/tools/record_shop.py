"""Record the demo's traffic on a real node: `python -m tests.tools.record_shop`.

Writes the segments and what SELECT gave to `cdc_tail/local/recorded/`, whose form is that of
`cdc_tail/local/recording.py`.
"""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import cdc_tail.local
from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.cassandra_config import NodeOptions
from cdc_tail.local.jars import RELEASES
from cdc_tail.local.recording import SELECTED
from cdc_tail.local.shop import TABLES, Shop
from cdc_tail.local.traffic import run_traffic
from tests.support.oracle import raw_session
from tests.tools.record import ZERO_TAIL_BYTES, segments_with_data

SERIES = "5.0"
WRITES = 4_000
WRITES_PER_SECOND = 500.0
SEED = 1


def main() -> None:
    folder = Path(cdc_tail.local.__file__).parent / "recorded"
    options = NodeOptions(commitlog_segment_size_mib=1)
    with CassandraNode(SERIES, options=options) as node:
        shop = Shop(node.session(), seed=SEED)
        shop.create()
        report = run_traffic(shop, writes_per_second=WRITES_PER_SECOND, writes=WRITES)
        if report.failures:
            raise SystemExit(f"writes failed: {dict(report.failures)}")
        raw = raw_session(node)
        tables = {name: _selected(raw, f"{shop.keyspace}.{name}") for name in TABLES}
        node.stop()
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
        for log in segments_with_data(node.cdc_raw):
            data = log.read_bytes().rstrip(b"\0") + bytes(ZERO_TAIL_BYTES)
            (folder / f"{log.name}.gz").write_bytes(gzip.compress(data, mtime=0))
    content = {
        "release": RELEASES[SERIES],
        "writes": [[table, kind, count] for (table, kind), count in sorted(report.writes.items())],
        "tables": tables,
    }
    text = json.dumps(content, separators=(",", ":"))
    (folder / SELECTED).write_bytes(gzip.compress(text.encode(), mtime=0))
    for file in sorted(folder.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1024:.0f} KiB")


def _selected(raw: Any, table: str) -> dict[str, Any]:
    found = raw.execute(f"SELECT * FROM {table}")
    return {
        "columns": list(found.column_names),
        "rows": [
            [None if value is None else base64.b64encode(value).decode() for value in row]
            for row in found
        ],
    }


if __name__ == "__main__":
    main()
