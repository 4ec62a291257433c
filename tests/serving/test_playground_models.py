"""The page of the playground for models with titles, images, keys and large ids, in a real headless Chromium."""

import json
from base64 import b64decode
from collections.abc import Iterator
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
from nearnext.recommenders.neighbours import VSKNN
from playground_support import HOSTILE, LOG, ready, recommended, take, texts
from serving_support import started

pytestmark = pytest.mark.slow


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
        by_attributes = "{ ...state.list[0], own: true, score: 0.04891, source: 'cold' }, 0, { share: 0.5 }"
        browser.value(f"fillRow(document.querySelector('#list li'), {by_attributes})")
        title, line = (f"document.querySelector('#list {each}').clientWidth" for each in (".name", ".take"))
        assert browser.value(f"{title} / {line}") > 0.5
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


def test_a_service_with_keys_asks_for_one_and_its_end_is_said_in_words(browser: Chromium, tmp_path: Path):
    keys = tmp_path / "keys"
    keys.write_text("0123456789abcdef-secret\n")
    browser.look(1280, 900)
    model = save_artifact(VSKNN().fit(LOG).remember(LOG), tmp_path / "model", {})
    with started(model, "--api-key-file", keys, folder=tmp_path) as running:
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
