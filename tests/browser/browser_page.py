"""A real browser for tests: one Chromium for all of them, steered by a script of Node; each test has a page in it."""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from trioemqx.testing import TestBroker

DRIVER = Path(__file__).with_name("browser_driver.js")
PASSWORD = "not public"
AUTH = f"admin:{PASSWORD}"
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
"""The script has seen that its address changed, and the browser has drawn what follows from it."""


class BrowserError(AssertionError):
    """The browser could not do what it was told, mostly because something did not appear in time."""


class Browser:
    """The process; it ends with `close`."""

    def __init__(self, node: str, chromium: str, modules: Path) -> None:
        self._process = subprocess.Popen(
            [node, str(DRIVER), chromium],
            env={**os.environ, "NODE_PATH": str(modules)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def call(self, do: str, **arguments: object) -> Any:
        """One command of `browser_driver.js`. Raises BrowserError."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BrowserError(f"the browser ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        """End it, and Chromium with it."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@attrs.define
class Page:
    """The dashboard of a broker in a browser. `at` is a selector of playwright, such as `tr:has-text("x") button`."""

    browser: Browser
    broker: TestBroker
    url: str

    async def do(self, name: str, **arguments: object) -> Any:
        """Any command; the broker goes on meanwhile."""
        return await trio.to_thread.run_sync(partial(self.browser.call, name, **arguments), abandon_on_cancel=True)

    async def click(self, at: str, nth: int = 0) -> None:
        await self.do("click", at=at, nth=nth)

    async def fill(self, at: str, text: str) -> None:
        await self.do("fill", at=at, text=text)

    async def label(self, name: str, text: str) -> None:
        """Fill the field with that label; forms stand in dialogs, in cards, and at the login."""
        await self.fill(f'.field:has(> label:text-matches("^{name}( \\\\*)?\\\\s*$")) :is(input, textarea)', text)

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.do("press", key=key)

    async def wait(self, at: str) -> None:
        """Until it can be seen."""
        await self.do("wait", at=at)

    async def gone(self, at: str) -> None:
        """Until there is none."""
        await self.do("wait", at=at, gone=True)

    async def text(self, at: str) -> str:
        return str(await self.do("text", at=at))

    async def count(self, at: str) -> int:
        return int(await self.do("count", at=at))

    async def evaluate(self, code: str, argument: object = None) -> Any:
        return await self.do("evaluate", code=code, argument=argument)

    async def login(self) -> None:
        """As the form does it, without the form."""
        assert await self.do("post", url=f"{self.url}session", body={"username": "admin", "password": PASSWORD}) == 200

    async def visit(self, path: str = "") -> None:
        """A page of the dashboard, by what stands behind `#/` in its address; until it shows something."""
        await self.do("goto", url=f"{self.url}#/{path}")
        await self.evaluate(DRAWN)
        await self.settled()

    async def settled(self) -> None:
        """Until a heading stands there, and nothing is on its way any more."""
        await self.wait("h1")
        await self.do("until", code="() => !document.querySelector('[aria-busy=true], .is-loading')", argument=None)

    async def changes(self) -> list[str]:
        """The requests since the last time that were no questions: method and path."""
        return [str(one) for one in await self.do("changes")]

    async def complaints(self) -> list[str]:
        """What the browser found wrong since the last time: errors of scripts, violations of the policy, requests
        that failed, windows that asked something. One is no error: who is not logged in is told so with a 401."""
        found = await self.do("complaints")
        return [f"{one['kind']}: {one['text']} {one['url']}" for one in found if not _expected(one)]


def _expected(complaint: dict[str, str]) -> bool:
    if complaint["kind"] == "request":  # a page that is left gives up what it was asking
        return complaint["text"] == "net::ERR_ABORTED"
    return complaint["url"].endswith("/session") and "401" in complaint["text"]
