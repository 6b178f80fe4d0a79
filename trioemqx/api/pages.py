"""What is not `/api/v4`: the page that shows the OpenAPI document, and an empty 404 for everything else.

The page is three small files of our own. It works without the internet and under a strict content security policy, and
what it shows it asks for with credentials like everybody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from quart import Response
from quart_trio import QuartTrio

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
API_DOCS: Final[Mapping[str, tuple[str, str]]] = {
    "/api-docs": ("index.html", "text/html; charset=utf-8"),
    "/api-docs/style.css": ("style.css", "text/css; charset=utf-8"),
    "/api-docs/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
"""File and type by path."""


def add_pages(app: QuartTrio) -> None:
    """Register the pages."""
    folder = files("trioemqx.api") / "static" / "api-docs"
    for path, (name, media) in API_DOCS.items():
        _add_file(app, path, (folder / name).read_bytes(), media)

    @app.errorhandler(404)
    async def _nothing(error: Exception) -> Response:
        return Response(b"", 404, content_type="text/plain")

    @app.errorhandler(405)
    async def _no_method(error: Exception) -> Response:
        return Response(b"", 404, content_type="text/plain")


def _add_file(app: QuartTrio, path: str, content: bytes, media: str) -> None:
    async def serve() -> Response:
        return Response(content, 200, dict(HEADERS), content_type=media)

    app.add_url_rule(path, path, serve, methods=["GET"], strict_slashes=False)
