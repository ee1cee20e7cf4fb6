"""Metrics: declared once, bounded labels, the names that dashboards rely on."""

from __future__ import annotations

import re

import pytest
from prometheus_client import Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cdc_tail.errors import SinkUnavailable
from cdc_tail.metrics import DECLARATIONS, MAX_TABLE_LABELS, OTHER_TABLES, Metrics

FIXED_NAMES = {
    "cdc_events_processed_total",
    "cdc_processing_latency_seconds",
    "cdc_backlog_depth",
    "cdc_errors_total",
}


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_names_are_unique_prefixed_and_complete() -> None:
    names = [one.name for one in DECLARATIONS]
    assert len(set(names)) == len(names)
    assert set(names) >= FIXED_NAMES
    assert all(re.fullmatch(r"cdc_[a-z_]+", name) for name in names)
    assert all(one.name.endswith("_total") == (one.kind is Counter) for one in DECLARATIONS)


def test_every_declared_metric_is_exposed() -> None:
    metrics = Metrics()
    metrics.count_rows("ks.t", 1)
    metrics.count_error(ValueError())
    metrics.counter("cdc_trace_spans_total").labels(result="sent")
    exposed = {name for name, _ in samples(metrics)}
    for one in DECLARATIONS:
        assert {one.name, f"{one.name}_count"} & exposed, one.name
    assert "process_resident_memory_bytes" in exposed


def test_two_processes_in_one_do_not_share() -> None:
    first, second = Metrics(), Metrics()
    first.counter("cdc_events_processed_total").inc(3)
    assert samples(second)["cdc_events_processed_total", ()] == 0


def test_errors_count_by_the_names_of_the_tree() -> None:
    metrics = Metrics()
    metrics.count_error(SinkUnavailable("x"))
    metrics.count_error(KeyError("x"))
    found = samples(metrics)
    assert found["cdc_errors_total", ("SinkUnavailable",)] == 1
    assert found["cdc_errors_total", ("Other",)] == 1


def test_table_labels_are_bounded() -> None:
    metrics = Metrics()
    for number in range(MAX_TABLE_LABELS + 50):
        metrics.count_rows(f"ks.t{number}", 2)
    metrics.count_rows("ks.t0", 5)
    rows = {labels: v for (name, labels), v in samples(metrics).items() if name == "cdc_rows_total"}
    assert len(rows) == MAX_TABLE_LABELS + 1
    assert rows[OTHER_TABLES,] == 100
    assert rows["ks.t0",] == 7


def test_a_metric_of_another_kind_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="is a Gauge, not a Counter"):
        Metrics().counter("cdc_backlog_depth")
    with pytest.raises(KeyError):
        Metrics().gauge("cdc_no_such_thing")
