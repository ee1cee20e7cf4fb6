"""What differs between commit-log versions, as data; one decoder serves them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cdc_tail.errors import UnsupportedFormat


@dataclass(frozen=True, slots=True)
class MutationFormat:
    """How the mutations of one commit-log version differ from the common layout.

    Format page, sections 0, 6.4 and 13. `ties_by_value` is not about bytes: how the version that
    writes the log reconciles cells of one writetime (section 9.3).
    """

    log_version: int
    written_by: str
    unsigned_deletion_time: bool = False
    mutation_flags: bool = False
    epoch: bool = False
    ties_by_value: bool = False


_FORMATS: Final = {
    one.log_version: one
    for one in (
        MutationFormat(6, "3.11", ties_by_value=True),
        MutationFormat(7, "4.0, 4.1, 5.0 and later with storage_compatibility_mode CASSANDRA_4"),
        MutationFormat(8, "5.0", unsigned_deletion_time=True),
        MutationFormat(9, "6.0", unsigned_deletion_time=True, mutation_flags=True, epoch=True),
    )
}


def mutation_format(log_version: int) -> MutationFormat:
    """The layout of that commit-log version. UnsupportedFormat where it is not known."""
    try:
        return _FORMATS[log_version]
    except KeyError:
        known = ", ".join(f"{f.log_version} (Cassandra {f.written_by})" for f in _FORMATS.values())
        raise UnsupportedFormat(
            f"commit-log version {log_version} is not known",
            hint=f"this cdc-tail reads {known}; look for a newer release of cdc-tail",
        ) from None
