"""Pin the jars of Cassandra series anew: `python tests/tools/lock_jars.py 5.0 [4.1 ...]`."""

from __future__ import annotations

import sys
from pathlib import Path

from cdc_tail.local import jars


def main(series: list[str]) -> None:
    folder = Path(jars.__file__).parent / "locks"
    for name in series or jars.RELEASES:
        path = folder / f"cassandra-{name}.lock"
        path.write_text(jars.resolve_lock(name))
        print(f"{path}: {len(jars.read_lock(name))} jars")


if __name__ == "__main__":
    main(sys.argv[1:])
