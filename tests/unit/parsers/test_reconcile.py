"""Any order, grouping and repetition of mutations leads to the rows that the reference has."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference.counters import Shard, count, merge_contexts, write_context
from tests.reference.model import Cell, Deletion, Liveness, PartitionUpdate, Row
from tests.support.histories import (
    BY_VALUE,
    COUNTS,
    EVERYTHING,
    INEXACT,
    INEXACT_BY_VALUE,
    NOW,
    US,
    History,
    Subject,
)
from tests.support.memory_mirror import Field, MemoryMirror
from tests.support.merged import check_states, expected_rows, merged
from tests.support.row_state import read_state

SUBJECTS = {
    f"{subject.table.name}, log version {subject.log_version}": subject
    for subject in (EVERYTHING, COUNTS, INEXACT, BY_VALUE, INEXACT_BY_VALUE)
}
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck))


def check(
    subject: Subject, mirror: MemoryMirror, updates: list[PartitionUpdate], now_s: int
) -> None:
    """The mirror holds what the reference makes of the updates."""
    partitions = merged(subject, updates)
    for relation in mirror.relations:
        shown = {column.name for column in relation.columns}
        held = {
            key: {name: value for name, value in row.items() if name in shown}
            for key, row in relation.rows.items()
        }
        assert held == expected_rows(subject, relation, partitions, now_s)
        check_states(relation, partitions)


def shuffled(choose: Random, count: int) -> list[list[int]]:
    """Numbers below `count` in any order and groups, some of them more than once."""
    order = [*range(count), *choose.choices(range(count), k=choose.randrange(4))]
    choose.shuffle(order)
    groups = []
    while order:
        size = choose.randint(1, len(order))
        groups.append(order[:size])
        order = order[size:]
    return groups


@pytest.mark.parametrize("name", SUBJECTS)
@settings(SLOW, max_examples=60)
@given(choose=st.randoms(use_true_random=True), count=st.integers(1, 12))
def test_order_grouping_and_repetition_do_not_matter(name: str, choose: Random, count: int) -> None:
    subject = SUBJECTS[name]
    updates = History(subject, choose).updates(count)
    raw = [subject.encoded(update) for update in updates]
    for _ in range(3):
        mirror = subject.mirror()
        for group in shuffled(choose, count):
            mirror.apply(subject.batch(mirror, [raw[i] for i in group]), NOW)
        check(subject, mirror, updates, NOW)
        # A copy may still tell a row what was kept of the time when it was dead; not for ever.
        for _ in range(3):
            copies = choose.sample(raw, count)
            written = [mirror.apply(subject.batch(mirror, [copy]), NOW) for copy in copies]
            check(subject, mirror, updates, NOW)
        assert not any(written)


@settings(SLOW, max_examples=60)
@given(choose=st.randoms(use_true_random=True), count=st.integers(1, 10))
def test_time_passes_between_batches(choose: Random, count: int) -> None:
    """What is applied before it expires, and what after, lead to the same rows at the end."""
    updates = History(EVERYTHING, choose).updates(count)
    raw = [EVERYTHING.encoded(update) for update in updates]
    groups = shuffled(choose, count)
    mirror = EVERYTHING.mirror()
    now_s = NOW - 5
    for group in groups:
        mirror.apply(EVERYTHING.batch(mirror, [raw[i] for i in group]), now_s)
        now_s += choose.choice((0, 1, 4, 8))
        if choose.random() < 0.5:
            mirror.expire(now_s)
    mirror.expire(now_s)
    check(EVERYTHING, mirror, updates, now_s)
    mirror.expire(NOW + 100)
    check(EVERYTHING, mirror, updates, NOW + 100)


@settings(SLOW, max_examples=30)
@given(choose=st.randoms(use_true_random=True))
def test_a_failed_attempt_leaves_the_batch_as_it_is(choose: Random) -> None:
    """The same batch is applied again, to a mirror in another state."""
    updates = History(EVERYTHING, choose).updates(8)
    raw = [EVERYTHING.encoded(update) for update in updates]
    first, second = EVERYTHING.mirror(), EVERYTHING.mirror()
    second.compiled, second.catalog = first.compiled, first.catalog
    first.apply(EVERYTHING.batch(first, raw[:3]), NOW)
    for other, rebuilt in zip(second.relations, first.relations, strict=True):
        other.compiled, other.relation = rebuilt.compiled, rebuilt.relation
    batch = EVERYTHING.batch(first, raw[3:])
    first.apply(batch, NOW)
    second.apply(batch, NOW)
    check(EVERYTHING, first, updates, NOW)
    check(EVERYTHING, second, updates[3:], NOW)


# -- the rules one by one (format page, section 9)

KEY = (b"\0\0\0\1", b"d")
LATER, LATEST = NOW + 5, NOW + 9


def value(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True)


def cell(
    writetime: int, *, number: int = 7, ttl: int = 0, expires: int = LATER, dead: int | None = None
) -> Cell:
    if dead is not None:
        return Cell("v", US + writetime, 0, dead, True)
    return Cell("v", US + writetime, ttl, expires if ttl else None, value=value(number))


def rows_after(*rows: Row, together: bool, subject: Subject = EVERYTHING) -> list[dict[str, Field]]:
    """The rows of the mirror after these writes of one row, in one batch or each in its own."""
    columns = tuple(dict.fromkeys(c.column for row in rows for c in row.cells))
    raw = [
        subject.encoded(
            PartitionUpdate(
                subject.table.id,
                "",
                value(1),
                unfiltereds=(row,),
                regular_columns=tuple(c.name for c in subject.table.regulars if c.name in columns),
            )
        )
        for row in rows
    ]
    mirror = subject.mirror()
    for group in [raw] if together else [[one] for one in raw]:
        mirror.apply(subject.batch(mirror, group), NOW)
    return list(mirror.rows.rows.values())


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param(cell(2, number=1), cell(1, number=9), id="higher-timestamp"),
        pytest.param(cell(1, ttl=10, number=1), cell(1, number=9), id="expiring-beats-plain"),
        pytest.param(cell(1, dead=NOW), cell(1, number=9), id="tombstone-beats-plain"),
        pytest.param(cell(1, dead=NOW - 9), cell(1, ttl=10), id="tombstone-beats-expiring"),
        pytest.param(
            cell(1, ttl=10, expires=LATEST, number=1),
            cell(1, ttl=10, expires=LATER, number=9),
            id="later-expiry",
        ),
        pytest.param(cell(1, ttl=10, number=1), cell(1, ttl=20, number=9), id="lower-ttl"),
        pytest.param(cell(1, number=9), cell(1, number=1), id="greater-value"),
        pytest.param(cell(1, number=-1), cell(1, number=1), id="values-are-unsigned-bytes"),
        pytest.param(cell(1, number=1), Cell("v", US + 1, value=b""), id="a-prefix-is-smaller"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_cells(winner: Cell, loser: Cell, together: bool) -> None:
    live = Liveness(US)
    expected = None if winner.deleted else winner.value
    for cells in ((winner, loser), (loser, winner), (winner, loser, winner)):
        rows = [Row(KEY, liveness=live, cells=(one,)) for one in cells]
        (row,) = rows_after(*rows, together=together)
        assert row["v"] == expected


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param(cell(2, number=1), cell(1, number=9), id="higher-timestamp"),
        pytest.param(cell(1, dead=NOW), cell(1, number=9), id="tombstone-beats-plain"),
        pytest.param(cell(1, dead=NOW - 9), cell(1, ttl=10), id="tombstone-beats-expiring"),
        pytest.param(cell(1, number=9), cell(1, ttl=10, number=1), id="greater-value-beats-ttl"),
        pytest.param(cell(1, ttl=10, number=9), cell(1, number=1), id="greater-value-with-ttl"),
        pytest.param(cell(1, number=1), cell(1, number=-1), id="values-are-signed-bytes"),
        pytest.param(cell(1, number=1), Cell("v", US + 1, value=b""), id="a-prefix-is-smaller"),
        pytest.param(
            cell(1, ttl=20, expires=LATER, number=9),
            cell(1, ttl=10, expires=LATEST, number=1),
            id="value-before-expiry",
        ),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_cells_of_3_11(winner: Cell, loser: Cell, together: bool) -> None:
    live = Liveness(US)
    expected = None if winner.deleted else winner.value
    for cells in ((winner, loser), (loser, winner), (winner, loser, winner)):
        rows = [Row(KEY, liveness=live, cells=(one,)) for one in cells]
        (row,) = rows_after(*rows, together=together, subject=BY_VALUE)
        assert row["v"] == expected


@pytest.mark.parametrize(
    ("winner", "loser"),
    [
        pytest.param(cell(1), cell(1, ttl=10), id="no-expiry-beats-expiry"),
        pytest.param(
            cell(1, ttl=10, expires=LATEST), cell(1, ttl=5, expires=LATER), id="later-expiry"
        ),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_cells_of_3_11_with_the_same_value(winner: Cell, loser: Cell, together: bool) -> None:
    for cells in ((winner, loser), (loser, winner)):
        rows = [Row(KEY, liveness=Liveness(US), cells=(one,)) for one in cells]
        (row,) = rows_after(*rows, together=together, subject=BY_VALUE)
        (stored,) = read_state(row["_cdc"] or b"").cells.values()
        assert stored.ttl_s == winner.ttl_seconds
        assert stored.deletion_time_s == winner.local_deletion_seconds


def test_what_the_mirror_has_seen_expire_wins_a_tie_of_3_11() -> None:
    expiring, plain = cell(1, ttl=10, number=1), cell(1, number=9)
    raw = [
        BY_VALUE.encoded(
            PartitionUpdate(
                BY_VALUE.table.id,
                "",
                value(1),
                unfiltereds=(Row(KEY, liveness=Liveness(US), cells=(one,)),),
                regular_columns=("v",),
            )
        )
        for one in (expiring, plain)
    ]
    mirror = BY_VALUE.mirror()
    mirror.apply(BY_VALUE.batch(mirror, raw[:1]), NOW)
    mirror.expire(LATER)
    mirror.apply(BY_VALUE.batch(mirror, raw[1:]), LATER)
    (row,) = mirror.rows.rows.values()
    assert row["v"] is None


@pytest.mark.parametrize(
    ("writes", "exists"),
    [
        pytest.param([Row(KEY, liveness=Liveness(US))], True, id="insert-of-the-key"),
        pytest.param([Row(KEY, cells=(cell(1, dead=NOW),))], False, id="tombstone-alone"),
        pytest.param(
            [Row(KEY, cells=(cell(1),)), Row(KEY, cells=(cell(2, dead=NOW),))],
            False,
            id="update-only-row-loses-its-last-cell",
        ),
        pytest.param(
            [Row(KEY, liveness=Liveness(US + 1)), Row(KEY, deletion=Deletion(US + 1, NOW))],
            False,
            id="deletion-wins-the-tie",
        ),
        pytest.param(
            [Row(KEY, liveness=Liveness(US + 2)), Row(KEY, deletion=Deletion(US + 1, NOW))],
            True,
            id="older-deletion",
        ),
        pytest.param(
            [Row(KEY, liveness=Liveness(US, 10, NOW)), Row(KEY, cells=(cell(0, dead=NOW),))],
            False,
            id="liveness-expires-at-its-second",
        ),
        pytest.param(
            [Row(KEY, liveness=Liveness(US)), Row(KEY, liveness=Liveness(US, 10, NOW))],
            False,
            id="expiring-liveness-wins-the-tie",
        ),
        pytest.param(
            [Row(KEY, liveness=Liveness(US, 10, NOW)), Row(KEY, liveness=Liveness(US, 10, LATER))],
            True,
            id="later-expiry-wins",
        ),
        pytest.param(
            [Row(KEY, liveness=Liveness(US)), Row(KEY, liveness=Liveness(US, (1 << 31) - 1, NOW))],
            False,
            id="expired-liveness-of-a-view",
        ),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_rows(writes: list[Row], exists: bool, together: bool) -> None:
    for rows in (writes, writes[::-1]):
        assert bool(rows_after(*rows, together=together)) == exists


@pytest.mark.parametrize("together", [True, False])
def test_a_deleted_collection_keeps_what_was_written_later(together: bool) -> None:
    def element(path: bytes, writetime: int) -> Cell:
        return Cell("m", US + writetime, path=path, value=value(writetime))

    deletion = Row(KEY, complex_deletions={"m": Deletion(US + 2, NOW)}, cells=(element(b"a", 3),))
    older = Row(KEY, liveness=Liveness(US), cells=(element(b"a", 1), element(b"b", 2)))
    for rows in ((deletion, older), (older, deletion), (deletion, older, deletion, older)):
        (row,) = rows_after(*rows, together=together)
        assert row["m"] == b'\x01{"a": 3}'


def test_a_writes_own_collection_deletion_covers_what_it_writes() -> None:
    cells = tuple(Cell("m", US + t, path=p, value=value(t)) for p, t in ((b"a", 1), (b"b", 3)))
    row = Row(KEY, complex_deletions={"m": Deletion(US + 2, NOW)}, cells=cells)
    for copies in ([row], [row, row]):
        (found,) = rows_after(*copies, together=False)
        assert found["m"] == b'\x01{"b": 3}'


@pytest.mark.parametrize("together", [True, False])
def test_counters_take_the_newest_shard_of_each_id(together: bool) -> None:
    def update(*shards: tuple[int, int, int]) -> bytes:
        context = write_context([Shard(bytes([n]) * 16, "global", c, v) for n, c, v in shards])
        row = Row((value(1),), cells=(Cell("n", US + shards[0][1], value=context),))
        return COUNTS.encoded(
            PartitionUpdate(
                COUNTS.table.id, "", value(1), unfiltereds=(row,), regular_columns=("n",)
            )
        )

    raw = [update((1, 1, 10)), update((1, 2, 25)), update((2, 1, 100)), update((2, 1, 100))]
    for order in (raw, raw[::-1], raw + raw[:2]):
        mirror = COUNTS.mirror()
        for group in [order] if together else [[one] for one in order]:
            mirror.apply(COUNTS.batch(mirror, group), NOW)
        (row,) = mirror.rows.rows.values()
        assert int.from_bytes(row["n"] or b"") == 125


@settings(SLOW, max_examples=60)
@given(choose=st.randoms(use_true_random=True))
def test_contexts_of_every_kind_of_shard(choose: Random) -> None:
    """Global, local and remote shards, of the same id and of others, merge as in the reference."""

    def context() -> bytes:
        ids = choose.sample(range(6), choose.randrange(1, 6))
        kinds = ("global", "local", "remote")
        return write_context(
            [
                Shard(
                    bytes([n]) * 16,
                    choose.choice(kinds),
                    choose.randrange(3),
                    choose.randrange(-2, 3),
                )
                for n in ids
            ]
        )

    contexts = [context(), context()]
    rows = [
        COUNTS.encoded(
            PartitionUpdate(
                COUNTS.table.id,
                "",
                value(1),
                unfiltereds=(Row((value(1),), cells=(Cell("n", US + i, value=one),)),),
                regular_columns=("n",),
            )
        )
        for i, one in enumerate(contexts)
    ]
    for order in (rows, rows[::-1]):
        mirror = COUNTS.mirror()
        mirror.apply(COUNTS.batch(mirror, order), NOW)
        (row,) = mirror.rows.rows.values()
        state = read_state(row["_cdc"] or b"")
        assert list(state.values.values()) == [merge_contexts(*contexts)]
        assert [one.writetime_us for one in state.cells.values()] == [US + 1]
        assert int.from_bytes(row["n"] or b"", signed=True) == count(merge_contexts(*contexts))


def test_a_counters_tombstone_wins_whatever_its_timestamp() -> None:
    context = write_context([Shard(bytes(16), "global", 5, 50)])
    cells = (Cell("n", US + 9, value=context), Cell("n", US + 1, 0, NOW, True))
    for order in (cells, cells[::-1]):
        mirror = COUNTS.mirror()
        for one in order:
            update = PartitionUpdate(
                COUNTS.table.id,
                "",
                value(1),
                unfiltereds=(Row((value(1),), cells=(one,)),),
                regular_columns=("n",),
            )
            mirror.apply(COUNTS.batch(mirror, [COUNTS.encoded(update)]), NOW)
        assert mirror.rows.rows == {}
