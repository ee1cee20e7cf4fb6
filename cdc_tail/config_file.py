"""The settings file as an example: every key commented, with its meaning and its default."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from pydantic_core import PydanticUndefined

from cdc_tail.config import setting_fields

_WIDTH = 98


def example() -> str:
    """A TOML file that sets nothing; each line that is uncommented sets one thing."""
    lines = [
        "# Settings of cdc-tail: cdc-tail run --config THIS_FILE, or CDC_TAIL_CONFIG.",
        "# What stands here is the default. `cdc-tail config check` says what is wrong in a file.",
    ]
    section = ""
    for key, field in setting_fields():
        head, _, name = key.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"[{section}]"]
        lines += [""] if not lines[-1].startswith("[") else []
        lines += textwrap.wrap(
            field.description or "", _WIDTH, initial_indent="# ", subsequent_indent="# "
        )
        lines.append(f"# {name} = {_as_toml(field.default)}".rstrip())
    return "\n".join(lines) + "\n"


def _as_toml(value: Any) -> str:
    """The default as TOML writes it; nothing where nothing is set."""
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, tuple):
        return json.dumps(list(value))
    return json.dumps(str(value))
