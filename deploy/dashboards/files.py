"""Which dashboard is which file of `deploy/grafana/`."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.dashboards import databases, pipeline
from deploy.dashboards.model import Dashboard

FOLDER = Path(__file__).parents[1] / "grafana" / "dashboards"
FILES: dict[str, Dashboard] = {
    "pipeline.json": pipeline.DASHBOARD,
    "databases.json": databases.DASHBOARD,
}


def render(dashboard: Dashboard) -> str:
    """The text of a dashboard's file."""
    return json.dumps(dashboard.as_json(), indent=2) + "\n"


def write() -> None:
    """Write every file anew."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, dashboard in FILES.items():
        (FOLDER / name).write_text(render(dashboard), encoding="utf-8")
