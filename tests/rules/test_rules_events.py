"""What rules see: messages and events, each of them only while some rule wants it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from rules_helpers import Recorder, counts, listening, rule

from trioemqx.codec.control import Suback, Subscribe, Unsuback, Unsubscribe
from trioemqx.codec.packets import PUBACK, PUBREC, Ack
from trioemqx.rules.sql import UNDEFINED
from trioemqx.testing import Refused, TestBroker, Will, running
from trioemqx.types import Message, Properties, SubOpts

ALL = "SELECT * FROM "


@pytest.fixture
def recorder(broker: TestBroker) -> Recorder:
    return Recorder(broker)


def props(**values: object) -> Properties:
    properties = Properties()
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


async def seen(broker: TestBroker, recorder: Recorder, source: str) -> None:
    await rule(broker, f'{ALL} "{source}"', "record", id="r")


def without_times(output: dict[str, Any]) -> dict[str, Any]:
    hidden = ("timestamp", "publish_received_at", "connected_at", "disconnected_at", "id", "metadata", "headers")
    return {name: value for name, value in output.items() if name not in hidden}


async def test_a_published_message(broker: TestBroker, recorder: Recorder) -> None:
    await seen(broker, recorder, "t/#")
    client = await broker.client("pump", username="ops")
    await client.publish("t/1", b'{"t":21.5}', qos=1, properties=props(content_type="x", user_property=[("a", "b")]))
    (output,) = recorder.outputs
    assert without_times(output) == {
        "event": "message.publish",
        "clientid": "pump",
        "username": "ops",
        "payload": '{"t":21.5}',
        "peerhost": "127.0.0.1",
        "topic": "t/1",
        "qos": 1,
        "flags": {"retain": False, "dup": False},
        "pub_props": {
            "Content-Type": "x",
            "User-Property": {"a": "b"},
            "User-Property-Pairs": [{"key": "a", "value": "b"}],
        },
        "node": broker.node.node,
    }
    assert output["metadata"] == {"rule_id": "r"}
    assert len(output["id"]) == 32
    now = broker.node.wall() * 1000
    assert abs(output["timestamp"] - now) < 1000
    assert abs(output["publish_received_at"] - now) < 1000


async def test_messages_of_everybody_are_seen(broker: TestBroker, recorder: Recorder) -> None:
    """Of clients, of the API, of programs, and wills; not those of $SYS."""
    await seen(broker, recorder, "#")
    broker.node.publish(Message("plain", b"1", publisher="program"))
    await broker.api("POST", "/mqtt/publish", {"topic": "api", "payload": "2", "clientid": "tool"})
    client = await broker.client("c", will=Will("will", b"3"))
    await client.close()
    await trio.sleep(1)
    broker.node.publish(Message("$SYS/x", b"4"))
    assert [(out["topic"], out["clientid"]) for out in recorder.outputs] == [
        ("plain", "program"),
        ("api", "tool"),
        ("will", "c"),
    ]


async def test_sys_messages_are_seen_where_that_is_wanted() -> None:
    for ignored in (True, False):
        async with running({"rule_engine": {"ignore_sys_message": ignored}}) as broker:
            recorder = Recorder(broker)
            await rule(broker, f'{ALL} "$SYS/#"', "record")
            broker.node.publish(Message("$SYS/x", b"4"))
            assert bool(recorder.outputs) is not ignored


async def test_a_leading_wildcard_does_not_match_dollar_topics(broker: TestBroker, recorder: Recorder) -> None:
    await seen(broker, recorder, "+/x")
    for topic in ("$a/x", "b/x"):
        broker.node.publish(Message(topic, b""))
    assert [out["topic"] for out in recorder.outputs] == ["b/x"]


async def test_a_message_that_is_sent_again(broker: TestBroker, recorder: Recorder) -> None:
    await rule(broker, "SELECT flags.dup AS dup, flag('retain') AS retain FROM \"t\"", "record")
    client = await broker.client("pump")
    for first_byte in (0x32, 0x3A, 0x3B):
        await client.send_raw(bytes([first_byte, 7, 0, 1, ord("t"), 0, first_byte, 0, ord("x")]))
        await trio.sleep(0.1)
    assert [(out["dup"], out["retain"]) for out in recorder.outputs] == [(False, False), (True, False), (True, True)]


async def test_each_rule_sees_a_message_once(broker: TestBroker, recorder: Recorder) -> None:
    """Even where several of its filters match; rules come in the order in which they were made."""
    for name in ("b", "a", "c"):
        await rule(broker, f'{ALL} "t/#", "t/1", "+/1"', "record", id=name)
    broker.node.publish(Message("t/1", b""))
    assert [out["metadata"]["rule_id"] for out in recorder.outputs] == ["b", "a", "c"]


async def test_a_rule_changes_nothing_of_the_message(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="t")
    await rule(broker, "SELECT 1 AS payload.x, 'u' AS topic FROM \"t\"", "do_nothing")
    await (await broker.client("c")).publish("t", b'{"a":1}', qos=1)
    assert await watcher.message() == ("t", b'{"a":1}')


async def test_delivered_and_acked(broker: TestBroker, recorder: Recorder) -> None:
    await rule(broker, f'{ALL} "$events/message_delivered", "$events/message_acked"', "record")
    viewer = await broker.client("viewer", username="web", subscribe="t", qos=1)
    await (await broker.client("pump", username="ops")).publish("t", b"x", qos=1)
    await viewer.message()
    await trio.sleep(0.1)
    assert [without_times(out) for out in recorder.outputs] == [
        {
            "event": event,
            "from_clientid": "pump",
            "from_username": "ops",
            "clientid": "viewer",
            "username": "web",
            "payload": "x",
            "peerhost": "127.0.0.1",
            "topic": "t",
            "qos": 1,
            "flags": {"retain": False, "dup": False},
            "pub_props": {},
            "node": broker.node.node,
            **more,
        }
        for event, more in (("message.delivered", {}), ("message.acked", {"puback_props": {}}))
    ]


async def test_dropped(broker: TestBroker, recorder: Recorder) -> None:
    await rule(broker, 'SELECT event, reason, topic, clientid FROM "$events/message_dropped"', "record")
    await rule(broker, 'SELECT event, reason, from_clientid, clientid FROM "$events/delivery_dropped"', "record")
    client = await broker.client("c", version=5)
    await client.subscribe("own", opts=SubOpts(nl=True))
    await client.publish("nobody", b"", qos=1)
    await client.publish("own", b"", qos=1)
    assert recorder.outputs == [
        {"event": "message.dropped", "reason": "no_subscribers", "topic": "nobody", "clientid": "c"},
        {"event": "delivery.dropped", "reason": "no_local", "from_clientid": "c", "clientid": "c"},
    ]


async def test_a_connection(broker: TestBroker, recorder: Recorder) -> None:
    names = ("client_connected", "client_disconnected", "client_connack")
    sources = ", ".join(f'"$events/{name}"' for name in names)
    await rule(broker, f"{ALL} {sources}", "record")
    client = await broker.client("c", username="u", keepalive=30, expiry=60)
    await client.disconnect()
    await trio.sleep(0.1)
    connected, connack, gone = (without_times(out) for out in recorder.outputs)
    peer, socket = connected["peername"], connected["sockname"]
    assert connected == {
        "event": "client.connected",
        "clientid": "c",
        "username": "u",
        "mountpoint": connected["mountpoint"],
        "peername": peer,
        "sockname": socket,
        "proto_name": "MQTT",
        "proto_ver": 5,
        "keepalive": 30,
        "clean_start": True,
        "expiry_interval": 60,
        "receive_maximum": connected["receive_maximum"],
        "is_bridge": False,
        "conn_props": {"Session-Expiry-Interval": 60},
        "node": broker.node.node,
    }
    assert peer.startswith("127.0.0.1:")
    assert (connack["event"], connack["reason_code"], connack["clientid"]) == ("client.connack", "success", "c")
    assert (gone["event"], gone["reason"], gone["username"]) == ("client.disconnected", "normal", "u")


async def test_a_refusal_has_a_connack() -> None:
    async with running({"allow_anonymous": False}) as broker:
        recorder = Recorder(broker)
        await rule(broker, 'SELECT reason_code FROM "$events/client_connack"', "record")
        with pytest.raises(Refused):
            await broker.client("c")
        assert recorder.outputs == [{"reason_code": "not_authorized"}]


async def test_subscriptions(broker: TestBroker, recorder: Recorder) -> None:
    await rule(broker, f'{ALL} "$events/session_subscribed", "$events/session_unsubscribed"', "record")
    client = await broker.client("c", username="u")
    await client.subscribe("$share/g/a/+", qos=1)
    await client.unsubscribe("$share/g/a/+")
    first, second = (without_times(out) for out in recorder.outputs)
    base = {"clientid": "c", "username": "u", "peerhost": "127.0.0.1", "topic": "a/+", "qos": 1}
    node = {"node": broker.node.node}
    assert first == {"event": "session.subscribed", **base, "sub_props": {}, **node}
    assert second == {"event": "session.unsubscribed", **base, "unsub_props": {}, **node}


async def test_properties_of_the_packets_that_events_are_about(broker: TestBroker, recorder: Recorder) -> None:
    events = ("session_subscribed", "session_unsubscribed", "client_disconnected")
    for event, column in zip(events, ("sub_props", "unsub_props", "disconn_props"), strict=True):
        await rule(broker, f'SELECT {column} AS said FROM "$events/{event}"', "record")
    client = await broker.client("c")
    properties = Properties()
    properties.user_property = [("k", "v")]
    said = {"User-Property": {"k": "v"}, "User-Property-Pairs": [{"key": "k", "value": "v"}]}
    await client.send(Subscribe(1, [("t", SubOpts())], properties))
    await client.wait_for(Suback)
    broker.node.subscribe("c", "u")
    await client.send(Unsubscribe(2, ["t"], properties))
    await client.wait_for(Unsuback)
    properties.reason_string = "bye"
    await client.disconnect(0, properties)
    await trio.sleep(1)
    assert [out["said"] for out in recorder.outputs] == [said, {}, said, {**said, "Reason-String": "bye"}]


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
async def test_properties_of_an_acknowledgement(broker: TestBroker, recorder: Recorder, qos: int, kind: int) -> None:
    sql = "SELECT topic, qos, puback_props AS said, puback_props.'Reason-String' AS why"
    await rule(broker, f'{sql} FROM "$events/message_acked"', "record")
    viewer = await broker.client("viewer", version=5, subscribe="t", qos=qos)
    viewer.auto_ack = False
    properties = props(reason_string="written", user_property=[("k", "1"), ("k", "2")])
    for given in (properties, None):
        broker.node.publish(Message("t", b"x", qos))
        packet = await viewer.receive_publish()
        await viewer.send(Ack(kind, packet.packet_id, 0, given))
    await trio.sleep(0.1)
    said = {
        "Reason-String": "written",
        "User-Property": {"k": "2"},
        "User-Property-Pairs": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}],
    }
    first, second = recorder.outputs
    assert first == {"topic": "t", "qos": qos, "said": said, "why": "written"}
    assert (second["said"], second["why"]) == ({}, UNDEFINED)
    assert broker.node.broker.registry.sessions["viewer"].info.said is None, "it holds for the event only"


async def test_an_acknowledgement_of_mqtt_3_has_no_properties(broker: TestBroker, recorder: Recorder) -> None:
    await rule(broker, 'SELECT puback_props FROM "$events/message_acked"', "record")
    viewer = await broker.client("viewer", version=4, subscribe="t", qos=1)
    broker.node.publish(Message("t", b"x", 1))
    await viewer.message()
    await viewer.ping()
    assert recorder.outputs == [{"puback_props": {}}]


async def test_properties_of_a_connect_are_those_of_its_events(broker: TestBroker, recorder: Recorder) -> None:
    sources = '"$events/client_connected", "$events/client_connack"'
    await rule(broker, f"SELECT conn_props, expiry_interval, receive_maximum AS window FROM {sources}", "record")
    given = props(session_expiry_interval=60, receive_maximum=7, user_property=[("k", "v")])
    await broker.client("c", version=5, properties=given)
    wanted = {
        "Session-Expiry-Interval": 60,
        "Receive-Maximum": 7,
        "User-Property": {"k": "v"},
        "User-Property-Pairs": [{"key": "k", "value": "v"}],
    }
    assert [(out["conn_props"], out["expiry_interval"]) for out in recorder.outputs] == [(wanted, 60)] * 2
    assert recorder.outputs[0]["window"] == 7


async def test_access_decisions() -> None:
    async with running({"acl_nomatch": "deny", "zone": {"default": {"enable_acl": True}}}) as broker:
        recorder = Recorder(broker)
        sql = 'SELECT action, topic, result, is_cache, clientid FROM "$events/client_check_acl_complete"'
        await rule(broker, sql, "record")
        client = await broker.client("c")
        for _ in range(2):
            await client.publish("t", b"", qos=1)
        base = {"action": "publish", "topic": "t", "result": "deny", "clientid": "c"}
        assert recorder.outputs == [{**base, "is_cache": False}, {**base, "is_cache": True}]


async def test_nobody_can_pretend_an_event_by_a_message(broker: TestBroker, recorder: Recorder) -> None:
    await seen(broker, recorder, "$events/client_connected")
    broker.node.publish(Message("$events/client_connected", b'{"clientid":"evil"}'))
    assert recorder.outputs == []


@pytest.mark.parametrize("source", ["$events/nothing", "$events/client_connected/x", "$events/message_publish"])
async def test_events_that_never_happen(broker: TestBroker, recorder: Recorder, source: str) -> None:
    await seen(broker, recorder, source)
    client = await broker.client("c")
    await client.publish("t", b"", qos=1)
    broker.node.publish(Message(source, b""))
    assert recorder.outputs == []


# -- what it costs -----------------------------------------------------------------------------------------------------


async def test_only_hooks_that_are_needed_are_there(broker: TestBroker) -> None:
    engine = broker.node.rules
    assert listening(broker) == []
    await rule(broker, f'{ALL} "t"', id="m")
    assert listening(broker) == ["message_publish"]
    await rule(broker, f'{ALL} "$events/client_connected", "$events/session_subscribed"', id="e")
    await rule(broker, f'{ALL} "$events/message_acked"', id="off", enabled=False)
    assert listening(broker) == ["client_connected", "message_publish", "session_subscribed"]
    await engine.update("e", {"rawsql": f'{ALL} "$events/message_acked"'})
    assert listening(broker) == ["message_acked", "message_publish"]
    await engine.update("m", {"enabled": False})
    await engine.delete("e")
    assert listening(broker) == []


async def test_topics_seen_before_are_found_again_after_a_change(broker: TestBroker, recorder: Recorder) -> None:
    entry = await rule(broker, f'{ALL} "t/+"', "record", id="a")
    for _ in range(2):
        broker.node.publish(Message("t/1", b""))
    await rule(broker, f'{ALL} "t/1"', "record", id="b")
    broker.node.publish(Message("t/1", b""))
    await broker.node.rules.delete("a")
    broker.node.publish(Message("t/1", b""))
    assert [out["metadata"]["rule_id"] for out in recorder.outputs] == ["a", "a", "a", "b", "b"]
    assert counts(entry) == {"matched": 3, "passed": 3}


async def test_what_functions_keep_for_a_client_goes_with_it(broker: TestBroker) -> None:
    recorder = Recorder(broker)
    sql = "SELECT proc_dict_get('n') AS before, proc_dict_put('n', payload) AS x FROM \"t\""
    entry = await rule(broker, sql, "record")
    assert listening(broker) == ["client_disconnected", "message_publish"]
    for payload in (b"1", b"2"):
        client = await broker.client("c")
        for _ in range(2):
            await client.publish("t", payload, qos=1)
        await client.disconnect()
        await trio.sleep(0.1)
    assert [str(out["before"]) for out in recorder.outputs] == ["undefined", "1", "undefined", "2"]
    await broker.node.rules.delete(entry.id)
    assert listening(broker) == []


# -- events as messages ------------------------------------------------------------------------------------------------


async def test_events_are_published_where_that_is_wanted() -> None:
    events = {
        "client_connected": "on, qos2",
        "message_dropped": "on",
        "message_delivered": True,
        "message_acked": "off",
    }
    async with running({"rule_engine": {"events": events}}) as broker:
        recorder = Recorder(broker)
        await rule(broker, f'{ALL} "#", "$events/+"', "record")
        watcher = await broker.client("watcher", subscribe="$events/#", qos=2)
        await broker.client("c")
        packet = await watcher.receive_publish()
        body = json.loads(packet.payload)
        assert (packet.topic, packet.qos, body["clientid"], body["event"]) == (
            "$events/client_connected", 2, "c", "client.connected",
        )  # fmt: skip
        broker.node.publish(Message("nobody", b"\xff"))
        packet = await watcher.receive_publish()
        assert (packet.topic, packet.qos, json.loads(packet.payload)["payload"]) == (
            "$events/message_dropped", 1, "\ufffd",
        )  # fmt: skip
        assert await watcher.nothing(1), "events of events are told to nobody"
        assert "client.connected" in {out["event"] for out in recorder.outputs}
        messages = [out["topic"] for out in recorder.outputs if out["event"] == "message.publish"]
        assert messages == ["nobody"]
