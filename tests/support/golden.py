"""Golden cases: segments that a real Cassandra wrote, with what it said their tables hold.

A case is the folder `tests/golden/<series>/<case>/`:

- `case.json`: series, release, keyspace, node options, table ids (also of dropped tables), and for
  each segment its full size; `README.md` there has the whole form.
- `CommitLog-*.log.gz`: the segment, cut behind its data (64 zero bytes are left); `*_cdc.idx`.
- `schema.cql`: `DESCRIBE KEYSPACE … WITH INTERNALS` (with ids); before 4.0 the driver's words.
- `expected.json.gz`: what SELECT said, see `tests/support/oracle.py`.
- `reader.jsonl.gz`: what Cassandra's CommitLogReader said, see `tests/tools/dumper/README.md`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden"
KEYS = {
    "cdc-tail:1": bytes.fromhex("ea3364d62a6e582f7228c3091e37e1cd"),
    "cdc-tail:2": bytes.fromhex("7c5c5a37866c53ff1d370c4f3008aee8324c37647880d6545064f37502abca89"),
}
"""Key alias -> AES key of the encrypted segments, as in `golden/keystores`."""


@dataclass(frozen=True)
class GoldenCase:
    """One recorded case, in its folder."""

    folder: Path

    @property
    def series(self) -> str:
        return self.folder.parent.name

    @property
    def name(self) -> str:
        return self.folder.name

    def __str__(self) -> str:
        return f"{self.series}-{self.name}"

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `case.json`."""
        facts: dict[str, Any] = json.loads((self.folder / "case.json").read_text())
        return facts

    @property
    def schema_cql(self) -> Path:
        return self.folder / "schema.cql"

    @property
    def expected(self) -> dict[str, Any]:
        """The content of `expected.json.gz`: {"tables": {...}, "dropped": {...}}."""
        with gzip.open(self.folder / "expected.json.gz", "rt") as file:
            expected: dict[str, Any] = json.load(file)
        return expected

    @property
    def reader(self) -> list[dict[str, Any]]:
        """The lines of `reader.jsonl.gz`, in the form of `tests/tools/dumper/README.md`."""
        with gzip.open(self.folder / "reader.jsonl.gz", "rt") as file:
            return [json.loads(line) for line in file]

    def unpack(self, folder: Path, *, full_size: bool = False) -> list[Path]:
        """Write the segments and their indexes into `folder`, as `cdc_raw` held them.

        Returns the `.log` files in the order of their ids. `full_size` gives uncompressed segments
        back the zeros behind their data (sparse, so it costs no disk).
        """
        folder.mkdir(parents=True, exist_ok=True)
        for index in self.folder.glob("*_cdc.idx"):
            (folder / index.name).write_bytes(index.read_bytes())
        logs = []
        for packed in self.folder.glob("*.log.gz"):
            log = folder / packed.stem
            with log.open("wb") as file:
                file.write(gzip.decompress(packed.read_bytes()))
                if full_size:
                    file.truncate(self.facts["segments"][log.name]["size_bytes"])
            logs.append(log)
        return sorted(logs, key=segment_id)


def segment_id(log: Path) -> int:
    """The id in the name of a segment file."""
    return int(log.stem.split("-")[2])


def golden_cases(name: str = "*", series: str = "*") -> list[GoldenCase]:
    """All recorded cases, or those whose name and series match a glob; in a stable order."""
    return [GoldenCase(path.parent) for path in sorted(GOLDEN.glob(f"{series}/{name}/case.json"))]
