"""Writes the pages that would drift if written by hand: CLI, settings, metrics, limitations.

`python -m cdc_tail.reference_pages ROOT` writes them; a test compares. Describes, decides nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from cdc_tail.cli.reference import cli_page
from cdc_tail.config import PLAIN_NAMES, setting_fields, variable_name
from cdc_tail.config_file import example
from cdc_tail.metrics import DECLARATIONS


def env_example() -> str:
    """Every setting as a commented variable with its default."""
    plain: dict[str, list[str]] = {}
    for name, key in PLAIN_NAMES.items():
        plain.setdefault(key, []).append(name)
    lines = [
        "# Every setting of cdc-tail as an environment variable, with its default.",
        "# A TOML file (--config, or CDC_TAIL_CONFIG) takes the same names by section:",
        "# CDC_TAIL_BATCH_MAX_ROWS=20000 is max_rows = 20000 in [batch].",
        "# Later wins: defaults, file, plain names (POSTGRES_HOST ...), CDC_TAIL_*, options.",
        "#CDC_TAIL_CONFIG=",
    ]
    section = ""
    for key, field in setting_fields():
        head = key.partition(".")[0] if "." in key else ""
        if head != section:
            section = head
            lines += ["", f"# --- {section} ---"]
        lines.append(f"# {field.description}")
        default = "" if field.default is PydanticUndefined else _as_variable(field.default)
        lines += [f"#{name}={default}" for name in (*plain.get(key, ()), variable_name(key))]
    return "\n".join(lines) + "\n"


def _as_variable(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


def metrics_page() -> str:
    """The table of metrics."""
    lines = [
        "# Metrics",
        "",
        "Served at `/metrics` in Prometheus' text format, beside the usual `process_*` metrics.",
        "This page is generated from `cdc_tail/metrics.py`.",
        "",
        "| name | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{one.name}` | {one.kind.__name__.lower()} |"
        f" {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |"
        for one in DECLARATIONS
    ]
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """The settings by section, with the three ways to give each."""
    plain = {key: name for name, key in PLAIN_NAMES.items()}
    lines = [
        "# Configuration",
        "",
        "Each setting can stand in a TOML file (`--config`, or `CDC_TAIL_CONFIG`), in an",
        "environment variable, and for the common ones in an option of the",
        "[command line](cli.md). Later wins: defaults, file, plain variables such as",
        "`POSTGRES_HOST`, `CDC_TAIL_*`, options. A setting that does not exist, or a value out of",
        "its bounds, is an error at the start that names it.",
        "",
        "```toml",
        'node = "cassandra-1"',
        "",
        "[cassandra]",
        'cdc_raw = "/var/lib/cassandra/cdc_raw"',
        "",
        "[postgres]",
        'host = "db.example"',
        'database = "mirror"',
        "```",
        "",
        "This page is generated from the program's settings.",
    ]
    section = None
    for key, field in setting_fields():
        head, _, name = key.rpartition(".")
        if head != section:
            section = head
            title = f"[{head}]" if head else "Top level"
            lines += ["", f"## {title}", "", "| setting | variable | default | meaning |"]
            lines += ["|---|---|---|---|"]
        default = "" if field.default is PydanticUndefined else _as_variable(field.default)
        variables = [variable_name(key), *([plain[key]] if key in plain else [])]
        cells = [
            f"`{name}`",
            ", ".join(f"`{one}`" for one in variables),
            f"`{default}`" if default else "",
            field.description or "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def limitations_page() -> str:
    """README's section of that name: it stands there for who decides, here for who searches."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = readme.split("\n## Limitations\n", 1)[1].partition("\nApache-2.0.")[0]
    section = section.partition("\n## ")[0].replace("](docs/", "](")
    return f"# Limitations\n{section.rstrip()}\n"


PAGES: Mapping[str, Callable[[], str]] = {
    ".env.example": env_example,
    "cdc-tail.toml": example,
    "docs/cli.md": cli_page,
    "docs/configuration.md": configuration_page,
    "docs/limitations.md": limitations_page,
    "docs/metrics.md": metrics_page,
}


def main(root: Path) -> None:
    """Write every page below the folder of the repository."""
    for name, render in PAGES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
