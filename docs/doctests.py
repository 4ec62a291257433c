"""Doctests of docstrings as code blocks on the pages, wherever they stand in the docstring."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*(?:\n\n>>> .*(?:\n(?!\s*$).*)*)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts every run of `>>>` lines, with the output below it, into a fence of its own."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found.group()}\n```", obj.docstring.value)
