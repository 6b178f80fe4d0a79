"""emqx_web_hook against a real web server on 127.0.0.1: every event, and what becomes of them when it is not there."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from trioemqx.plugin import Message, PluginError, SubOpts
from trioemqx.testing import Refused, TestBroker, WebRequest, WebServer, Will, running, web_server

NAME = "emqx_web_hook"
Tree = dict[str, Any]
Event = dict[str, Any]


def rules(*hooks: str, topic: str | None = None) -> Tree:
    """A rule for each hook."""
    more = {} if topic is None else {"topic": topic}
    return {f"{hook}.1": json.dumps({"action": f"on_{hook.replace('.', '_')}", **more}) for hook in hooks}


def settings(server: WebServer, rule: Tree, **hook: object) -> Tree:
    return {"plugins": {"load": [NAME]}, "web": {"hook": {"url": f"{server.url}/hook", "rule": rule, **hook}}}


@asynccontextmanager
async def world(rule: Tree, **hook: object) -> AsyncIterator[tuple[TestBroker, WebServer]]:
    """A web server and a broker that tells it."""
    async with web_server() as server, running(settings(server, rule, **hook), listen=True) as broker:
        yield broker, server


def hooked(broker: TestBroker) -> Any:
    return broker.node.plugins.plugin(NAME)


async def events(server: WebServer, count: int) -> list[Event]:
    """The first events, when they are here."""
    return [json.loads(request.body) for request in await server.asked(count)]


def listening(broker: TestBroker) -> list[str]:
    """The hook points at which the plugin is called."""
    return [point for point, chain in broker.node.hooks.describe() if NAME in dict(chain)]


async def settled(broker: TestBroker) -> None:
    """Wait until everything has been sent."""
    with trio.fail_after(5):
        await hooked(broker).lanes.empty()


def payloads(server: WebServer) -> list[str]:
    return [json.loads(request.body)["payload"] for request in server.requests]


async def until(condition: Any) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - real time and real sockets
            await trio.sleep(0.005)


def about(milliseconds: object) -> bool:
    """True for a time in milliseconds that is now, give or take."""
    return isinstance(milliseconds, int) and abs(milliseconds / 1000 - time.time()) < 60


# -- every event -------------------------------------------------------------------------------------------------------


async def test_each_event_is_one_post_of_json() -> None:
    async with world(rules("client.connected"), headers={"X_Key": "k", "content_type": "text/plain"}) as (
        broker,
        server,
    ):
        await broker.client("c")
        (event,) = await events(server, 1)
        (request,) = server.requests
        assert (request.method, request.target) == ("POST", "/hook")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["x-key"] == "k"
        assert event["node"] == broker.node.node


async def test_a_connection_from_connect_to_disconnected() -> None:
    hooks = ("client.connect", "client.connack", "client.connected", "client.disconnected")
    async with world(rules(*hooks)) as (broker, server):
        client = await broker.client("c", username="u", keepalive=30, version=4)
        await client.disconnect()
        node = broker.node.node
        connect, connected, connack, gone = await events(server, 4)
        who = {"node": node, "clientid": "c", "username": "u"}
        base = {**who, "ipaddress": "127.0.0.1", "keepalive": 30, "proto_ver": 4}
        assert connect == {"action": "client_connect", **base}
        assert about(connected["connected_at"])
        at = {"connected_at": connected["connected_at"]}
        assert connected == {"action": "client_connected", **base, **at}
        assert connack == {"action": "client_connack", **base, **at, "conn_ack": "success"}
        assert about(gone["disconnected_at"])
        end = {"disconnected_at": gone["disconnected_at"]}
        assert gone == {"action": "client_disconnected", **who, "reason": "normal", **at, **end}


async def test_a_refusal_has_no_time_of_connection_and_an_absent_username_is_null() -> None:
    async with web_server() as server:
        tree = {**settings(server, rules("client.connack")), "allow_anonymous": "false"}
        async with running(tree, listen=True) as broker:
            with pytest.raises(Refused):
                await broker.client("c")
            (event,) = await events(server, 1)
            assert event == {
                "action": "client_connack",
                "node": broker.node.node,
                "clientid": "c",
                "username": None,
                "ipaddress": "127.0.0.1",
                "keepalive": 0,
                "proto_ver": 5,
                "conn_ack": "not_authorized",
            }


async def test_subscriptions_are_told_filter_by_filter() -> None:
    hooks = ("client.subscribe", "client.unsubscribe", "session.subscribed", "session.unsubscribed")
    async with world(rules(*hooks)) as (broker, server):
        client = await broker.client("c", username="u")
        opts = SubOpts(1, nl=True, rap=True, rh=2)
        await client.subscribe("a", "$share/g/b", opts=SubOpts(1, rh=2))
        await client.subscribe("a", opts=opts)
        await client.unsubscribe("a")
        who = {"node": broker.node.node, "clientid": "c", "username": "u"}
        plain, full = {"qos": 1, "rh": 2, "rap": 0, "nl": 0}, {"qos": 1, "rh": 2, "rap": 1, "nl": 1}
        assert await events(server, 8) == [
            {"action": "client_subscribe", **who, "topic": "a", "opts": plain},
            {"action": "client_subscribe", **who, "topic": "$share/g/b", "opts": plain},
            {"action": "session_subscribed", **who, "topic": "a", "opts": {**plain, "is_new": True}},
            {"action": "session_subscribed", **who, "topic": "$share/g/b", "opts": {**plain, "is_new": True}},
            {"action": "client_subscribe", **who, "topic": "a", "opts": full},
            {"action": "session_subscribed", **who, "topic": "a", "opts": {**full, "is_new": False}},
            {"action": "client_unsubscribe", **who, "topic": "a", "opts": {}},
            {"action": "session_unsubscribed", **who, "topic": "a"},
        ]


async def test_the_end_of_a_session() -> None:
    async with world(rules("session.terminated")) as (broker, server):
        client = await broker.client("c", username="u")
        await client.disconnect()
        (event,) = await events(server, 1)
        who = {"node": broker.node.node, "clientid": "c", "username": "u"}
        assert event == {"action": "session_terminated", **who, "reason": "normal"}


async def test_a_message_from_publish_to_acked() -> None:
    async with world(rules("message.publish", "message.delivered", "message.acked")) as (broker, server):
        watcher = await broker.client("w", username="wu", subscribe="t/#", qos=1)
        sender = await broker.client("s")
        await sender.publish("t/1", b"hello", qos=2, retain=True)
        await watcher.message()
        found = {event["action"]: event for event in await events(server, 3)}
        message = {
            "node": broker.node.node,
            "from_client_id": "s",
            "from_username": None,
            "topic": "t/1",
            "qos": 2,
            "retain": True,
            "payload": "hello",
            "ts": found["message_publish"]["ts"],
        }
        assert about(message["ts"])
        receiver = {"clientid": "w", "username": "wu", "qos": 1}
        assert found == {
            "message_publish": {"action": "message_publish", **message},
            "message_delivered": {"action": "message_delivered", **message, **receiver},
            "message_acked": {"action": "message_acked", **message, **receiver},
        }


async def test_messages_of_the_broker_itself_are_not_sent() -> None:
    async with world(rules("message.publish", "message.delivered")) as (broker, server):
        await broker.client("w", subscribe="$SYS/#")
        broker.node.publish(Message("$SYS/brokers/x", b"1", sys=True))
        broker.node.publish(Message("mine", b"2", publisher="http_api"))
        await settled(broker)
        assert [(event["topic"], event["from_client_id"]) for event in await events(server, 1)] == [
            ("mine", "http_api")
        ]


async def test_a_will_is_a_message_of_its_client() -> None:
    async with world(rules("message.publish")) as (broker, server):
        client = await broker.client("c", username="u", will=Will("last", b"bye", 0, False, None))
        await client.close()
        (event,) = await events(server, 1)
        assert (event["from_client_id"], event["from_username"], event["payload"]) == ("c", "u", "bye")


# -- payloads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "payload", "fields"),
    [
        ("plain", 'ü "\n\0'.encode(), {"payload": 'ü "\n\0'}),
        ("plain", b"\xff\x00", {"payload": "/wA=", "payload_encoding": "base64"}),
        ("base64", b"hello", {"payload": "aGVsbG8="}),
        ("base62", b"hello", {"payload": "aGVsbGP"}),
    ],
)
async def test_how_a_payload_is_written(encoding: str, payload: bytes, fields: Event) -> None:
    body = {"encoding_of_payload_field": encoding}
    async with world(rules("message.publish"), body=body) as (broker, server):
        client = await broker.client("c")
        await client.publish("t", payload)
        (event,) = await events(server, 1)
        assert {name: value for name, value in event.items() if name.startswith("payload")} == fields


async def test_base62_is_emqx_s() -> None:
    """As Base64 with 61, 62 and 63 as 9A, 9B and 9C; the bits of a last group that is not whole are not shifted."""
    async with world(rules("message.publish"), body={"encoding_of_payload_field": "base62"}) as (broker, server):
        client = await broker.client("c")
        samples = {
            b"": "",
            b"f": "ZC",
            b"fo": "ZmP",
            b"foo": "Zm9Av",
            b"\xff\xff\xff": "9C9C9C9C",
            b"\xfb\xef\xbe": "9B9B9B9B",
        }
        for sample in samples:
            await client.publish("t", sample)
        found = [event["payload"] for event in await events(server, len(samples))]
        assert found == list(samples.values())
        letters = base64.b64encode(b"foo").decode()
        assert letters.replace("9", "9A") == "Zm9Av"


# -- rules -------------------------------------------------------------------------------------------------------------


async def test_a_topic_filter_keeps_the_other_topics_out() -> None:
    rule = rules("message.publish", "client.subscribe", "session.subscribed", topic="a/+")
    async with world(rule) as (broker, server):
        client = await broker.client("c")
        await client.subscribe("a/1", "b", "$share/g/a/2")
        await client.publish("b", b"")
        await client.publish("a/1", b"")
        await settled(broker)
        told = [(event["action"], event["topic"]) for event in await events(server, 5)]
        assert told == [
            ("client_subscribe", "a/1"),
            ("client_subscribe", "$share/g/a/2"),
            ("session_subscribed", "a/1"),
            ("session_subscribed", "$share/g/a/2"),
            ("message_publish", "a/1"),
        ]


async def test_an_event_that_several_rules_want_is_sent_once() -> None:
    rule = {
        "message": {
            "publish": {
                "1": '{"action": "on_message_publish", "topic": "a/#"}',
                "2": '{"action": "on_message_publish", "topic": "+/b"}',
            }
        }
    }
    async with world(rule) as (broker, server):
        client = await broker.client("c")
        for topic in ("a/b", "c/b", "a", "c/d"):
            await client.publish(topic)
        await client.ping()
        await settled(broker)
        assert [event["topic"] for event in await events(server, 3)] == ["a/b", "c/b", "a"]


@pytest.mark.parametrize(
    "rule",
    [
        {"client.connected.1": '{"action": "on_client_connected"}'},
        {"client": {"connected": {"1": '{"action": "on_client_connected"}'}}},
        {"client": {"connected": {"1": {"action": "on_client_connected"}}}},
        {"client.connected": {"7": '{"action": "on_client_connected", "topic": "no/matter"}'}},
        {"client.connected": '{"action": "on_client_connected"}'},
    ],
)
async def test_every_spelling_of_a_rule(rule: Tree) -> None:
    async with world(rule) as (broker, server):
        await broker.client("c")
        assert (await events(server, 1))[0]["action"] == "client_connected"


async def test_rules_in_a_file_as_emqx_writes_them(tmp_path: Path) -> None:
    file = tmp_path / f"{NAME}.toml"
    async with web_server() as server:
        file.write_text(
            f'web.hook.url = "{server.url}"\n'
            'web.hook.rule.client.connected.1 = \'{"action": "on_client_connected"}\'\n'
            'web.hook.rule.client.disconnected.1 = \'{"action": "on_client_disconnected"}\'\n'
        )
        tree = {"plugins": {"load": [NAME], "etc_dir": str(tmp_path)}}
        async with running(tree, listen=True) as broker:
            await (await broker.client("c")).disconnect()
            assert [event["action"] for event in await events(server, 2)] == ["client_connected", "client_disconnected"]


async def test_points_without_a_rule_stay_free() -> None:
    """Where somebody listens the broker's short ways are closed: for messages that is the price of each."""
    async with world(rules("client.connected")) as (broker, _):
        assert listening(broker) == ["client_connected"]
        await broker.node.plugins.unload(NAME)
        assert listening(broker) == []


