"""Every setting of the program as frozen models: names, defaults, bounds, meaning.

Where values come from is not said here (see config.py). Opens no connection, reads no secret store.
"""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ByteSize, Field, SecretStr

from cdc_tail.settings_base import Port, Section, ServerTlsSettings, TlsSettings

ReadMode = Literal["live", "marked", "synced"]


def _size_between(least: int, most: int) -> AfterValidator:
    def check(size: ByteSize) -> ByteSize:
        if not least <= size <= most:
            raise ValueError(f"must be between {least:,} and {most:,} bytes")
        return size

    return AfterValidator(check)


class CassandraSettings(Section):
    """The node beside us: where it answers CQL and where its change logs are."""

    host: str = Field(default="127.0.0.1", description="Address of the node's CQL port.")
    port: Port = Field(default=9042, description="The node's CQL port.")
    user: str | None = Field(default=None, description="CQL user; none if the node asks for none.")
    password: SecretStr | None = Field(default=None, description="Password of the CQL user.")
    cdc_raw: Path = Field(
        default=Path("/var/lib/cassandra/cdc_raw"), description="The node's cdc_raw_directory."
    )
    cdc_total_space: Annotated[ByteSize, _size_between(1 << 20, 1 << 50)] | None = Field(
        default=None,
        description="The node's cdc_total_space, for the metric that says when it is full; asked"
        " from the node (4.0 and later) when not given.",
    )
    tls: TlsSettings = TlsSettings()


class PostgresSettings(Section):
    """The database that holds the mirror."""

    host: str = Field(
        default="127.0.0.1", description="Address of PostgreSQL, or its socket folder."
    )
    port: Port = Field(default=5432, description="Port of PostgreSQL.")
    database: str = Field(default="postgres", description="Database that holds the mirror.")
    user: str | None = Field(
        default=None, description="PostgreSQL role; the system user when not given."
    )
    password: SecretStr | None = Field(default=None, description="Password of the role.")
    dsn: SecretStr | None = Field(
        default=None,
        description="A whole connection string or URL; goes before the settings above.",
    )
    connect_timeout_seconds: int = Field(
        default=10, ge=1, le=300, description="Give up one attempt to connect after this time."
    )
    tls: TlsSettings = TlsSettings()


class BatchSettings(Section):
    """When a batch closes: whichever bound is met first."""

    max_rows: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Rows in one transaction."
    )
    max_bytes: Annotated[ByteSize, _size_between(1 << 16, 1 << 30)] = Field(
        default=ByteSize(16 << 20),
        description="Mutation bytes in one transaction; bounds our memory.",
    )
    max_age_ms: int = Field(
        default=500,
        ge=1,
        le=60_000,
        description="Longest wait of a decoded mutation, also under load.",
    )
    linger_ms: int = Field(
        default=2,
        ge=0,
        le=10_000,
        description="Wait this long for more once the log is read to its end; 0 applies at once.",
    )


class WatchSettings(Section):
    """How the log is followed."""

    read: ReadMode = Field(
        default="live",
        description="live: entries as soon as they are written; marked: only what the node would"
        " replay if its process crashed (about 100 ms later); synced: only what it has synced to"
        " its disk (up to commitlog_sync_period later).",
    )
    poll_min_ms: float = Field(
        default=1.0, ge=0.05, le=1000, description="Shortest pause when busy."
    )
    poll_max_ms: float = Field(
        default=25.0, ge=1, le=10_000, description="Longest pause when idle."
    )
    keep_segments: bool = Field(
        default=False, description="Never delete a segment; something else must empty cdc_raw."
    )
    on_lost_segment: Literal["stop", "continue"] = Field(
        default="stop",
        description="A segment with unread changes was deleted by somebody else: stop, or count it"
        " and go on.",
    )
    skip_corrupt: bool = Field(
        default=False,
        description="A damaged section: go on at the next good marker and count it, instead of"
        " stopping.",
    )


class ArchiveSettings(Section):
    """Where completed segments go when they can't stay in cdc_raw."""

    url: str | None = Field(
        default=None,
        description="Folder or object store for segments: file:///folder, s3://bucket/prefix,"
        " gs://bucket/prefix. Without one, segments wait in cdc_raw.",
    )
    after_seconds: float = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Move completed segments there while PostgreSQL is away for longer than this.",
    )
    at_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Move completed segments there while cdc_raw fills more than this share of"
        " cdc_total_space.",
    )
    keep: bool = Field(
        default=False,
        description="Archive every segment, and keep it there once it is applied: a backup of the"
        " log, which nothing deletes.",
    )


