"""All commands of the application, and their reference page; importing them imports none of the work that they do."""

from collections.abc import Iterator
from typing import Any

import typer.main

from nearnext.cli import comparing, logs, models, paper, recommending, service, tools, vectors
from nearnext.cli.app import app

__all__ = [
    "app",
    "command_reference",
    "comparing",
    "logs",
    "models",
    "paper",
    "recommending",
    "service",
    "tools",
    "vectors",
]


def command_reference() -> str:
    """Every command with its arguments, options and defaults, as Markdown.

    >>> "## nearnext compare" in command_reference(), "## nearnext paper table1" in command_reference()
    (True, True)
    """
    lines = ["# Command line", "", "Made from the commands by `make docs`.", ""]
    for name, command in _commands("nearnext", typer.main.get_command(app)):
        lines += [f"## {name}", "", " ".join(str(command.help).split()), "", "| option | default | what |"]
        lines += ["|---|---|---|", *(_row(parameter) for parameter in command.params if parameter.name != "help"), ""]
    return "\n".join(lines)


def _commands(name: str, group: Any) -> Iterator[tuple[str, Any]]:
    """Every command under a group, with the words that call it; a group of commands is none itself."""
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(f"{name} {word}", command)
        else:
            yield f"{name} {word}", command


def _row(parameter: Any) -> str:
    is_option = bool(parameter.opts) and parameter.opts[0].startswith("-")
    name = ", ".join((*parameter.opts, *parameter.secondary_opts)) if is_option else str(parameter.name).upper()
    default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    shown = "required" if parameter.required else "" if default in (None, "", False) or callable(default) else default
    text = " ".join(str(parameter.help or "").split()).replace("|", "\\|")
    return f"| `{name}` | {shown} | {text} |"