async def test_as_shipped_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    async with running({"plugins": {"load": [NAME]}}) as broker:
        assert hooked(broker).config.url == "http://127.0.0.1:80"
        assert (hooked(broker).config.pool_size, hooked(broker).config.rules) == (32, {})
        assert "web.hook.rule has no rule" in caplog.text
        assert listening(broker) == []


@pytest.mark.parametrize(
    ("hook", "text"),
    [
        ({"url": "localhost:80"}, r"emqx_web_hook\.url: not a usable URL"),
        (
            {"rule": {"client.conected.1": "{}"}},
            r"rule\.client\.conected\.1: there is no event client\.conected .*did you",
        ),
        ({"rule": {"client.check_acl.1": "{}"}}, r"there is no event client\.check_acl"),
        ({"rule": {"client.connect.1": "{"}}, r'rule\.client\.connect\.1: expected {"action": "on_client_connect"}'),
        ({"rule": {"client.connect.1": "[" * 5000}}, r"rule\.client\.connect\.1: expected"),
        (
            {"rule": rules("client.connect") | {"client.connack.1": '{"action": "on_client_connect"}'}},
            "on_client_connack",
        ),
        (
            {"rule": {"message.publish.1": {"action": "on_message_publish", "topic": "a/#/b"}}},
            r"not a topic filter: 'a/#/b'",
        ),
        ({"rule": {"message.publish.1": {"action": "on_message_publish", "topic": 5}}}, r"not a topic filter: 5"),
        ({"rule": {"message.publish.1": {"action": "on_message_publish", "topics": "a"}}}, r"not 'topics'"),
        ({"body": {"encoding_of_payload_field": "hex"}}, r"expected plain, base64 or base62, got 'hex'"),
        ({"pool_size": 0}, r"pool_size: expected 1 to 1024"),
        ({"queue_size": 0}, r"queue_size: expected more than 0"),
        ({"queue_full": "block"}, r"queue_full: expected drop_oldest or drop_new"),
        ({"headers": {"x": "a\nb"}}, r"headers\.x: a header has printable"),
        ({"headers": {"content_length": "5"}}, r"headers\.content_length: this header cannot be set"),
        (
            {"url": "https://h", "ssl": {"certfile": "/no.pem"}},
            r"web\.hook\.ssl\.certfile/keyfile /no\.pem: no such file",
        ),
    ],
)
async def test_settings_that_cannot_be_used_keep_it_out(hook: Tree, text: str) -> None:
    async with running({"web": {"hook": hook}}) as broker:
        with pytest.raises(PluginError, match=text) as caught:
            await broker.node.plugins.load(NAME)
        assert "\n" not in str(caught.value)
        await broker.client("c")


