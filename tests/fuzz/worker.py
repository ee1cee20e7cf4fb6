"""The process that fuzzes: `tests.fuzz` starts it under the address sanitizer.

Arguments are libFuzzer's. FUZZ_SECONDS in the environment ends it after so many seconds of CPU.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from tests.fuzz.build import import_sanitized

_LOOK_AT_CLOCK_EVERY = 256
_COMPARE_ONE_IN = 8


def main() -> None:
    """Hand over to libFuzzer, which ends the process."""
    # What the sanitizer starts to name functions of a report is no Python.
    os.environ.pop("LD_PRELOAD", None)
    engine = import_sanitized()
    # Only now: they import the compiled modules.
    from tests.fuzz.mutator import Mutator
    from tests.fuzz.target import Target

    target = Target(guard_end=engine.guard_end, compare_one_in=_COMPARE_ONE_IN)
    mutator = Mutator(engine.vary, [table.id.bytes for table in target.tables.tables])
    limit = float(os.environ.get("FUZZ_SECONDS", "inf"))
    runs = 0

    def one_input(data: bytes) -> None:
        nonlocal runs
        target.run(data)
        runs += 1
        if runs % _LOOK_AT_CLOCK_EVERY == 0 and time.process_time() >= limit:
            print(
                f"cpu_seconds: {time.process_time():.0f}  inputs: {runs}  "
                f"mutations compared with the reference: {target.compared}",
                flush=True,
            )
            # libFuzzer's signal to end with its statistics.
            os.kill(os.getpid(), signal.SIGUSR1)

    sys.exit(engine.run([sys.argv[0], *sys.argv[1:]], one_input, mutator.mutate))


if __name__ == "__main__":
    main()
