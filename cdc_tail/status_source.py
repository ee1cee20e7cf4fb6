"""Where a status comes from: the running process over HTTP, or what its database knows of it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import psycopg

from cdc_tail import tls
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError, SinkUnavailable, SourceUnavailable
from cdc_tail.settings import Settings
from cdc_tail.settings_base import ServerTlsSettings, TlsSettings
from cdc_tail.status import Status
from cdc_tail.watch import list_segments
from checkpoints.postgres import PostgresCheckpoints
from sinks.postgres.set_aside import counts

_TIMEOUT_SECONDS = 5


def status_url(settings: Settings) -> str:
    """Where the process that these settings describe serves its status."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.http.host, settings.http.host)
    scheme = "http" if settings.http.tls.certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http.port}"


def ask_process(url: str, known: ServerTlsSettings | None = None) -> dict[str, Any] | None:
    """The JSON of a running process's /status, None if nobody answers there.

    `known` says which CA may have signed an https server's certificate, and which certificate is
    ours. Raises SourceUnavailable where who answers is not to be trusted.
    """
    # The process is beside us or in the same cluster: a proxy for the internet can't reach it.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith("https:"):
        known = known or ServerTlsSettings()
        client = TlsSettings(
            mode="verify-full",
            ca=known.ca,
            certificate=known.certificate,
            key=known.key,
            key_password=known.key_password,
        )
        context = tls.client_context(client, "http.", url)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        opener = urllib.request.build_opener(*handlers)
        with opener.open(f"{url}/status", timeout=_TIMEOUT_SECONDS) as answer:
            found = json.loads(answer.read())
    except (urllib.error.URLError, OSError, ValueError) as error:
        hint = tls.meaning(error, "http.")
        if hint is None:
            return None
        raise SourceUnavailable(f"{url} is not to be trusted: {error}", hint=hint) from error
    return found if isinstance(found, dict) and "state" in found else None


def ask_database(settings: Settings, url: str) -> Status:
    """What the database knows of a node whose process does not answer at `url`.

    Raises SinkUnavailable where PostgreSQL does not answer, ConfigError where the node is unknown.
    """
    node = settings.node
    try:
        with Database(settings).connect() as conn:
            checkpoint = PostgresCheckpoints().read(conn, node)
            letters, parked = counts(conn, node)
            nodes = conn.execute("SELECT node FROM cdc_tail.checkpoint ORDER BY node").fetchall()
    except psycopg.errors.UndefinedTable:
        checkpoint, letters, parked, nodes = None, 0, 0, []
    except SinkUnavailable as error:
        raise SinkUnavailable(
            f"no process answers at {url}, and {error.message}", hint=error.hint
        ) from error
    except psycopg.Error as error:
        raise SinkUnavailable(
            f"no process answers at {url}, and PostgreSQL does not: {error}"
        ) from error
    if checkpoint is None:
        known = ", ".join(row[0] for row in nodes) or "none"
        raise ConfigError(
            f"no process answers at {url}, and node {node} has no checkpoint",
            hint=f"nodes with a checkpoint: {known}; give one with --node, or the right --url",
        )
    try:
        size_bytes = list_segments(settings.cassandra.cdc_raw).total_bytes
    except ConfigError:  # asked from another machine
        size_bytes = 0
    return Status(
        node=node,
        state="stopped",
        updated_at=checkpoint.updated_at,
        read=settings.watch.read,
        position=None if checkpoint.position is None else str(checkpoint.position),
        mutations_total=checkpoint.mutations,
        cdc_raw_bytes=size_bytes,
        dead_letters=letters,
        parked=parked,
        lease_holder=checkpoint.lease_holder,
        fencing_token=checkpoint.fencing_token,
        postgres_up=True,
    )
