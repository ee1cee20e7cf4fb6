"""What the compiled decoder reads: the format page's worked examples, and every construct."""

from __future__ import annotations

from uuid import UUID

import pytest

from cdc_tail.errors import SegmentCorrupt, UnknownTable, UnsupportedFormat
from parsers.schema import Table
from parsers.view import CellView, ColumnView, LivenessView
from tests.reference.encode import encode_mutation
from tests.reference.model import Cell, Deletion, Liveness, Marker, Mutation, PartitionUpdate, Row
from tests.reference.schema import RefTable
from tests.reference.schema import table as reference_table
from tests.reference.versions import LOG_VERSIONS
from tests.support.decoded import views_of
from tests.support.tables import IDS, table
from tests.unit.reference.test_vectors import INSERT, UPDATE

VERSIONS = sorted(LOG_VERSIONS)
US = 1_700_000_000_000_000
NONE = -(1 << 63)

# The table of the format page's worked examples, and one of every kind of column.
EXAMPLE = table(
    "CREATE TABLE ks.a (k int PRIMARY KEY, v text, n int, m map<text, int>)"
    " WITH ID = 11111111-2222-3333-4444-555555555555"
)
ROWS = table(
    "CREATE TABLE ks.rows (k int, c text, d int, s int static, v text, n int, l list<int>,"
    f" m map<text, int>, PRIMARY KEY (k, c, d)) WITH ID = {IDS[0]}"
)
REFERENCE_ROWS = reference_table(
    "ks",
    "rows",
    IDS[0],
    partition_key="k int",
    clustering="c text; d int",
    static="s int",
    regular="v text; n int; l list<int>; m map<text, int>",
)


def encoded(*unfiltereds: Row | Marker, log_version: int = 8, **update: object) -> bytes:
    """A mutation of `ks.rows`, partition 1."""
    columns = update.pop("columns", ("n", "v", "l", "m"))
    one = PartitionUpdate(
        REFERENCE_ROWS.id,
        "ks.rows",
        b"\0\0\0\1",
        unfiltereds=unfiltereds,
        regular_columns=columns,  # type: ignore[arg-type]
        epoch=7 if LOG_VERSIONS[log_version].table_epoch else None,
        **update,  # type: ignore[arg-type]
    )
    tables = {REFERENCE_ROWS.id: REFERENCE_ROWS}
    return encode_mutation(Mutation((one,)), LOG_VERSIONS[log_version], tables)


def key(text: bytes = b"c", number: int = 1) -> tuple[bytes | None, ...]:
    return text, number.to_bytes(4, "big")


# -- the format page's worked examples


def test_the_insert_of_the_format_page() -> None:
    (update,) = views_of(INSERT[8:-4], EXAMPLE)
    (row,) = update.rows
    assert (update.table, update.partition_key) == (EXAMPLE, b"\0\0\0\1")
    assert row.liveness == LivenessView(US + 1, 0, None)
    assert row.columns["v"].cells == [CellView(US + 1, 0, None, None, b"one")]


def test_the_update_with_ttl_of_the_format_page() -> None:
    (update,) = views_of(UPDATE[8:-4], EXAMPLE)
    (row,) = update.rows
    assert row.liveness is None
    assert row.columns["n"].cells == [CellView(US + 2, 60, 1795433369, None, b"\0\0\0\7")]
    assert row.columns["m"].cells == [CellView(US + 2, 60, 1795433369, b"x", b"\0\0\0\x09")]


def test_a_log_version_that_is_not_known() -> None:
    with pytest.raises(UnsupportedFormat, match="5"):
        views_of(INSERT[8:-4], EXAMPLE, log_version=5)


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(UnknownTable, match="11111111-2222-3333-4444-555555555555"):
        views_of(INSERT[8:-4])


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(UnknownTable, match="'v'"):
        views_of(
            INSERT[8:-4], table(f"CREATE TABLE ks.a (k int PRIMARY KEY) WITH ID = {EXAMPLE.id}")
        )


# -- one construct each, read back


