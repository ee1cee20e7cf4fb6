"""Generated pages are what the program says today; `make docs` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdc_tail.config import PLAIN_NAMES, load, setting_fields, variable_name
from cdc_tail.reference_pages import PAGES, env_example

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", PAGES)
def test_the_page_has_not_drifted(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == PAGES[name](), (
        f"{name} has drifted: run `python -m cdc_tail.reference_pages`"
    )


def test_env_example_is_complete_and_its_values_are_the_defaults() -> None:
    variables = dict(
        line[1:].split("=", 1)
        for line in env_example().splitlines()
        if line.startswith(("#CDC", "#C", "#P", "#V"))
    )
    expected = {variable_name(key) for key, _ in setting_fields()} | set(PLAIN_NAMES)
    assert expected | {"CDC_TAIL_CONFIG"} == set(variables)
    assert load(environ=variables) == load(environ={})
