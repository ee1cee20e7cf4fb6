"""The reference's merge of every golden segment, in any order and repetition, is what Cassandra's
SELECT gave.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.reference.replay import Replay
from tests.reference.select import Selected
from tests.support.golden import KEYS, GoldenCase, golden_cases


def shown(value: Selected | None) -> str | None:
    return None if value is None else value.value.hex()


def key_of(row: dict[str, Any], state: dict[str, Any]) -> tuple[str | None, ...]:
    return tuple(row["key"][name].get("hex") for name in state["key"])


@pytest.mark.parametrize(
    ("case", "order"),
    [(case, "shuffled and twice") for case in golden_cases()]
    + [(case, "as logged") for case in golden_cases(series="5.0")],
    ids=str,
)
def test_equals_what_select_gives(case: GoldenCase, order: str, tmp_path: Path) -> None:
    replay = Replay()
    for log in case.unpack(tmp_path):
        replay.read(log.read_bytes(), KEYS)
    if order != "as logged":
        for updates in replay.updates.values():
            updates.extend(list(updates))
            random.Random(1).shuffle(updates)
    states = case.expected["tables"] | case.expected["dropped"]
    assert states
    for name, state in states.items():
        table = replay.catalog[UUID(state["id"])]
        since, until = state["selected_at_seconds"]
        rows = {
            tuple(shown(row[column]) for column in state["key"]): row
            for row in replay.select(table, until)
        }
        expected = {key_of(row, state): row["cells"] for row in state["rows"]}
        assert rows.keys() == expected.keys(), name
        for key, cells in expected.items():
            for column, cell in cells.items():
                ours = rows[key][column]
                assert shown(ours) == cell.get("hex"), (name, key, column)
                if ours is None or ours.writetime_us is None:
                    continue
                if isinstance(cell.get("writetime"), int):
                    assert ours.writetime_us == cell["writetime"], (name, key, column)
                if isinstance(cell.get("ttl"), int):
                    assert ours.expires_at_seconds is not None
                    left = ours.expires_at_seconds - cell["ttl"]
                    assert since <= left <= until, (name, key, column)
                elif "writetime" in cell:
                    assert ours.expires_at_seconds is None, (name, key, column)
