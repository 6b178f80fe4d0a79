"""`data_to_mqtt_broker`: messages that rules send to another broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from rules_helpers import action_counts, rule

from trioemqx.testing import TestBroker, running
from trioemqx.types import Message

SQL = 'SELECT payload.x AS x, payload FROM "t/#"'


@asynccontextmanager
async def two(**config: object) -> AsyncIterator[tuple[TestBroker, TestBroker]]:
    """A broker with a resource `b`, and the one that it leads to."""
    async with running(listen=True) as far, running(listen=True) as near:
        settings = {"address": f"127.0.0.1:{far.port}", "pool_size": 2, "clientid": "link", **config}
        await near.node.rules.resources.create("bridge_mqtt", settings, "", "b")
        yield near, far


def forward(**params: object) -> dict[str, object]:
    return {"name": "data_to_mqtt_broker", "params": {"$resource": "b", **params}}


async def test_a_message_goes_to_the_other_broker() -> None:
    async with two(mountpoint="from/${node}") as (near, far):
        watcher = await far.client("watcher", subscribe="#", qos=2)
        entry = await rule(near, SQL, forward(payload_tmpl="${x}"), forward(forward_topic="other/${x}"))
        near.node.publish(Message("t/1", b'{"x":5}', 1))
        found = sorted([await watcher.receive_publish() for _ in range(2)], key=lambda packet: packet.topic)
        prefix = f"from/{near.node.node}"
        assert [(packet.topic, packet.payload, packet.qos) for packet in found] == [
            (f"{prefix}/other/5", b'{"x":5,"payload":"{\\"x\\":5}"}', 1),
            (f"{prefix}/t/1", b"5", 1),
        ]
        assert action_counts(entry) == {"taken": 1, "success": 1}
        assert {client.clientid[:5] for client in far.node.clients()} == {"link_", "watch"}


@pytest.mark.parametrize(
    ("given", "qos"), [({}, 1), ({"forward_qos": 2}, 2), ({"forward_qos": "${q}"}, 0), ({"forward_qos": "-1"}, 1)]
)
async def test_the_qos_of_a_forwarded_message(given: dict[str, object], qos: int) -> None:
    async with two(mountpoint="") as (near, far):
        watcher = await far.client("watcher", subscribe="t/#", qos=2)
        await rule(near, 'SELECT payload.q AS q FROM "t/#"', forward(payload_tmpl="${q}", **given))
        near.node.publish(Message("t/1", b'{"q":0}', 1))
        packet = await watcher.receive_publish()
        assert (packet.payload, packet.qos) == (b"0", qos)


async def test_a_qos_that_is_none_fails() -> None:
    async with two() as (near, _):
        entry = await rule(near, SQL, forward(forward_qos="${x}"))
        near.node.publish(Message("t/1", b'{"x":3}', 1))
        assert action_counts(entry) == {"taken": 1, "failed": 1}
        answer = await near.api("POST", "/rules", {"rawsql": SQL, "actions": [forward(forward_qos=3)]})
        assert answer.message == "Bad Arguments: {invalid_value,forward_qos}"


async def test_what_has_no_message_or_a_wildcard_fails() -> None:
    async with two() as (near, _):
        event = await rule(near, 'SELECT clientid FROM "$events/client_connected"', forward())
        wild = await rule(near, SQL, forward(forward_topic="a/${payload}"))
        await near.client("c")
        near.node.publish(Message("t/1", b'"#"'))
        assert action_counts(event) == action_counts(wild) == {"taken": 1, "failed": 1}
        answer = await near.api("POST", "/rules", {"rawsql": SQL, "actions": [forward(forward_topic="a/#")]})
        assert answer.message == "Bad Arguments: wildcard_topic_not_allowed_for_publish"


async def test_a_broker_that_is_not_there() -> None:
    async with running(listen=True) as broker:
        config = {"address": "127.0.0.1:9", "pool_size": 1, "clientid": "c"}
        body: dict[str, Any] = {"type": "bridge_mqtt", "id": "b", "config": config}
        answer = await broker.api("POST", "/resources?test=true", body)
        assert (answer.code, answer.message) == (500, "Init resource failure!")
        assert "connection refused" in answer.json()["reason"]
        assert (await broker.api("POST", "/resources", body)).code == 0
        assert "resource/bridge_mqtt/b/down" in broker.alarms()
        rule_ = await broker.api("POST", "/rules", {"rawsql": SQL, "actions": [forward()]})
        assert rule_.data["enabled"] is False


async def test_a_wrong_password_is_told() -> None:
    async with running({"allow_anonymous": False}, listen=True) as far, running(listen=True) as near:
        config = {"address": f"127.0.0.1:{far.port}", "pool_size": 1, "clientid": "c", "username": "u"}
        body = {"type": "bridge_mqtt", "config": {**config, "password": "secret"}}
        answer = await near.api("POST", "/resources?test=true", body)
        assert answer.code == 500
        assert "refuses the connection" in answer.json()["reason"]
        assert "secret" not in answer.json()["reason"]


@asynccontextmanager
async def far_away(port: int) -> AsyncIterator[TestBroker]:
    """A broker on a port, 0 for any."""
    listener = {"tcp": {"test": {"bind": f"127.0.0.1:{port}", "zone": "default", "max_connections": 100}}}
    async with running({"listener": listener}, listen=True) as broker:
        yield broker


async def test_what_waits_on_disk_survives_a_restart(tmp_path: Path) -> None:
    here = {"node": {"data_dir": str(tmp_path)}, "store": {"sync": "normal"}}
    async with running(here, listen=True) as near:
        async with far_away(0) as far:
            port = far.port
            config = {"address": f"127.0.0.1:{port}", "pool_size": 1, "clientid": "c", "disk_cache": "on"}
            await near.node.rules.resources.create("bridge_mqtt", {**config, "mountpoint": ""}, "", "b")
        await rule(near, SQL, forward(payload_tmpl="${x}"), id="r")
        for number in range(3):
            near.node.publish(Message("t/1", b'{"x":%d}' % number, 1))
    async with far_away(port) as far:
        watcher = await far.client("watcher", subscribe="t/#", qos=1)
        async with running(here, listen=True) as near:
            assert [(await watcher.message())[1] for _ in range(3)] == [b"0", b"1", b"2"]
            await near.node.rules.update("r", {"enabled": False})
            await near.node.rules.resources.delete("b")
    assert not list((tmp_path / "rules").iterdir())


async def test_an_import_in_place_of_a_bridge_takes_over_its_queue(tmp_path: Path) -> None:
    """The old one has let go of the folder before the new one wants it."""
    async with running(listen=True) as far, running({"node": {"data_dir": str(tmp_path)}}, listen=True) as near:
        config = {"address": f"127.0.0.1:{far.port}", "pool_size": 1, "clientid": "c", "disk_cache": "on"}
        resource = {"id": "b", "type": "bridge_mqtt", "config": {**config, "mountpoint": ""}}
        assert (await near.api("POST", "/resources", resource)).code == 0
        entry = await rule(near, SQL, forward(payload_tmpl="${x}"), id="r")
        watcher = await far.client("watcher", subscribe="t/#", qos=1)
        await near.node.rules.transfer.take([resource], [], "4.4")
        with trio.fail_after(5):
            while not near.node.rules.resources.find("b").alive:  # type: ignore[union-attr]
                await trio.sleep(0.01)
        assert near.alarms() == {}
        near.node.publish(Message("t/1", b'{"x":1}', 1))
        with trio.fail_after(5):
            assert await watcher.message() == ("t/1", b"1")
        assert entry.active


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": 1.5}, "pool_size"),
        ({"mountpoint": "a/+"}, "mountpoint"),
        ({"address": "emqx2@127.0.0.1"}, "address"),
        ({"keepalive": "100000s"}, "keepalive"),
        ({"reconnect_interval": "0s"}, "reconnect_interval"),
    ],
)
async def test_settings_that_cannot_be(broker: TestBroker, config: dict[str, object], setting: str) -> None:
    base = {"address": "127.0.0.1:9", "pool_size": 1, "clientid": "c"}
    answer = await broker.api("POST", "/resources", {"type": "bridge_mqtt", "config": {**base, **config}})
    assert answer.message == f"Bad Arguments: {{invalid_value,{setting}}}"


async def test_what_comes_while_the_connection_is_lost_waits() -> None:
    async with two(mountpoint="") as (near, far):
        await rule(near, SQL, forward(payload_tmpl="${x}"))
        watcher = await far.client("watcher", subscribe="t/#", qos=1)
        for session in far.node.clients():
            if session.clientid.startswith("link"):
                far.node.kick(session.clientid)
        near.node.publish(Message("t/1", b'{"x":1}', 1))
        with trio.fail_after(5):
            assert await watcher.message() == ("t/1", b"1")
