"""Every endpoint of the contract is served, is called what it is called there, and has a test of its own.

A test of an endpoint says so: its docstring has `METHOD /path`.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from trioemqx.testing import TestBroker

CHECKOUT = Path(__file__).resolve().parents[2]
NOT_YET = {"emqx_lwm2m"}
"""Applications that are not here."""
PLUGINS = [
    "emqx_auth_mnesia",
    "emqx_prometheus",
    "emqx_retainer",
    "emqx_sasl",
    "emqx_telemetry",
]
MODULES = ["emqx_mod_acl_internal", "emqx_mod_slow_subs", "emqx_mod_topic_metrics", "emqx_mod_trace"]


def contract() -> list[dict[str, Any]]:
    """The endpoints in scope."""
    found = json.loads((Path(__file__).parent / "http-api-v4.endpoints.json").read_text("utf-8"))
    assert len(found) > 150
    return [endpoint for endpoint in found if endpoint["app"] not in NOT_YET]


def docstrings() -> Iterator[str]:
    """Those of all tests."""
    for folder in ("tests/api", "tests/modules", "plugins"):
        for file in (CHECKOUT / folder).rglob("test_*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                    yield ast.get_docstring(node) or ""


def below(path: str) -> str:
    """The path below `/api/v4`."""
    return path.removeprefix("/api/v4") or "/"


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": PLUGINS}, "modules": {"load": MODULES}}


async def test_every_endpoint_is_served(broker: TestBroker) -> None:
    """GET /"""
    for listener in ("management", "dashboard"):
        rows = (await broker.api("GET", "", listener=listener)).data
        listed = {(row["method"], row["path"]): (row["name"], row["descr"]) for row in rows}
        for endpoint in contract():
            if listener not in endpoint["listeners"] or not endpoint["name"] or not endpoint["listed_path"]:
                continue
            found = listed.get((endpoint["method"], endpoint["listed_path"]))
            assert found == (endpoint["name"], endpoint["descr"]), endpoint


async def test_every_endpoint_answers(broker: TestBroker) -> None:
    """None of them is unknown, or crashes without parameters."""
    for endpoint in contract():
        path = below(endpoint["path"]).replace("{node}", broker.node.node).replace("{plugin}", "emqx_retainer")
        path = path.replace("{module}", "emqx_mod_trace").replace("{identifier}", "mqtt:tcp:none")
        path = path.replace("/actions/{name}", "/actions/inspect").replace("_types/{name}", "_types/web_hook")
        path = path.replace("{type}", "web_hook").replace("{as}", "clientid").replace("{", "").replace("}", "")
        listener = "management" if "management" in endpoint["listeners"] else "dashboard"
        if endpoint["method"] == "PUT" and "/emqx_" in path:
            continue  # it would end what the others need
        answer = await broker.api(endpoint["method"], f"/{path}" if path == "/status" else path, listener=listener)
        assert answer.status in (200, 400), (endpoint, answer)


def test_every_endpoint_has_a_test_of_its_own() -> None:
    """Tests name the endpoint that they are about."""
    named = {word for text in docstrings() for word in _pairs(text)}
    missing = [
        f"{endpoint['method']} {below(endpoint['path'])}"
        for endpoint in contract()
        if (endpoint["method"], below(endpoint["path"])) not in named
    ]
    assert not missing


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for method, path in pairwise(text.split()):
        if method in ("GET", "POST", "PUT", "DELETE"):
            yield method, path.rstrip(".,:;")
