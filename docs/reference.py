"""Writes the reference pages of the documents: every command, and every method, with its options."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from nearnext.cli.commands import app
from nearnext.cli.tools import OPTION_HEADINGS, option_facts, option_row
from nearnext.recommenders.sml.recommender import SML
from nearnext.registry import ENCODERS, LOSSES, NEGATIVES, RECOMMENDERS, SAMPLERS

METHODS_HEAD = """# Methods

Made from the methods by `make docs`; `nearnext options METHOD` prints the same.

Set an option with `--set NAME=VALUE` in `fit` and `tune`, `--set METHOD.NAME=VALUE` in `compare`, a TOML or YAML file
with `--config`, or in Python: `nearnext.make_recommender("vsknn", {"k": 200})`. `tune` tries what stands under "tuning
tries". [Results](results.md) has their accuracy on real logs, [Installing](install.md) says which need torch. Where no
default stands, there is none, or the last column says what None means."""


def command_reference() -> str:
    """Every command with its arguments, options and defaults, as Markdown."""
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
    none = default is None or default is False or default == "" or callable(default)
    shown = "required" if parameter.required else "" if none else default
    return f"| `{name}` | {shown} | {_cell(parameter.help or '')} |"


def method_reference() -> str:
    """Every method with its options, and the parts that metric models are made of, as Markdown."""
    lines = [METHODS_HEAD]
    for name in (*RECOMMENDERS, "sml-gru-ncas"):
        part = SML if name.startswith("sml-") else RECOMMENDERS[name]
        lines += ["", f"## {name}", "", _summary(part)]
        if facts := option_facts(name):
            lines += ["", f"| {' | '.join(OPTION_HEADINGS)} |", "|---" * len(OPTION_HEADINGS) + "|"]
            lines += [f"| `{option}` | {' | '.join(map(_cell, rest))} |" for option, *rest in map(option_row, facts)]
    for registry in (ENCODERS, LOSSES, SAMPLERS, NEGATIVES):
        lines += ["", f"## Part of sml-*: {registry.label}", "", "| name | what | options |", "|---|---|---|"]
        for name, part in registry.items():
            options = ", ".join(f"`{option}`" for option in registry.option_names(name))
            lines.append(f"| `{name}` | {_cell(_summary(part))} | {options} |")
    return "\n".join((*lines, ""))


def _summary(part: type[Any]) -> str:
    """The first sentences of a part's documentation, with Markdown's code marks."""
    return " ".join(str(part.__doc__).partition("\n\n")[0].split()).replace("``", "`")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    here = Path(__file__).parent
    (here / "commands.md").write_text(command_reference(), encoding="utf-8")
    (here / "methods.md").write_text(method_reference(), encoding="utf-8")
