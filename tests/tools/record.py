"""Record golden cases on real Cassandra: `python -m tests.tools.record [--series 5.0] [CASE ...]`.

Per case and series it starts a node, runs the case, asks Cassandra what the tables hold, stops the
node in order (which completes the segments) and writes `tests/golden/<series>/<case>/`; the form is
told in `tests/support/golden.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import fnmatch
import gzip
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cdc_tail.local.cassandra import CassandraNode
from cdc_tail.local.jars import RELEASES
from tests.support.golden import GOLDEN, GoldenCase, segment_id
from tests.support.oracle import raw_session, read_table
from tests.tools.dump import dump
from tests.tools.registry import Case, all_cases

# What is left of the zeros behind the data: room for the marker that a reader looks for there.
ZERO_TAIL_BYTES = 64
HEADER_AND_MARKER_BYTES = 64


def record(case: Case, series: str, golden: Path) -> Path:
    """Record one case on one series and return its folder, which is made anew."""
    keyspace = case.name[:48]
    with _recorded_node(case, series) as node:
        session = node.session()
        session.execute(
            f"CREATE KEYSPACE {keyspace} WITH replication = "
            "{'class': 'SimpleStrategy', 'replication_factor': 1}"
        )
        session.set_keyspace(keyspace)
        raw = raw_session(node)
        tables: dict[str, Any] = {}
        dropped: dict[str, Any] = {}
        for table in case.run(session) or ():
            dropped[table] = _state(session, raw, keyspace, table)
        raw.cluster.refresh_schema_metadata()
        for table in cdc_tables(session, keyspace):
            tables[table] = _state(session, raw, keyspace, table)
        ids = {name: state["id"] for name, state in (tables | dropped).items()}
        schema = describe(session, node.series, keyspace)
        if series == "3.11":
            node.drain()  # before 4.0 a segment comes to cdc_raw when all its data are flushed
        node.stop()
        folder = golden / series / case.name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        segments = {log.name: _pack(log, folder) for log in segments_with_data(node.cdc_raw)}
    if not segments:
        raise SystemExit(f"{case.name} on {series}: cdc_raw holds no segment with data")
    write_reader_dump(folder, series, case.options.encryption)
    (folder / "schema.cql").write_text(schema)
    with gzip.GzipFile(folder / "expected.json.gz", "wb", mtime=0) as file:
        expected = {"tables": tables, "dropped": dropped}
        file.write(json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode())
    facts = {
        "case": case.name,
        "about": " ".join((case.run.__doc__ or "").split()),
        "series": series,
        "release": RELEASES[series],
        "options": {k: v for k, v in dataclasses.asdict(case.options).items() if v},
        "keyspace": keyspace,
        "table_ids": ids,
        "recorded_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "segments": segments,
    }
    text = json.dumps(facts, indent=2, sort_keys=True)
    # A keystore's path is the recording machine's own: keep it from the golden folder on.
    (folder / "case.json").write_text(text.replace(f"{GOLDEN}/", "") + "\n")
    return folder


@contextlib.contextmanager
def _recorded_node(case: Case, series: str) -> Iterator[CassandraNode]:
    """The first node of a cluster of the case's size; all are up."""
    with contextlib.ExitStack() as cluster:
        first = cluster.enter_context(CassandraNode(series, options=case.options))
        for number in range(1, case.replicas):
            options = dataclasses.replace(
                case.options,
                seeds=f"{first.address}:{first.storage_port}",
                yaml={"auto_bootstrap": False},
            )
            other = CassandraNode(
                series,
                address=f"127.0.0.{number + 1}",
                native_port=first.native_port,
                storage_port=first.storage_port,
                options=options,
            )
            cluster.enter_context(other)
        yield first


def write_reader_dump(folder: Path, series: str, encryption: Mapping[str, Any] | None) -> None:
    """Write `reader.jsonl.gz`: what Cassandra's CommitLogReader says of the folder's segments."""
    with tempfile.TemporaryDirectory() as unpacked:
        lines = dump(series, GoldenCase(folder).unpack(Path(unpacked)), encryption=encryption)
    with gzip.GzipFile(folder / "reader.jsonl.gz", "wb", mtime=0) as file:
        for line in lines:
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
            file.write(f"{text}\n".encode())


def cdc_tables(session: Any, keyspace: str) -> list[str]:
    """Names of the keyspace's tables with cdc = true."""
    rows = session.execute(
        "SELECT table_name, cdc FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,)
    )
    return sorted(row.table_name for row in rows if row.cdc)


def describe(session: Any, series: str, keyspace: str) -> str:
    """The keyspace's CQL with ids: the server's DESCRIBE, before 4.0 the driver's words."""
    if series != "3.11":
        rows = session.execute(f"DESCRIBE KEYSPACE {keyspace} WITH INTERNALS")
        return "\n\n".join(row.create_statement for row in rows) + "\n"
    session.cluster.refresh_schema_metadata()
    cql: str = session.cluster.metadata.keyspaces[keyspace].export_as_string()
    for row in session.execute(
        "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = %s", (keyspace,)
    ):
        opening = rf'(CREATE TABLE {keyspace}\."?{row.table_name}"? \(.*?\n\) WITH )'
        cql = re.sub(opening, rf"\g<1>ID = {row.id}\n    AND ", cql, count=1, flags=re.DOTALL)
    return cql + "\n"


def _state(session: Any, raw: Any, keyspace: str, table: str) -> dict[str, Any]:
    raw.cluster.refresh_table_metadata(keyspace, table)
    id_row = session.execute(
        "SELECT id FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s",
        (keyspace, table),
    ).one()
    return {"id": str(id_row.id)} | read_table(raw, keyspace, table)


def segments_with_data(cdc_raw: Path) -> Iterator[Path]:
    """Segments that hold anything: a clean stop leaves an empty one behind, without an index."""
    for log in sorted(cdc_raw.glob("*.log"), key=segment_id):
        if log.read_bytes()[HEADER_AND_MARKER_BYTES:].strip(b"\0"):
            yield log


def _pack(log: Path, folder: Path) -> dict[str, Any]:
    content = log.read_bytes()
    kept = content.rstrip(b"\0")
    kept += bytes(min(ZERO_TAIL_BYTES, len(content) - len(kept)))
    with gzip.GzipFile(folder / f"{log.name}.gz", "wb", mtime=0) as file:
        file.write(kept)
    index = log.with_name(log.stem + "_cdc.idx")
    if index.exists():
        shutil.copyfile(index, folder / index.name)
    return {"size_bytes": len(content), "kept_bytes": len(kept), "index": index.exists()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", nargs="*", default=["*"], help="case names or globs; default all")
    parser.add_argument("--series", nargs="*", default=list(RELEASES), choices=list(RELEASES))
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="folder to write below")
    parser.add_argument("--missing", action="store_true", help="record only what is not there yet")
    arguments = parser.parse_args()
    for case in all_cases():
        if not any(fnmatch.fnmatch(case.name, pattern) for pattern in arguments.case):
            continue
        for series in case.series:
            if series not in arguments.series:
                continue
            if arguments.missing and (arguments.golden / series / case.name / "case.json").exists():
                continue
            folder = record(case, series, arguments.golden)
            size = sum(file.stat().st_size for file in folder.iterdir())
            print(f"{series} {case.name}: {size / 1024:.0f} KiB", flush=True)


if __name__ == "__main__":
    main()
