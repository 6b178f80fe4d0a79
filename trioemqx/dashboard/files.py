"""The files of the dashboard, as they lie in the package: looked for once, at the start.

What a request names is looked up in a dictionary. No path is ever made of it.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import attrs
import trio

MEDIA: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
}
"""What is served, by the end of its name; other files are not."""
PACKED: Final = ("text/", "application/", "image/svg+xml")
WORTH_PACKING: Final = 1024
MAX_DEPTH: Final = 8
INDEX: Final = "index.html"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self' ws: wss:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""`ws:` and `wss:` are for the MQTT client in the dashboard, which may go to another port or broker."""
SECURITY: Final = (
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


@attrs.define(eq=False)
class StaticFile:
    """One file. `etag` is of its content, in quotes."""

    content: bytes
    media: str
    etag: bytes
    _gzipped: bytes | None = None

    async def gzipped(self) -> bytes | None:
        """The content packed, made once and in a thread; None for what does not get smaller."""
        if len(self.content) < WORTH_PACKING or not self.media.startswith(PACKED):
            return None
        if self._gzipped is None:
            self._gzipped = await trio.to_thread.run_sync(gzip.compress, self.content, 6)
        return self._gzipped


class StaticFiles:
    """All files below a folder by their path from there, `vendor/uplot.js`. `folder` None is the package's own."""

    def __init__(self, folder: Traversable | None = None) -> None:
        top = files("trioemqx.dashboard") / "static" if folder is None else folder
        self._by_path: dict[bytes, StaticFile] = {}
        for path, file in _below(top, "", MAX_DEPTH) if top.is_dir() else ():
            content = file.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            self._by_path[path.encode("ascii")] = StaticFile(content, MEDIA[_ending(path)], tag.encode("ascii"))

    def __len__(self) -> int:
        return len(self._by_path)

    def find(self, parts: tuple[bytes, ...]) -> StaticFile | None:
        """The file at a path as it was sent, in parts; no part at all is the start page."""
        return self._by_path.get(b"/".join(parts) or INDEX.encode("ascii"))


def _below(folder: Traversable, at: str, depth: int) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        path = f"{at}{entry.name}"
        if entry.name.startswith((".", "_")) or not path.isascii():
            continue
        if entry.is_dir():
            if depth:
                yield from _below(entry, f"{path}/", depth - 1)
        elif _ending(path) in MEDIA:
            yield path, entry


def _ending(path: str) -> str:
    _, dot, ending = path.rpartition(".")
    return dot + ending.lower()
