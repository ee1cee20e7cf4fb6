"""`cdc-tail demo`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cdc_tail.cli.common import JsonOption, print_json, told
from cdc_tail.cli.demo_view import DemoScreen, show_result
from cdc_tail.errors import ConfigError

if TYPE_CHECKING:  # its packages are optional
    from cdc_tail.demo import DemoResult


def demo(
    series: Annotated[
        str, typer.Option("--cassandra", help="Cassandra's series.", metavar="4.0|4.1|5.0")
    ] = "5.0",
    writes: Annotated[int, typer.Option(help="How many writes to send.", min=1)] = 5_000,
    rate: Annotated[float, typer.Option(help="Writes per second.", min=1)] = 500,
    recorded: Annotated[
        bool,
        typer.Option(help="Start no Cassandra: tail segments that were recorded with one."),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", envvar="KEEP", help="Leave everything running afterwards, to look around."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the whole way of the data on this machine: Cassandra, commit log, PostgreSQL.

    Starts a real Cassandra node and a real PostgreSQL (no Docker, no root), creates a small shop,
    writes to it, tails it live, and compares every row. The first run fetches Cassandra's jars;
    where that is not possible, recorded segments take Cassandra's place. Everything is stopped and
    removed at the end and on Ctrl-C, unless --keep (or KEEP=1) is given. Exits 0 when the mirror
    equals Cassandra.

    **Examples**

    `cdc-tail demo`

    `cdc-tail demo --writes 20000 --rate 2000 --keep`
    """
    try:
        from cdc_tail.demo import Demo, DemoOptions
    except ImportError as error:
        raise ConfigError(
            f"the demo needs packages that are not installed: {error.name}",
            hint="pip install 'cdc-tail[demo]'",
        ) from error
    # A terminated demo stops its servers, as an interrupted one does.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    options = DemoOptions(
        series=series,
        writes=writes,
        writes_per_second=rate,
        recorded=recorded,
        keep_running=keep,
    )
    result = Demo(options, DemoScreen(told)).run()
    if as_json:
        print_json(_as_dict(result))
    else:
        show_result(Console(), result, keeps_running=keep)
    if not result.is_equal:
        raise typer.Exit(1)


def _as_dict(result: DemoResult) -> dict[str, Any]:
    return {
        "source": result.source,
        "recorded": result.recorded,
        "equal": result.is_equal,
        "tables": [
            {"relation": one.relation, "rows": one.rows, "differing": one.differing}
            for one in result.tables
        ],
        "writes": result.writes.total(),
        "failures": result.failures,
        "events": result.events,
        "events_per_second": result.events_per_second,
        "write_to_visible_seconds": None
        if result.recorded
        else {
            "p50": result.latency_seconds(0.5),
            "p90": result.latency_seconds(0.9),
            "p99": result.latency_seconds(0.99),
            "max": result.latency_seconds(1.0),
            "looked_up": len(result.latencies_seconds),
            "never_seen": result.never_seen,
        },
        "where": dict(result.where),
        "stop": result.stop_command or None,
    }
