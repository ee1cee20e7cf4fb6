"""`cdc-tail version`."""

from __future__ import annotations

import platform

import cdc_tail
from cdc_tail.cli.common import JsonOption, print_json


def version(as_json: JsonOption = False) -> None:
    """Print the version of cdc-tail and of the Python that runs it."""
    if as_json:
        print_json({"cdc_tail": cdc_tail.__version__, "python": platform.python_version()})
    else:
        print(f"cdc-tail {cdc_tail.__version__} (Python {platform.python_version()})")
