"""`/mqtt`: publish, subscribe, unsubscribe, one at a time and in batches."""

from __future__ import annotations

import pytest

from trioemqx.testing import TestBroker

MESSAGE = {"topic": "t", "payload": "hello", "clientid": "http"}


async def test_publish(broker: TestBroker) -> None:
    """POST /mqtt/publish"""
    watcher = await broker.client("watcher", subscribe="t/#", qos=2)
    answer = await broker.api("POST", "/mqtt/publish", {**MESSAGE, "topic": "t/1", "qos": 2})
    assert answer.json() == {"code": 0}
    packet = await watcher.receive_publish()
    assert (packet.topic, packet.payload, packet.qos) == ("t/1", b"hello", 2)
    assert broker.metrics["messages.received"] == broker.metrics["messages.qos2.received"] == 1
    assert broker.metrics["messages.publish"] == 1


async def test_ids_are_told_on_request(broker: TestBroker) -> None:
    """POST /mqtt/publish"""
    told = (await broker.api("POST", "/mqtt/publish", {**MESSAGE, "return": 1})).data
    assert len(told["msgid"]) == 32
    assert told["msgid"] == told["msgid"].upper()
    body = {"topics": "a,b,c/#", "payload": "", "clientid": "c", "return": "true"}
    assert len((await broker.api("POST", "/mqtt/publish", body)).data["msgids"]) == 2


@pytest.mark.parametrize(
    ("payload", "arrives"),
    [
        ("text", b"text"),
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}'),
        (5, b"5"),
        (None, b"null"),
        (False, b"false"),
        ("", b""),
        ("ü", "ü".encode()),
    ],
)
async def test_payloads(broker: TestBroker, payload: object, arrives: bytes) -> None:
    """POST /mqtt/publish"""
    watcher = await broker.client("watcher", subscribe="t")
    assert (await broker.api("POST", "/mqtt/publish", {**MESSAGE, "payload": payload})).code == 0
    assert await watcher.message() == ("t", arrives)


async def test_base64(broker: TestBroker) -> None:
    """POST /mqtt/publish"""
    watcher = await broker.client("watcher", subscribe="t")
    coded = {**MESSAGE, "payload": "AAH/\n/g==", "encoding": "base64"}
    assert (await broker.api("POST", "/mqtt/publish", coded)).code == 0
    assert await watcher.message() == ("t", b"\x00\x01\xff\xfe")
    for wrong in ("AAH", "%%%", 5, None):
        assert (await broker.api("POST", "/mqtt/publish", {**coded, "payload": wrong})).json() == {
            "code": 108,
            "message": "bad_params",
        }


async def test_retain_and_properties(broker: TestBroker) -> None:
    """POST /mqtt/publish"""
    properties = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 60,
        "response_topic": "r",
        "correlation_data": "c",
        "content_type": "text/plain",
        "user_properties": {"n": 10010, "f": False, "s": "x"},
    }
    body = {**MESSAGE, "retain": True, "properties": properties, "user_properties": {"old": "1"}}
    assert (await broker.api("POST", "/mqtt/publish", body)).code == 0
    watcher = await broker.client("watcher", subscribe="t")
    packet = await watcher.receive_publish()
    assert packet.retain
    found = packet.properties
    assert found is not None
    assert found.user_property == [("old", "1"), ("n", "10010"), ("f", "false"), ("s", "x")]
    assert (found.response_topic, found.correlation_data, found.content_type) == ("r", b"c", "text/plain")
    for retain in ("true", 1, None):
        await broker.api("POST", "/mqtt/publish", {**MESSAGE, "topic": "other", "retain": retain})
    assert len(broker.node.broker.retained) == 1


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"topic": 5}, 108, "bad_params"),
        ({"topic": None}, 108, "bad_params"),
        ({"topic": "a/+"}, 115, "bad_topic"),
        ({"topic": ""}, 115, "bad_topic"),
        ({"topic": "a\0b"}, 115, "bad_topic"),
        ({"topic": "/".join("a" * 129)}, 115, "bad_topic"),
        ({"topic": "a" * 4097}, 115, "bad_topic"),
        ({"topic": "\u00e4" * 2049}, 115, "bad_topic"),
        ({"clientid": 5}, 108, "bad clientid: must be string"),
        ({"clientid": None}, 108, "bad clientid: must be string"),
        ({"qos": 3}, 108, "bad_qos"),
        ({"qos": "1"}, 108, "bad_qos"),
        ({"qos": True}, 108, "bad_qos"),
        ({"qos": 1.0}, 108, "bad_qos"),
        ({"qos": [1]}, 108, "bad_qos"),
        ({"properties": []}, 108, "bad_params"),
        ({"properties": {"unknown": 1}}, 108, "bad_params"),
        ({"properties": {"message_expiry_interval": -1}}, 108, "bad_params"),
        ({"properties": {"message_expiry_interval": 2**40}}, 108, "bad_params"),
        ({"properties": {"user_properties": {"a": None}}}, 108, "bad_params"),
        ({"properties": {"user_properties": {"a": "x" * 70000}}}, 108, "bad_params"),
        ({"properties": {"response_topic": "a/#"}}, 108, "bad_params"),
        ({"properties": {"subscription_identifier": 0}}, 108, "bad_params"),
        ({"user_properties": "x"}, 108, "bad_params"),
    ],
)
async def test_bad_messages(broker: TestBroker, change: dict[str, object], code: int, message: str) -> None:
    """POST /mqtt/publish"""
    answer = await broker.api("POST", "/mqtt/publish", {**MESSAGE, **change})
    assert (answer.status, answer.json()) == (200, {"code": code, "message": message})
    assert broker.metrics["messages.publish"] == 0


