"""Dashboards: what is committed is what the code says, and every panel asks for real metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.dashboards.files import FILES, FOLDER, render
from tests.support.promql import exposed_labels, metrics_of, unknown_metrics


def panels(name: str) -> Iterator[dict[str, Any]]:
    for panel in json.loads((FOLDER / name).read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


@pytest.mark.parametrize("name", FILES)
def test_the_file_has_not_drifted(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == render(FILES[name]), (
        f"{name} has drifted: run `make docs`"
    )


def test_no_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_query_names_metrics_that_exist(name: str) -> None:
    for panel in panels(name):
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert metrics_of(target["expr"]), panel["title"]
            assert not unknown_metrics(target["expr"]), panel["title"]


@pytest.mark.parametrize("name", FILES)
def test_every_legend_names_labels_that_exist(name: str) -> None:
    for panel in panels(name):
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= exposed_labels(), panel["title"]


@pytest.mark.parametrize("name", FILES)
def test_panels_have_a_description_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    ids: set[int] = set()
    for panel in json.loads((FOLDER / name).read_text())["panels"]:
        assert panel["id"] not in ids
        ids.add(panel["id"])
        assert panel["type"] == "row" or panel["description"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_a_metric_that_does_not_exist_is_found() -> None:
    assert unknown_metrics("rate(cdc_no_such_thing_total[5m]) > cdc_parked") == {
        "cdc_no_such_thing_total"
    }
    assert unknown_metrics("cdc_events_processed") == {"cdc_events_processed"}
    assert unknown_metrics("cdc_parked_bucket") == {"cdc_parked_bucket"}
