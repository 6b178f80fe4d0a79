"""`/api-docs`: the page that shows the OpenAPI document."""

from __future__ import annotations

import re

import pytest

from trioemqx.api.pages import API_DOCS
from trioemqx.testing import ApiAnswer, TestBroker


async def fetched(broker: TestBroker, path: str, method: str = "GET") -> ApiAnswer:
    """A request without credentials."""
    return await broker.api(method, f"/{path}", auth=None, listener="dashboard")


@pytest.mark.parametrize("path", list(API_DOCS))
async def test_its_files_are_served_under_a_strict_policy(broker: TestBroker, path: str) -> None:
    answer = await fetched(broker, path)
    assert answer.status == 200
    assert answer.headers["content-type"] == API_DOCS[path][1]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_it_has_no_scripts_or_styles_inside(broker: TestBroker) -> None:
    """They would not run under its policy."""
    text = (await fetched(broker, "/api-docs")).body.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\bstyle=|\bon\w+=", text) == []


async def test_it_loads_nothing_from_elsewhere(broker: TestBroker) -> None:
    for path in API_DOCS:
        assert b"//" not in (await fetched(broker, path)).body.replace(b"// ", b"")


async def test_it_puts_no_text_of_others_into_its_markup(broker: TestBroker) -> None:
    script = (await fetched(broker, "/api-docs/page.js")).body
    assert not re.findall(rb"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
    assert b'credentials: "omit"' in script


async def test_what_it_shows_asks_for_credentials(broker: TestBroker) -> None:
    assert (await fetched(broker, "/api/v4/openapi.json")).status == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api-docs"),
        ("GET", "/api-docs/index.html"),
        ("GET", "/api-docs/../app.py"),
        ("GET", "/api-docs/%2e%2e/app.py"),
        ("GET", "/static/api-docs/page.js"),
    ],
)
async def test_nothing_else_is_there(broker: TestBroker, method: str, path: str) -> None:
    answer = await fetched(broker, path, method)
    assert (answer.status, answer.body) == (404, b"")
