"""Which rows a range tombstone covers, whether it comes before them, after them or with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest

from tests.reference.model import Cell, Deletion, Liveness, Marker, PartitionUpdate, Row
from tests.reference.reconcile import Clustering
from tests.support.histories import EVERYTHING, NOW, US

# `everything` is clustered by `c int DESC, d text ASC`.
NUMBERS = (3, 2, 1, -1)
TEXTS = ("a", "ab", "b")

Covers = Callable[[int, str], bool]


def number(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def clustering(c: int, d: str | None = None) -> Clustering:
    return (number(c),) if d is None else (number(c), d.encode())


def ranged(start: str, first: Clustering, end: str, last: Clustering, us: int = 2) -> list[Marker]:
    deletion = Deletion(US + us, NOW)
    return [
        Marker(f"{start}_BOUND", first, None, deletion),
        Marker(f"{end}_BOUND", last, deletion, None),
    ]


def encoded(*unfiltereds: Row | Marker) -> bytes:
    update = PartitionUpdate(EVERYTHING.table.id, "", number(1), unfiltereds=unfiltereds)
    return EVERYTHING.encoded(update)


def rows(us: int) -> list[Row]:
    return [Row(clustering(c, d), liveness=Liveness(US + us)) for c, d in product(NUMBERS, TEXTS)]


def left(*batches: list[bytes]) -> set[tuple[int, str]]:
    mirror = EVERYTHING.mirror()
    for batch in batches:
        mirror.apply(EVERYTHING.batch(mirror, batch), NOW)
    return {
        (int.from_bytes(c or b"", signed=True), (d or b"").decode()) for _, c, d in mirror.rows.rows
    }


def cases() -> Iterator[tuple[str, list[Marker], Covers]]:
    yield "everything", ranged("INCL_START", (), "INCL_END", ()), lambda c, d: True
    yield (
        "c = 2",
        ranged("INCL_START", clustering(2), "INCL_END", clustering(2)),
        lambda c, d: c == 2,
    )
    # The start of a DESC column holds the larger value.
    yield "c > 1", ranged("INCL_START", (), "EXCL_END", clustering(1)), lambda c, d: c > 1
    yield "c >= 1", ranged("INCL_START", (), "INCL_END", clustering(1)), lambda c, d: c >= 1
    yield "c < 2", ranged("EXCL_START", clustering(2), "INCL_END", ()), lambda c, d: c < 2
    yield (
        "c < 3 and c > -1",
        ranged("EXCL_START", clustering(3), "EXCL_END", clustering(-1)),
        lambda c, d: -1 < c < 3,
    )
    yield (
        "c = 2 and d > a",
        ranged("EXCL_START", clustering(2, "a"), "INCL_END", clustering(2)),
        lambda c, d: c == 2 and d > "a",
    )
    yield (
        "c = 2 and d < b",
        ranged("INCL_START", clustering(2), "EXCL_END", clustering(2, "b")),
        lambda c, d: c == 2 and d < "b",
    )
    yield (
        "c = 2 and a <= d <= ab",
        ranged("INCL_START", clustering(2, "a"), "INCL_END", clustering(2, "ab")),
        lambda c, d: c == 2 and "a" <= d <= "ab",
    )
    yield (
        "an empty text is before all",
        ranged("INCL_START", clustering(1, ""), "EXCL_END", clustering(1, "ab")),
        lambda c, d: c == 1 and d < "ab",
    )
    yield (
        "(c, d) from (3, b) to (1, a)",
        ranged("INCL_START", clustering(3, "b"), "INCL_END", clustering(1, "a")),
        lambda c, d: (c == 3 and d >= "b") or c == 2 or (c == 1 and d <= "a"),
    )


@pytest.mark.parametrize(
    ("markers", "covers"), [pytest.param(m, f, id=name) for name, m, f in cases()]
)
def test_covers(markers: list[Marker], covers: Covers) -> None:
    expected = {(c, d) for c, d in product(NUMBERS, TEXTS) if not covers(c, d)}
    older, deletion = encoded(*rows(1)), encoded(*markers)
    assert left([older], [deletion]) == expected
    assert left([deletion], [older]) == expected
    assert left([deletion, older]) == expected
    assert left([encoded(*markers, *rows(1))]) == expected
    assert left([deletion], [encoded(*rows(3))], [deletion]) == set(product(NUMBERS, TEXTS))


@pytest.mark.parametrize("inclusive", ["EXCL_END_INCL_START", "INCL_END_EXCL_START"])
def test_a_boundary_belongs_to_one_of_the_ranges_that_meet(inclusive: str) -> None:
    older, newer = Deletion(US + 2, NOW), Deletion(US + 4, NOW)
    markers = (
        Marker("INCL_START_BOUND", (), None, older),
        Marker(f"{inclusive}_BOUNDARY", clustering(2), older, newer),
        Marker("INCL_END_BOUND", (), newer, None),
    )
    kept = {(c, d) for c, d in product(NUMBERS, TEXTS) if c == 3}
    if inclusive.startswith("INCL_END"):
        kept |= {(2, d) for d in TEXTS}
    for batches in ([[encoded(*rows(3))], [encoded(*markers)]], [[encoded(*markers, *rows(3))]]):
        assert left(*batches) == kept


def test_the_newest_of_overlapping_ranges_counts() -> None:
    wide = encoded(*ranged("INCL_START", (), "INCL_END", (), us=2))
    narrow = encoded(*ranged("INCL_START", clustering(2), "INCL_END", clustering(2), us=5))
    expected = {(c, d) for c, d in product(NUMBERS, TEXTS) if c != 2}
    for batches in (
        [[encoded(*rows(3))], [narrow], [wide]],
        [[wide], [narrow], [encoded(*rows(3))]],
        [[narrow, encoded(*rows(3)), wide]],
    ):
        assert left(*batches) == expected


def test_a_known_range_is_not_kept_twice() -> None:
    mirror = EVERYTHING.mirror()
    deletion = encoded(*ranged("INCL_START", clustering(2), "INCL_END", clustering(1)))
    for _ in range(3):
        mirror.apply(EVERYTHING.batch(mirror, [deletion]), NOW)
    assert len(mirror.rows.tombstones) == 1


def test_a_partition_deletion_reaches_static_rows_and_ranges_do_not() -> None:
    def update(**what: object) -> bytes:
        return EVERYTHING.encoded(PartitionUpdate(EVERYTHING.table.id, "", number(1), **what))  # type: ignore[arg-type]

    static = update(
        static_row=Row(static=True, cells=(Cell("s", US + 1, value=number(5)),)),
        static_columns=("s",),
    )
    everything = encoded(*ranged("INCL_START", (), "INCL_END", ()))
    for order in ([static, everything], [everything, static]):
        mirror = EVERYTHING.mirror()
        for raw in order:
            mirror.apply(EVERYTHING.batch(mirror, [raw]), NOW)
        assert mirror.statics is not None
        assert len(mirror.statics.rows) == 1
        mirror.apply(EVERYTHING.batch(mirror, [update(deletion=Deletion(US + 1, NOW))]), NOW)
        assert mirror.statics.rows == {}
