"""Settings: where they come from, which one wins, and what a wrong one is told."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import psycopg.conninfo
import pytest
from pydantic import ValidationError

from cdc_tail import config
from cdc_tail.config_file import example
from cdc_tail.database import Database
from cdc_tail.errors import ConfigError
from cdc_tail.settings import Settings


def conninfo(settings: Settings) -> dict[str, object]:
    return dict(psycopg.conninfo.conninfo_to_dict(Database(settings).conninfo()))


def test_nothing_set_gives_the_defaults() -> None:
    settings = config.load(environ={})
    assert settings.watch.read == "live"
    assert settings.postgres.port == 5432
    assert settings.node


def test_the_plain_names_of_containers_are_understood() -> None:
    settings = config.load(
        environ={
            "CASSANDRA_HOST": "c1",
            "CASSANDRA_PORT": "9142",
            "POSTGRES_HOST": "p1",
            "POSTGRES_PORT": "5433",
            "POSTGRES_DB": "mirror",
            "POSTGRES_USER": "u",
            "POSTGRES_PASSWORD": "geheim",
            "VAULT_ADDR": "https://vault:8200",
        }
    )
    assert (settings.cassandra.host, settings.cassandra.port) == ("c1", 9142)
    assert settings.vault.address == "https://vault:8200"
    assert conninfo(settings).items() >= {
        ("host", "p1"),
        ("port", "5433"),
        ("dbname", "mirror"),
        ("user", "u"),
        ("password", "geheim"),
    }


def test_every_setting_has_a_variable_and_a_description() -> None:
    fields = dict(config.setting_fields())
    assert "batch.max_rows" in fields
    assert config.variable_name("batch.max_rows") == "CDC_TAIL_BATCH_MAX_ROWS"
    assert len({config.variable_name(key) for key in fields}) == len(fields)
    assert [key for key, field in fields.items() if not field.description] == []
    assert set(config.PLAIN_NAMES.values()) <= set(fields)


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "cdc-tail.toml"
    file.write_text(
        'node = "file"\n[batch]\nmax_rows = 1\nmax_bytes = "1MiB"\n[postgres]\nport = 1\nhost="f"\n'
    )
    settings = config.load(
        file,
        environ={
            "POSTGRES_PORT": "2",
            "POSTGRES_HOST": "plain",
            "CDC_TAIL_POSTGRES_HOST": "own",
            "CDC_TAIL_BATCH_MAX_ROWS": "3",
        },
        options={"batch.max_rows": 4, "node": None},
    )
    assert settings.node == "file"
    assert settings.batch.max_rows == 4
    assert settings.batch.max_bytes == 1 << 20
    assert (settings.postgres.port, settings.postgres.host) == (2, "own")


def test_the_file_can_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('[mirror]\ninclude = ["shop.*"]\n')
    settings = config.load(environ={"CDC_TAIL_CONFIG": str(file)})
    assert settings.mirror.include == ("shop.*",)


def test_lists_and_sizes_in_variables() -> None:
    settings = config.load(
        environ={"CDC_TAIL_MIRROR_INCLUDE": "a.b, c.*", "CDC_TAIL_BATCH_MAX_BYTES": "4MiB"}
    )
    assert settings.mirror.include == ("a.b", "c.*")
    assert settings.batch.max_bytes == 4 << 20


def test_an_empty_variable_is_not_set() -> None:
    assert config.load(environ={"POSTGRES_PORT": ""}).postgres.port == 5432


@pytest.mark.parametrize(
    ("environ", "message", "hint"),
    [
        ({"POSTGRES_PORT": "x"}, r"postgres\.port \(POSTGRES_PORT\): .*integer", "Port of"),
        ({"CDC_TAIL_POSTGRES_PORT": "70000"}, r"postgres\.port .*less than or equal", ""),
        (
            {"CDC_TAIL_WATCH_READ": "liv"},
            r"watch\.read .*'live', 'marked' or 'synced'",
            "synced: only",
        ),
        ({"CDC_TAIL_BATCH_MAX_BYTES": "3"}, r"batch\.max_bytes .*between 65,536", ""),
        ({"CDC_TAIL_POSTGRES_HOTS": "x"}, "CDC_TAIL_POSTGRES_HOTS is no setting", "POSTGRES_HOST"),
        ({"CDC_TAIL_CONFIG": "/no/such.toml"}, "/no/such.toml can't be read", "--config"),
    ],
)
def test_a_wrong_variable_is_named_with_its_cure(
    environ: dict[str, str], message: str, hint: str
) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        config.load(environ=environ)
    assert hint in raised.value.hint
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[batch]\nmax_row = 1\n", r"batch\.max_row .*no such setting", "did you mean batch.max_r"),
        ("[batsh]\nmax_rows = 1\n", "batsh.*no such setting", ""),
        ("batch = 3\n", r"batch \(.*valid", ""),
        ("node = ", "not valid TOML", "quotes"),
        ('[mirror]\ninclude = "ks.t"\n', r"mirror\.include", ""),
    ],
)
def test_a_wrong_file_is_named_with_its_cure(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    file = tmp_path / "cdc-tail.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as raised:
        config.load(file, environ={})
    assert hint in raised.value.hint


def test_secrets_show_in_nothing_that_is_printed() -> None:
    settings = config.load(
        environ={
            "POSTGRES_PASSWORD": "geheim1",
            "CASSANDRA_PASSWORD": "geheim2",
            "CDC_TAIL_POSTGRES_DSN": "postgresql://u:geheim3@h/d",
        }
    )
    assert "geheim" not in f"{settings!r} {settings} {settings.redacted()} {settings.postgres}"
    with pytest.raises(ConfigError) as raised:
        config.load(environ={"POSTGRES_PASSWORD": "geheim4", "POSTGRES_PORT": "geheim-port"})
    assert "geheim" not in f"{raised.value} {raised.value.hint}"


def test_a_whole_connection_string_goes_first() -> None:
    settings = config.load(
        environ={"POSTGRES_HOST": "ignored"},
        options={"postgres.dsn": "postgresql://u:p@h:7/d?connect_timeout=3"},
    )
    found = conninfo(settings)
    assert (found["host"], found["port"], found["dbname"]) == ("h", "7", "d")
    assert found["connect_timeout"] == "3"


def test_settings_are_frozen() -> None:
    settings = config.load(environ={})
    with pytest.raises(ValidationError):
        settings.batch.max_rows = 1


def test_the_example_file_sets_nothing_and_names_everything(tmp_path: Path) -> None:
    file = tmp_path / "cdc-tail.toml"
    file.write_text(example())
    assert tomllib.loads(example()).keys() == {
        key.partition(".")[0] for key, _ in config.setting_fields() if "." in key
    }
    assert config.load(file, environ={}) == config.load(environ={})
    # Uncommented, each default is taken as it is.
    lines = [
        line.removeprefix("# ")
        if re.match(r"# \w+ = .", line)
        else (line if line.startswith("[") else "")
        for line in example().splitlines()
    ]
    file.write_text("\n".join(lines))
    assert config.load(file, environ={}) == config.load(environ={})


def test_hostile_values_are_refused_in_few_words(tmp_path: Path) -> None:
    file = tmp_path / "cdc-tail.toml"
    huge = "n" * 10_000_000
    for text in (
        f'node = "{huge}"',
        f"[batch]\n{huge} = 1",
        f'[mirror]\ncolumns = ["{huge}"]',
        f'[postgres]\nport = "{huge}"',
        "\0",
        "[mirror]\ninclude = [[[[[[1]]]]]]",
    ):
        file.write_text(text)
        with pytest.raises(ConfigError) as raised:
            config.load(file, environ={})
        assert len(f"{raised.value} {raised.value.hint}") < 2000
    with pytest.raises(ConfigError) as raised:
        config.load(environ={f"CDC_TAIL_{huge}": "1"})
    assert len(f"{raised.value}") < 2000