class EncryptionSettings(Section):
    """The keys of an encrypted commit log (transparent_data_encryption_options)."""

    keystore: Path | None = Field(
        default=None, description="The node's keystore with the log's key (JCEKS or PKCS12)."
    )
    keystore_password: SecretStr | None = Field(
        default=None, description="Password of the keystore."
    )
    key_password: SecretStr | None = Field(
        default=None, description="Password of the key; the keystore's when not given."
    )
    keys: SecretStr | None = Field(
        default=None,
        description="Keys without a keystore: alias=key (hexadecimal or Base64), separated by"
        " commas.",
    )


class LeaseSettings(Section):
    """The right to be the one writer of a node."""

    ttl_seconds: float = Field(
        default=30, ge=2, le=3600, description="A holder that is silent this long may be replaced."
    )
    wait_seconds: float = Field(
        default=45,
        ge=0,
        le=86_400,
        description="At start, wait this long for another holder to go.",
    )


class HttpSettings(Section):
    """The page, the metrics and the probes."""

    enabled: bool = Field(
        default=True, description="Serve /metrics, /healthz, /readyz, /status, /dlq/records and /."
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen at; 0.0.0.0 in a container."
    )
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen at; 0 takes a free one."
    )
    token: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None,
        description="Bearer token of 16 characters or more for /dlq/records. Without one, records"
        " can be read there, from this machine alone (or with a client certificate), but neither"
        " retried nor discarded.",
    )
    ready_max_age_seconds: float = Field(
        default=300, gt=0, description="/readyz says no while the oldest unapplied change is older."
    )
    tls: ServerTlsSettings = ServerTlsSettings()


class ParquetSettings(Section):
    """The archive of every change as Parquet files."""

    location: str | None = Field(
        default=None,
        description="Folder, or URI of an object store (s3://bucket/prefix, gs://...), for files of"
        " every change; none are written when not given.",
    )
    roll_bytes: Annotated[ByteSize, _size_between(1 << 16, 1 << 30)] = Field(
        default=ByteSize(16 << 20),
        description="Write files once so many bytes of mutations wait; bounds our memory.",
    )
    roll_seconds: float = Field(
        default=60,
        ge=1,
        le=3600,
        description="Write files at the latest after this time; segments stay in cdc_raw until"
        " then.",
    )


class LogSettings(Section):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, JSON elsewhere."
    )


class TracingSettings(Section):
    """Where a trace of each transaction goes, if anywhere."""

    url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/]",
        description="Receiver of OTLP over HTTP, such as https://collector:4318 (/v1/traces is"
        " added where there is no path). Without one, nothing is traced.",
    )
    sample_ratio: float = Field(
        default=0.1, ge=0, le=1, description="Share of the transactions that are traced."
    )
    headers: SecretStr | None = Field(
        default=None,
        description="Headers to send along: name=value, separated by commas; a token, for one.",
    )
    queue_spans: int = Field(
        default=2048,
        ge=16,
        le=1_000_000,
        description="Spans that wait at most to be sent; beyond, the oldest are dropped.",
    )
    timeout_seconds: float = Field(
        default=5, gt=0, le=60, description="Longest wait for the receiver, in the background."
    )
    ca: Path | None = Field(
        default=None, description="CA certificates (PEM) of the receiver's; well-known ones if not."
    )
    certificate: Path | None = Field(default=None, description="Our certificate (PEM) for mTLS.")
    key: Path | None = Field(default=None, description="Key (PEM) of our certificate.")


class VaultSettings(Section):
    """A Vault (or OpenBao) that hands out PostgreSQL's role and the log's keys."""

    address: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Address of Vault, with http:// or https://.",
    )
    namespace: str | None = Field(default=None, description="Namespace, where Vault has some.")
    auth: Literal["token", "approle", "kubernetes"] = Field(
        default="token", description="How we log in."
    )
    auth_mount: str | None = Field(
        default=None, description="Where the auth method is mounted; its usual name if not given."
    )
    token: SecretStr | None = Field(default=None, description="Token, with auth = token.")
    token_file: Path | None = Field(
        default=None, description="File with the token; a Vault agent keeps one fresh."
    )
    role_id: str | None = Field(default=None, description="role_id, with auth = approle.")
    secret_id: SecretStr | None = Field(default=None, description="secret_id, with approle.")
    secret_id_file: Path | None = Field(default=None, description="File with the secret_id.")
    kubernetes_role: str | None = Field(default=None, description="Role, with auth = kubernetes.")
    kubernetes_token_file: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="Token of the pod's service account.",
    )
    postgres_path: str | None = Field(
        default=None,
        description="Where PostgreSQL's role is read: database/creds/ROLE (rotated),"
        " database/static-creds/ROLE, or secret/data/NAME with username and password.",
    )
    keys_path: str | None = Field(
        default=None,
        description="Secret with the commit log's keys: alias to key (hexadecimal or Base64), such"
        " as secret/data/cassandra-keys.",
    )
    refresh_seconds: float = Field(
        default=300, ge=1, le=86_400, description="A secret without a lease is read this often."
    )
    timeout_seconds: int = Field(default=10, ge=1, le=300, description="Longest wait for Vault.")
    ca: Path | None = Field(
        default=None, description="CA certificates (PEM) of Vault's; the system's if not given."
    )
    certificate: Path | None = Field(default=None, description="Our certificate (PEM) for mTLS.")
    key: Path | None = Field(default=None, description="Key (PEM) of our certificate.")


