"""The index knows the endpoints of plugins and modules that come with the broker, loaded or not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from trioemqx.api.v4.shipped import APPS, SHIPPED
from trioemqx.services.web import Endpoint
from trioemqx.testing import TestBroker

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = "emqx_plugin_template"
"""Copied and changed, but not run: its endpoints are nobody's."""


def shipped() -> dict[str, list[str]]:
    """The names of all shipped plugins and modules."""
    projects = [tomllib.loads(path.read_text("utf-8")) for path in ROOT.glob("plugins/*/pyproject.toml")]
    plugins = [project["project"]["name"].replace("-", "_") for project in projects]
    modules = [path.stem for path in ROOT.glob("modules/emqx_mod_*.py")]
    assert len(plugins) > 8
    assert len(modules) > 6
    return {"plugins": sorted(set(plugins) - {EXAMPLE}), "modules": sorted(modules)}


@pytest.fixture
def broker_config(tmp_path: Path) -> dict[str, object]:
    keys = tmp_path / "psk.txt"
    keys.write_text("client:secret\n")
    return {"plugins": {"load": []}, "modules": {"load": []}, "psk": {"file": {"path": str(keys)}}}


def described(endpoints: list[Endpoint]) -> set[tuple[object, ...]]:
    return {
        (found.app, found.name, found.method, found.path, found.descr, found.listed, found.listeners)
        for found in endpoints
    }


async def test_the_table_is_what_plugins_and_modules_serve(broker: TestBroker) -> None:
    for names in shipped().values():
        for name in names:
            await broker.node.plugins.load(name)
    served = broker.node.web_routes.endpoints
    gateway = [endpoint for endpoint in SHIPPED.endpoints if endpoint.app == "emqx_lwm2m"]
    assert len(gateway) == 4, "EMQX lists them, and nobody serves them here"
    assert described([*served, *gateway]) == described(SHIPPED.endpoints)
    assert len(served) + len(gateway) == len(SHIPPED.endpoints)


async def index(broker: TestBroker, listener: str = "management") -> list[tuple[str, str]]:
    auth = "admin:public"
    rows = (await broker.api("GET", "/", auth=auth, listener=listener)).data
    return [(row["method"], row["path"]) for row in rows]


async def test_the_index_lists_them_loaded_or_not(broker: TestBroker) -> None:
    """GET /api/v4"""
    before = await index(broker)
    assert len(before) == len(set(before))
    assert before[9] == ("GET", "/auth_clientid")
    assert {("POST", "/trace/"), ("PUT", "/trace/:name/stop"), ("GET", "/slow_subscriptions")} <= set(before)
    await broker.node.plugins.load("emqx_mod_topic_metrics")
    await broker.node.plugins.load("emqx_sasl")
    assert await index(broker) == before


async def test_the_index_is_in_emqx_order(broker: TestBroker) -> None:
    """GET /api/v4"""
    paths = [path for _, path in await index(broker)]
    order = ["/acl/clientid", "/auth_clientid", "/brokers/", "/emqx_prometheus", "/sasl", "/telemetry/status"]
    order += ["/slow_subscriptions", "/topic-metrics", "/trace/", "/retained_messages"]
    places = [paths.index(path) for path in order]
    assert places == sorted(places)


def test_every_application_has_a_place() -> None:
    assert {found.app for found in SHIPPED.endpoints} - {"emqx_retainer", "emqx_mod_delayed"} <= set(APPS)
