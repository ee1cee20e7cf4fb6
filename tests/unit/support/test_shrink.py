"""Statements left out of a history until none can be left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest

from tests.tools.shrink import shortest

STATEMENTS = [f"statement {number}" for number in range(23)]


@pytest.mark.parametrize("needed", [(), (7,), (0, 22), (3, 4, 19)])
def test_what_is_needed_remains(needed: tuple[int, ...]) -> None:
    wanted = [STATEMENTS[number] for number in needed]

    def fails(statements: Sequence[str]) -> bool:
        return set(wanted) <= set(statements)

    assert list(shortest(STATEMENTS, fails)) == (wanted or STATEMENTS[-1:])


def test_nothing_that_remains_can_be_left_out() -> None:
    def fails(statements: Sequence[str]) -> bool:
        return any(
            {STATEMENTS[a], STATEMENTS[a + b]} <= set(statements)
            for a, b in combinations(range(11), 2)
        )

    assert len(shortest(STATEMENTS, fails)) == 2
