"""A real browser without a window: Chromium, spoken to by its DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from inferno_runtime import process
from tests.waiting import eventually

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# As root, in a container and without a GPU; nothing that it might want from the network at its start.
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
)


class Page:
    """One page: what it asked of the network, and what it complained of."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._numbers = itertools.count(1)
        self._loaded = False

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask something of the browser, and take in what it tells meanwhile."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            told = await self._socket.receive_json()
            if told.get("id") == number:
                assert "error" not in told, told
                answer: dict[str, Any] = told["result"]
                return answer
            self._note(told)

    async def open(self, file: Path) -> None:
        """Load a file, until all of it is there."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.call(f"{domain}.enable")
        self._loaded = False
        await self.call("Page.navigate", url=file.as_uri())
        while not self._loaded:
            self._note(await self._socket.receive_json())

    async def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _note(self, told: dict[str, Any]) -> None:
        method, said = told.get("method"), told.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Runtime.exceptionThrown" or (
            (method == "Log.entryAdded" and said["entry"]["level"] in {"error", "warning"})
            or (method == "Runtime.consoleAPICalled" and said["type"] in {"error", "warning"})
        ):
            self.complaints.append(str(said))


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    """A page of a browser that lives as long; without one on this machine, a skip that says so."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(_NAMES)} is on the path")
    with tempfile.TemporaryDirectory(prefix="inf-chromium-") as folder:
        child = await process.spawn([program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"])
        try:
            told = Path(folder) / "DevToolsActivePort"

            def port() -> str:
                # It is written in two lines, and all of it is there when the second is.
                lines = told.read_text().splitlines() if told.exists() else []
                return lines[0] if len(lines) > 1 else ""

            at = await eventually(port, 60, "the browser listens")
            async with asyncio.timeout(60), aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{at}/json/list") as answer:
                    pages = [each for each in await answer.json() if each["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            await process.terminate(child, grace=10)
