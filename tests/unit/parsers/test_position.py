"""Positions: order, print form, limits."""

from __future__ import annotations

import pytest

from parsers.position import Position


def test_prints_and_parses_as_segment_and_offset() -> None:
    position = Position(1795433303485, 62231)
    assert str(position) == "1795433303485:62231"
    assert Position.parse("1795433303485:62231") == position


def test_orders_by_number_not_by_text() -> None:
    assert Position(9, 500) < Position(10, 20)
    assert Position(10, 20) < Position(10, 100)


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":1", "-1:2", "1:-2", "1:2:3", " 1:2", "1:2\n", "٣:4", "1:" + "9" * 40]
)
def test_refuses_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError):
        Position.parse(text)


@pytest.mark.parametrize(("segment_id", "offset"), [(-1, 0), (0, -1), (2**63, 0), (0, 2**63)])
def test_refuses_numbers_no_commit_log_has(segment_id: int, offset: int) -> None:
    with pytest.raises(ValueError):
        Position(segment_id, offset)
