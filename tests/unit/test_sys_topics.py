"""`$SYS`: what the broker says about itself, on a whole broker (broker behaviour 10)."""

from __future__ import annotations

import json
import re

import pytest
import trio
from pubsub_helpers import config, messages, plug

from trioemqx.testing import Client, TestBroker
from trioemqx.types import Message

ROOT = "$SYS/brokers"
RETAINED = {ROOT, "version", "sysdescr"}
HEARTBEAT = {"uptime", "datetime"}


async def _take(client: Client) -> list[tuple[str, str]]:
    """(topic, payload) of everything that has come. Not alarms: the machine that runs the tests may be busy."""
    await client.ping()
    found = [(packet.topic, packet.payload.decode()) for packet in client.inbox if "/alarms/" not in packet.topic]
    client.inbox.clear()
    return found


def _short(broker: TestBroker, topic: str) -> str:
    return topic.removeprefix(f"{ROOT}/{broker.node.node}/")


# -- periodic ones -----------------------------------------------------------------------------------------------------


async def test_everything_at_its_interval(broker: TestBroker) -> None:
    """First after one interval: heartbeat 30 s, the others 60 s."""
    watcher = await broker.client("w", subscribe="$SYS/#")
    await trio.sleep(29)
    assert await _take(watcher) == []
    await trio.sleep(2)
    assert {_short(broker, topic) for topic, _ in await _take(watcher)} == HEARTBEAT
    await trio.sleep(28)
    assert await _take(watcher) == []
    await trio.sleep(2)
    found = await _take(watcher)
    names = {_short(broker, topic) for topic, _ in found}
    stats = {f"stats/{name}" for name in broker.node.stats()}
    metrics = {f"metrics/{name.replace('.', '/')}" for name in broker.node.metrics}
    assert names == RETAINED | HEARTBEAT | stats | metrics
    assert len(found) == len(names)
    assert len(metrics) == 86


@config(broker={"sys_interval": "10s", "sys_heartbeat": "3s"}, node={"name": "me@here"})
async def test_configured_intervals_and_name(broker: TestBroker) -> None:
    versions = await broker.client("v", subscribe="$SYS/brokers/me@here/version")
    uptimes = await broker.client("u", subscribe="$SYS/brokers/me@here/uptime")
    await trio.sleep(31)
    assert len(await _take(versions)) == 3
    assert [text for _, text in await _take(uptimes)] == [f"{n * 3} seconds" for n in range(1, 11)]


@config(broker={"sys_interval": 0, "sys_heartbeat": 0})
async def test_they_can_be_switched_off(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="$SYS/#")
    await trio.sleep(1000)
    assert await _take(watcher) == []


async def test_payloads(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="$SYS/#")
    await (await broker.client("p", version=4)).publish("t", b"x", qos=1)
    await trio.sleep(61)
    text = {_short(broker, topic): payload for topic, payload in await _take(watcher)}
    assert text[ROOT] == broker.node.node
    assert text["version"] == broker.node.version
    assert text["sysdescr"]
    assert text["uptime"] in ("30 seconds", "1 minutes, 0 seconds")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text["datetime"])
    assert text["stats/connections.count"] == "2"
    assert text["stats/subscriptions.shared.max"] == "0"
    assert text["metrics/packets/connect/received"] == "2"
    assert text["metrics/messages/qos1/received"] == "1"
    assert text["metrics/messages/dropped/await_pubrel_timeout"] == "0"


async def test_three_of_them_are_retained(broker: TestBroker) -> None:
    await trio.sleep(61)
    late = await broker.client("late", subscribe="$SYS/#")
    found = await messages(late, 3)
    assert {_short(broker, packet.topic) for packet in found} == RETAINED
    assert all(packet.retain and packet.qos == 0 for packet in found)
    everything = await broker.client("all", subscribe="#")
    assert await everything.nothing()  # `#` does not reach `$` topics


async def test_they_count_neither_as_publishes_nor_as_drops_nor_as_sent_packets(broker: TestBroker) -> None:
    await broker.client("w", subscribe="$SYS/#")
    await trio.sleep(0.1)
    before = broker.node.metrics
    told: list[str] = []
    plug(broker, message_dropped=lambda message: told.append(message.topic))
    await trio.sleep(200)
    after = broker.node.metrics
    for name in ("messages.publish", "messages.dropped", "packets.publish.sent", "messages.sent", "packets.sent"):
        assert after[name] == before[name], name
    assert after["messages.delivered"] > before["messages.delivered"] + 100
    assert after["bytes.sent"] > before["bytes.sent"]
    assert told == []


async def test_hooks_see_them_marked_as_system_messages(broker: TestBroker) -> None:
    seen: list[Message] = []
    plug(broker, message_publish=lambda message: seen.append(message))
    await trio.sleep(61)
    assert {_short(broker, message.topic) for message in seen} >= RETAINED | HEARTBEAT
    assert all(message.sys and message.publisher == "sys" for message in seen)


# -- presence ----------------------------------------------------------------------------------------------------------


async def _events(broker: TestBroker) -> Client:
    return await broker.client("watcher", subscribe="$SYS/brokers/+/clients/#", qos=2)


