"""Doctests of docstrings as code blocks on the pages, wherever they stand; public names as the stub has them."""

import re
from pathlib import Path
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*(?:\n\n>>> .*(?:\n(?!\s*$).*)*)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts every run of `>>>` lines, with the output below it, into a fence of its own."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found.group()}\n```", obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Show what the stub of a package says that it offers."""
        stub = Path(str(pkg.filepath)).with_suffix(".pyi")
        if stub.is_file():
            pkg.exports = re.findall(r"(?m) as (\w+)$", stub.read_text("utf-8"))
