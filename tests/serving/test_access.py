"""What browsers send for pages from elsewhere: refused without leave, and with it answered, in a real Chromium too."""

import signal
from collections.abc import Generator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from chromium_support import Chromium
from nearnext.errors import ConfigError
from nearnext.serving.problems import read_keys
from nearnext.serving.settings import ServiceSettings
from serving_support import Client, Server, lines_of, started, wait_until

pytestmark = pytest.mark.fault

KEY = "0123456789abcdef-the-key"
OTHER = "another-key-of-someone"
SHOP = "https://shop.example"
CLICKS = {"items": ["i1"], "consent": True}


@pytest.fixture(scope="module")
def shop(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A service with a key that pages of one origin may ask."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "keys").write_text(f"{KEY}\n{OTHER}\n", encoding="utf-8-sig")
    options = ("--api-key-file", folder / "keys", "--cors", SHOP, "--catalogue", folder / "changes")
    with started(artifact, *options, folder=folder) as server:
        yield server


def test_a_page_with_leave_may_send_json_delete_and_keys(shop: Server):
    for method in ("POST", "DELETE", "PUT", "GET"):
        wanted = {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        reply = shop.client("OPTIONS", "/v1/recommend", headers={"Origin": SHOP, **wanted})
        assert reply.status in (200, 204)
        assert reply.headers["access-control-allow-origin"] == SHOP, "once"
        assert method in reply.headers["access-control-allow-methods"]
        assert "Origin" in reply.headers["vary"]
    reply = shop.client("GET", "/v1/model", headers={"Origin": SHOP})
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (401, SHOP)
    assert reply.headers["access-control-expose-headers"] == "x-request-id"


@pytest.mark.parametrize("origin", ["https://evil.example", f"{SHOP}.evil.example", "http://shop.example", "null", ""])
def test_a_page_without_leave_is_refused(shop: Server, origin: str):
    for method, path in (("OPTIONS", "/v1/recommend"), ("GET", "/v1/model"), ("GET", "/docs")):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Authorization": f"Bearer {KEY}"}
        reply = shop.client(method, path, headers=asked)
        assert (reply.status, reply.json["status"]) == (403, 403)
        assert "access-control-allow-origin" not in reply.headers
        assert "Origin" in reply.headers["vary"]


ELSEWHERE: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
]


@pytest.mark.parametrize("headers", ELSEWHERE)
def test_a_page_from_elsewhere_stores_and_logs_nothing_on_an_open_service(server: Server, headers: dict[str, str]):
    before = len(lines_of(server.log.parent / "events"))
    plain = {"Content-Type": "text/plain", **headers}
    client = server.client
    assert client("POST", "/v1/sessions/crossed/events", CLICKS, plain).status == 403
    assert client("GET", "/v1/sessions/crossed/recommendations", headers=headers).status == 403
    assert client("GET", "/v1/sessions/crossed/recommendations").json["length"] == 0
    assert len(lines_of(server.log.parent / "events")) == before


def test_programs_own_pages_and_links_are_served(server: Server, client: Client):
    own = server.url
    for headers in (
        {},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Origin": own},
        {"Origin": own, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://proxy.example", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ):
        assert client("POST", "/v1/recommend", {"items": ["i1"]}, headers).status == 200
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client("GET", "/", headers=link).status == client("GET", "/docs", headers=link).status == 200


def test_only_listed_names_of_the_host_are_served(artifact: Path, tmp_path: Path):
    with started(artifact, "--allow-host", "shop.example", "--allow-host", "127.0.0.1", folder=tmp_path) as server:
        for host, status in (
            ("shop.example", 200),
            ("SHOP.example:8000", 200),
            ("evil.example", 421),
            ("shop.example.evil.example", 421),
            ("localhost:8000", 421),
        ):
            assert server.client("GET", "/v1/model", headers={"Host": host}).status == status
            assert server.client("GET", "/readyz", headers={"Host": host}).status == 200, "probes ask by address"


@pytest.mark.parametrize(
    "origin",
    [
        "shop.example",
        f"{SHOP}/",
        f"{SHOP}/page",
        f"{SHOP},https://b.example",
        "https://Shop.example",
        "",
        "ftp://a",
        "null",
    ],
)
def test_an_origin_that_can_never_match_is_refused_at_the_start(origin: str):
    with pytest.raises(ConfigError, match="no page has the origin"):
        ServiceSettings(Path("model"), origins=(origin,))


def test_a_name_of_a_host_that_can_never_match_is_refused_at_the_start():
    with pytest.raises(ConfigError, match="no name of a host"):
        ServiceSettings(Path("model"), hosts=("shop.example:8000",))


def test_a_key_file_may_begin_with_a_byte_order_mark(tmp_path: Path):
    (tmp_path / "keys").write_text(f"\ufeff{KEY}\r\n", encoding="utf-8")
    assert read_keys(tmp_path / "keys") == [KEY.encode()]


def test_keys_that_are_removed_from_the_file_stop_at_a_signal(artifact: Path, tmp_path: Path):
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n{OTHER}\n")

    def status(key: str) -> int:
        return server.client("GET", "/v1/model", headers={"X-API-Key": key}).status

    with started(artifact, "--api-key-file", keys, folder=tmp_path) as server:
        assert status(KEY) == status(OTHER) == 200
        keys.write_text(f"{OTHER}\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: status(KEY) == 401)
        assert status(OTHER) == 200
        keys.write_text("")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("expected a key" in said for said in server.messages()))
        assert (status(KEY), status(OTHER), status("")) == (401, 200, 401), "it never opens by mistake"


# ---- in a browser ----


class Quiet(SimpleHTTPRequestHandler):
    """A web server of another origin."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The origin of a page that is not the service's."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "index.html").write_text("<!doctype html><title>a shop</title>")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as pages:
        Thread(target=pages.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{pages.server_address[1]}"
        pages.shutdown()


def asked_by(browser: Chromium, page: str, address: str, options: str) -> Any:
    """Status of what a page asks, and whether it may read the answer; None where the browser forbids it."""
    browser.open(page)
    browser.until(f"document.readyState === 'complete' && location.href.startsWith('{page}')")
    return browser.value(f"fetch('{address}', {options}).then((answer) => answer.status, () => null)")


JSON = f"{{headers: {{'content-type': 'application/json', 'authorization': 'Bearer {KEY}'}}, "
ASKED = {
    "/v1/recommend": (JSON + "method: 'POST', body: '{\"items\": [\"i1\"]}'}", 200),
    "/v1/sessions/b/events": (JSON + 'method: \'POST\', body: \'{"items": ["i1"], "consent": true}\'}', 200),
    "/v1/sessions/b": (JSON + "method: 'DELETE'}", 204),
    "/v1/items/i1": (JSON + "method: 'PUT', body: '{}'}", 200),
    "/v1/model": (JSON + "}", 200),
}


def test_a_browser_asks_from_a_page_with_leave_and_from_no_other(
    browser: Chromium, elsewhere: str, artifact: Path, tmp_path: Path
):
    (tmp_path / "keys").write_text(f"{KEY}\n")
    options = ("--api-key-file", tmp_path / "keys", "--cors", elsewhere, "--catalogue", tmp_path / "changes")
    with started(artifact, *options, folder=tmp_path) as server:
        for path, (how, status) in ASKED.items():
            assert asked_by(browser, elsewhere, server.url + path, how) == status, path
        assert asked_by(browser, elsewhere, server.url + "/v1/model", "{}") == 401
        stranger = elsewhere.replace("127.0.0.1", "localhost")
        for path, (how, _) in ASKED.items():
            assert asked_by(browser, stranger, server.url + path, how) is None, path


def test_a_browser_stores_nothing_for_a_page_without_leave(browser: Chromium, elsewhere: str, server: Server):
    before = len(lines_of(server.log.parent / "events"))
    body = 'body: \'{"items": ["i1"], "consent": true}\''
    plain = "{method: 'POST', mode: 'no-cors', headers: {'content-type': 'text/plain'}, " + body + "}"
    assert asked_by(browser, elsewhere, server.url + "/v1/sessions/forged/events", plain) == 0, "it was sent"
    wait_until(lambda: any(line.get("status") == 403 for line in server.logged()))
    assert server.client("GET", "/v1/sessions/forged/recommendations").json["length"] == 0
    assert len(lines_of(server.log.parent / "events")) == before
