"""The databases' dashboard, as the sidecars see them: the node's disk and PostgreSQL's work."""

from __future__ import annotations

from deploy.dashboards.model import CHOSEN, Dashboard, Panel, Query, Row
from deploy.dashboards.pipeline import YES_NO, quantiles

FULL = f"cdc_raw_bytes{{{CHOSEN}}} / (cdc_raw_space_bytes{{{CHOSEN}}} > 0)"

DASHBOARD = Dashboard(
    uid="cdc-tail-databases",
    title="cdc-tail / databases",
    description="Cassandra's cdc_raw on each node, and PostgreSQL at the other end.",
    rows=(
        Row(
            "Now",
            (
                Panel(
                    "cdc_raw full in",
                    "Of the worst node; at zero Cassandra refuses writes to CDC tables.",
                    (Query(f"min(cdc_raw_full_in_seconds{{{CHOSEN}}})", "full in"),),
                    unit="s",
                    kind="stat",
                    words={"Infinity": ("never", "green")},
                ),
                Panel(
                    "cdc_raw used",
                    "Share of cdc_total_space, of the worst node.",
                    (Query(f"max({FULL})", "used"),),
                    unit="percentunit",
                    kind="stat",
                    limits=((0.5, "orange"), (0.8, "red")),
                ),
                Panel(
                    "PostgreSQL answers",
                    "As each sidecar sees it.",
                    (Query(f"cdc_postgres_up{{{CHOSEN}}}"),),
                    kind="stat",
                    words=YES_NO,
                ),
            ),
        ),
        Row(
            "Cassandra: cdc_raw",
            (
                Panel(
                    "Used space",
                    "Share of cdc_total_space.",
                    (Query(FULL),),
                    unit="percentunit",
                    limits=((0.8, "red"),),
                ),
                Panel(
                    "Bytes",
                    "All files in cdc_raw, and what of them is not applied.",
                    (
                        Query(f"cdc_raw_bytes{{{CHOSEN}}}", "{{instance}} all"),
                        Query(f"cdc_backlog_bytes{{{CHOSEN}}}", "{{instance}} not applied"),
                    ),
                    unit="bytes",
                ),
                Panel(
                    "Segments discarded per second",
                    "Deleted after their last commit.",
                    (Query(f"rate(cdc_segments_discarded_total{{{CHOSEN}}}[$__rate_interval])"),),
                    unit="ops",
                ),
                Panel(
                    "Segments in the archive",
                    "Moved out of cdc_raw, and not applied yet.",
                    (Query(f"cdc_archive_segments{{{CHOSEN}}}"),),
                ),
                Panel(
                    "Segment being applied",
                    "Id of the segment of the last committed position.",
                    (Query(f"cdc_position_segment_id{{{CHOSEN}}}"),),
                    unit="none",
                ),
            ),
        ),
        Row(
            "PostgreSQL",
            (
                Panel(
                    "Time of one transaction",
                    "From its first statement to its commit.",
                    quantiles("cdc_apply_seconds"),
                    unit="s",
                    limits=((5, "red"),),
                ),
                Panel(
                    "Transactions per second",
                    "Committed batches, by sidecar.",
                    (Query(f"rate(cdc_apply_seconds_count{{{CHOSEN}}}[$__rate_interval])"),),
                    unit="ops",
                ),
                Panel(
                    "Row changes per second",
                    "Committed, by sidecar.",
                    (
                        Query(
                            "sum by (instance)"
                            f" (rate(cdc_rows_total{{{CHOSEN}}}[$__rate_interval]))"
                        ),
                    ),
                    unit="ops",
                ),
            ),
        ),
        Row(
            "Upkeep of the mirror",
            (
                Panel(
                    "Rows expired",
                    "Removed, or lost values, because a TTL took effect.",
                    (Query(f"rate(cdc_expired_rows_total{{{CHOSEN}}}[$__rate_interval])"),),
                    unit="ops",
                ),
                Panel(
                    "Tombstones purged",
                    "Forgotten because their gc_grace_seconds have passed.",
                    (Query(f"rate(cdc_purged_tombstones_total{{{CHOSEN}}}[$__rate_interval])"),),
                    unit="ops",
                ),
            ),
        ),
    ),
)
