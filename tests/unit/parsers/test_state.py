"""What a row's state keeps: across definitions of its table, for ties, and in how many bytes."""

from __future__ import annotations

import pytest

from parsers.cql_types import Native
from parsers.schema import Table
from parsers.values import compile_type, to_pg
from sinks.postgres.typemap import pg_type
from tests.reference.model import Cell, Deletion, Liveness, PartitionUpdate, Row
from tests.support.histories import EVERYTHING, INEXACT, NOW, US, Subject, subject_of
from tests.support.memory_mirror import Field, MemoryMirror
from tests.support.row_state import read_state
from tests.support.tables import IDS, table

NUMBERS = {"b": 0, "c": 1, "a": 2}


def number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def defined(columns: str) -> Subject:
    return subject_of(table(f"CREATE TABLE ks.t (k int PRIMARY KEY, {columns}) WITH ID = {IDS[4]}"))


OLD, NEW = defined("b int, c int"), defined("a int, b int, c int")


def write(subject: Subject, *cells: Cell, insert_us: int | None = None) -> bytes:
    columns = [c.name for c in subject.table.regulars if c.name in {cell.column for cell in cells}]
    liveness = None if insert_us is None else Liveness(insert_us)
    return subject.encoded(
        PartitionUpdate(
            subject.table.id,
            "",
            number(1),
            unfiltereds=(Row(liveness=liveness, cells=cells),),
            regular_columns=tuple(columns),
        )
    )


def mirror_of(table_: Table, before: MemoryMirror | None = None, **foreign: str) -> MemoryMirror:
    """A mirror of that definition, with the rows of the one before it."""
    mirror = MemoryMirror(
        table_,
        {c.name: pg_type(c.type) for c in table_.columns},
        numbers=NUMBERS,
        foreign={name: (Native("int"), one) for name, one in foreign.items()},
    )
    if before is not None:
        names = [*mirror.rows.names]
        mirror.rows.rows = {
            key: {name: row.get(name) for name in names} for key, row in before.rows.rows.items()
        }
        mirror.rows.dead = before.rows.dead
    return mirror


def only(mirror: MemoryMirror) -> dict[str, Field]:
    (row,) = mirror.rows.rows.values()
    return row


def test_an_insert_takes_few_bytes() -> None:
    cells = [Cell(c, US, value=number(5)) for c in ("a", "b", "c")]
    mirror = NEW.mirror()
    mirror.apply(NEW.batch(mirror, [write(NEW, *cells, insert_us=US)]), NOW)
    # Flags, timestamp, digest, two bytes for the cells.
    assert len(only(mirror)["_cdc"] or b"") <= 1 + 8 + 8 + 3


def test_a_column_that_is_added_leaves_the_others_as_they_are() -> None:
    """It stands before them: all that is told by a column's place would be another's now."""
    cells = (Cell("b", US, value=number(1)), Cell("c", US + 5, value=number(2)))
    before = mirror_of(OLD.table)
    before.apply(OLD.batch(before, [write(OLD, *cells, insert_us=US)]), NOW)
    after = mirror_of(NEW.table, before)
    late = write(NEW, Cell("b", US - 1, value=number(7)), Cell("c", US + 4, value=number(8)))
    after.apply(NEW.batch(after, [late, write(NEW, Cell("a", US, value=number(3)))]), NOW)
    row = only(after)
    assert (row["a"], row["b"], row["c"]) == (number(3), number(1), number(2))


def test_a_process_with_an_older_definition_keeps_what_it_does_not_know() -> None:
    ahead = mirror_of(NEW.table)
    ahead.apply(NEW.batch(ahead, [write(NEW, Cell("a", US + 9, value=number(3)))]), NOW)
    behind = mirror_of(OLD.table, ahead, a="int4")
    behind.apply(OLD.batch(behind, [write(OLD, Cell("b", US, value=number(1)))]), NOW)
    row = only(behind)
    assert (row["a"], row["b"]) == (number(3), number(1))
    cells = read_state(row["_cdc"] or b"").cells
    assert cells[NUMBERS["a"], None, False].writetime_us == US + 9


def test_a_column_that_is_gone_for_good_leaves_the_state_at_the_next_write() -> None:
    before = mirror_of(NEW.table)
    cells = (Cell("a", US, value=number(1)), Cell("b", US, value=number(2)))
    before.apply(NEW.batch(before, [write(NEW, *cells, insert_us=US)]), NOW)
    after = mirror_of(OLD.table, before)
    after.apply(OLD.batch(after, [write(OLD, Cell("c", US + 1, value=number(3)))]), NOW)
    row = only(after)
    assert (row["b"], row["c"]) == (number(2), number(3))
    assert {cid for cid, _, _ in read_state(row["_cdc"] or b"").cells} == {0, 1}


def test_inserts_of_one_moment_into_different_columns_are_different() -> None:
    """`c` of the old definition is the second column, as `b` is of the new one."""
    before = mirror_of(OLD.table)
    inserted = write(OLD, Cell("c", US, value=number(5)), insert_us=US)
    before.apply(OLD.batch(before, [inserted]), NOW)
    after = mirror_of(NEW.table, before)
    other = write(NEW, Cell("b", US, value=number(5)), insert_us=US)
    after.apply(NEW.batch(after, [other]), NOW)
    row = only(after)
    assert (row["b"], row["c"]) == (number(5), number(5))


