"""Frozen settings from file, environment and options: checked at start, all defaults in one place.

Opens no connection and reads no secret store. Later wins: defaults, the TOML file, the plain names
that containers set (CASSANDRA_HOST, POSTGRES_DB, ...), CDC_TAIL_*, options of the command line.
"""

from __future__ import annotations

import difflib
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import psycopg.conninfo
from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic.fields import FieldInfo

from cdc_tail.errors import ConfigError

ENV_PREFIX = "CDC_TAIL_"
CONFIG_FILE_VARIABLE = "CDC_TAIL_CONFIG"
# Variables that the demo and the tests read for themselves.
NOT_SETTINGS = (CONFIG_FILE_VARIABLE, "CDC_TAIL_CACHE", "CDC_TAIL_DEMO_", "CDC_TAIL_TEST_")
# Names that are set by habit in containers, and the setting each one means.
PLAIN_NAMES: Mapping[str, str] = {
    "CASSANDRA_HOST": "cassandra.host",
    "CASSANDRA_PORT": "cassandra.port",
    "CASSANDRA_USER": "cassandra.user",
    "CASSANDRA_PASSWORD": "cassandra.password",
    "POSTGRES_HOST": "postgres.host",
    "POSTGRES_PORT": "postgres.port",
    "POSTGRES_DB": "postgres.database",
    "POSTGRES_USER": "postgres.user",
    "POSTGRES_PASSWORD": "postgres.password",
    "VAULT_ADDR": "vault.address",
}

Port = Annotated[int, Field(ge=1, le=65535)]
ReadMode = Literal["live", "synced"]


def _size_between(least: int, most: int) -> AfterValidator:
    def check(size: ByteSize) -> ByteSize:
        if not least <= size <= most:
            raise ValueError(f"must be between {least:,} and {most:,} bytes")
        return size

    return AfterValidator(check)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class CassandraSettings(_Section):
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


class PostgresSettings(_Section):
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


class BatchSettings(_Section):
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


class WatchSettings(_Section):
    """How the log is followed."""

    read: ReadMode = Field(
        default="live",
        description="live: entries as soon as they are written; synced: only what the node has"
        " synced to its disk (up to commitlog_sync_period later).",
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


class LeaseSettings(_Section):
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


class HttpSettings(_Section):
    """The page, the metrics and the probes."""

    enabled: bool = Field(
        default=True, description="Serve /metrics, /healthz, /readyz, /status and /."
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen at; 0.0.0.0 in a container."
    )
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen at; 0 takes a free one."
    )
    ready_max_age_seconds: float = Field(
        default=300, gt=0, description="/readyz says no while the oldest unapplied change is older."
    )


class LogSettings(_Section):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, JSON elsewhere."
    )


class VaultSettings(_Section):
    """A Vault that could hand out the PostgreSQL role."""

    address: str | None = Field(
        default=None,
        description="Address of Vault. Not used yet: the role comes from POSTGRES_*, and a warning"
        " says so.",
    )


class MirrorSettings(_Section):
    """Which tables are mirrored and how their columns are stored."""

    include: tuple[str, ...] = Field(
        default=(),
        description="keyspace.table or keyspace.*; empty means every table with cdc = true.",
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="keyspace.table or keyspace.*, left out."
    )
    columns: tuple[Annotated[str, Field(pattern=r"^.+\..+\..+=.+$")], ...] = Field(
        default=(),
        description="keyspace.table.column=type: another PostgreSQL type than the usual one, or"
        " omit to leave the column out.",
    )

    ddl: Literal["create", "verify"] = Field(
        default="create",
        description="create: make and evolve the mirror's tables; verify: only check them, and name"
        " what is missing.",
    )

    def wants(self, keyspace: str, table: str) -> bool:
        """Whether a table is to be mirrored, as far as these settings go."""
        names = {f"{keyspace}.{table}", f"{keyspace}.*"}
        return (not self.include or not names.isdisjoint(self.include)) and names.isdisjoint(
            self.exclude
        )


