"""Steps in the playground's page, and the log of the models that it shows."""

from typing import Any

from chromium_support import Chromium
from nearnext.data.sessions import Sessions
from serving_support import GROUPS, Server

HOSTILE = '<img src=x onerror="boom()">'

LOG = Sessions.of([*GROUPS, ["a-0", HOSTILE, "a-1"], ["a-0", HOSTILE]])
"""Three groups of items that no session mixes, and an id that would be a script if a page took it for HTML."""


def ready(tab: Chromium) -> None:
    tab.until("document.readyState === 'complete' && typeof state === 'object'")
    tab.until("state.list.length && state.asked === state.answered && map.ids.length")
    tab.until("document.querySelectorAll('#found button').length")


def take(tab: Chromium, item: str) -> None:
    """Click an item of the picker."""
    tab.value(
        f"[...document.querySelectorAll('#found button')].find((one) => one.textContent.includes({item!r})).click()"
    )
    ready(tab)


def texts(tab: Chromium, selector: str) -> list[str]:
    return tab.value(f"[...document.querySelectorAll({selector!r})].map((node) => node.textContent)")


def recommended(service: Server, session: list[str], **options: Any) -> list[str]:
    return service.client("POST", "/v1/recommend", {"items": session, "k": 10, **options}).json["items"]
