"""The pipeline's dashboard: is the mirror fresh, what goes through, what is wrong."""

from __future__ import annotations

from deploy.dashboards.model import CHOSEN, Dashboard, Panel, Query, Row

YES_NO = {"1": ("yes", "green"), "0": ("no", "red")}


def quantiles(histogram: str) -> tuple[Query, ...]:
    """Median, 95th and 99th percentile of a histogram over all chosen sidecars."""
    rate = f"sum by (le) (rate({histogram}_bucket{{{CHOSEN}}}[$__rate_interval]))"
    return tuple(
        Query(f"histogram_quantile({share}, {rate})", name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


DASHBOARD = Dashboard(
    uid="cdc-tail-pipeline",
    title="cdc-tail / pipeline",
    description="From Cassandra's log to the commit in PostgreSQL.",
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "Mirror behind by",
                    "Age of the oldest write that is not in PostgreSQL, of the worst sidecar.",
                    (Query(f"max(cdc_oldest_unapplied_age_seconds{{{CHOSEN}}})", "behind"),),
                    unit="s",
                    kind="stat",
                    limits=((30, "orange"), (300, "red")),
                ),
                Panel(
                    "Mutations per second",
                    "Committed to PostgreSQL, all chosen sidecars.",
                    (
                        Query(
                            f"sum(rate(cdc_events_processed_total{{{CHOSEN}}}[$__rate_interval]))",
                            "mutations",
                        ),
                    ),
                    unit="ops",
                    kind="stat",
                ),
                Panel(
                    "Lease held",
                    "Whether each sidecar may commit for its node.",
                    (Query(f"cdc_lease_held{{{CHOSEN}}}"),),
                    kind="stat",
                    words=YES_NO,
                ),
                Panel(
                    "Dead letters",
                    "Mutations set aside because PostgreSQL can't hold a value of them.",
                    (Query(f"sum(cdc_dead_letters{{{CHOSEN}}})", "dead letters"),),
                    kind="stat",
                    limits=((1, "red"),),
                ),
                Panel(
                    "Parked",
                    "Mutations that wait for their table's schema.",
                    (Query(f"sum(cdc_parked{{{CHOSEN}}})", "parked"),),
                    kind="stat",
                    limits=((1, "orange"),),
                ),
                Panel(
                    "Segments lost",
                    "Deleted by somebody else before they were applied.",
                    (Query(f"sum(cdc_lost_segments_total{{{CHOSEN}}})", "lost"),),
                    kind="stat",
                    limits=((1, "red"),),
                ),
            ),
        ),
        Row(
            "Freshness",
            (
                Panel(
                    "Oldest unapplied write",
                    "How far each node's part of the mirror is behind.",
                    (Query(f"cdc_oldest_unapplied_age_seconds{{{CHOSEN}}}"),),
                    unit="s",
                    limits=((300, "red"),),
                ),
                Panel(
                    "Read to commit",
                    "From reading the first mutation of a batch to its commit.",
                    quantiles("cdc_processing_latency_seconds"),
                    unit="s",
                ),
                Panel(
                    "Backlog",
                    "Segments in cdc_raw that are not wholly applied.",
                    (Query(f"cdc_backlog_depth{{{CHOSEN}}}"),),
                ),
            ),
        ),
        Row(
            "Throughput",
            (
                Panel(
                    "Mutations per second",
                    "Committed, by sidecar.",
                    (Query(f"rate(cdc_events_processed_total{{{CHOSEN}}}[$__rate_interval])"),),
                    unit="ops",
                ),
                Panel(
                    "Row changes by table",
                    "The twenty busiest tables.",
                    (
                        Query(
                            "topk(20, sum by (table)"
                            f" (rate(cdc_rows_total{{{CHOSEN}}}[$__rate_interval])))",
                            "{{table}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel("Rows per batch", "In a committed transaction.", quantiles("cdc_batch_rows")),
                Panel(
                    "Bytes per batch",
                    "Mutation bytes in a committed transaction.",
                    quantiles("cdc_batch_bytes"),
                    unit="bytes",
                ),
            ),
        ),
        Row(
            "Trouble",
            (
                Panel(
                    "Errors per second by type",
                    "The names of the error tree; a retried error counts each time.",
                    (
                        Query(
                            f"sum by (type) (rate(cdc_errors_total{{{CHOSEN}}}[$__rate_interval]))",
                            "{{type}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Damaged bytes passed over",
                    "Only with watch.skip_corrupt.",
                    (Query(f"cdc_skipped_bytes_total{{{CHOSEN}}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Lease's fencing token",
                    "A step means that another process took over.",
                    (Query(f"cdc_lease_fencing_token{{{CHOSEN}}}"),),
                ),
            ),
        ),
        Row(
            "Process",
            (
                Panel(
                    "Memory",
                    "Resident size.",
                    (Query(f"process_resident_memory_bytes{{{CHOSEN}}}"),),
                    unit="bytes",
                ),
                Panel(
                    "CPU",
                    "Cores used.",
                    (Query(f"rate(process_cpu_seconds_total{{{CHOSEN}}}[$__rate_interval])"),),
                ),
                Panel(
                    "Open files",
                    "File descriptors.",
                    (Query(f"process_open_fds{{{CHOSEN}}}"),),
                ),
                Panel(
                    "Version",
                    "What runs where.",
                    (Query(f"cdc_build_info{{{CHOSEN}}}", "{{instance}} {{version}}"),),
                ),
            ),
        ),
    ),
)
