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
    """One request to an ASGI application. `path` is below `/api/v4`, or from the root when it begins with two slashes;
    `body` is sent as JSON, `raw` as it is; `auth` is `name:secret`."""
    content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    if auth is not None:
        pairs.append((b"authorization", b"Basic " + base64.b64encode(auth.encode())))
    if content:
        pairs.append((b"content-length", str(len(content)).encode()))
    sent: list[Mapping[str, Any]] = []
    waiting = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> Mapping[str, Any]:
        if not waiting:
            await trio.sleep_forever()
        return waiting.pop()

    async def send(event: Mapping[str, Any]) -> None:
        sent.append(event)

    await app(_scope(method, path, pairs, peer), receive, send)
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return ApiAnswer(sent[0]["status"], found, b"".join(event.get("body", b"") for event in sent[1:]))


def _scope(method: str, path: str, headers: list[tuple[bytes, bytes]], peer: str) -> dict[str, Any]:
    """What ASGI says of a request before its body."""
    whole = path[1:] if path.startswith("//") else f"/api/v4{path}"
    raw_path, _, query = whole.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw_path,
        "raw_path": raw_path.encode("ascii"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": (peer, 50000),
        "server": ("127.0.0.1", 8081),
        "extensions": {},
    }
