"""Every error that cdc-tail raises, as one tree; imports nothing, catches nothing.

CdcTailError                   exit code 1, not retryable
├─ ConfigError                 2   a setting is missing, malformed or contradicts another
├─ SecretsError                3   a credential can't be read or renewed
├─ SourceUnavailable           4   Cassandra does not answer (retryable)
├─ ArchiveUnavailable          5   the archive of segments does not answer (retryable)
├─ SegmentError                10
│  ├─ SegmentCorrupt           11  a CRC, a size or a marker does not hold
│  ├─ UnsupportedFormat        12  log version, compressor or cipher that can't be read
│  └─ UnknownTable             13  a mutation of a table whose schema is not known
├─ SinkError                   20
│  ├─ SinkUnavailable          21  PostgreSQL does not answer (retryable)
│  │  └─ SinkConflict          21  another transaction was in the way of ours (retryable)
│  ├─ SchemaMismatch           22  the mirror's tables are not what the mapping needs
│  │  └─ MirrorChanged         22  another process evolved a mirror meanwhile (retryable)
│  └─ RowRejected              23  PostgreSQL refuses a row
└─ CheckpointError             30
   ├─ CheckpointMoved          31  another process owns this node's checkpoint
   ├─ CheckpointGap            32  the segment, or the place in it, to resume from is gone
   └─ CheckpointWentBack       33  the database lacks what it had committed: start again

The end of durable bytes is not an error: readers return it as a result.
"""

from __future__ import annotations

from typing import ClassVar, Final

FIRST_LINE_CHARACTERS: Final = 500


def first_line(error: BaseException) -> str:
    """What another library's error says, in a line that fits into a message of ours."""
    said = str(error).strip().split("\n")[0] or type(error).__name__
    return said[:FIRST_LINE_CHARACTERS]


class CdcTailError(Exception):
    """What went wrong, where, and what to do next.

    `message` is one sentence without a full stop. `hint` is the next step for a person.
    `retryable` says whether the same call may succeed later with nothing changed by a person.
    `segment` (a file name or id), `position` ("segment_id:offset") and `table`
    ("keyspace.table") say where, as far as it is known. `exit_code` is what the command line
    ends with.
    """

    exit_code: ClassVar[int] = 1
    default_hint: ClassVar[str] = ""
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        retryable: bool | None = None,
        segment: object = None,
        position: object = None,
        table: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.retryable = self.default_retryable if retryable is None else retryable
        self.segment = None if segment is None else str(segment)
        self.position = None if position is None else str(position)
        self.table = table

    @property
    def where(self) -> str:
        """The known parts of the place, "segment S, position P, table T", or an empty string."""
        parts = (("segment", self.segment), ("position", self.position), ("table", self.table))
        return ", ".join(f"{name} {value}" for name, value in parts if value is not None)

    def __str__(self) -> str:
        return f"{self.message} ({self.where})" if self.where else self.message


class ConfigError(CdcTailError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 2


class SecretsError(CdcTailError):
    """A credential or an encryption key can't be read or renewed."""

    exit_code = 3


class SourceUnavailable(CdcTailError):
    """Cassandra does not answer on its native protocol; the commit log needs no connection."""

    exit_code = 4
    default_retryable = True
    default_hint = "check that the node is up and that its native transport is reachable"


class ArchiveUnavailable(CdcTailError):
    """The folder or object store that segments are moved to can't be read or written."""

    exit_code = 5
    default_retryable = True
    default_hint = "check archive.url, its credentials, and that there is space"


class SegmentError(CdcTailError):
    """A commit-log segment can't be read or decoded."""

    exit_code = 10


class SegmentCorrupt(SegmentError):
    """A checksum, a size or a sync marker of a segment does not hold."""

    exit_code = 11
    default_hint = "keep the file; `cdc-tail inspect` shows how far it can be read"


class UnsupportedFormat(SegmentError):
    """A log version, compressor, cipher or type that this release can't read."""

    exit_code = 12


class UnknownTable(SegmentError):
    """A mutation names a table id that neither the commit log nor the schema source explains."""

    exit_code = 13
    default_hint = "give the table's schema, or let cdc-tail reach the node to read it"


class SinkError(CdcTailError):
    """The mirror can't be written."""

    exit_code = 20


class SinkUnavailable(SinkError):
    """PostgreSQL does not answer, or broke off before the outcome was known."""

    exit_code = 21
    default_retryable = True
    default_hint = "check that PostgreSQL is up and reachable"


class SinkConflict(SinkUnavailable):
    """PostgreSQL rolled a transaction back because another was in its way: a deadlock."""

    default_hint = "try again; nothing of it was written"


class SchemaMismatch(SinkError):
    """The mirror's relations differ from what the mapping needs."""

    exit_code = 22


class MirrorChanged(SchemaMismatch):
    """Another process has evolved a mirror since it was loaded: load it again, and retry."""

    default_retryable = True


class RowRejected(SinkError):
    """PostgreSQL refuses a row that passed every check made before it was sent."""

    exit_code = 23


class CheckpointError(CdcTailError):
    """The checkpoint can't be read, taken or moved."""

    exit_code = 30


class CheckpointMoved(CheckpointError):
    """Another process took over this node: the fencing token is stale and nothing was committed."""

    exit_code = 31
    default_hint = "run one cdc-tail per node; this one must stop"


class CheckpointGap(CheckpointError):
    """The segment to resume from, or the place in it, does not exist any more."""

    exit_code = 32
    default_hint = "take a new snapshot of the tables: mutations were removed before they were read"


class CheckpointWentBack(CheckpointError):
    """The database is behind what it had committed: an asynchronous standby, or a backup."""

    exit_code = 33
    default_hint = "start it again: it goes on from where the database is now"
