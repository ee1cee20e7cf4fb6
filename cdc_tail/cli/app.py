"""The root of the command line: commands, and the way from an error to an exit code."""

from __future__ import annotations

import sys

import typer

from cdc_tail.cli import (
    config,
    demo,
    dlq,
    doctor,
    inspect,
    replay,
    run,
    schema,
    snapshot,
    status,
    verify,
    version,
)
from cdc_tail.cli.common import tell_error
from cdc_tail.errors import CdcTailError

HELP = """
Keep a PostgreSQL mirror of Cassandra's CDC tables, from the commit log.

Beside each Cassandra node, `cdc-tail run` follows the node's cdc_raw folder and applies every
change to PostgreSQL, so that the mirror equals Cassandra's own SELECT. `cdc-tail demo` shows it all
on this machine.
"""

EXIT_CODES = """
**Exit codes**

0 done · 1 differences found (`verify`), a check failed (`doctor`), or an unforeseen error ·
2 wrong option or setting · 3 credentials · 4 Cassandra does not answer · 5 the archive does not
answer · 10-13 a segment is corrupt, of an unknown format, or of an unknown table · 20-23 PostgreSQL
is away, the mirror differs from its definition, or refuses a row · 30-33 another process holds the
node's lease, segments are gone, or PostgreSQL has lost commits · 130 interrupted

Completion of commands and options in bash, zsh and fish: `cdc-tail --install-completion`, or
`--show-completion` to see what that would add.

Settings: a TOML file (--config), environment variables (see .env.example), options; later wins.
"""

app = typer.Typer(
    name="cdc-tail",
    help=HELP,
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("replay")(replay.replay)
app.command("snapshot")(snapshot.snapshot)
app.command("status")(status.status)
app.command("schema")(schema.schema)
app.command("doctor")(doctor.doctor)
app.command("inspect")(inspect.inspect)
app.command("verify")(verify.verify)
app.add_typer(dlq.app, name="dlq")
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)
app.command("version")(version.version)


def main() -> None:
    """Run the command line; the exit code says how it ended."""
    try:
        app()
    except CdcTailError as error:
        tell_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
