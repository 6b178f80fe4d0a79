"""Requests to the HTTP API inside a process, for tests: what hypercorn would hand over, without a socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import attrs
import trio


@attrs.frozen
class ApiAnswer:
    """What came back. `json()` is the body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> object:
        """The member `code`."""
        return self.json()["code"]

    @property
    def data(self) -> Any:
        """The member `data`. AssertionError with the whole body when there is none."""
        found = self.json()
        assert found.get("code") == 0, found
        return found["data"]

    @property
    def message(self) -> object:
        """The member `message`."""
        return self.json()["message"]


async def ask(
    app: Any,
    method: str,
    path: str,
    body: object,
    auth: str | None,
    raw: bytes | None,
    headers: Mapping[str, str],
    peer: str,
) -> ApiAnswer:
    """One request to an ASGI application."""
    whole = path[1:] if path.startswith("//") else f"/api/v4{path}"
    raw_path, _, query = whole.partition("?")
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if auth is not None:
        pairs.append((b"authorization", b"Basic " + base64.b64encode(auth.encode())))
    if content:
        pairs.append((b"content-length", str(len(content)).encode()))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw_path,
        "raw_path": raw_path.encode("ascii"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": pairs,
        "client": (peer, 50000),
        "server": ("127.0.0.1", 8081),
        "extensions": {},
    }
    sent: list[Mapping[str, Any]] = []

    unread = [True]

    async def receive() -> Mapping[str, Any]:
        if not unread:
            await trio.sleep_forever()
        unread.clear()
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    await app(scope, receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return ApiAnswer(sent[0]["status"], found, b"".join(event.get("body", b"") for event in sent[1:]))
