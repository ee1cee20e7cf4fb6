"""What is encoded decodes to the same; keys and contexts there and back."""

from __future__ import annotations

import pytest

from parsers.cql_file import parse_cql
from parsers.decoder import CompiledTable, build_catalog, view_mutation
from parsers.encode import (
    ENCODED_LOG_VERSION,
    Cell,
    ColumnDelta,
    Deletion,
    Liveness,
    MutationEncoder,
    RowDelta,
    clustering_bytes,
    decoded_key,
    encoded_key,
)
from parsers.selected_cells import completed_context
from tests.reference.counters import Shard, write_context

(TABLE,) = parse_cql(
    """CREATE TABLE ks.t (a int, b text, c int, d text, s int static, v int, w text,
    m map<text, int>, PRIMARY KEY ((a, b), c, d)) WITH ID = 5bc52802-de25-35ed-aeab-188eecebb090;"""
)
US = 1_700_000_000_000_000
NOW_S = 1_700_000_000


def number_of(name: str) -> int:
    return [column.name for column in TABLE.regulars].index(name)


def test_a_row_decodes_to_what_was_said() -> None:
    key = encoded_key([b"\0\0\0\1", b"x"])
    columns = sorted(
        [
            ColumnDelta(number_of("v"), [Cell(US, b"\0\0\0\7", 60, NOW_S + 60)]),
            ColumnDelta(number_of("w"), [Cell(US - 5, None, 0, NOW_S)]),
            ColumnDelta(
                number_of("m"), [Cell(US + 1, b"\0\0\0\2", path=b"k")], Deletion(US - 1, NOW_S)
            ),
        ]
    )
    row = RowDelta((b"\0\0\0\3", b""), columns, Liveness(-(1 << 63) + 1, 60, NOW_S + 60))
    gone = RowDelta((b"\0\0\0\4", b"d"), (), None, Deletion(US, NOW_S))
    static = RowDelta((), [ColumnDelta(0, [Cell(US, b"")])])
    raw = MutationEncoder(TABLE).encode(key, [row, gone], static)
    catalog = build_catalog([CompiledTable(TABLE, "mirror")])
    (view,) = view_mutation(raw, catalog, ENCODED_LOG_VERSION)
    assert view.partition_key == key
    told, dead = view.rows
    assert view.static is not None
    assert [cell.value for cell in view.static.columns["s"].cells] == [b""]
    assert told.liveness is not None
    assert (told.liveness.writetime_us, told.liveness.ttl_seconds) == (-(1 << 63) + 1, 60)
    (v,) = told.columns["v"].cells
    assert (v.value, v.writetime_us, v.ttl_seconds, v.deletion_time_s) == (
        b"\0\0\0\7", US, 60, NOW_S + 60
    )  # fmt: skip
    (w,) = told.columns["w"].cells
    assert (w.value, w.writetime_us, w.deletion_time_s) == (None, US - 5, NOW_S)
    (m,) = told.columns["m"].cells
    assert (m.path, m.value) == (b"k", b"\0\0\0\2")
    assert dead.deletion is not None
    assert dead.deletion.timestamp_us == US


@pytest.mark.parametrize("values", [[b"\0\0\0\1", b"x", b"\0\0\0\3", b"yy"], [b"", b"", b"", b""]])
def test_keys_there_and_back(values: list[bytes]) -> None:
    key = decoded_key(TABLE, encoded_key(values[:2]), clustering_bytes(TABLE, values[2:]))
    assert key == values


def test_bytes_that_are_no_key() -> None:
    with pytest.raises(ValueError, match="no clustering"):
        decoded_key(TABLE, encoded_key([b"a", b"b"]), b"\x00\x01")
    with pytest.raises(ValueError, match="no partition key"):
        decoded_key(TABLE, b"\x00\x09a", b"")


def test_a_completed_counter_has_the_total() -> None:
    shards = [Shard(bytes(15) + bytes([n]), "global", n, 10 * n) for n in (1, 2)]
    context = completed_context(write_context(shards), 100, 7)
    base = Shard(bytes(16), "global", 7, 70)
    assert context == write_context([base, *shards])
    assert completed_context(context, 90, 8) == write_context(
        [Shard(bytes(16), "global", 8, 60), *shards]
    )
    owner = b"\xff" * 16
    assert completed_context(b"", 5, 9, owner) == write_context([Shard(owner, "global", 0, 5)])
