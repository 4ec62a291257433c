"""What pages are made of: templates, figures with their captions, rows of facts."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, cast

from nearnext.errors import ConfigError
from nearnext.report.comparison import method_name, p_text
from nearnext.report.numbers import command_lines, compact, count, duration, fixed, moment, percent, plain

__all__ = ["Figure", "fact_rows", "listed", "render_page"]

UNGROUPED = ("seed",)
"""Numbers that name something, so that their thousands stay together."""


class Figure(NamedTuple):
    """A figure of a page: the SVG element, what it shows in a line, and the same at length for who cannot see it."""

    svg: str
    caption: str
    description: str


def render_page(template: str, **context: Any) -> str:
    """A page from a template of this package; all texts are escaped."""
    try:
        jinja2: Any = import_module("jinja2")
    except ImportError as error:
        raise ConfigError("the HTML report needs jinja2; install it with: pip install 'nearnext[report]'") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nearnext.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = (command_lines, compact, count, duration, fixed, moment, percent, plain)
    environment.filters.update({form.__name__: form for form in (*formats, method_name, p_text)})
    # The figures are our own SVG, in which matplotlib has escaped every name.
    environment.filters["svg"] = import_module("markupsafe").Markup
    return environment.get_template(template).render(**context)


def fact_rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of any further facts, nested ones a row each."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        name = key.replace("_", " ")
        if key.endswith("_seconds"):
            rows.append((name.removesuffix(" seconds"), duration(value)))
        elif isinstance(value, Mapping):
            nested = cast("Mapping[str, Any]", value)
            rows += [(f"{name}: {inner}", text) for inner, text in fact_rows(nested)]
        elif isinstance(value, int) and not isinstance(value, bool) and key not in UNGROUPED:
            rows.append((name, count(value)))
        else:
            rows.append((name, plain(value)))
    return rows


def listed(values: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    """The list under a key, empty where there is none."""
    return values.get(key) or ()
