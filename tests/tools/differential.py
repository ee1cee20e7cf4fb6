"""Compares decoders on random mutations: compiled against reference, and that against Cassandra's
own CommitLogReader.

    python -m tests.tools.differential --series 5.0 --mutations 1000000

Each block of mutations has its own seed and its own tables, and comes as one segment.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.reference.catalog import Catalog
from tests.reference.descriptor import read_descriptor
from tests.reference.dump import dump_segment
from tests.reference.entries import Damage
from tests.reference.generate.log import FIRST_SEGMENT_ID, random_mutations, segment
from tests.reference.segment import Decoded, Undecodable, read_segment
from tests.support.decoded import CompiledDecoder, of_reference, of_views
from tests.tools.dump import dump

# The log version that the reader of a series is asked to read.
LOG_VERSIONS = {"3.11": (6,), "4.0": (7,), "4.1": (7,), "5.0": (7, 8), "6.0": (9,)}
_BLOCK = 20_000


def random_segment(folder: Path, log_version: int, seed: int, mutations: int) -> Path:
    """A segment of random mutations, written into the folder."""
    vectors = log_version >= 8
    encoded = [data for _, data in random_mutations(seed, log_version, mutations, vectors=vectors)]
    path = folder / f"CommitLog-{log_version}-{FIRST_SEGMENT_ID + seed}.log"
    path.write_bytes(segment(log_version, FIRST_SEGMENT_ID + seed, encoded))
    return path


def normal(line: dict[str, Any]) -> dict[str, Any]:
    """The line with its updates in the order of their table ids: 3.11's reader does not keep it."""
    if "updates" in line:
        line["updates"].sort(key=lambda update: update["id"])
    return line


def differences(series: str, path: Path, seed: int) -> Iterator[tuple[Any, Any]]:
    """Pairs of lines (reference, Cassandra) that differ."""
    ours = dump_segment(path.read_bytes(), FIRST_SEGMENT_ID + seed, Catalog())
    for our, their in zip(ours, dump(series, [path]), strict=True):
        if normal(our) != normal(their):
            yield our, their


def compiled_differences(data: bytes) -> Iterator[tuple[Any, Any]]:
    """Pairs (compiled, reference) of what they say differently about a segment's mutations."""
    version = read_descriptor(data).version
    catalog, compiled = Catalog(), CompiledDecoder()
    for item in read_segment(data, catalog):
        if isinstance(item, Undecodable | Damage):
            yield None, item
        elif isinstance(item, Decoded):
            views = compiled.views(item.entry.mutation, version.number)
            said, expected = of_views(views), of_reference(item.mutation, version, catalog)
            if said != expected:
                yield said, expected
            compiled.learn(views)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", default="5.0", choices=list(LOG_VERSIONS))
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first block")
    arguments = parser.parse_args()
    started, compared, differing = time.monotonic(), 0, 0
    for log_version in LOG_VERSIONS[arguments.series]:
        left, seed = arguments.mutations // len(LOG_VERSIONS[arguments.series]), arguments.seed
        while left > 0:
            count = min(left, _BLOCK)
            with tempfile.TemporaryDirectory(prefix="cdc-tail-differential-") as name:
                path = random_segment(Path(name), log_version, seed, count)
                for our, their in differences(arguments.series, path, seed):
                    differing += 1
                    print(json.dumps({"seed": seed, "reference": our, "cassandra": their}))
                for said, expected in compiled_differences(path.read_bytes()):
                    differing += 1
                    print(f"seed {seed}: compiled {said}, reference {expected}")
            compared += count
            left -= count
            seed += 1
            seconds = time.monotonic() - started
            print(
                f"{arguments.series} log version {log_version}, seed {seed - 1}:"
                f" {compared} compared, {differing} differ, {seconds:.0f} s",
                flush=True,
            )
    raise SystemExit(1 if differing else 0)


if __name__ == "__main__":
    main()
