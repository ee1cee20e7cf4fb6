"""Which metrics and labels a PromQL expression names, and which of them a sidecar exposes."""

from __future__ import annotations

import re

from prometheus_client import Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cdc_tail.metrics import DECLARATIONS, Metrics

# What Prometheus itself adds to each scrape.
OF_PROMETHEUS = {"up"}
TARGET_LABELS = {"instance", "job"}


def exposed_metrics() -> set[str]:
    """Every sample name of /metrics, also of those that only appear with their first label."""
    names = set(OF_PROMETHEUS)
    for one in DECLARATIONS:
        suffixes = ("_bucket", "_count", "_sum") if one.kind is Histogram else ("",)
        names |= {one.name + suffix for suffix in suffixes}
    text = generate_latest(Metrics().registry).decode()
    names |= {
        sample.name
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("process_")
    }
    assert all(one.name.endswith("_total") for one in DECLARATIONS if one.kind is Counter)
    return names


def exposed_labels() -> set[str]:
    """Labels that a series of ours can carry."""
    return TARGET_LABELS | {label for one in DECLARATIONS for label in one.labels}


def metrics_of(expr: str) -> set[str]:
    """Names in an expression that can only be metrics of ours, of the process, or `up`."""
    outside_strings = re.sub(r'"[^"]*"', '""', expr)
    return set(re.findall(r"\b(?:(?:cdc|process)_\w+|up)\b", outside_strings))


def unknown_metrics(expr: str) -> set[str]:
    """Metrics that the expression names and no sidecar exposes."""
    return metrics_of(expr) - exposed_metrics()
