"""Telemetry that is shown and never sent."""

from __future__ import annotations

import ast
import json
import platform
import socket
import tomllib
from pathlib import Path
from typing import Any
from uuid import UUID

import emqx_telemetry
import pytest
import trio

from trioemqx.testing import TestBroker, running

NAME = "emqx_telemetry"
FOLDER = Path(__file__).parents[1]


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {
        "telemetry": getattr(request, "param", {}),
        "plugins": {"load": ["emqx_retainer", NAME]},
        "modules": {"load": ["emqx_mod_presence"]},
    }


enabled = pytest.mark.parametrize("broker_config", [{"enabled": True}], indirect=True, ids=[""])


async def status(broker: TestBroker) -> str:
    (line,) = await broker.ctl("telemetry get status")
    return line


async def data(broker: TestBroker) -> dict[str, Any]:
    found: dict[str, Any] = json.loads("\n".join(await broker.ctl("telemetry get data")))
    return found


async def test_it_is_off_until_somebody_switches_it_on(broker: TestBroker) -> None:
    assert await status(broker) == "Telemetry is disabled"
    assert await broker.ctl("telemetry enable") == ["Enable telemetry successfully"]
    assert await status(broker) == "Telemetry is enabled"
    assert await broker.ctl("telemetry disable") == ["Disable telemetry successfully"]
    assert await status(broker) == "Telemetry is disabled"


async def test_it_is_loaded_by_default_and_switched_off() -> None:
    async with running() as broker:
        assert NAME in broker.node.plugins.live
        assert await status(broker) == "Telemetry is disabled"


@enabled
async def test_what_was_decided_wins_over_the_setting_and_outlives_a_reload(broker: TestBroker) -> None:
    assert await status(broker) == "Telemetry is enabled"
    await broker.ctl("telemetry disable")
    await broker.reload_plugin(NAME)
    assert await status(broker) == "Telemetry is disabled"


async def test_id_and_decision_outlive_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for _ in range(2):
        async with running({"plugins": {"load": [NAME]}}) as broker:
            seen.append((await status(broker), (await data(broker))["uuid"]))
            await broker.ctl("telemetry enable")
            store = broker.node.store
        monkeypatch.setattr("trioemqx.node.make_store", lambda *_, store=store: store)
    assert [line for line, _ in seen] == ["Telemetry is disabled", "Telemetry is enabled"]
    assert seen[0][1] == seen[1][1]


async def test_the_report_is_true(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="t")
    gone = await broker.client("d")
    await trio.sleep(2)  # the gauges are read each second
    await gone.publish("t", b"x", qos=1)
    await gone.disconnect()
    await client.message()
    await trio.sleep(98)
    found = await data(broker)
    assert UUID(found.pop("uuid")).version == 4
    assert found.pop("up_time") == pytest.approx(100_000, abs=2000)
    assert found.pop("os_name")
    assert isinstance(found.pop("os_version"), str)
    assert found == {
        "emqx_version": broker.node.version,
        "license": {"edition": "community"},
        "otp_version": platform.python_version(),
        "nodes_uuid": [],
        "active_plugins": ["emqx_dashboard", "emqx_management", "emqx_retainer", "emqx_rule_engine", NAME],
        "active_modules": ["emqx_mod_presence"],
        "num_clients": 2,
        "messages_received": 1,
        "messages_sent": 1,
    }


def test_the_system_where_there_is_no_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> dict[str, str]:
        raise OSError("no os-release")

    monkeypatch.setattr(platform, "freedesktop_os_release", missing)
    assert emqx_telemetry.system() == (platform.system(), platform.release())


@enabled
async def test_nothing_is_sent(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: opened.append(address))
    monkeypatch.setattr(trio.socket.SocketType, "connect", lambda self, address: opened.append(address), raising=False)
    await broker.ctl("telemetry enable")
    await broker.ctl("telemetry get data")
    await trio.sleep(600)
    assert opened == []


def test_there_is_no_code_that_could_send() -> None:
    tree = ast.parse((FOLDER / f"{NAME}.py").read_text("utf-8"))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {
        *("__future__", "collections.abc", "typing", "json", "platform", "uuid"),
        *("attrs", "trio", "trioemqx.plugin"),
    }


async def test_unloaded_it_leaves_no_commands(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    assert "telemetry" not in broker.node.commands.names()


def test_the_settings_file_says_what_the_code_has() -> None:
    text = (FOLDER / "etc" / f"{NAME}.toml").read_text("utf-8").replace("# url", "url").replace("# report", "report")
    default = emqx_telemetry.Config()
    assert tomllib.loads(text)["telemetry"] == {"enabled": False, "url": default.url, "report_interval": "7d"}
    assert default == emqx_telemetry.Config(False, default.url, 604800.0)