def test_a_copy_of_an_insert_changes_nothing_and_one_of_another_value_does() -> None:
    mirror = NEW.mirror()
    raw = write(NEW, Cell("b", US, value=number(5)), insert_us=US)
    assert mirror.apply(NEW.batch(mirror, [raw]), NOW) == 1
    assert mirror.apply(NEW.batch(mirror, [raw]), NOW) == 0
    greater = write(NEW, Cell("b", US, value=number(6)), insert_us=US)
    assert mirror.apply(NEW.batch(mirror, [greater]), NOW) == 1
    assert only(mirror)["b"] == number(6)
    assert mirror.apply(NEW.batch(mirror, [raw]), NOW) == 0
    assert only(mirror)["b"] == number(6)


# decimal: 1 with a scale of 0, 10 with a scale of 1; time: 500 ns that the column does not show
TIES = [
    (EVERYTHING, "x", bytes(4) + b"\x01", b"\0\0\0\1\x0a"),
    (INEXACT, "v", (1000).to_bytes(8, "big"), (1500).to_bytes(8, "big")),
    (EVERYTHING, "v", b"", number(1)),
    (EVERYTHING, "w", b"a", b"ab"),
]


@pytest.mark.parametrize(("subject", "column", "smaller", "greater"), TIES)
@pytest.mark.parametrize("insert", [True, False])
def test_a_tie_is_decided_by_cassandras_own_bytes(
    subject: Subject, column: str, smaller: bytes, greater: bytes, insert: bool
) -> None:
    """Also where PostgreSQL's value does not tell them, and whichever was there first."""
    clustering = (b"\0\0\0\1", b"d") if subject is EVERYTHING else (b"\x01", bytes((10, 0, 0, 1)))

    def raw(value: bytes) -> bytes:
        row = Row(
            clustering,
            liveness=Liveness(US) if insert else None,
            cells=(Cell(column, US, value=value),),
        )
        return subject.encoded(
            PartitionUpdate(
                subject.table.id, "", number(1), unfiltereds=(row,), regular_columns=(column,)
            )
        )

    held = set()
    for first, second in ((smaller, greater), (greater, smaller), (greater, greater)):
        mirror = subject.mirror()
        mirror.apply(subject.batch(mirror, [raw(first)]), NOW)
        mirror.apply(subject.batch(mirror, [raw(second)]), NOW)
        held.add(only(mirror)[column])
    assert len(held) == 1


# -- clusterings that are equal in Cassandra and in PostgreSQL, and differ in their bytes

PRICES = subject_of(
    table(
        "CREATE TABLE ks.prices (k int, c decimal, v int, w int, PRIMARY KEY (k, c))"
        f" WITH CLUSTERING ORDER BY (c DESC) AND ID = {IDS[5]}"
    )
)


def decimal(scale: int, unscaled: int) -> bytes:
    size = (unscaled + (unscaled < 0)).bit_length() // 8 + 1
    return scale.to_bytes(4, "big", signed=True) + unscaled.to_bytes(size, "big", signed=True)


def priced(price: bytes, column: str, us: int) -> bytes:
    row = Row((price,), cells=(Cell(column, us, value=number(us - US)),))
    return PRICES.encoded(
        PartitionUpdate(
            PRICES.table.id, "", number(1), unfiltereds=(row,), regular_columns=(column,)
        )
    )


def deleted(us: int) -> bytes:
    deletion = Deletion(us, NOW)
    return PRICES.encoded(PartitionUpdate(PRICES.table.id, "", number(1), deletion=deletion))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(decimal(1, 15), decimal(2, 150), id="1.5-and-1.50"),
        pytest.param(decimal(3, 1500), decimal(9, 1_500_000_000), id="1.500-and-1.500000000"),
        pytest.param(decimal(0, 100), decimal(-2, 1), id="100-and-1E2"),
        pytest.param(decimal(4, 1_000_000), decimal(-1, 10), id="100.0000-and-10E1"),
        pytest.param(decimal(0, 0), decimal(5, 0), id="0-and-0.00000"),
        pytest.param(decimal(7, -12_300_000), decimal(2, -123), id="negative"),
        pytest.param(decimal(12, 10**11), decimal(1, 1), id="0.1"),
        pytest.param(decimal(9, 10**40), decimal(-31, 1), id="large"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_decimals_of_another_scale_are_the_same_row(
    one: bytes, other: bytes, together: bool
) -> None:
    """It is shown as it was written first, and found under any of its forms."""
    raw = [priced(one, "v", US + 1), priced(other, "w", US + 2), priced(one, "w", US + 1)]
    mirror = PRICES.mirror()
    for group in [raw] if together else [[each] for each in raw]:
        mirror.apply(PRICES.batch(mirror, group), NOW)
    row = only(mirror)
    assert (row["v"], row["w"]) == (number(1), number(2))
    assert row["c"] == to_pg(compile_type(Native("decimal"), "numeric", key=True), one)[4:]
    # The row is found by its partition, where only PostgreSQL's columns tell its clustering.
    batch = [deleted(US + 1), priced(other, "v", US + 1)]
    mirror.apply(PRICES.batch(mirror, batch), NOW)
    row = only(mirror)
    assert (row["v"], row["w"]) == (None, number(2))
    mirror.apply(PRICES.batch(mirror, [deleted(US + 2)]), NOW)
    assert mirror.rows.rows == {}
    for late in raw:
        mirror.apply(PRICES.batch(mirror, [late]), NOW)
    assert mirror.rows.rows == {}


def test_decimals_of_another_value_are_other_rows() -> None:
    prices = [decimal(1, 15), decimal(1, 150), decimal(0, 15), decimal(2, 151), decimal(1, -15)]
    mirror = PRICES.mirror()
    mirror.apply(PRICES.batch(mirror, [priced(price, "v", US) for price in prices]), NOW)
    # 15.0 is 15.
    assert len(mirror.rows.rows) == 4
