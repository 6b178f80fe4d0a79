"""The dashboard's files: what is there, what is not, and what goes with it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from trioemqx.dashboard.files import StaticFiles
from trioemqx.testing import ApiAnswer, TestBroker


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vendor").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>")
    (tmp_path / "app.js").write_text("export const a = 1;\n" * 200)
    (tmp_path / "vendor" / "chart.js").write_text("1")
    (tmp_path / "icon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / ".hidden.js").write_text("no")
    (tmp_path / "notes.md").write_text("no")
    return tmp_path


async def fetched(
    broker: TestBroker, folder: Path, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> ApiAnswer:
    """The answer to a request for a file below `folder`."""
    await broker.node.open_api(always=True)
    assert broker.node.api is not None
    front = broker.node.api.apps["dashboard"].front
    assert front is not None
    front.files = StaticFiles(folder)
    return await broker.api(method, f"/{path}", listener="dashboard", auth=None, headers=headers)


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/vendor/chart.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/app.js?version=2", "text/javascript; charset=utf-8"),
    ],
)
async def test_files_have_their_type_and_strict_headers(
    broker: TestBroker, folder: Path, path: str, media: str
) -> None:
    answer = await fetched(broker, folder, path)
    assert (answer.status, answer.headers["content-type"]) == (200, media)
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self' ws: wss:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing.js",
        "/notes.md",
        "/.hidden.js",
        "/vendor",
        "/../app.js",
        "/vendor/../app.js",
        "/vendor%2Fchart.js",
        "/%2e%2e/app.js",
        "/app.js%00",
        "/etc/passwd",
    ],
)
async def test_what_was_not_found_at_the_start_is_not_there(broker: TestBroker, folder: Path, path: str) -> None:
    assert (await fetched(broker, folder, path)).status == 404


async def test_files_are_not_written(broker: TestBroker, folder: Path) -> None:
    assert (await fetched(broker, folder, "/app.js", "POST")).status == 404


async def test_whoever_has_a_file_gets_no_second_copy(broker: TestBroker, folder: Path) -> None:
    first = await fetched(broker, folder, "/app.js")
    tag = first.headers["etag"]
    again = await fetched(broker, folder, "/app.js", headers={"if-none-match": f'"other", W/{tag}'})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == tag
    (folder / "app.js").write_text("changed")
    assert (await fetched(broker, folder, "/app.js", headers={"if-none-match": tag})).status == 200


async def test_large_texts_are_packed_for_whom_can_unpack_them(broker: TestBroker, folder: Path) -> None:
    accepts = {"accept-encoding": "gzip, br"}
    answer = await fetched(broker, folder, "/app.js", headers=accepts)
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.body) == (folder / "app.js").read_bytes()
    assert "content-encoding" not in (await fetched(broker, folder, "/app.js")).headers
    assert "content-encoding" not in (await fetched(broker, folder, "/icon.svg", headers=accepts)).headers


async def test_the_api_s_own_door_has_no_dashboard(broker: TestBroker) -> None:
    assert (await broker.api("GET", "//", auth=None)).status == 404
    assert (await broker.api("GET", "//session", auth=None)).status == 404
