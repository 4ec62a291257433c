"""The page itself: one file that needs nothing else."""

from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

__all__ = ["page"]


def page(model: Mapping[str, Any]) -> bytes:
    """The complete HTML of the playground, as UTF-8; it asks the service that it came from for everything else.

    Args:
        model: what the service says of its model; the name of its ``method`` goes into the title.

    >>> b"<title>vsknn" in page({"method": "vsknn"})
    True
    """
    return _page().replace("{{method}}", escape(str(model.get("method", "nearnext")))).encode()


@cache
def _page() -> str:
    folder = files("nearnext.serving.playground")
    parts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    return parts["page.html"].replace("{{css}}", parts["page.css"]).replace("{{js}}", parts["page.js"])
