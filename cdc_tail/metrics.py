"""Every metric, declared once, with its unit in the name; measures nothing by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

import cdc_tail
from cdc_tail.errors import CdcTailError

_MetricT = TypeVar("_MetricT", bound=MetricWrapperBase)

# Labels must not grow without end: tables beyond this many are counted together.
MAX_TABLE_LABELS: Final = 200
OTHER_TABLES: Final = "(other)"

_LATENCY_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
)  # fmt: skip
_ROW_BUCKETS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
_BYTE_BUCKETS = (1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26)


@dataclass(frozen=True)
class Declaration:
    """One metric: what documentation says is what the registry is built from."""

    kind: type[MetricWrapperBase]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


DECLARATIONS: Final[tuple[Declaration, ...]] = (
    Declaration(
        Counter,
        "cdc_events_processed_total",
        "Mutations of mirrored tables whose transaction has committed.",
    ),
    Declaration(
        Histogram,
        "cdc_processing_latency_seconds",
        "From reading the first mutation of a batch to the commit that made it visible.",
        buckets=_LATENCY_BUCKETS,
    ),
    Declaration(
        Gauge,
        "cdc_backlog_depth",
        "Segments in cdc_raw that are not wholly applied, the one being written not counted.",
    ),
    Declaration(
        Counter,
        "cdc_errors_total",
        "Errors met, by type: the names of the error tree, and `Other`.",
        ("type",),
    ),
    Declaration(
        Counter,
        "cdc_rows_total",
        "Row changes committed, by table; tables beyond the first 200 count as `(other)`.",
        ("table",),
    ),
    Declaration(Gauge, "cdc_position_segment_id", "Segment of the last committed position."),
    Declaration(Gauge, "cdc_position_offset_bytes", "Offset of the last committed position."),
    Declaration(
        Gauge,
        "cdc_oldest_unapplied_age_seconds",
        "How long the oldest mutation that we know of has waited to be applied; 0 if none does."
        " While PostgreSQL is away, mutations are taken to be waiting since it went.",
    ),
    Declaration(Gauge, "cdc_backlog_bytes", "Bytes of the segments counted by cdc_backlog_depth."),
    Declaration(Gauge, "cdc_raw_bytes", "Size of all files in cdc_raw, as the node counts it."),
    Declaration(
        Gauge, "cdc_raw_space_bytes", "The node's cdc_total_space; 0 while it is not known."
    ),
    Declaration(
        Gauge,
        "cdc_raw_full_in_seconds",
        "Time until cdc_raw reaches cdc_total_space at its present growth and writes to CDC tables"
        " fail; +Inf while it does not grow or the space is not known.",
    ),
    Declaration(Histogram, "cdc_batch_rows", "Rows in a committed batch.", buckets=_ROW_BUCKETS),
    Declaration(
        Histogram, "cdc_batch_bytes", "Mutation bytes in a committed batch.", buckets=_BYTE_BUCKETS
    ),
    Declaration(
        Histogram,
        "cdc_apply_seconds",
        "Time of one transaction, from its first statement to its commit.",
        buckets=_LATENCY_BUCKETS,
    ),
    Declaration(
        Counter,
        "cdc_expired_rows_total",
        "Rows that were removed, or lost values, because a TTL took effect.",
    ),
    Declaration(Counter, "cdc_parquet_files_total", "Change files of the Parquet archive."),
    Declaration(Counter, "cdc_parquet_changes_total", "Changes in those files."),
    Declaration(
        Counter,
        "cdc_purged_tombstones_total",
        "Tombstones forgotten because their gc_grace_seconds have passed.",
    ),
    Declaration(Gauge, "cdc_dead_letters", "Mutations of this node set aside as dead letters."),
    Declaration(Gauge, "cdc_parked", "Mutations of this node that wait for their table's schema."),
    Declaration(Gauge, "cdc_lease_held", "1 while this process may commit for its node."),
    Declaration(Gauge, "cdc_lease_fencing_token", "Token of the lease that was last held."),
    Declaration(Gauge, "cdc_postgres_up", "1 while PostgreSQL answers."),
    Declaration(
        Counter, "cdc_segments_discarded_total", "Segments deleted after their last commit."
    ),
    Declaration(
        Gauge, "cdc_archive_segments", "Segments in the archive that are not wholly applied."
    ),
    Declaration(Counter, "cdc_archived_segments_total", "Segments moved to the archive."),
    Declaration(
        Counter,
        "cdc_lost_segments_total",
        "Segments that somebody else deleted before they were applied.",
    ),
    Declaration(
        Counter,
        "cdc_forgotten_mutations_total",
        "Mutations applied live that the node forgot when it crashed (cdc_tail.forgotten).",
    ),
    Declaration(
        Counter,
        "cdc_skipped_bytes_total",
        "Bytes of damaged sections passed over (only with watch.skip_corrupt).",
    ),
    Declaration(
        Counter,
        "cdc_trace_spans_total",
        "Spans given to the receiver of traces, by result: sent or failed.",
        ("result",),
    ),
    Declaration(Gauge, "cdc_build_info", "Always 1; the version is the label.", ("version",)),
)


class Metrics:
    """One process's metrics, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._by_name: dict[str, Any] = {}
        for declared in DECLARATIONS:
            options: dict[str, Any] = {"buckets": declared.buckets} if declared.buckets else {}
            self._by_name[declared.name] = declared.kind(
                declared.name, declared.help, declared.labels, registry=self.registry, **options
            )
        ProcessCollector(registry=self.registry)
        self._tables: set[str] = set()
        self.gauge("cdc_build_info").labels(version=cdc_tail.__version__).set(1)
        self.gauge("cdc_raw_full_in_seconds").set(float("inf"))

    def counter(self, name: str) -> Counter:
        """The counter of that name; KeyError or TypeError if there is none."""
        return self._get(name, Counter)

    def gauge(self, name: str) -> Gauge:
        """The gauge of that name; KeyError or TypeError if there is none."""
        return self._get(name, Gauge)

    def histogram(self, name: str) -> Histogram:
        """The histogram of that name; KeyError or TypeError if there is none."""
        return self._get(name, Histogram)

    def count_rows(self, table: str, rows: int) -> None:
        """Count committed row changes of one table, within the bound on labels."""
        if table not in self._tables:
            if len(self._tables) >= MAX_TABLE_LABELS:
                table = OTHER_TABLES
            else:
                self._tables.add(table)
        self.counter("cdc_rows_total").labels(table=table).inc(rows)

    def count_error(self, error: BaseException) -> None:
        """Count one error under its class in the error tree, or as `Other`."""
        name = type(error).__name__ if isinstance(error, CdcTailError) else "Other"
        self.counter("cdc_errors_total").labels(type=name).inc()

    def _get(self, name: str, kind: type[_MetricT]) -> _MetricT:
        metric = self._by_name[name]
        if not isinstance(metric, kind):
            raise TypeError(f"{name} is a {type(metric).__name__}, not a {kind.__name__}")
        return metric
