"""A node's commitlog and cdc_raw folders, moved through the states that Cassandra moves them.

Files, hard links and indexes are real; their segments are written by tests.support.segments.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.segments import SEGMENT_ID, Segment

FILE_BYTES = 4096


class NodeFolder:
    """`commitlog` and `cdc_raw` below one folder, as sections 1.5 and 1.7 of the format say."""

    def __init__(self, folder: Path) -> None:
        self.commitlog = folder / "commitlog"
        self.cdc_raw = folder / "cdc_raw"
        self.commitlog.mkdir(parents=True)
        self.cdc_raw.mkdir()
        self.written: dict[int, Segment] = {}

    def path(self, number: int) -> Path:
        return self.cdc_raw / f"CommitLog-7-{SEGMENT_ID + number}.log"

    def index(self, number: int) -> Path:
        return self.path(number).with_name(f"CommitLog-7-{SEGMENT_ID + number}_cdc.idx")

    def create(self, number: int) -> Segment:
        """A preallocated segment with its hard link; its first section is open."""
        segment = self.written[number] = Segment(segment_id=SEGMENT_ID + number)
        own = self.commitlog / self.path(number).name
        own.write_bytes(segment.padded(FILE_BYTES))
        os.link(own, self.path(number))
        return segment

    def append(self, number: int, *mutations: bytes) -> None:
        """Entries in the open section, as a memory-mapped write shows them."""
        for mutation in mutations:
            self.written[number].add(mutation)
        self.store(number)

    def store(self, number: int) -> None:
        """Write the segment's bytes into the file that both names stand for."""
        with self.path(number).open("r+b") as file:
            file.write(self.written[number].padded(FILE_BYTES))

    def sync(self, number: int, *, cdc: bool = True) -> None:
        """Close the section; with CDC data the index says how far."""
        self.written[number].close_section()
        self.store(number)
        if cdc:
            self.index(number).write_text(str(self.written[number].markers[-1]))

    def complete(self, number: int, *, cdc: bool = True) -> None:
        """The final sync."""
        self.sync(number, cdc=cdc)
        if cdc:
            self.index(number).write_text(f"{self.written[number].markers[-1]}\nCOMPLETED")

    def flush(self, number: int, *, cdc: bool = True) -> None:
        """All its data is in sstables: Cassandra drops its own name, and the link without CDC."""
        (self.commitlog / self.path(number).name).unlink()
        if not cdc:
            self.path(number).unlink()
