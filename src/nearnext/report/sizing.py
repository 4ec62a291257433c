"""What a fit will take, as a table for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from nearnext.report.numbers import count, duration, plain

__all__ = ["sizing_rows", "sizing_table"]

MB = 1e6


def sizing_rows(sized: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of an estimate."""
    data = sized["data"]
    held = ", ".join(f"{name} {count(size / MB)}" for name, size in sized["memory"].items())
    rows = [
        ("method", str(sized["method"])),
        (
            "learns from",
            f"{count(data['sessions'])} sessions, {count(data['events'])} clicks, {count(data['items'])} items",
        ),
        ("options", plain({name: value for name, value in sized["params"].items() if value not in (None, "")})),
        ("parameters", count(sized["parameters"]) if sized["parameters"] else "none: it counts"),
        ("peak memory", f"{count(sized['peak_bytes'] / MB)} MB: {held}"),
        ("free memory", f"{count(sized['available_bytes'] / MB)} MB, with what this process holds"),
    ]
    if sized["epochs"]:
        steps = f" of {count(sized['steps'])} steps" if sized["steps"] else ""
        rows.append(("epochs", f"up to {count(sized['epochs'])}{steps}"))
    return [*rows, ("time", duration(sized["seconds"])), ("measured", str(sized["basis"]))]


def sizing_table(sized: Mapping[str, Any]) -> Table:
    """The rows of an estimate as a table."""
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in sizing_rows(sized):
        table.add_row(name, Text(text))
    return table
