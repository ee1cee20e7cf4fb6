"""Panels and dashboards in Grafana's JSON (schema 39), laid out row by row; draws nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

COLUMNS = 24  # of Grafana's grid
STAT_HEIGHT = 4
PANEL_HEIGHT = 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Every panel looks at the sidecars that are chosen at the top of the page.
CHOSEN = 'instance=~"$instance"'

Kind = Literal["stat", "timeseries"]


@dataclass(frozen=True)
class Query:
    """PromQL and the name of its lines; `{{label}}` in `legend` is replaced by Grafana."""

    expr: str
    legend: str = "{{instance}}"


@dataclass(frozen=True)
class Panel:
    """One picture; `unit` in Grafana's names, `limits` as (value, colour) from which it changes."""

    title: str
    description: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: Kind = "timeseries"
    limits: Sequence[tuple[float, str]] = ()
    # Words for values, where a number means a state.
    words: dict[str, tuple[str, str]] = field(default_factory=dict)

    def as_json(self, number: int, x: int, y: int, width: int, height: int) -> dict[str, Any]:
        """The panel at a place of the grid."""
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        steps += [{"color": colour, "value": value} for value, colour in self.limits]
        defaults: dict[str, Any] = {
            "unit": self.unit,
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": [
                {
                    "type": "value",
                    "options": {
                        value: {"text": text, "color": colour, "index": index}
                        for index, (value, (text, colour)) in enumerate(self.words.items())
                    },
                }
            ]
            if self.words
            else [],
        }
        options: dict[str, Any]
        if self.kind == "timeseries":
            defaults |= {
                "min": 0,
                "color": {"mode": "palette-classic"},
                "custom": {
                    "lineWidth": 1,
                    "fillOpacity": 10,
                    "showPoints": "never",
                    "thresholdsStyle": {"mode": "line" if self.limits else "off"},
                },
            }
            options = {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        else:
            defaults["color"] = {"mode": "thresholds"}
            options = {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "background",
                "graphMode": "none",
                "textMode": "auto",
            }
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options,
            "targets": [
                {
                    "refId": chr(ord("A") + index),
                    "datasource": DATASOURCE,
                    "expr": query.expr,
                    "legendFormat": query.legend,
                }
                for index, query in enumerate(self.queries)
            ],
        }


@dataclass(frozen=True)
class Row:
    """A titled row of panels that share its width."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """One page of Grafana."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]

    def as_json(self) -> dict[str, Any]:
        """The document that Grafana provisions."""
        panels: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "row",
                    "title": row.title,
                    "collapsed": False,
                    "gridPos": place,
                    "panels": [],
                }
            )
            y += 1
            width = COLUMNS // len(row.panels)
            height = STAT_HEIGHT if row.panels[0].kind == "stat" else PANEL_HEIGHT
            for index, panel in enumerate(row.panels):
                panels.append(panel.as_json(len(panels) + 1, index * width, y, width, height))
            y += height
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["cdc-tail"],
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "timezone": "browser",
            "links": [
                {
                    "type": "dashboards",
                    "title": "cdc-tail",
                    "tags": ["cdc-tail"],
                    "asDropdown": False,
                    "keepTime": True,
                    "includeVars": True,
                }
            ],
            "annotations": {"list": []},
            "templating": {"list": [_DATASOURCE_CHOICE, _INSTANCE_CHOICE]},
            "panels": panels,
        }


_DATASOURCE_CHOICE: dict[str, Any] = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
}
_INSTANCE_CHOICE: dict[str, Any] = {
    "name": "instance",
    "label": "Sidecar",
    "type": "query",
    "datasource": DATASOURCE,
    "query": {"query": "label_values(cdc_build_info, instance)", "refId": "instances"},
    "refresh": 2,
    "sort": 1,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
    "hide": 0,
}
