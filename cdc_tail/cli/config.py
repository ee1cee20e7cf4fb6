"""`cdc-tail config`: check, show and example."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from cdc_tail import config, tls
from cdc_tail.cli.common import ConfigOption, JsonOption, print_json
from cdc_tail.config_file import example
from cdc_tail.database import Database
from cdc_tail.keys import read_keys
from sinks.postgres.seal import Seal
from sinks.postgres.typemap import Mapping

app = typer.Typer(help="Check and show the settings.", no_args_is_help=True)


@app.command()
def check(
    config_file: ConfigOption = None,
    connect: Annotated[
        bool, typer.Option("--files/--no-files", help="Also open the files that settings name.")
    ] = True,
) -> None:
    """Say whether the settings can be used, or every key that is wrong and what would be right.

    Connects to nothing but Vault, if one is set; `cdc-tail doctor` looks at the rest. Exits 0 or 2.

    **Examples**

    `cdc-tail config check --config /etc/cdc-tail.toml`
    """
    settings = config.load(config_file)
    mask_key = settings.mirror.mask_bytes()
    Mapping(columns=settings.mirror.column_types(), mask_key=mask_key)
    Seal(mask_key)
    if connect:
        read_keys(settings)
        tls.client_context(settings.cassandra.tls, "cassandra.", settings.cassandra.host)
        tls.server_context(settings.http.tls)
        Database(settings).conninfo()
    print("the settings are right")


@app.command()
def show(config_file: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show every setting as it takes effect, secrets as asterisks.

    **Examples**

    `cdc-tail config show`

    `cdc-tail config show --json | jq .batch`
    """
    shown = config.load(config_file).redacted()
    if as_json:
        print_json(shown)
        return
    for key, _ in config.setting_fields():
        value: object = shown
        for part in key.split("."):
            assert isinstance(value, dict)
            value = value[part]
        print(f"{key} = {json.dumps(value, ensure_ascii=False)}")


@app.command("example")
def example_() -> None:
    """Print a settings file with every setting, its meaning and its default, all commented.

    **Examples**

    `cdc-tail config example > cdc-tail.toml`
    """
    sys.stdout.write(example())