def test_every_kind_of_row_and_deletion() -> None:
    row = Row(
        key(),
        liveness=Liveness(US, 60, 1_795_000_000),
        deletion=Deletion(US - 5, 1_794_999_000),
        complex_deletions={"l": Deletion(US - 1, 1_794_999_940)},
        cells=(
            Cell("n", US, 60, 1_795_000_000, value=b"\0\0\0\7"),
            Cell("v", US + 9, deleted=True, local_deletion_seconds=1_794_999_950),
            Cell("l", US, path=bytes(16), value=b"\0\0\0\1"),
            Cell("m", US + 1, path=b"a", value=b"\0\0\0\2"),
        ),
    )
    for version in VERSIONS:
        (update,) = views_of(encoded(row, log_version=version), ROWS, log_version=version)
        (view,) = update.rows
        assert view.clustering == list(key())
        assert view.liveness == LivenessView(US, 60, 1_795_000_000)
        assert view.deletion is not None
        assert (view.deletion.timestamp_us, view.deletion.local_time_s) == (US - 5, 1_794_999_000)
        assert list(view.columns) == ["n", "v", "l", "m"]
        assert view.columns["v"].cells[0].value is None
        assert view.columns["l"].deletion is not None
        assert view.columns["m"].deletion is None


def test_deletion_times_after_2038_are_unsigned_from_version_8_on() -> None:
    seconds = (1 << 32) - 3
    row = Row(key(), liveness=Liveness(US, 630_720_000, seconds))
    (update,) = views_of(encoded(row), ROWS)
    assert update.rows[0].liveness == LivenessView(US, 630_720_000, seconds)
    (update,) = views_of(encoded(row, log_version=7), ROWS, log_version=7)
    assert update.rows[0].liveness == LivenessView(US, 630_720_000, -3)


def test_an_update_that_is_empty_and_one_that_only_deletes() -> None:
    (update,) = views_of(encoded(columns=()), ROWS)
    assert (update.rows, update.deletion, update.static) == ([], None, None)
    (update,) = views_of(encoded(columns=(), deletion=Deletion(US, 1_795_000_000)), ROWS)
    assert update.deletion is not None
    assert update.deletion.timestamp_us == US


def test_a_static_row_alone() -> None:
    static = Row(static=True, cells=(Cell("s", US, value=b"\0\0\0\5"),))
    raw = encoded(columns=(), static_row=static, static_columns=("s",))
    (update,) = views_of(raw, ROWS)
    assert update.rows == []
    assert update.static is not None
    assert list(update.static.columns) == ["s"]


def test_null_and_empty_clusterings() -> None:
    rows = (Row((b"", None), liveness=Liveness(US)), Row((None, b""), liveness=Liveness(US)))
    (update,) = views_of(encoded(*rows), ROWS)
    assert [row.clustering for row in update.rows] == [[b"", None], [None, b""]]


def test_more_clustering_columns_than_one_header_tells_of() -> None:
    """Emptiness and nulls of clustering values are told for 32 of them at a time."""
    names = [f"c{index:02}" for index in range(70)]
    ours = table(
        f"CREATE TABLE ks.deep (k int, {', '.join(f'{name} text' for name in names)},"
        f" PRIMARY KEY (k, {', '.join(names)})) WITH ID = {IDS[3]}"
    )
    theirs = reference_table(
        "ks",
        "deep",
        IDS[3],
        partition_key="k int",
        clustering="; ".join(f"{name} text" for name in names),
    )
    for rare in (b"", None, b"x"):
        clustering = tuple(rare if i % 31 == 0 else name.encode() for i, name in enumerate(names))
        row = Row(clustering, liveness=Liveness(US))
        bounds = tuple(
            Marker(kind, clustering[:40], *deletions)
            for kind, deletions in (
                ("INCL_START_BOUND", (None, Deletion(US, 1))),
                ("INCL_END_BOUND", (Deletion(US, 1), None)),
            )
        )
        update = PartitionUpdate(theirs.id, "", b"\0\0\0\1", unfiltereds=(row, *bounds))
        raw = encode_mutation(Mutation((update,)), LOG_VERSIONS[8], {theirs.id: theirs})
        (view,) = views_of(raw, ours)
        assert view.rows[0].clustering == list(clustering)
        assert view.ranges[0].start.values == list(clustering[:40])


def wide(count: int) -> tuple[Table, RefTable]:
    names = [f"c{index:03}" for index in range(count)]
    cql = ", ".join(f"{name} text" for name in names)
    return (
        table(f"CREATE TABLE ks.wide (k int PRIMARY KEY, {cql}) WITH ID = {IDS[1]}"),
        reference_table(
            "ks",
            "wide",
            IDS[1],
            partition_key="k int",
            regular="; ".join(f"{name} text" for name in names),
        ),
    )