# -- order, and a server that is slow or away --------------------------------------------------------------------------


async def test_events_of_a_client_arrive_in_order_while_others_go_beside_them() -> None:
    async with world(rules("message.publish"), pool_size=4) as (broker, server):

        async def uneven(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(0.001 * (len(request.body) % 7))
            return 200, b""

        server.reply = uneven
        clients = [await broker.client(f"c{number}") for number in range(8)]
        for number in range(25):
            for client in clients:
                await client.publish("t", str(number).encode() + b" " * (number % 5), qos=1)
        await settled(broker)
        told = [json.loads(request.body) for request in server.requests]
        for client in range(8):
            own = [int(event["payload"]) for event in told if event["from_client_id"] == f"c{client}"]
            assert own == list(range(25))
        assert 2 <= server.connections <= 4, "kept alive, and no more than the pool has"


async def test_a_slow_server_does_not_slow_the_publisher() -> None:
    async with world(rules("message.publish", "message.delivered", "message.acked"), pool_size=2) as (broker, server):

        async def slow(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(2)
            return 200, b""

        server.reply = slow
        watcher = await broker.client("w", subscribe="t", qos=1)
        sender = await broker.client("s")
        began = time.monotonic()
        for number in range(200):
            await sender.publish("t", str(number).encode(), qos=1)
            assert await watcher.message() == ("t", str(number).encode())
        assert time.monotonic() - began < 2, "all 200 before the server has answered once"
        await watcher.ping()
        assert len(hooked(broker).lanes) + len(server.requests) == 600
        server.says(200)
        server.stop()


async def test_events_wait_for_a_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    async with world(rules("message.publish")) as (broker, server):
        alarm = f"web_hook_unreachable/{server.url}/hook"
        client = await broker.client("c")
        server.stop()
        for number in range(20):
            await client.publish("t", str(number).encode(), qos=1)
        await until(lambda: alarm in broker.alarms())
        assert broker.alarms()[alarm] == {"plugin": NAME, "url": f"{server.url}/hook", "error": "connection refused"}
        assert server.requests == []
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await server.asked(20)
            await settled(broker)
            assert payloads(server) == [str(number) for number in range(20)]
            assert alarm not in broker.alarms()
            server.stop()
        said = [record.getMessage() for record in caplog.records if "events" in record.getMessage()]
        assert said[0] == f"{server.url}/hook does not take events: connection refused; they wait"
        assert said[1] == f"{server.url}/hook takes events again"
        assert broker.metrics[f"plugin.{NAME}.sent"] == 20
        assert broker.metrics[f"plugin.{NAME}.failed"] == 0


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_server_that_says_later_is_asked_again(status: int) -> None:
    async with world(rules("message.publish")) as (broker, server):

        async def reply(request: WebRequest) -> tuple[int, bytes]:
            return (status if len(server.requests) == 1 else 200), b""

        server.reply = reply
        client = await broker.client("c")
        await client.publish("t", b"1", qos=1)
        await client.publish("t", b"2", qos=1)
        await server.asked(3)
        await settled(broker)
        assert payloads(server) == ["1", "1", "2"]
        assert broker.metrics[f"plugin.{NAME}.sent"] == 2


@pytest.mark.parametrize("status", [302, 400, 401, 404, 500])
async def test_other_refusals_are_logged_and_counted_and_not_repeated(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(rules("message.publish")) as (broker, server):
        server.says(status, location=f"{server.url}/elsewhere")
        client = await broker.client("c")
        await client.publish("t", b"1", qos=1)
        await client.publish("t", b"2", qos=1)
        await server.asked(2)
        await settled(broker)
        assert payloads(server) == ["1", "2"]
        assert {request.target for request in server.requests} == {"/hook"}, "a redirect is not followed"
        assert broker.metrics[f"plugin.{NAME}.failed"] == 2
        assert f"answered status {status} to message_publish of c" in caplog.text


@pytest.mark.parametrize(
    "raw", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000]
)
async def test_malformed_and_huge_answers_count_as_none(raw: bytes) -> None:
    async with world(rules("message.publish"), retry_for=0) as (broker, server):

        async def reply(request: WebRequest) -> bytes:
            return raw

        server.reply = reply
        client = await broker.client("c")
        await client.publish("t", b"1", qos=1)
        await until(lambda: broker.metrics[f"plugin.{NAME}.failed"] == 1)
        server.says(200)
        await client.publish("t", b"2", qos=1)
        await settled(broker)
        assert payloads(server)[-1] == "2"


async def test_what_is_too_old_is_given_up_after_a_last_try() -> None:
    async with world(rules("message.publish"), retry_for="300ms") as (broker, server):
        client = await broker.client("c")
        server.stop()
        await client.publish("t", b"old", qos=1)
        await until(lambda: broker.metrics[f"plugin.{NAME}.failed"] == 1)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await client.publish("t", b"new", qos=1)
            await server.asked(1)
            assert payloads(server) == ["new"]
            await settled(broker)
            server.stop()


@pytest.mark.parametrize(("full", "left"), [("drop_oldest", ["0", "7", "8", "9"]), ("drop_new", ["0", "1", "2", "3"])])
async def test_a_full_queue_drops_and_counts(full: str, left: list[str]) -> None:
    """The first event is in a worker's hand, where nothing drops it."""
    async with world(rules("message.publish"), queue_size=3, queue_full=full, pool_size=1) as (broker, server):
        go = trio.Event()

        async def held(request: WebRequest) -> tuple[int, bytes]:
            await go.wait()
            return 200, b""

        server.reply = held
        client = await broker.client("c")
        await client.publish("t", b"0", qos=1)
        await server.asked(1)
        for number in range(1, 10):
            await client.publish("t", str(number).encode(), qos=1)
        assert broker.metrics[f"plugin.{NAME}.dropped"] == 6
        assert broker.metrics["webhook.message_publish"] == 10
        await until(lambda: broker.node.gauges["webhook.queued"]() == 3)
        go.set()
        await settled(broker)
        assert payloads(server) == left


async def test_the_queue_is_bounded_in_bytes_too() -> None:
    async with world(rules("message.publish"), queue_bytes="4KB", pool_size=1) as (broker, server):
        go = trio.Event()

        async def held(request: WebRequest) -> tuple[int, bytes]:
            await go.wait()
            return 200, b""

        server.reply = held
        client = await broker.client("c")
        await client.publish("t", b"first", qos=1)
        await server.asked(1)
        for number in range(6):
            await client.publish("t", str(number).encode() * 1500, qos=1)
        await client.publish("t", b"x" * 5000, qos=1)  # larger than the queue: it drives nothing out
        assert 3000 < hooked(broker).lanes.bytes <= 4096
        go.set()
        await settled(broker)
        assert [payload[0] for payload in payloads(server)] == ["f", "4", "5"]
        assert hooked(broker).lanes.bytes == 0


# -- life --------------------------------------------------------------------------------------------------------------


async def test_a_reload_hands_over_what_waits() -> None:
    async with world(rules("message.publish"), pool_size=2) as (broker, server):
        client = await broker.client("c")
        server.stop()
        for number in range(10):
            await client.publish("t", str(number).encode(), qos=1)
        before = hooked(broker)
        await until(lambda: before._failures)
        broker.node.plugins.config.web["hook"]["pool_size"] = 3
        await broker.reload_plugin(NAME)
        assert hooked(broker) is not before
        assert len(hooked(broker).lanes.everything()) == 10
        await client.publish("t", b"10", qos=1)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await server.asked(11)
            await settled(broker)
            assert payloads(server) == [str(number) for number in range(11)]
            assert broker.metrics["webhook.message_publish"] == 11
            server.stop()


async def test_reloads_under_load_lose_nothing_and_keep_the_order() -> None:
    async with world(rules("message.publish"), pool_size=2) as (broker, server):

        async def slow(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(0.002)
            return 200, b""

        server.reply = slow
        client = await broker.client("c")

        async def publish() -> None:
            for number in range(200):
                await client.publish("t", str(number).encode(), qos=1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish)
            for _ in range(3):
                await trio.sleep(0.05)
                await broker.reload_plugin(NAME)
        await settled(broker)
        told = [int(payload) for payload in payloads(server)]
        assert list(dict.fromkeys(told)) == list(range(200))
        assert len(told) <= 203, "only what was in hand at a reload may come twice"


async def test_a_reload_that_fails_changes_nothing() -> None:
    async with world(rules("message.publish"), pool_size=1) as (broker, server):
        client = await broker.client("c")
        server.stop()
        await client.publish("t", b"1", qos=1)
        await until(lambda: hooked(broker)._failures)
        tree = broker.node.plugins.config.web["hook"]
        tree["rule"] = {"nonsense.1": "{}"}
        with pytest.raises(PluginError, match="no event nonsense"):
            await broker.reload_plugin(NAME)
        await client.publish("t", b"2", qos=1)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await server.asked(2)
            assert payloads(server) == ["1", "2"]
            server.stop()


async def test_a_switch_that_fails_after_the_hand_over_leaves_the_events_with_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(rules("message.publish"), pool_size=1) as (broker, server):
        client = await broker.client("c")
        server.stop()
        await client.publish("t", b"1", qos=1)
        await client.publish("t", b"2", qos=1)
        await until(lambda: hooked(broker)._failures)

        def refuse(*args: object) -> None:
            raise RuntimeError("not now")

        with monkeypatch.context() as patch:
            patch.setattr(broker.node.hooks, "replace", refuse)
            with pytest.raises(PluginError, match="not now"):
                await broker.reload_plugin(NAME)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await server.asked(2)
            await client.publish("t", b"3", qos=1)
            await server.asked(3)
            await settled(broker)
            assert payloads(server) == ["1", "2", "3"]
            server.stop()


async def test_the_end_of_the_broker_sends_what_is_left() -> None:
    async with web_server() as server:

        async def slow(request: WebRequest) -> tuple[int, bytes]:
            await trio.sleep(0.01)
            return 200, b""

        server.reply = slow
        async with running(settings(server, rules("client.disconnected")), listen=True) as broker:
            for number in range(10):
                await broker.client(f"c{number}")
        told = {event["clientid"] for event in await events(server, 10)}
        assert told == {f"c{number}" for number in range(10)}


async def test_unloaded_it_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with world(rules("message.publish")) as (broker, server):
        client = await broker.client("c")
        server.stop()
        for _ in range(3):
            await client.publish("t", b"1", qos=1)
        await until(lambda: any(name.startswith("web_hook_unreachable") for name in broker.alarms()))
        await broker.node.plugins.unload(NAME)
        assert "3 events have not been sent" in caplog.text
        assert not any(name.startswith("web_hook_unreachable") for name in broker.alarms())
        assert not [name for name in broker.metrics if "web" in name]
        assert "webhook.queued" not in broker.node.gauges
        assert not broker.node.hooks.compiled.message_publish


async def test_every_event_has_its_metric_from_the_start() -> None:
    async with world(rules("client.connected")) as (broker, _):
        await broker.client("c")
        names = [name for name in broker.metrics if name.startswith("webhook.")]
        assert len(names) == 12
        assert broker.metrics["webhook.client_connected"] == 1
        assert broker.metrics["webhook.message_publish"] == 0
