"""The page about the command line, from the commands' own help; runs none of them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer.main

from cdc_tail.cli.app import EXIT_CODES, HELP, app


def cli_page() -> str:
    """Every command with its arguments, options and examples, as Markdown."""
    root: Any = typer.main.get_command(app)
    lines = ["# Command line", "", inspect.cleandoc(HELP), ""]
    lines += ["This page is generated from the program's own help (`cdc-tail COMMAND --help`).", ""]
    for name, command in _commands(root):
        lines += [f"## cdc-tail {name}", "", f"`cdc-tail {name} {_usage(command)}`".strip(), ""]
        lines += [inspect.cleandoc(command.help or ""), ""]
        lines += _parameters(command)
    lines += ["## Exit codes", "", _without_title(inspect.cleandoc(EXIT_CODES))]
    return "\n".join(lines).rstrip() + "\n"


def _commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command by its whole name, those of groups after their group."""
    for name, command in group.commands.items():
        yield prefix + name, command
        yield from _commands(command, f"{prefix}{name} ") if hasattr(command, "commands") else ()


def _usage(command: Any) -> str:
    if hasattr(command, "commands"):
        return "COMMAND"
    arguments = [one.metavar or one.name.upper() for one in command.params if _is_argument(one)]
    return " ".join(["[OPTIONS]", *arguments])


def _parameters(command: Any) -> list[str]:
    rows = [
        f"| {_names(one)} | {_one_line(one.help)}{_default(one)} |"
        for one in command.params
        if getattr(one, "help", None)
    ]
    return ["| option | meaning |", "|---|---|", *rows, ""] if rows else []


def _names(parameter: Any) -> str:
    if _is_argument(parameter):
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in names).replace("|", r"\|")


def _default(parameter: Any) -> str:
    if _is_argument(parameter) or parameter.is_flag or parameter.default in (None, ()):
        return ""
    return f" Default: {parameter.default}."


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _without_title(text: str) -> str:
    return text.partition("\n\n")[2]
