"""A headless Chromium with one page, spoken to by the Chrome DevTools protocol."""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp

from serving_support import PATIENCE

OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Chromium:
    """A browser, from its start to `close`.

    Attributes:
        errors: what went wrong in the page since it was opened.
        addresses: everything that the page asked for since then.
    """

    def __init__(self, binary: str, profile: Path) -> None:
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._session: str | None = None
        self._process = subprocess.Popen(
            [binary, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        self._run(self._connect(profile / "DevToolsActivePort"))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    async def _connect(self, port_file: Path) -> None:
        while not port_file.is_file() or "\n" not in port_file.read_text():
            await asyncio.sleep(0.05)
        port, path = port_file.read_text().split("\n")[:2]
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(f"http://127.0.0.1:{port}{path}", max_msg_size=0)
        target = await self._ask("Target.createTarget", url="about:blank")
        self._session = (await self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True))[
            "sessionId"
        ]
        for domain in ("Runtime", "Page", "Log", "Network"):
            await self._ask(f"{domain}.enable")

    async def _ask(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        await self._socket.send_json(message)
        while True:
            answer = await self._socket.receive_json()
            self._note(answer.get("method"), answer.get("params"))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _note(self, event: str | None, about: Any) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"]))
        elif event == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(about["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.addresses.append(about["request"]["url"])

    def ask(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol."""
        return self._run(self._ask(method, **parameters))

    def look(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """The size and kind of the screen."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.ask("Emulation.setDeviceMetricsOverride", **screen)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go to a page, without what an earlier one left behind."""
        self.ask("Page.navigate", url="about:blank")
        self.errors.clear()
        self.addresses.clear()
        self.ask("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What an expression has in the page."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression holds in the page."""
        end = time.monotonic() + PATIENCE
        while not self.value(f"!!({expression})"):
            assert time.monotonic() < end, f"never true: {expression}; {self.errors}"
            time.sleep(0.02)

    def press(self, x: float, y: float) -> None:
        """A click of the mouse at a point of the window."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if kind == "mouseMoved" else "left"
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def screenshot(self, path: Path) -> None:
        """What the window shows, as a PNG file."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        """End the browser."""
        self._run(self._http.close())
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._loop.close()
