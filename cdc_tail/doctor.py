"""Looks whether everything that `run` needs is there, and says what to change; changes nothing."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from cdc_tail.database import Connection, Database
from cdc_tail.errors import CdcTailError
from cdc_tail.keys import read_keys
from cdc_tail.settings import Settings
from cdc_tail.settings_base import is_this_machine
from cdc_tail.vault import open_vault, postgres_credentials
from cdc_tail.watch import list_segments

if TYPE_CHECKING:
    from cassandra.cluster import Session

Verdict = Literal["ok", "warning", "failed"]

LEAST_POSTGRES: Final = 150000
# Clocks decide when a TTL has passed: by more than this they would differ visibly.
CLOCK_WARNING_SECONDS: Final = 2.0
CLOCK_FAILURE_SECONDS: Final = 60.0
LEAST_FREE_SHARE: Final = 0.1
# Of cdc_total_space: as the alert CdcRawNearlyFull has it, and what the checklist asks for.
MOST_USED_SHARE: Final = 0.8
LEAST_SEGMENTS: Final = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found and, unless all is well, what to change."""

    name: str
    verdict: Verdict
    found: str
    change: str = ""

    def as_dict(self) -> dict[str, str]:
        """The documented JSON form: these field names."""
        return asdict(self)


def examine(settings: Settings) -> Iterator[Check]:
    """Every check, one after the other; what can't be reached ends only its own group."""
    yield from _guarded("cdc_raw", lambda: _cdc_raw(settings))
    yield from _guarded("vault", lambda: _vault(settings))
    yield from _guarded("keys", lambda: _keys(settings))
    yield from _guarded("cassandra", lambda: _cassandra(settings))
    yield from _guarded("postgres", lambda: _postgres(settings))