@pytest.mark.parametrize("count", [1, 63, 64, 65, 100, 200])
def test_column_subsets(count: int) -> None:
    """Bitmaps below 64 columns; from there on whichever of present and missing are fewer."""
    ours, theirs = wide(count)
    names = [column.name for column in ours.regulars]
    for present in (0, 1, count // 2 - 1, count // 2, count // 2 + 1, count - 1, count):
        for chosen in (names[:present], names[count - present :], names[::2][:present]):
            row = Row(
                liveness=Liveness(US),
                cells=tuple(Cell(name, US, value=name.encode()) for name in chosen),
            )
            update = PartitionUpdate(
                theirs.id, "", b"\0\0\0\1", unfiltereds=(row,), regular_columns=tuple(names)
            )
            raw = encode_mutation(Mutation((update,)), LOG_VERSIONS[8], {theirs.id: theirs})
            (view,) = views_of(raw, ours)
            assert list(view.rows[0].columns) == list(chosen)
            for column in view.rows[0].columns.values():
                assert column.cells[0].value == column.column.name_bytes


def test_range_tombstones_are_paired() -> None:
    def marker(kind: str, *values: bytes, closed: int = 0, opened: int = 0) -> Marker:
        return Marker(
            kind,
            values,
            Deletion(closed, 1_795_000_000) if closed else None,
            Deletion(opened, 1_795_000_000) if opened else None,
        )

    first, last = b"a", b"z"
    (update,) = views_of(
        encoded(
            marker("INCL_START_BOUND", opened=US),
            marker("EXCL_END_INCL_START_BOUNDARY", first, closed=US, opened=US + 1),
            Row(key(b"b"), liveness=Liveness(US + 9)),
            marker("INCL_END_EXCL_START_BOUNDARY", last, closed=US + 1, opened=US + 2),
            marker("INCL_END_BOUND", closed=US + 2),
        ),
        ROWS,
    )
    assert [(r.start.values, r.end.values) for r in update.ranges] == [
        ([], [first]),
        ([first], [last]),
        ([last], []),
    ]
    assert [r.deletion.timestamp_us for r in update.ranges if r.deletion] == [US, US + 1, US + 2]
    assert len(update.rows) == 1
    for unpaired in (
        [marker("INCL_START_BOUND", opened=US)],
        [marker("INCL_END_BOUND", closed=US)],
        [marker("INCL_START_BOUND", opened=US), marker("EXCL_START_BOUND", opened=US)],
    ):
        with pytest.raises(SegmentCorrupt, match="range tombstone"):
            views_of(encoded(*unpaired), ROWS)


def test_dropped_columns() -> None:
    """Cells up to the drop are void; of a column that is gone all are, and it still decodes."""
    row = Row(
        key(),
        liveness=Liveness(US),
        cells=(
            Cell("n", US, value=b"\0\0\0\7"),
            Cell("v", US + 1, value=b"new"),
            Cell("l", US, path=bytes(16), value=b"\0\0\0\1"),
        ),
    )
    again = table(
        "CREATE TABLE ks.rows (k int, c text, d int, s int static, v text, m map<text, int>,"
        f" PRIMARY KEY (k, c, d)) WITH ID = {IDS[0]};"
        f" ALTER TABLE ks.rows DROP v USING TIMESTAMP {US};"
        " ALTER TABLE ks.rows ADD v text;"
        f" ALTER TABLE ks.rows ADD n int; ALTER TABLE ks.rows DROP n USING TIMESTAMP {US + 5};"
        f" ALTER TABLE ks.rows ADD l list<int>;"
        f" ALTER TABLE ks.rows DROP l USING TIMESTAMP {US + 5}"
    )
    assert {column.name for column in again.regulars} == {"v", "m"}
    (update,) = views_of(encoded(row), again)
    assert list(update.rows[0].columns) == ["v"]
    older = Row(key(), cells=(Cell("v", US, value=b"old"),))
    (update,) = views_of(encoded(older), again)
    assert update.rows == []


def test_a_view_of_a_column_names_it() -> None:
    (update,) = views_of(INSERT[8:-4], EXAMPLE)
    column = update.rows[0].columns["v"]
    assert isinstance(column, ColumnView)
    assert column.column == EXAMPLE.column("v")
    assert update.table.id == UUID("11111111-2222-3333-4444-555555555555")
