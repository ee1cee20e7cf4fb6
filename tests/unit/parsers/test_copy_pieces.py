"""COPY data in pieces is the COPY data; a work decided again gives it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import workload
from parsers._work import RelationWork
from parsers.cql_file import parse_cql
from parsers.decoder import Batch, CompiledTable, SegmentDecoder, build_catalog
from parsers.segment import SegmentReader
from tests.support.memory_mirror import MemoryRelation

ROWS = 200
NOW_S = 1_800_000_000


@pytest.mark.parametrize("piece_bytes", [0, 1, 700, 1 << 20])
def test_pieces(tmp_path: Path, piece_bytes: int) -> None:
    (path,) = workload.write_segments(tmp_path, workload.mutations(ROWS, updates=0, deletes=0))
    (table,) = parse_cql(workload.SCHEMA_CQL)
    compiled = CompiledTable(table, "mirror")
    batch = Batch(build_catalog([compiled]))
    with SegmentReader(path) as reader:
        SegmentDecoder(reader).fill(batch, max_events=ROWS + 1, max_bytes=1 << 20)
        assert len(batch) == ROWS
        work = RelationWork(batch, MemoryRelation(compiled, static=False).relation)
        work.decide(NOW_S)
        whole = work.new_rows()
        assert whole is not None
        assert work.new_rows() is None
        for _ in range(2):
            work.decide(NOW_S)
            pieces = []
            while (piece := work.new_rows(piece_bytes)) is not None:
                pieces.append(piece)
            assert b"".join(pieces) == whole
        assert (len(pieces) == 1) == (piece_bytes >= len(whole))
