"""The page itself: one file that needs nothing else."""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files


def page(method: str) -> bytes:
    """The complete HTML of the playground, as UTF-8; it asks the service that it came from for everything else."""
    return _page().replace("{{method}}", escape(method)).encode()


@cache
def _page() -> str:
    folder = files("nearnext.serving.playground")
    parts = {name: folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")}
    return parts["page.html"].replace("{{css}}", parts["page.css"]).replace("{{js}}", parts["page.js"])


def _hash(tag: str) -> str:
    content = _page().partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_hash('script')}; style-src {_hash('style')}; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()
"""Content security policy of the page: its own script and style, and the service that it came from."""