@pytest.mark.parametrize(("fits", "not_so"), [("/".join("a" * 128), "/".join("a" * 129)), ("a" * 4096, "a" * 4097)])
async def test_topics_have_the_limits_that_they_have_for_clients(broker: TestBroker, fits: str, not_so: str) -> None:
    """POST /mqtt/publish_batch, POST /mqtt/subscribe, POST /mqtt/subscribe_batch"""
    both = [{**MESSAGE, "topic": fits}, {**MESSAGE, "topic": not_so}]
    assert [item["code"] for item in (await broker.api("POST", "/mqtt/publish_batch", both)).data] == [0, 115]
    await broker.client("c")
    asked = [{"clientid": "c", "topic": fits}, {"clientid": "c", "topic": not_so}]
    assert [item["code"] for item in (await broker.api("POST", "/mqtt/subscribe_batch", asked)).data] == [0, 115]
    assert (await broker.api("POST", "/mqtt/subscribe", asked[1])).json() == {"code": 115, "message": "bad_topic"}
    for name, code in ((fits, 0), (not_so, 115)):  # the prefix does not count
        answer = await broker.api("POST", "/mqtt/subscribe", {"clientid": "c", "topic": f"$share/g/{name}"})
        assert answer.code == code
    both_at_once = {**MESSAGE, "topics": f"{not_so},{fits}"}
    assert (await broker.api("POST", "/mqtt/publish", both_at_once)).code == 0
    assert broker.metrics["messages.publish"] == 2


async def test_missing_members(broker: TestBroker) -> None:
    """POST /mqtt/publish"""
    assert (await broker.api("POST", "/mqtt/publish", {"topic": "t", "clientid": "c"})).json() == {
        "code": 107,
        "message": "missing_required_params",
    }
    assert (await broker.api("POST", "/mqtt/publish", {"topic": "t", "payload": ""})).code == 108
    assert (await broker.api("POST", "/mqtt/publish", {"payload": "", "clientid": "c"})).code == 115
    assert (await broker.api("POST", "/mqtt/publish", {**MESSAGE, "properties": {}})).code == 0
    assert (await broker.api("POST", "/mqtt/publish", [MESSAGE])).code == 107
    for scalar in (b"5", b'"x"', b"null", b"true"):
        assert (await broker.api("POST", "/mqtt/publish", raw=scalar)).code == 108


async def test_publish_batch(broker: TestBroker) -> None:
    """POST /mqtt/publish_batch"""
    watcher = await broker.client("watcher", subscribe="#")
    items = [MESSAGE, {**MESSAGE, "topics": "a,b", "topic": "u"}, {**MESSAGE, "qos": 7}, {**MESSAGE, "topic": 5}, 5]
    assert (await broker.api("POST", "/mqtt/publish_batch", items)).data == [
        {"topic": "t", "code": 0},
        {"topic": "u", "code": 0},
        {"topic": "t", "code": 108},
        {"code": 108, "message": "bad_params"},
        {"code": 108, "message": "bad_params"},
    ]
    assert await watcher.message() == ("t", b"hello")
    assert await watcher.message() == ("u", b"hello")
    assert (await broker.api("POST", "/mqtt/publish_batch", [])).data == []
    assert (await broker.api("POST", "/mqtt/publish_batch")).data == []
    assert (await broker.api("POST", "/mqtt/publish_batch", {"topic": "t"})).code == 108
    many = [MESSAGE] * 10_001
    assert (await broker.api("POST", "/mqtt/publish_batch", many)).code == 108


