"""What differs between log versions, as data; the decoder reads it and holds no copy per
version.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.cursor import signed


@dataclass(frozen=True)
class LogVersion:
    """One commit-log version.

    `mutation_flags`: a flag byte stands before the update count. `table_epoch`: a `uvint` epoch
    stands behind
    each table id. `unsigned_deletion_times`: local deletion times are unsigned (to 2106) instead of
    signed (2038). `ties_by_value`: its writer takes the greater value of two cells of one writetime
    that live, also where one expires.
    """

    number: int
    mutation_flags: bool
    table_epoch: bool
    unsigned_deletion_times: bool
    ties_by_value: bool = False

    def local_deletion_seconds(self, raw: int) -> int:
        """Seconds since the epoch from the wrapped 32-bit sum; negative values are invalid in
        versions 6 and 7.
        """
        return raw & 0xFFFFFFFF if self.unsigned_deletion_times else signed(raw, 32)


LOG_VERSIONS: dict[int, LogVersion] = {
    6: LogVersion(
        6,
        mutation_flags=False,
        table_epoch=False,
        unsigned_deletion_times=False,
        ties_by_value=True,
    ),  # 3.11
    7: LogVersion(
        7, mutation_flags=False, table_epoch=False, unsigned_deletion_times=False
    ),  # 4.0, 4.1, 5.0
    8: LogVersion(8, mutation_flags=False, table_epoch=False, unsigned_deletion_times=True),  # 5.0
    9: LogVersion(9, mutation_flags=True, table_epoch=True, unsigned_deletion_times=True),  # 6.0
}
