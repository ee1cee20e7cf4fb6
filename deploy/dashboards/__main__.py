"""Writes every dashboard as the JSON that Grafana provisions."""

from __future__ import annotations

from deploy.dashboards.files import write

if __name__ == "__main__":
    write()
