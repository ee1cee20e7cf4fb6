"""The command line as a stranger meets it: help, errors and their exit codes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

import cdc_tail
import cdc_tail.local.errors  # its errors are of the tree, too
from cdc_tail.cli.app import app, main
from cdc_tail.errors import CdcTailError
from tests.support.golden import GOLDEN, golden_cases

COMMANDS = (
    "run",
    "replay",
    "snapshot",
    "status",
    "schema",
    "doctor",
    "inspect",
    "verify",
    "demo",
    "version",
)
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """`command("replay", ..., POSTGRES_PORT="1")`: the program's own main, in this process."""
    for name in os.environ:
        if name.startswith(("CDC_TAIL_", "POSTGRES_", "CASSANDRA_", "VAULT_")):
            monkeypatch.delenv(name)
    handlers = logging.getLogger().handlers[:]
    signals = {
        one: signal.getsignal(one) for one in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT)
    }

    def run(*arguments: str, **environ: str) -> Done:
        for name, value in (environ | {"COLUMNS": "200"}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["cdc-tail", *arguments])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            logging.getLogger().handlers[:] = handlers
            for number, handler in signals.items():
                signal.signal(number, handler)
            structlog.reset_defaults()
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


def test_every_command_is_there_and_explains_itself(command: Command) -> None:
    assert tuple(one.name for one in app.registered_commands) == COMMANDS
    assert "Exit codes" in command("--help").stdout
    for one in app.registered_commands:
        assert one.callback is not None
        doc = one.callback.__doc__ or ""
        assert len(doc.strip().splitlines()[0]) > 20, one.name
        assert one.name == "version" or "**Examples**" in doc, one.name


def test_without_a_command_it_shows_its_help(command: Command) -> None:
    done = command()
    assert done.returncode == 2
    assert "Usage:" in done.stdout + done.stderr


def test_the_version_for_people_and_for_programs(command: Command) -> None:
    assert cdc_tail.__version__ in command("version").stdout
    assert json.loads(command("version", "--json").stdout)["cdc_tail"] == (cdc_tail.__version__)


