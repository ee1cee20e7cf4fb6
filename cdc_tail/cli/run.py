"""`cdc-tail run`."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Annotated

import structlog
import typer

from cdc_tail import config
from cdc_tail.cli.common import ConfigOption, PostgresOption
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError
from cdc_tail.http_letters import letter_routes
from cdc_tail.log import configure
from cdc_tail.metrics import Metrics
from cdc_tail.pipeline import Pipeline
from cdc_tail.reload import Reloader
from cdc_tail.report import Reporter
from cdc_tail.server import StatusServer
from cdc_tail.settings import Settings
from cdc_tail.status import Status, StatusBoard
from cdc_tail.tracing import Tracing
from cdc_tail.vault import postgres_credentials

log = structlog.get_logger()


def run(
    config_file: ConfigOption = None,
    node: Annotated[
        str | None,
        typer.Option(help="Name of this node in checkpoints. Default: the host's name."),
    ] = None,
    cdc_raw: Annotated[
        Path | None, typer.Option(help="The node's cdc_raw_directory.", metavar="FOLDER")
    ] = None,
    postgres: PostgresOption = None,
    read: Annotated[
        str | None,
        typer.Option(
            help="live: changes as soon as they are written (default); marked: once a crash of the"
            " node's process would not undo them; synced: once the node has synced them to disk.",
            metavar="live|marked|synced",
        ),
    ] = None,
    keep_segments: Annotated[
        bool | None,
        typer.Option(
            "--keep-segments/--discard-segments",
            help="Leave applied segments in cdc_raw (something else must delete them), or delete"
            " them once they are committed (default).",
        ),
    ] = None,
    accept_gap: Annotated[
        bool,
        typer.Option(
            "--accept-gap",
            help="Start although segments with unread changes are gone: their changes are missing"
            " until `cdc-tail snapshot` has copied the tables. Later losses still stop it.",
        ),
    ] = False,
    http_port: Annotated[
        int | None, typer.Option(help="Port of the status page; 0 takes a free one.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Least level to log.", metavar="debug|info|warning|error")
    ] = None,
) -> None:
    """Tail this node's commit log into PostgreSQL until stopped.

    Stop it with SIGTERM or Ctrl-C: it finishes the open batch, gives its lease back and exits 0.
    SIGHUP reads the settings again: it takes over `[batch]`, `[log]`, `[snapshot]`, users and
    passwords of `[postgres]` and `[cassandra]`, and logs what needs a
    restart.

    Killed at any moment, it goes on at the next start where its last commit ended.

    **Examples**

    `cdc-tail run --cdc-raw /var/lib/cassandra/cdc_raw --postgres postgresql://u:p@db/mirror`

    `CDC_TAIL_CONFIG=/etc/cdc-tail.toml cdc-tail run`
    """
    options = {
        "node": node,
        "cassandra.cdc_raw": cdc_raw,
        "postgres.dsn": postgres,
        "watch.read": read,
        "watch.keep_segments": keep_segments,
        "http.port": http_port,
        "log.level": log_level,
    }
    settings = config.load(config_file, options=options)
    reloader = Reloader(settings, lambda: config.load(config_file, options=options))
    configure(settings.log)
    board = StatusBoard(Status(node=settings.node, pid=os.getpid(), read=settings.watch.read))
    metrics = Metrics()
    credentials = postgres_credentials(settings)
    database = Database(settings, credentials)
    pipeline = Pipeline(
        settings,
        Reporter(board, metrics),
        database,
        accept_gap=accept_gap,
        tracing=_tracing(settings, metrics),
        reloader=reloader,
    )
    signal.signal(signal.SIGHUP, lambda *_: reloader.ask())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: pipeline.stop())
    with contextlib.ExitStack() as stack:
        if credentials is not None:
            stack.enter_context(credentials)
        if settings.http.enabled:
            server = stack.enter_context(
                StatusServer(board, metrics, settings.http, letter_routes(settings, database))
            )
            log.info("status page", url=server.url)
        log.info("tailing", node=settings.node, cdc_raw=str(settings.cassandra.cdc_raw))
        pipeline.run()
    log.info("stopped", position=board.snapshot().position)


def _tracing(settings: Settings, metrics: Metrics) -> Tracing:
    """As the settings say; OpenTelemetry is imported only where something is traced."""
    if settings.tracing.url is None:
        return Tracing()
    try:
        from cdc_tail.otlp import OtlpTracing
    except ImportError as error:
        raise ConfigError(
            f"tracing.url needs a package that is not installed: {error.name}",
            hint="install cdc-tail[tracing]",
        ) from error
    return OtlpTracing(settings.tracing, settings.node, metrics)