def _guarded(name: str, checks: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from checks()
    except CdcTailError as error:
        yield Check(name, "failed", str(error), error.hint)


def _cdc_raw(settings: Settings) -> Iterator[Check]:
    folder = settings.cassandra.cdc_raw
    listing = list_segments(folder)  # a ConfigError says what is wrong with the folder
    yield Check("cdc_raw", "ok", f"{folder}: {len(listing.segments)} segments")
    if settings.watch.keep_segments or os.access(folder, os.W_OK | os.X_OK):
        yield Check("cdc_raw rights", "ok", "segments can be deleted once they are applied")
    else:
        yield Check(
            "cdc_raw rights",
            "failed",
            f"{folder} can't be written by user {os.geteuid()}",
            "run as Cassandra's user, or set watch.keep_segments and empty it otherwise",
        )
    space = shutil.disk_usage(folder)
    yield _judged(
        "free space",
        f"{space.free / (1 << 30):.1f} GiB free of {space.total / (1 << 30):.1f} GiB",
        warns=space.free < LEAST_FREE_SHARE * space.total,
        change="free space on the node's disk: its commit log stops at the end",
    )


def _vault(settings: Settings) -> Iterator[Check]:
    vault = settings.vault
    if vault.address is None:
        return
    token = open_vault(vault).whoami()
    policies = [str(one) for one in token.get("policies") or ()]
    host = urlsplit(vault.address).hostname or ""
    yield Check("vault", "ok", f"{vault.address} knows us by {vault.auth}")
    yield from _transport("vault", host, vault.address.startswith("https:"))
    yield _judged(
        "vault policies",
        ", ".join(policies) or "none",
        warns="root" in policies,
        change="use a token of least rights: docs/security.md says what it needs",
    )
    left_seconds = int(token.get("ttl") or 0)
    if vault.auth == "token" and left_seconds:
        yield _judged(
            "vault token",
            f"ends in {left_seconds:,} s",
            warns=vault.token_file is None,
            change="have an agent keep vault.token_file fresh, or use approle or kubernetes",
        )


def _keys(settings: Settings) -> Iterator[Check]:
    keys = read_keys(settings)
    if keys:
        yield Check("keys", "ok", f"{len(keys)} of an encrypted commit log")


def _cassandra(settings: Settings) -> Iterator[Check]:
    # The driver takes a while to load; other commands do without.
    from cdc_tail.cluster import connect
    from cdc_tail.schema_source import read_schema

    with connect(settings.cassandra) as session:
        version, now = session.execute(
            "SELECT release_version, toUnixTimestamp(now()) FROM system.local"
        ).one()
        yield Check("cassandra", "ok", f"version {version} at {settings.cassandra.host}")
        yield _clock("clock of the node", now / 1000)
        yield from _transport("cassandra", settings.cassandra.host, _has_tls(settings))
        yield from _node_settings(settings, session, str(version))
        read_schema(session)
        yield Check("schema", "ok", "system_schema can be read")
        rows = session.execute("SELECT keyspace_name, table_name, cdc FROM system_schema.tables")
        wanted = [r for r in rows if r.cdc and settings.mirror.wants(r.keyspace_name, r.table_name)]
        yield _judged(
            "tables",
            f"{len(wanted)} with cdc = true that the settings include",
            warns=not wanted,
            change="ALTER TABLE ... WITH cdc = true, and see mirror.include and mirror.exclude",
        )


def _node_settings(settings: Settings, session: Session, version: str) -> Iterator[Check]:
    if version.startswith("3."):
        yield Check(
            "node settings",
            "warning",
            "3.11 does not show its settings over CQL",
            "see in cassandra.yaml that cdc_enabled is true",
        )
        return
    rows = session.execute("SELECT name, value FROM system_views.settings")
    node = {row.name: row.value or "" for row in rows}
    yield _judged(
        "cdc_enabled",
        node.get("cdc_enabled", "unknown"),
        fails=node.get("cdc_enabled") != "true",
        change="set cdc_enabled: true in cassandra.yaml and restart the node",
    )
    raw = node.get("cdc_raw_directory", "")
    yield _judged(
        "cdc_raw_directory",
        raw or "Cassandra's default",
        warns=bool(raw) and raw != str(settings.cassandra.cdc_raw),
        change=f"set cassandra.cdc_raw (now {settings.cassandra.cdc_raw}), unless that is the same"
        " folder, mounted elsewhere",
    )
    if settings.watch.read == "live":
        yield from _freshness(node)
    mode = node.get("commitlog_sync", "periodic")
    yield Check(
        "commitlog_sync",
        "ok",
        f"{mode}, every {_sync_period(node)}" if mode == "periodic" else mode,
    )
    yield from _cdc_total_space(settings, session, node)
    blocks = node.get("cdc_block_writes", "true")  # 4.0 has no other way
    yield _judged(
        "cdc_block_writes",
        blocks,
        warns=blocks == "false",
        change="with false the node drops segments of a full cdc_raw that were not read: set it to"
        " true to refuse writes instead",
    )


def _freshness(node: dict[str, str]) -> Iterator[Check]:
    """What makes the log readable only once it is synced."""
    encrypted = [
        value
        for name, value in node.items()
        if name.startswith("transparent_data_encryption_options") and name.endswith("enabled")
    ]
    period = _sync_period(node)
    for name, is_late, change in (
        (
            "commitlog_compression",
            node.get("commitlog_compression", "null") not in ("null", ""),
            "leave commitlog_compression out",
        ),
        ("log encryption", encrypted == ["true"], "accept it, as the log is to be encrypted"),
        (
            "commitlog_disk_access_mode",
            "direct" in node.get("commitlog_disk_access_mode", ""),
            "set commitlog_disk_access_mode: mmap",
        ),
    ):
        yield _judged(
            name,
            f"changes are seen once synced, after {period}" if is_late else "changes are seen live",
            warns=is_late,
            change=f"{change}, or shorten commitlog_sync_period",
        )


def _sync_period(node: dict[str, str]) -> str:
    return node.get("commitlog_sync_period") or f"{node.get('commitlog_sync_period_in_ms')}ms"


def _cdc_total_space(settings: Settings, session: Session, node: dict[str, str]) -> Iterator[Check]:
    """Whether cdc_raw may grow as far as Cassandra would let it."""
    from cdc_tail.cluster import cdc_total_space_bytes

    space_bytes = settings.cassandra.cdc_total_space or cdc_total_space_bytes(session)
    folder = settings.cassandra.cdc_raw
    if space_bytes is None or not folder.is_dir():
        return
    used_bytes, free_bytes = list_segments(folder).total_bytes, shutil.disk_usage(folder).free
    told = node.get("commitlog_segment_size") or node.get("commitlog_segment_size_in_mb", "")
    segment_mib = int("".join(filter(str.isdigit, told)) or 0)
    if used_bytes > MOST_USED_SHARE * space_bytes:
        change = (
            "find out why segments wait: `cdc-tail status`; Cassandra is about to refuse writes"
        )
    elif space_bytes < LEAST_SEGMENTS * segment_mib << 20:
        change = f"raise cdc_total_space: it should hold {LEAST_SEGMENTS} segments at least"
    elif space_bytes - used_bytes > free_bytes:
        change = "lower cdc_total_space, or free space: the disk is full before cdc_raw is"
    else:
        change = ""
    yield _judged(
        "cdc_total_space",
        f"{used_bytes >> 20:,} MiB of {space_bytes >> 20:,} MiB used",
        warns=bool(change),
        change=change,
    )


def _postgres(settings: Settings) -> Iterator[Check]:
    credentials = postgres_credentials(settings)
    # As in `run`, so that a lease is given back.
    with credentials or nullcontext(), Database(settings, credentials).connect() as connection:
        if credentials is not None:
            role, _ = credentials.current()
            yield Check("vault role", "ok", f"{settings.vault.postgres_path} gives {role}")
        row = _one(
            connection,
            """
            SELECT current_setting('server_version'), current_setting('server_version_num')::int,
                   extract(epoch FROM clock_timestamp())::float8, current_user::text,
                   (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                   has_database_privilege(current_database(), 'CREATE'),
                   pg_is_in_recovery() OR current_setting('transaction_read_only')::bool,
                   current_database()::text
            """,
        )
        version, number, now, role, is_super, may_create, is_read_only, database = row
        yield _judged(
            "postgres",
            f"version {version}",
            fails=number < LEAST_POSTGRES,
            change="use PostgreSQL 15 or later",
        )
        yield _clock("clock of postgres", now)
        postgres = settings.postgres
        host = connection.info.host
        yield from _transport("postgres", host, bool(connection.pgconn.ssl_in_use))
        yield _judged(
            "postgres role",
            f"{role} in {database}",
            warns=bool(is_super),
            change="use a role of least rights: deploy/sql/roles.sql makes one",
        )
        yield _judged(
            "postgres rights",
            "schemas can be created" if may_create else f"{role} can't create schemas",
            fails=not may_create and settings.mirror.ddl == "create",
            change=f"GRANT CREATE ON DATABASE {database} TO {role}, or mirror.ddl = verify",
        )
        yield _judged(
            "postgres writes",
            "refused" if is_read_only else "taken",
            fails=bool(is_read_only),
            change=f"connect to the primary (now {host}:{postgres.port})",
        )


def _transport(name: str, host: str, is_encrypted: bool) -> Iterator[Check]:
    yield _judged(
        f"{name} tls",
        "encrypted" if is_encrypted else "in the clear",
        warns=not is_encrypted and not is_this_machine(host),
        change="use https" if name == "vault" else f"set {name}.tls.mode to verify-full",
    )


def _has_tls(settings: Settings) -> bool:
    cassandra = settings.cassandra
    return cassandra.tls.mode_for(cassandra.host) != "disable"


def _clock(name: str, now_s: float) -> Check:
    apart = abs(time.time() - now_s)
    return _judged(
        name,
        f"{apart:.1f} s apart from ours",
        warns=apart > CLOCK_WARNING_SECONDS,
        fails=apart > CLOCK_FAILURE_SECONDS,
        change="let NTP set the clocks: TTLs end by them",
    )


def _judged(
    name: str, found: str, *, warns: bool = False, fails: bool = False, change: str
) -> Check:
    if fails:
        return Check(name, "failed", found, change)
    return Check(name, "warning", found, change) if warns else Check(name, "ok", found)


def _one(connection: Connection, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row
