"""The page of the playground, in a real headless Chromium."""

import json
import re
import shutil
from base64 import b64decode
from collections.abc import Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

from chromium_support import Chromium
from nearnext.artifact import save_artifact
from nearnext.data.items import read_items
from nearnext.data.sessions import Sessions
from nearnext.recommenders.base import Recommender
from nearnext.recommenders.neighbours import VSKNN
from nearnext.serving.playground import page
from serving_support import GROUPS, Server, started

pytestmark = pytest.mark.slow

HOSTILE = '<img src=x onerror="boom()">'
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

LOG = Sessions.of([*GROUPS, ["a-0", HOSTILE, "a-1"], ["a-0", HOSTILE]])
"""Three groups of items that no session mixes, and an id that would be a script if a page took it for HTML."""


@pytest.fixture(scope="module")
def vsknn() -> Recommender:
    return VSKNN().fit(LOG).remember(LOG)


def test_the_page_needs_nothing_from_elsewhere():
    text = page("<script>").decode()
    assert "<title>&lt;script&gt; · nearnext" in text
    assert "{{" not in text
    assert not re.search(r"https?://|\bimport\b|@import|url\(|<link[^>]+href=\"(?!data:)|<script[^>]+src", text)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        pytest.skip("needs Chromium: install the chromium package")
    one = Chromium(binary, tmp_path_factory.mktemp("profile"))
    yield one
    one.close()


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


def test_titles_stand_beside_ids_and_are_searched(browser: Chromium, tmp_path: Path):
    ids = [f"{group}-{n}" for group in "abc" for n in range(9)]
    table = read_items(pl.DataFrame({"id": ids, "title": [f"{HOSTILE} {one.upper()}" for one in ids]}))
    model = VSKNN().fit(LOG, items=table).remember(LOG)
    with started(save_artifact(model, tmp_path / "model", {}), folder=tmp_path) as server:
        browser.look(1280, 900)
        browser.open(server.url + "/")
        ready(browser)
        assert browser.value("document.getElementById('query').placeholder") == "Search by id or title"
        browser.value("document.getElementById('query').value = ' B-4'; search()")
        browser.until("document.querySelectorAll('#found button').length === 1")
        assert texts(browser, "#found .title") == [f"{HOSTILE} B-4"]
        take(browser, "b-4")
        assert texts(browser, "#clicks .title") == [f"{HOSTILE} B-4"]
        listed = recommended(server, ["b-4"])
        assert texts(browser, "#list .id") == listed
        assert texts(browser, "#list .title") == [f"{HOSTILE} {one.upper()}" for one in listed if one in ids]
        browser.value("document.querySelector('#list .why').click()")
        browser.until("document.querySelectorAll('.reasons .chip').length")
        assert f"{HOSTILE} " in "".join(texts(browser, ".reasons .chip"))
        assert browser.errors == []


PNG = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


class OnePicture(BaseHTTPRequestHandler):
    """Another site, with one image."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/tent.png" else 404)
        self.send_header("content-type", "image/png")
        self.end_headers()
        self.wfile.write(PNG if self.path == "/tent.png" else b"")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Print nothing."""


@pytest.fixture
def pictures() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OnePicture) as site:
        thread = Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


def test_images_are_shown_and_one_that_does_not_load_leaves_no_gap(browser: Chromium, tmp_path: Path, pictures: str):
    ids = [f"a-{n}" for n in range(9)]
    addresses = [f"{pictures}/{'tent' if n % 2 else 'none'}.png" for n in range(8)]
    table = read_items(pl.DataFrame({"id": ids, "image": [*addresses, "javascript:boom()"]}))
    model = VSKNN().fit(LOG, items=table).remember(LOG)
    with started(save_artifact(model, tmp_path / "model", {}), folder=tmp_path) as server:
        browser.look(1280, 900)
        browser.open(server.url + "/")
        ready(browser)
        take(browser, "a-0")
        wanted = {"a-1", "a-3", "a-5", "a-7"} & set(recommended(server, ["a-0"]))
        assert wanted
        browser.until("[...document.querySelectorAll('#list img')].every((one) => one.complete)")
        browser.until(f"document.querySelectorAll('#list img:not([hidden])').length === {len(wanted)}")
        rows = "[...document.querySelectorAll('#list > li')].map((row) => [row.querySelector('.id').textContent,"
        spots = browser.value(f"{rows} row.querySelector('.spot').getBoundingClientRect().width])")
        assert {item for item, width in spots if width > 40} == wanted
        assert {width for _, width in spots if width <= 40} == {10}
        assert not any(address.startswith("javascript") for address in browser.addresses)
        assert not any("Content Security Policy" in error for error in browser.errors)


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


def test_a_service_with_keys_asks_for_one_and_its_end_is_said_in_words(
    browser: Chromium, vsknn: Recommender, tmp_path: Path
):
    keys = tmp_path / "keys"
    keys.write_text("0123456789abcdef-secret\n")
    browser.look(1280, 900)
    with started(save_artifact(vsknn, tmp_path / "model", {}), "--api-key-file", keys, folder=tmp_path) as running:
        browser.open(running.url + "/")
        browser.until("document.getElementById('key')?.hidden === false")
        browser.value("document.getElementById('key-text').value = '0123456789abcdef-secret'")
        browser.value("document.querySelector('#key button').click()")
        ready(browser)
        assert browser.value("document.getElementById('key').hidden") is True
        assert len(texts(browser, "#list .id")) == 10
    browser.value("click('a-0')")
    browser.until("!document.getElementById('problem').hidden")
    assert texts(browser, "#problem") == ["The service does not answer."]


def test_integers_beyond_double_precision_are_exact(browser: Chromium, tmp_path: Path):
    big = [9007199254740993, 9007199254740995, 9223372036854775807]
    log = Sessions.of([big, big[:2], [*big, 5]])
    with started(save_artifact(VSKNN().fit(log).remember(log), tmp_path / "model", {}), folder=tmp_path) as running:
        browser.look(1280, 900)
        browser.open(running.url + "/")
        browser.until("document.querySelectorAll('#list .id').length === 4")
        ready(browser)
        take(browser, str(big[1]))
        assert texts(browser, "#clicks .id") == [str(big[1])]
        wanted = running.client("POST", "/v1/recommend", {"items": [big[1]], "k": 10}).json["items"]
        assert texts(browser, "#list .id") == [str(item) for item in wanted]
        assert json.loads(browser.value("JSON.stringify(map.shown === null || map.shown.x < 2)")) is True
