"""The page of the playground, in a real headless Chromium."""

import json
import re
import shlex
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium_support import Chromium
from nearnext.artifact import save_artifact
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.neighbours import VSKNN
from nearnext.serving.playground import page
from playground_support import HOSTILE, LOG, ready, recommended, take, texts
from serving_support import Server, started

pytestmark = pytest.mark.slow

HOSTILE_FRAGMENTS = (
    "not,json",
    "%",
    "%ff,%00",
    "null",
    "{}",
    "[[]]",
    "%7B%22toString%22:1%7D",
    "true,1.5,-0,1e999",
    "%22%22",
    ",,,",
    "%22__proto__%22%22",
    ",".join(["1"] * 1001),
    "%22" + "x" * 513 + "%22",
)
"""What is no session: no ids, ids that no service takes, or too many."""


@pytest.fixture(scope="module")
def vsknn() -> Recommender:
    return VSKNN().fit(LOG).remember(LOG)


def test_the_page_needs_nothing_from_elsewhere():
    text = page("<script>").decode()
    assert "<title>&lt;script&gt; · nearnext" in text
    assert "{{" not in text
    assert not re.search(r"https?://|\bimport\b|@import|url\(|<link[^>]+href=\"(?!data:)|<script[^>]+src", text)


@pytest.fixture(scope="module")
def service(vsknn: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = tmp_path_factory.mktemp("playground")
    with started(save_artifact(vsknn, folder / "model", {}), folder=folder) as running:
        yield running


@pytest.fixture
def tab(browser: Chromium, service: Server) -> Iterator[Chromium]:
    """The playground, loaded, on a desktop screen; no error and no foreign address may have come up in the end."""
    browser.look(1280, 900)
    browser.open(service.url + "/")
    ready(browser)
    yield browser
    assert browser.errors == []
    assert all(address.startswith((service.url, "data:", "about:")) for address in browser.addresses)


def test_clicking_items_builds_a_session_and_shows_its_recommendations(tab: Chromium, service: Server):
    assert texts(tab, "#list .id") == recommended(service, [])
    take(tab, "b-4")
    take(tab, "b-0")
    assert texts(tab, "#clicks .id") == ["b-4", "b-0"]
    wanted = recommended(service, ["b-4", "b-0"])
    assert texts(tab, "#list .id") == wanted
    tab.value("document.querySelector('#list .take').click()")
    ready(tab)
    assert texts(tab, "#clicks .id") == ["b-4", "b-0", wanted[0]]
    assert tab.value("document.getElementById('latency').hidden") is False


def test_the_command_for_curl_gives_the_list_that_is_shown(tab: Chromium, service: Server):
    for item in ("b-4", "b-0"):
        take(tab, item)
    shown = tab.value("document.getElementById('curl').textContent")
    said = shlex.split(shown)
    assert said[:2] == ["curl", f"{service.url}/v1/recommend"]
    assert json.loads(said[said.index("--data") + 1])["items"] == ["b-4", "b-0"]
    tab.value("document.querySelector('.request').open = true")
    assert tab.value("getComputedStyle(document.getElementById('curl')).display") == "block"
    assert tab.value("document.querySelector('.request a').href") == f"{service.url}/docs"
    odd = """O'Neil's "$(x)" `y`"""
    assert shlex.split(tab.value(f"command('/p', {{ items: [{json.dumps(odd)}] }})"))[-1] == json.dumps(
        {"items": [odd]}, separators=(",", ":")
    )


def test_clicks_can_be_removed_undone_and_cleared(tab: Chromium, service: Server):
    for item in ("c-0", "b-0", "c-4"):
        take(tab, item)
    tab.value("document.querySelector('#clicks li:nth-child(2) button').click()")
    ready(tab)
    assert texts(tab, "#clicks .id") == ["c-0", "c-4"]
    assert texts(tab, "#list .id") == recommended(service, ["c-0", "c-4"])
    tab.value("document.getElementById('undo').click()")
    ready(tab)
    assert texts(tab, "#clicks .id") == ["c-0"]
    tab.value("document.getElementById('clear').click()")
    ready(tab)
    assert texts(tab, "#clicks .id") == []
    assert tab.value("document.getElementById('undo').disabled") is True


def test_length_and_unseen_items_are_the_users_choice(tab: Chromium, service: Server):
    take(tab, "a-0")
    tab.value("document.querySelector('[data-k=\"5\"]').click()")
    ready(tab)
    assert len(texts(tab, "#list .id")) == 5
    tab.value("document.getElementById('unseen').click()")
    ready(tab)
    assert texts(tab, "#list .id") == recommended(service, ["a-0"], k=5, exclude_seen=True)


def test_reasons_are_those_of_the_service(tab: Chromium, service: Server):
    take(tab, "a-0")
    take(tab, "a-4")
    first = texts(tab, "#list .id")[0]
    tab.value("document.querySelector('#list .why').click()")
    tab.until("document.querySelector('.reasons .lead')")
    why = service.client("POST", "/v1/explain", {"items": ["a-0", "a-4"], "item": first}).json
    found = why["evidence"]
    headings = texts(tab, ".reasons h3")
    assert (
        f"{found['containing']} of the {found['nearest']} training sessions most like this one clicked it" in headings
    )
    assert texts(tab, ".effects .id") == ["1 · a-0", "2 · a-4"]
    similar = [one["item"] for one in why["similar"]]
    assert texts(tab, ".reasons > section:last-of-type .chip") == similar
    tab.value("document.querySelector('#list .why').click()")
    assert texts(tab, ".reasons") == []


def test_the_sessions_point_moves_on_the_map(tab: Chromium, service: Server):
    assert tab.value("map.shown") is None
    places: list[Any] = []
    for item in ("a-0", "c-4"):
        take(tab, item)
        session = texts(tab, "#clicks .id")
        place = service.client("POST", "/v1/map/session", {"items": session}).json
        tab.until(f"map.shown && Math.hypot(map.shown.x - {place['x']}, map.shown.y - {place['y']}) < 1e-6")
        places.append(place)
    assert places[0] != places[1]
    assert tab.value("map.trail") == places
    accent = "const s = scale(), ratio = devicePixelRatio, [x, y] = project(map.shown.x, map.shown.y, s);"
    pixel = tab.value(
        f"(async () => {{ await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame); {accent}"
        "return [...brush.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data] })()"
    )
    assert pixel == [0xC8, 0x40, 0x1C, 255]


def test_the_map_shows_the_surroundings_of_the_session_on_request(tab: Chromium):
    assert tab.value("document.getElementById('here').disabled") is True
    take(tab, "a-0")
    tab.until("map.shown && !document.getElementById('here').disabled")
    tab.value("document.getElementById('here').click()")
    assert tab.value("map.view") != {"x": 0, "y": 0, "zoom": 1}  # how far it zooms depends on where the items are
    inside = "([x, y]) => x >= 0 && y >= 0 && x <= scale().width && y <= scale().height"
    places = (
        "state.list.map((entry) => map.index.get(key(entry.id))).map((at) => project(map.x[at], map.y[at], scale()))"
    )
    assert tab.value(f"[project(map.shown.x, map.shown.y, scale()), ...{places}].every({inside})")
    tab.value("document.getElementById('whole').click()")
    assert tab.value("map.view") == {"x": 0, "y": 0, "zoom": 1}


def test_a_click_on_the_map_is_a_click_on_the_item(tab: Chromium):
    item, x, y = tab.value(
        "(() => { const s = scale(), box = canvas.getBoundingClientRect(), [x, y] = project(map.x[0], map.y[0], s);"
        "return [map.ids[itemAt(x, y, 12)], box.left + x, box.top + y] })()"
    )
    tab.press(x, y)
    tab.until("state.session.length === 1")
    assert texts(tab, "#clicks .id") == [item]
    ready(tab)


def test_the_search_finds_items_and_says_when_there_are_none(tab: Chromium):
    tab.value("(() => { const box = document.getElementById('query'); box.value = 'B-'; box.oninput() })()")
    tab.until("document.querySelectorAll('#found button').length === 9")
    assert all(item.startswith("b-") for item in texts(tab, "#found .id"))
    tab.value("(() => { const box = document.getElementById('query'); box.value = 'zzz'; box.oninput() })()")
    tab.until("document.querySelector('#found').textContent.includes('No id contains')")


def test_ids_are_shown_as_text_whatever_they_hold(tab: Chromium, service: Server):
    take(tab, "onerror")
    assert texts(tab, "#clicks .id") == [HOSTILE]
    assert texts(tab, "#list .id") == recommended(service, [HOSTILE])
    tab.value("[...document.querySelectorAll('#list .why')].at(-1).click()")
    tab.until("document.querySelector('.reasons .lead')")
    assert tab.value("document.images.length") == 0


def test_the_address_keeps_the_session(tab: Chromium, service: Server):
    take(tab, "a-0")
    take(tab, "onerror")
    address = tab.value("location.href")
    tab.open(address)
    ready(tab)
    assert texts(tab, "#clicks .id") == ["a-0", HOSTILE]
    for hostile in HOSTILE_FRAGMENTS:
        tab.open(f"{service.url}/#{hostile}")
        ready(tab)
        assert texts(tab, "#clicks .id") == []
        tab.value("location.hash = '#%22a-0%22'")
        tab.until("state.session.length === 1")
        ready(tab)
        tab.value(f"location.hash = {('#' + hostile)!r}")
        tab.until("state.session.length === 0")
        ready(tab)


def test_the_choice_of_light_or_dark_is_kept(tab: Chromium):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = chosen = tab.value(colour)
    for _ in range(2):
        before = chosen
        tab.value("document.getElementById('theme').click()")
        chosen = tab.value(colour)
        assert chosen != before
        tab.open(tab.value("location.href"))
        ready(tab)
        assert tab.value(colour) == chosen
    assert chosen == light
    tab.value("localStorage.clear()")


def test_a_browser_that_refuses_storage_shows_the_page(tab: Chromium, service: Server):
    refuse = "Object.defineProperty(window, name, {get() { throw new DOMException('refused', 'SecurityError'); }})"
    source = f"for (const name of ['localStorage', 'sessionStorage']) {refuse};"
    script = tab.ask("Page.addScriptToEvaluateOnNewDocument", source=source)
    try:
        tab.open(service.url + "/")
        ready(tab)
        assert texts(tab, "#list .id") == recommended(service, [])
        tab.value("document.getElementById('theme').click()")
    finally:
        tab.ask("Page.removeScriptToEvaluateOnNewDocument", **script)


@pytest.mark.parametrize("width", [320, 390, 820, 1440])
def test_nothing_is_wider_than_the_screen(tab: Chromium, width: int, tmp_path: Path):
    tab.look(width, 844, phone=width < 700, dark=width == 820)
    take(tab, "onerror")
    tab.value("document.querySelector('#list .why').click()")
    tab.until("document.querySelector('.reasons .lead')")
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")
    assert tab.value("innerWidth") == width
    assert tab.value("canvas.getBoundingClientRect().width > 200")
    tab.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
