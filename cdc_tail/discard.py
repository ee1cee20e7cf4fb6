"""Removes segments once their last mutation is committed; the only file that unlinks."""

from __future__ import annotations

from pathlib import Path

import structlog

from cdc_tail.failpoints import point
from cdc_tail.watch import segment_file
from parsers.descriptor import index_path

log = structlog.get_logger()


class Discarder:
    """Deletes finished segments of one cdc_raw, or keeps them all."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self.discarded = 0

    def discard(self, path: Path) -> bool:
        """Delete a segment and its index; whether the files are gone.

        The caller vouches that all of it is committed. That Cassandra has completed it is looked
        up again here, so that no caller can delete a segment under the node's hands. The log goes
        first: an index alone is harmless, a log alone could be taken for an unused segment.
        """
        found = segment_file(path)
        if found is None:
            self._remove(index_path(path))
            return True
        if self._keep:
            return False
        if not found.is_final:
            log.warning("segment is not complete, kept", segment=path.name)
            return False
        point("discard.before")
        self._remove(path)
        point("discard.log")
        self._remove(index_path(path))
        point("discard.after")
        self.discarded += 1
        return True

    def _remove(self, path: Path) -> None:
        if not self._keep:
            path.unlink(missing_ok=True)
