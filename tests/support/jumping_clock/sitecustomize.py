"""Python's wall clock, off by the seconds in the file that CDC_TAIL_TEST_CLOCK names, at each look.

Python imports it at its start where its folder stands in PYTHONPATH. Monotonic clocks are as ever.
"""

import os
import time
from pathlib import Path

_file = Path(os.environ["CDC_TAIL_TEST_CLOCK"])
_time, _time_ns = time.time, time.time_ns


def _jump_seconds() -> int:
    return int(_file.read_text() or "0")


time.time = lambda: _time() + _jump_seconds()
time.time_ns = lambda: _time_ns() + _jump_seconds() * 1_000_000_000