class Settings(_Section):
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
    lease: LeaseSettings = LeaseSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
    vault: VaultSettings = VaultSettings()

    def redacted(self) -> dict[str, Any]:
        """Every setting as JSON-able values, secrets shown as asterisks."""
        return self.model_dump(mode="json")

    def postgres_conninfo(self) -> str:
        """The connection string of the mirror's database, in libpq's own form (with password)."""
        postgres = self.postgres
        base = postgres.dsn.get_secret_value() if postgres.dsn else ""
        extra: dict[str, Any] = {"application_name": f"cdc-tail {self.node}"[:63]}
        if not base:
            extra |= {
                "host": postgres.host,
                "port": postgres.port,
                "dbname": postgres.database,
                "user": postgres.user,
                "password": postgres.password and postgres.password.get_secret_value(),
            }
        given = psycopg.conninfo.conninfo_to_dict(base)
        extra["connect_timeout"] = postgres.connect_timeout_seconds
        return psycopg.conninfo.make_conninfo(
            base, **{k: v for k, v in extra.items() if k not in given}
        )


def setting_fields(
    model: type[BaseModel] = Settings, prefix: str = ""
) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every setting as ("section.name", field), in the order of the file."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from setting_fields(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def variable_name(key: str) -> str:
    """The environment variable of a setting: batch.max_rows is CDC_TAIL_BATCH_MAX_ROWS."""
    return ENV_PREFIX + key.replace(".", "_").upper()


def load(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """Read, merge and check all settings.

    `options` maps "section.name" to a value; None means not given. Raises ConfigError naming every
    wrong key, where it was set, and what would be right.
    """
    environ = os.environ if environ is None else environ
    file = config_file
    if file is None and environ.get(CONFIG_FILE_VARIABLE):
        file = Path(environ[CONFIG_FILE_VARIABLE])
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, found in (
        (str(file), _from_file(file)),
        ("", _from_environment(environ)),
        ("command line", {k: (k, v) for k, v in (options or {}).items() if v is not None}),
    ):
        for key, (name, value) in found.items():
            values[key] = value
            origins[key] = origin or name
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        level = nested
        for section in sections:
            level = level.setdefault(section, {})
        level[name] = value
    try:
        return Settings.model_validate(nested)
    except ValidationError as error:
        raise _explain(error, origins) from None


def _from_file(file: Path | None) -> dict[str, tuple[str, Any]]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"the settings file {file} can't be read: {error.strerror}",
            hint=f"give its path with --config or {CONFIG_FILE_VARIABLE}, or leave it out",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the settings file {file} is not valid TOML: {error}",
            hint="strings need quotes; sections are written as [postgres]",
        ) from error
    found: dict[str, tuple[str, Any]] = {}
    sections = {key.split(".")[0] for key, _ in setting_fields() if "." in key}
    for name, value in content.items():
        if name in sections and isinstance(value, dict):
            found |= {f"{name}.{key}": (key, inner) for key, inner in value.items()}
        else:
            found[name] = (name, value)
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    fields = dict(setting_fields())
    known = {variable_name(key): key for key in fields}
    found: dict[str, tuple[str, Any]] = {}
    for name, key in (*PLAIN_NAMES.items(), *known.items()):
        # A variable that is set to nothing is a variable that is not set: compose files do that.
        value = environ.get(name, "").strip()
        if value:
            is_list = get_origin(fields[key].annotation) is tuple
            found[key] = (name, value.split(",") if is_list else value)
    for name in environ:
        if not name.startswith(ENV_PREFIX) or name.startswith(NOT_SETTINGS):
            continue
        if name not in known:
            raise ConfigError(
                f"the environment variable {name} is no setting of cdc-tail",
                hint=_nearest(name, known) or "see .env.example for every name",
            )
    return found


def _explain(error: ValidationError, origins: Mapping[str, str]) -> ConfigError:
    known = dict(setting_fields())
    lines, hints = [], []
    for problem in error.errors(include_url=False, include_input=False):
        key = ".".join(str(part) for part in problem["loc"])
        while key not in origins and "." in key:  # inside a list: the list's own key was set
            key = key.rpartition(".")[0]
        origin = f" ({origins[key]})" if key in origins else ""
        if problem["type"] == "extra_forbidden":
            lines.append(f"{key}{origin}: there is no such setting")
            hints.append(_nearest(key, known))
        else:
            lines.append(f"{key}{origin}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
            if key in known and known[key].description:
                hints.append(f"{key}: {known[key].description}{_choices(known[key])}")
    return ConfigError("; ".join(lines), hint=" ".join(hint for hint in hints if hint))


def _choices(field: FieldInfo) -> str:
    values = [repr(value) for value in get_args(field.annotation) if isinstance(value, str)]
    return f" One of {', '.join(values)}." if values else ""


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""
