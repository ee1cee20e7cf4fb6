"""Settings from file, environment and options, merged and checked at start.

Later wins: defaults, the TOML file, the plain names that containers set (CASSANDRA_HOST, ...),
CDC_TAIL_*, options of the command line.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cdc_tail import failpoints
from cdc_tail.errors import ConfigError
from cdc_tail.settings import Settings

ENV_PREFIX = "CDC_TAIL_"
_TOLD = 10  # wrong settings named in one message
CONFIG_FILE_VARIABLE = "CDC_TAIL_CONFIG"
# Variables that the demo and the tests read for themselves.
NOT_SETTINGS = (
    CONFIG_FILE_VARIABLE,
    "CDC_TAIL_CACHE",
    "CDC_TAIL_DEMO_",
    failpoints.VARIABLE,
    "CDC_TAIL_KILLS",
    "CDC_TAIL_ROUNDS",
    "CDC_TAIL_TEST_",
)
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
    "VAULT_NAMESPACE": "vault.namespace",
    "VAULT_TOKEN": "vault.token",
    "VAULT_CACERT": "vault.ca",
}


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
    sections = {key.rpartition(".")[0] for key, _ in setting_fields()}
    return {key: (key, value) for key, value in _flat(content, sections)}


def _flat(
    content: Mapping[str, Any], sections: Container[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """The content of a file as ("section.name", value)."""
    for name, value in content.items():
        key = prefix + name
        if isinstance(value, dict) and key in sections:
            yield from _flat(value, sections, f"{key}.")
        else:
            yield key, value


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
                f"the environment variable {_short(name)} is no setting of cdc-tail",
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
            lines.append(f"{_short(key)}{origin}: there is no such setting")
            hints.append(_nearest(key, known))
        else:
            said = _short(problem["msg"][:1].lower() + problem["msg"][1:], 500)
            lines.append(f"{_short(key)}{origin}: {said}")
            if key in known and known[key].description:
                hints.append(f"{key}: {known[key].description}{_choices(known[key])}")
    more = [f"and {len(lines) - _TOLD} more"] if len(lines) > _TOLD else []
    return ConfigError(
        "; ".join(lines[:_TOLD] + more), hint=" ".join(hint for hint in hints[:_TOLD] if hint)
    )


def _short(text: str, most: int = 100) -> str:
    """What a file or a variable said, as far as it fits into a message."""
    return text if len(text) <= most else f"{text[:most]}…"


def _choices(field: FieldInfo) -> str:
    values = [repr(value) for value in get_args(field.annotation) if isinstance(value, str)]
    return f" One of {', '.join(values)}." if values else ""


def _nearest(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(_short(name), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""
