"""Named places at which a test can end or stop this process; nothing happens unless one is armed.

`CDC_TAIL_FAILPOINT`, read once when the process starts, names a place, what to do there ("kill",
the default, or "stop": SIGKILL or SIGSTOP to ourselves) and at which visit: `sink.locked`,
`commit.before=stop@3`. Without it `point` is an empty function: 25 ns, some twenty times a batch.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "CDC_TAIL_FAILPOINT"

# Every place, in the order in which a mutation meets them. tests/crash ends the process at each.
FAILPOINTS: Final = (
    "start.installed",  # our own tables exist, no lease yet
    "start.leased",
    "start.seeded",  # the schema is known, no mirror yet
    "start.mirrored",
    "segment.opened",
    "batch.read",  # decoded, nothing of it sent
    "sink.locked",
    "sink.read",  # what the mirror holds is known and merged
    "sink.deleted",
    "sink.updated",
    "sink.inserted",
    "sink.copying",  # within COPY
    "sink.copied",
    "sink.dead_rows",
    "sink.expiries",
    "sink.tombstones",
    "sink.watermarks",
    "commit.dead_letters",
    "commit.parked",
    "commit.unparked",
    "commit.truncated",
    "commit.schema",
    "commit.forgotten",
    "checkpoint.moved",  # the node's position, not yet those of the segments
    "commit.before",  # all is written
    "commit.after",  # the database has it, we have not noted it
    "discard.before",
    "discard.log",  # the log is unlinked, its index is not
    "discard.after",
    "lease.renewed",  # not yet committed
    "lease.released",  # likewise
    "sweep.expired",  # TTLs took effect, not yet committed
    "sweep.purged",  # likewise tombstones
)
_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def _nothing(_: str) -> None:
    """No place is armed."""


def _armed(what: str) -> Callable[[str], None]:
    """`point` for the value of the variable. Raises ValueError if it names no place."""
    name, _, action = what.partition("=")
    if not action:
        name, _, visit = name.partition("@")
        action = "kill"
    else:
        action, _, visit = action.partition("@")
    if name not in FAILPOINTS or action not in _SIGNALS:
        raise ValueError(f"{VARIABLE}={what}: no such place or action")
    visits_left = int(visit or 1)

    def visited(here: str) -> None:
        nonlocal visits_left
        if here == name:
            visits_left -= 1
            if visits_left == 0:
                os.kill(os.getpid(), _SIGNALS[action])

    return visited


point: Callable[[str], None] = (
    _armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _nothing
)
