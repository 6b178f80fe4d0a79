"""From the bytes of a request to its parameters. Length before memory, UTF-8 before use, depth before meaning."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from trioemqx.services.web.answers import NOT_JSON, ApiError, bad_params
from trioemqx.services.web.endpoints import BadPath, decoded

Receive = Callable[[], Awaitable[Any]]

MAX_DEPTH: Final = 64
MAX_QUERY: Final = 8 * 1024
MAX_PAIRS: Final = 200
MAX_WAITING: Final = 128 * 1024**2
"""Bytes of bodies that are being read at once, over all connections."""


class Bodies:
    """Reads bodies, and counts what all of them hold while they are read."""

    def __init__(self) -> None:
        self.held = 0
        self.refused = 0

    async def read(self, receive: Receive, declared: int | None, limit: int) -> bytes:
        """The body. Raises ApiError: 400 when it is larger than `limit`, 503 when too much is
        being read already."""
        if declared is not None and declared > limit:
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                event = await receive()
                if event["type"] != "http.request":
                    raise ApiError(NOT_JSON, "Bad Request", 400, {"reason": "the client has gone"})
                part = event.get("body", b"")
                size += len(part)
                self.held += len(part)
                parts.append(part)
                if size > limit:
                    raise _too_large(limit)
                if self.held > MAX_WAITING:
                    self.refused += 1
                    raise ApiError(102, "too many large requests at once", 503)
                if not event.get("more_body"):
                    return b"".join(parts)
        finally:
            self.held -= size


def _too_large(limit: int) -> ApiError:
    return ApiError(NOT_JSON, "Bad Request", 400, {"reason": f"a body has at most {limit} bytes"})


def load_json(body: bytes) -> object:
    """A JSON text: UTF-8, no NaN, no lone surrogates, at most 64 levels deep. Raises ApiError 109 with HTTP 400."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
        raise ApiError(NOT_JSON, "Bad Request", 400) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise ApiError(NOT_JSON, "Bad Request", 400, {"reason": f"nested deeper than {MAX_DEPTH}"})
    return value


def _deeper_than(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [
            member
            for node in level
            if isinstance(node, dict | list)
            for member in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return True


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """The pairs of a query string: `a` stands for `a=true`, `+` for a space. Raises ApiError 108 with HTTP 400."""
    if not raw:
        return []
    if len(raw) > MAX_QUERY or raw.count(b"&") > MAX_PAIRS:
        raise bad_query()
    pairs = []
    for part in raw.split(b"&"):
        if part:
            name, equals, value = part.partition(b"=")
            pairs.append((_text(name), _text(value) if equals else "true"))
    return pairs


def _text(raw: bytes) -> str:
    try:
        return decoded(raw.replace(b"+", b" ").decode("utf-8"))
    except (BadPath, UnicodeDecodeError):
        raise bad_query() from None


def bad_query() -> ApiError:
    """108: a query string that cannot be read."""
    return ApiError(108, "Bad Request", 400)


def segments(raw_path: bytes) -> tuple[str, ...]:
    """The parts of a raw path between slashes, without empty ones. Raises BadPath."""
    try:
        text = raw_path.decode("ascii")
    except UnicodeDecodeError:
        raise BadPath("not ASCII") from None
    for part in text.split("%")[1:]:
        if len(part) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in part[:2]):
            raise BadPath(text[:100])
    return tuple(part for part in text.split("/") if part)


def check_scalar(body: object, takes: bool) -> None:
    """A text, number, flag or null as a whole body means nothing to an endpoint that takes parameters. Raises ApiError
    108."""
    if takes and not isinstance(body, dict | list):
        raise bad_params()