def test_a_wrong_setting_is_told_with_its_cure_on_stderr(command: Command) -> None:
    done = command("status", POSTGRES_PORT="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: postgres.port (POSTGRES_PORT)" in done.stderr
    assert "next: postgres.port: Port of PostgreSQL." in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_is_a_usage_error(command: Command) -> None:
    assert command("run", "--no-such-option").returncode == 2


def test_run_without_a_cdc_raw_folder_says_so(command: Command, tmp_path: Path) -> None:
    done = command(
        "run", "--cdc-raw", str(tmp_path / "none"), "--http-port", "0", POSTGRES_PORT="1"
    )
    assert done.returncode == 2
    assert "cassandra.cdc_raw" in done.stderr


@pytest.mark.parametrize("name", ["replay", "inspect"])
def test_a_path_without_segments_is_no_empty_log(
    command: Command, tmp_path: Path, name: str
) -> None:
    done = command(name, str(tmp_path))
    assert done.returncode == 2
    assert "holds no commit-log segment" in done.stderr
    done = command(name, str(tmp_path / "none"))
    assert done.returncode == 2
    assert "does not exist" in done.stderr


def test_a_database_that_is_away_has_its_exit_code(command: Command, tmp_path: Path) -> None:
    (case,) = golden_cases("scalars", "5.0")
    case.unpack(tmp_path)
    done = command("replay", str(tmp_path), "--postgres", "host=127.0.0.1 port=1")
    assert done.returncode == 21
    assert "PostgreSQL does not answer" in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    (case,) = golden_cases("scalars", "5.0")
    case.unpack(tmp_path)
    done = subprocess.run(
        f"{sys.executable} -m cdc_tail inspect {tmp_path} --json | head -1",
        shell=True,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["size_bytes"] > 0
    assert done.stderr == ""


def test_settings_are_checked_with_the_files_they_name(command: Command, tmp_path: Path) -> None:
    done = command("config", "check")
    assert (done.returncode, done.stdout) == (0, "the settings are right\n")
    missing = {"CDC_TAIL_ENCRYPTION_KEYSTORE": str(tmp_path / "none")}
    done = command("config", "check", **missing)
    assert done.returncode == 3
    assert f"the keystore {tmp_path / 'none'} can't be read" in done.stderr
    assert command("config", "check", "--no-files", **missing).returncode == 0


def test_keys_that_are_no_list_are_refused_without_being_told(command: Command) -> None:
    done = command("config", "check", CDC_TAIL_ENCRYPTION_KEYS="000102030405060708090a0b0c0d0e0f")
    assert done.returncode == 2
    assert "encryption.keys is not a list of alias=key" in done.stderr
    assert "0a0b0c" not in done.stdout + done.stderr


def test_settings_are_shown_as_they_take_effect_without_secrets(
    command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "cdc-tail.toml"
    file.write_text('node = "of the file"\n[postgres]\npassword = "hunter2"\nport = 1\n')
    shown = command("config", "show", "--config", str(file), POSTGRES_PORT="2")
    assert shown.returncode == 0
    lines = dict(line.split(" = ", 1) for line in shown.stdout.splitlines())
    assert lines["node"] == '"of the file"'
    assert lines["postgres.port"] == "2"
    assert "hunter2" not in shown.stdout
    as_json = json.loads(
        command("config", "show", "--json", "--config", str(file), POSTGRES_PORT="2").stdout
    )
    for key, text in lines.items():
        value = as_json
        for part in key.split("."):
            value = value[part]
        assert json.loads(text) == value


def test_the_example_is_a_settings_file(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "cdc-tail.toml"
    file.write_text(command("config", "example").stdout)
    assert command("config", "check", "--config", str(file)).returncode == 0


def test_segments_are_shown_to_people(command: Command, tmp_path: Path) -> None:
    (case,) = golden_cases("row_deletions", "5.0")
    case.unpack(tmp_path)
    shown = command("inspect", str(tmp_path), "--table", "row_deletions.t", "--key", "3")
    assert shown.returncode == 0
    *_, position, update, row = shown.stdout.splitlines()
    assert position.endswith(" 73 bytes")
    assert update == "  row_deletions.t  3"
    assert row == (
        "    row  clustering=(ck=1) writetime_us=1900000000000002 "
        "deletion=(timestamp_us=1900000000000001 deleted_at_s=1795444808) "
        "cells=[(column=v value=row over its deletion writetime_us=1900000000000002)]"
    )


@pytest.mark.parametrize(
    ("name", "keystore"),
    [("container_jceks", "commitlog.jceks"), ("container_pkcs12", "commitlog.p12")],
)
def test_encrypted_segments_are_shown_with_the_keystores_keys(
    command: Command, tmp_path: Path, name: str, keystore: str
) -> None:
    (case,) = golden_cases(name, "5.0")
    case.unpack(tmp_path)
    opened = {
        "CDC_TAIL_ENCRYPTION_KEYSTORE": str(GOLDEN / "keystores" / keystore),
        "CDC_TAIL_ENCRYPTION_KEYSTORE_PASSWORD": "cassandra",
    }
    shown = command("inspect", str(tmp_path), "--json", **opened)
    assert shown.returncode == 0
    said = [line["position"] for line in case.reader if "position" in line]
    assert [json.loads(line)["position"] for line in shown.stdout.splitlines()] == said


def test_exit_codes_of_the_error_tree_are_as_the_help_says() -> None:
    def all_below(kind: type[CdcTailError]) -> list[type[CdcTailError]]:
        return [kind, *(one for below in kind.__subclasses__() for one in all_below(below))]

    codes = {one.exit_code for one in all_below(CdcTailError)}
    assert codes <= {1, 2, 3, 4, 5, *range(10, 14), *range(20, 24), *range(30, 34), 40}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(shell: str) -> None:
    for typed, wanted in (("cdc-tail sn", "snapshot"), ("cdc-tail verify --rep", "--repair")):
        done = subprocess.run(
            [Path(sys.executable).with_name("cdc-tail")],
            env={
                **os.environ,
                "_CDC_TAIL_COMPLETE": f"complete_{shell}",
                "COMP_WORDS": typed,  # bash
                "COMP_CWORD": str(len(typed.split()) - 1),
                "_TYPER_COMPLETE_ARGS": typed,  # the others
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
            check=False,
            capture_output=True,
            text=True,
        )
        assert wanted in done.stdout, done