@pytest.mark.parametrize("version", [4, 5])
async def test_connected_and_disconnected(broker: TestBroker, version: int) -> None:
    watcher = await _events(broker)
    now = broker.node.wall() * 1000
    client = await broker.client("c", version=version, username="u", keepalive=30, clean_start=False)
    (packet,) = await messages(watcher, 1)
    assert packet.topic == f"{ROOT}/{broker.node.node}/clients/c/connected"
    assert (packet.qos, packet.retain) == (1, False)
    event = json.loads(packet.payload)
    common = {
        "clientid": "c",
        "username": "u",
        "ipaddress": "127.0.0.1",
        "sockport": 0,
        "proto_name": "MQTT",
        "proto_ver": version,
    }
    for name in ("connected_at", "ts"):
        assert event.pop(name) == pytest.approx(now, abs=2000)
    assert event == {
        **common,
        "connack": 0,
        "keepalive": 30,
        "clean_start": False,
        "expiry_interval": 7200 if version == 4 else 0,
    }
    await trio.sleep(10)
    await client.disconnect()
    (packet,) = await messages(watcher, 1)
    assert packet.topic == f"{ROOT}/{broker.node.node}/clients/c/disconnected"
    event = json.loads(packet.payload)
    assert event.pop("connected_at") == pytest.approx(now, abs=2000)
    for name in ("disconnected_at", "ts"):
        assert event.pop(name) == pytest.approx(now + 11_000, abs=3000)
    assert event == {**common, "reason": "normal"}


async def test_an_absent_username(broker: TestBroker) -> None:
    watcher = await _events(broker)
    await broker.client("c")
    (packet,) = await messages(watcher, 1)
    assert json.loads(packet.payload)["username"] == "undefined"


async def test_reasons(broker: TestBroker) -> None:
    watcher = await _events(broker)
    await (await broker.client("closed")).close()
    await broker.client("kicked")
    broker.node.kick("kicked")
    await broker.client("silent", keepalive=2)
    await trio.sleep(6)
    client = await broker.client("rude")
    await client.send_raw(b"\x30\x04\x00\x01#\x00")
    await client.closed()
    await trio.sleep(2)
    await watcher.ping()
    reasons = {}
    for packet in watcher.inbox:
        event = json.loads(packet.payload)
        if "reason" in event:
            reasons[event["clientid"]] = event["reason"]
    assert reasons == {
        "closed": "tcp_closed",
        "kicked": "kicked",
        "silent": "keepalive_timeout",
        "rude": "topic_name_invalid",
    }


async def test_no_disconnected_event_for_a_takeover_or_discard(broker: TestBroker) -> None:
    watcher = await _events(broker)
    await broker.client("c", expiry=100)
    await broker.client("c", clean_start=False, expiry=100)
    await broker.client("c", clean_start=True)
    await trio.sleep(2)
    found = await messages(watcher, 3)
    assert all(packet.topic.endswith("/connected") for packet in found)


@config(module={"presence": {"qos": 0}})
async def test_the_qos_can_be_set(broker: TestBroker) -> None:
    watcher = await _events(broker)
    await broker.client("c")
    assert [packet.qos for packet in await messages(watcher, 1)] == [0]


@config(module={"presence": {"qos": 3}})
async def test_a_wrong_qos_is_an_alarm(broker: TestBroker) -> None:
    (alarm,) = broker.alarms().items()
    assert alarm[0] == "plugin_not_loaded/emqx_mod_presence"
    assert "modules.emqx_mod_presence.qos: expected 0, 1 or 2" in str(alarm[1]["reason"])


async def test_a_name_that_cannot_be_part_of_a_topic(broker: TestBroker) -> None:
    watcher = await _events(broker)
    await broker.client("a/+/#")
    await broker.client("a/b")
    assert [packet.topic.rpartition("clients/")[2] for packet in await messages(watcher, 1)] == ["a/b/connected"]
    assert broker.node.broker.metrics.hook_crashed == 0


# -- alarms ------------------------------------------------------------------------------------------------------------


async def test_alarms(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="$SYS/brokers/+/alarms/#")
    broker.node.alarms.activate("something", {"a": 1})
    broker.node.alarms.deactivate("something", {"b": 2})
    first, second = await messages(watcher, 2)
    assert [_short(broker, packet.topic) for packet in (first, second)] == ["alarms/activate", "alarms/deactivate"]
    assert all(packet.properties.content_type == "application/json" for packet in (first, second))
    assert all((packet.qos, packet.retain) == (0, False) for packet in (first, second))
    event = json.loads(first.payload)
    assert set(event) == {"name", "details", "message", "activate_at", "deactivate_at", "activated"}
    assert (event["name"], event["details"], event["activated"]) == ("something", {"a": 1}, True)
    assert event["deactivate_at"] == "infinity"
    assert event["activate_at"] == pytest.approx(broker.node.wall() * 1e6, abs=3e6)
    event = json.loads(second.payload)
    assert (event["details"], event["activated"]) == ({"b": 2}, False)
    assert isinstance(event["deactivate_at"], int)