# A name may hold a "=", and so may a constant.
_MAPPED: Final = re.compile(r"(?P<name>.+\..+\..+)=(?P<choice>[^=]+|constant:.*)")


class MirrorSettings(Section):
    """Which tables are mirrored and how their columns are stored."""

    include: tuple[str, ...] = Field(
        default=(),
        description="keyspace.table or keyspace.*; empty means every table with cdc = true.",
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="keyspace.table or keyspace.*, left out."
    )
    columns: tuple[Annotated[str, Field(pattern=_MAPPED.pattern)], ...] = Field(
        default=(),
        description="keyspace.table.column=type: another PostgreSQL type than the usual one; omit"
        " leaves the column out; hash, null or constant:VALUE masks it.",
    )
    mask_key: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None,
        description="Key of 16 characters or more for masked columns, the same for all processes"
        " that write one mirror: of the hashes, and of the encryption of what is set aside.",
    )
    ddl: Literal["create", "verify"] = Field(
        default="create",
        description="create: make and evolve the mirror's tables; verify: only check them, and name"
        " what is missing.",
    )

    def column_types(self) -> dict[str, str]:
        """The chosen type, omit or mask by "keyspace.table.column"."""
        pairs = (_MAPPED.fullmatch(one) for one in self.columns)
        return {pair["name"]: pair["choice"] for pair in pairs if pair is not None}

    def mask_bytes(self) -> bytes | None:
        """`mask_key` as the masks take it."""
        return None if self.mask_key is None else self.mask_key.get_secret_value().encode()

    def wants(self, keyspace: str, table: str) -> bool:
        """Whether a table is to be mirrored, as far as these settings go."""
        names = {f"{keyspace}.{table}", f"{keyspace}.*"}
        return (not self.include or not names.isdisjoint(self.include)) and names.isdisjoint(
            self.exclude
        )


class SnapshotSettings(Section):
    """How rows that tables have already are copied (`cdc-tail snapshot`, and for new tables)."""

    tables: Literal["never", "altered", "new"] = Field(
        default="altered",
        description="Which tables `run` copies by itself. altered: those that get cdc = true by an"
        " ALTER TABLE in the log; new: also those that it finds and that were never copied.",
    )
    consistency: str = Field(
        default="LOCAL_QUORUM", description="Consistency level of its reads, and of verify's."
    )
    parallel: int = Field(default=4, ge=1, le=64, description="Token ranges read at a time.")
    page_rows: int = Field(
        default=1000, ge=10, le=50_000, description="Rows in a page, and in one transaction."
    )
    max_rows_per_second: int = Field(
        default=0, ge=0, description="Read no more than that; 0 means as fast as it goes."
    )


class Settings(Section):
    """Everything that can be set; immutable once loaded."""

    node: str = Field(
        default_factory=socket.gethostname,
        description="Name of this node in checkpoints; the host's name when not given.",
        min_length=1,
        max_length=200,
    )
    cassandra: CassandraSettings = CassandraSettings()
    postgres: PostgresSettings = PostgresSettings()
    mirror: MirrorSettings = MirrorSettings()
    batch: BatchSettings = BatchSettings()
    watch: WatchSettings = WatchSettings()
    archive: ArchiveSettings = ArchiveSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    lease: LeaseSettings = LeaseSettings()
    http: HttpSettings = HttpSettings()
    parquet: ParquetSettings = ParquetSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    vault: VaultSettings = VaultSettings()

    def redacted(self) -> dict[str, Any]:
        """Every setting as JSON-able values, secrets shown as asterisks."""
        return self.model_dump(mode="json")
