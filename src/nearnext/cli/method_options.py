"""The command that lists the options of a method."""

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from nearnext.cli.app import app, takes
from nearnext.cli.output import Results, console, json_file
from nearnext.cli.parts import imports_parts
from nearnext.recommenders.named import canonical_name, make_recommender, method_options


def option_facts(method: str) -> list[dict[str, Any]]:
    """The options of a method as plain data."""
    defaults = make_recommender(method).params()
    return [
        {
            "option": name,
            "values": str(option),
            "default": defaults.get(name, option.default if option.has_default else None),
            "search": str(option.search) if option.search is not None else None,
            "searched_where": {key: list(values) for key, values in option.search.where.items()}
            if option.search is not None
            else {},
            "help": option.help,
        }
        for name, option in method_options(method).items()
    ]


@app.command("options")
@imports_parts
@takes("results", json_file)
def list_options(
    method: Annotated[str, typer.Argument(help="Method, e.g. vsknn or sml-gru-ncas.")], *, results: Results
) -> None:
    """The options of a method: what each may be, its default, what tuning tries, and what it is for."""
    facts = option_facts(method)
    results.write({"method": canonical_name(method), "options": facts})
    if not facts:
        console.print(f"{canonical_name(method)} has no options")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("option", "values", "default", "tuning tries", "what"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "option")
    for each in facts:
        where = "".join(f"; {name} {', '.join(map(str, values))}" for name, values in each["searched_where"].items())
        row = (
            each["option"],
            each["values"],
            _shown(each["default"]),
            (each["search"] or "") + where,
            each["help"].replace("`", ""),
        )
        table.add_row(*map(Text, row))
    if facts:
        console.print(table)
    results.announce()


def _shown(default: Any) -> str:
    if isinstance(default, list | tuple):
        return ",".join(str(each) for each in default)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