async def test_subscribe(broker: TestBroker) -> None:
    """POST /mqtt/subscribe POST /mqtt/unsubscribe"""
    await broker.api("POST", "/mqtt/publish", {**MESSAGE, "retain": True})
    client = await broker.client("c")
    body = {"clientid": "c", "topics": "t,u/+,bad#", "qos": 1}
    assert (await broker.api("POST", "/mqtt/subscribe", body)).json() == {"code": 0}
    assert await client.message() == ("t", b"hello")
    rows = (await broker.api("GET", "/subscriptions/c")).data
    assert [(row["topic"], row["qos"]) for row in rows] == [("t", 1), ("u/+", 1)]
    assert (await broker.api("POST", "/mqtt/unsubscribe", {"clientid": "c", "topic": "t"})).json() == {"code": 0}
    assert (await broker.api("POST", "/mqtt/unsubscribe", {"clientid": "c", "topic": "t"})).json() == {"code": 0}
    assert [row["topic"] for row in (await broker.api("GET", "/subscriptions/c")).data] == ["u/+"]


async def test_a_session_whose_client_is_away(broker: TestBroker) -> None:
    """POST /mqtt/subscribe"""
    client = await broker.client("c", clean_start=False, expiry=100)
    await client.disconnect()
    body = {"clientid": "c", "topic": "t", "qos": 1}
    assert (await broker.api("POST", "/mqtt/subscribe", body)).json() == {"code": 0}
    await broker.api("POST", "/mqtt/publish", {**MESSAGE, "qos": 1})
    back = await broker.client("c", clean_start=False, expiry=100)
    assert await back.message() == ("t", b"hello")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"topic": "t"}, 108),
        ({"clientid": 5, "topic": "t"}, 108),
        ({"clientid": "c", "topic": []}, 108),
        ({"clientid": "c", "topic": "a#"}, 115),
        ({"clientid": "c"}, 115),
        ({"clientid": "c", "topic": "t", "qos": 3}, 116),
        ({"clientid": "c", "topic": "t", "qos": "1"}, 116),
        ({"clientid": "c", "topic": "$share/g"}, 115),
        ({"clientid": "c", "topic": "$share/+/t"}, 115),
        ({"clientid": "nobody", "topic": "t"}, 112),
    ],
)
async def test_bad_subscriptions(broker: TestBroker, body: dict[str, object], code: int) -> None:
    """POST /mqtt/subscribe"""
    await broker.client("c")
    assert (await broker.api("POST", "/mqtt/subscribe", body)).code == code
    assert (await broker.api("GET", "/subscriptions/c")).data == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"topic": "t"}, 108),
        ({"clientid": "c"}, 115),
        ({"clientid": "c", "topic": 5}, 115),
        ({"clientid": "c", "topic": "a#"}, 115),
        ({"clientid": "nobody", "topic": "t"}, 112),
        ({"clientid": "c", "topic": "$share/g"}, 112),
    ],
)
async def test_bad_unsubscriptions(broker: TestBroker, body: dict[str, object], code: int) -> None:
    """POST /mqtt/unsubscribe"""
    await broker.client("c")
    assert (await broker.api("POST", "/mqtt/unsubscribe", body)).code == code


async def test_batches_of_subscriptions(broker: TestBroker) -> None:
    """POST /mqtt/subscribe_batch POST /mqtt/unsubscribe_batch"""
    await broker.client("c")
    items = [{"clientid": "c", "topic": "$share/g/t", "qos": 1}, {"topic": "t"}, {"clientid": "x", "topic": "t"}, 5]
    assert (await broker.api("POST", "/mqtt/subscribe_batch", items)).data == [
        {"clientid": "c", "topic": "$share/g/t", "code": 0},
        {"clientid": "undefined", "topic": "t", "code": 108},
        {"clientid": "x", "topic": "t", "code": 112},
        {"clientid": "undefined", "topic": "", "code": 108},
    ]
    assert (await broker.api("GET", "/subscriptions/c")).data[0]["topic"] == "$share/g/t"
    assert [row["code"] for row in (await broker.api("POST", "/mqtt/unsubscribe_batch", items)).data] == [
        0,
        108,
        112,
        108,
    ]
    assert (await broker.api("GET", "/subscriptions/c")).data == []
    for path in ("subscribe", "unsubscribe"):
        assert (await broker.api("POST", f"/mqtt/{path}_batch", {"clientid": "c"})).code == 108
        assert (await broker.api("POST", f"/mqtt/{path}_batch", [])).data == []
