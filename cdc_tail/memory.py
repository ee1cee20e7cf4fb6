"""Memory that was freed, and that the C library keeps for itself, given back to the system."""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Give it back. glibc keeps much of it (a backlog left 16 MB); others have nothing to ask."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
