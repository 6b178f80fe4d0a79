"""What rules can select from: what people are told of, and what is there."""

from __future__ import annotations

from typing import Any

import pytest
from sql_helpers import rule

from trioemqx.rules import eventcolumns
from trioemqx.rules.eventcolumns import CLASSES, EventColumns
from trioemqx.rules.events import EVENTS, event_of
from trioemqx.rules.sql import UNDEFINED, Columns, EvalError
from trioemqx.rules.sql.jsontext import encode
from trioemqx.types import ClientInfo, Message, Properties, SubOpts

NODE, NOW = "emqx@127.0.0.1", 1_700_000_000_001


def client() -> ClientInfo:
    info = ClientInfo("viewer", "web", "192.0.2.20", 40112, "192.0.2.1", 1883)
    info.proto_ver, info.keepalive, info.receive_maximum = 5, 60, 32
    info.connected_at = 1_700_000_000_000
    info.properties = Properties()
    info.properties.session_expiry_interval = 0
    return info


def message() -> Message:
    found = Message("site/1/t", b'{"t":21.5}', 1, publisher="pump-1", timestamp=1_700_000_000_000)
    found.username, found.peerhost = "ops", "192.0.2.10"
    return found


def everything(columns: Columns) -> dict[str, Any]:
    output = columns.everything()
    output.pop("headers", None)
    return output


FROM_MESSAGE = {
    "payload": '{"t":21.5}',
    "topic": "site/1/t",
    "qos": 1,
    "flags": {"retain": False, "dup": False},
    "pub_props": {},
    "publish_received_at": 1_700_000_000_000,
}
TIME = {"timestamp": NOW, "node": NODE}
SOCKETS = {"peername": "192.0.2.20:40112", "sockname": "192.0.2.1:1883", "proto_name": "MQTT", "proto_ver": 5}
VIEWER = {"clientid": "viewer", "username": "web"}
PUMP = {"clientid": "pump-1", "username": "ops", "peerhost": "192.0.2.10"}
FROM_PUMP = {"from_clientid": "pump-1", "from_username": "ops", "peerhost": "192.0.2.20", **VIEWER}
CONNECT = {
    "keepalive": 60,
    "clean_start": True,
    "expiry_interval": 0,
    "conn_props": {"Session-Expiry-Interval": 0},
    "connected_at": 1_700_000_000_000,
}


def cases() -> dict[str, tuple[Columns, dict[str, Any]]]:
    """(what we make, what EMQX makes) by event; long, because it is a table of all of them."""
    info, sent, opts = client(), message(), SubOpts(qos=1)
    identified = {"id": sent.id, **FROM_MESSAGE, **TIME}
    at = (NODE, NOW)
    return {
        "message_publish": (
            eventcolumns.published(sent, *at),
            {"event": "message.publish", **identified, **PUMP},
        ),
        "message_delivered": (
            eventcolumns.delivered(info, sent, *at),
            {"event": "message.delivered", **identified, **FROM_PUMP},
        ),
        "message_acked": (
            eventcolumns.acked(info, sent, *at),
            {"event": "message.acked", **identified, **FROM_PUMP, "puback_props": {}},
        ),
        "message_dropped": (
            eventcolumns.dropped(sent, "no_subscribers", *at),
            {"event": "message.dropped", "reason": "no_subscribers", **identified, **PUMP},
        ),
        "delivery_dropped": (
            eventcolumns.delivery_dropped(info, sent, "queue_full", *at),
            {"event": "delivery.dropped", "reason": "queue_full", **identified, **FROM_PUMP},
        ),
        "client_connected": (
            eventcolumns.connected(info, *at),
            {
                "event": "client.connected",
                "mountpoint": UNDEFINED,
                "receive_maximum": 32,
                "is_bridge": False,
                **VIEWER,
                **SOCKETS,
                **CONNECT,
                **TIME,
            },
        ),
        "client_disconnected": (
            eventcolumns.disconnected(info, "normal", *at),
            {
                "event": "client.disconnected",
                "reason": "normal",
                "disconn_props": {},
                "disconnected_at": NOW,
                **VIEWER,
                **SOCKETS,
                **TIME,
            },
        ),
        "client_connack": (
            eventcolumns.connack(info, "success", *at),
            {"event": "client.connack", "reason_code": "success", **VIEWER, **SOCKETS, **CONNECT, **TIME},
        ),
        "session_subscribed": (
            eventcolumns.subscribed(info, "$share/g/site/+/t", opts, *at),
            {
                "event": "session.subscribed",
                "peerhost": "192.0.2.20",
                "topic": "site/+/t",
                "qos": 1,
                "sub_props": {},
                **VIEWER,
                **TIME,
            },
        ),
        "session_unsubscribed": (
            eventcolumns.unsubscribed(info, "site/+/t", opts, *at),
            {
                "event": "session.unsubscribed",
                "peerhost": "192.0.2.20",
                "topic": "site/+/t",
                "qos": 1,
                "unsub_props": {},
                **VIEWER,
                **TIME,
            },
        ),
        "client_check_acl_complete": (
            eventcolumns.acl_checked(info, "publish", "site/1/t", False, True, *at),
            {
                "event": "client.check_acl_complete",
                "peerhost": "192.0.2.20",
                "topic": "site/1/t",
                "action": "publish",
                "is_cache": True,
                "result": "deny",
                **VIEWER,
                **TIME,
            },
        ),
    }


@pytest.mark.parametrize("name", [event.name for event in EVENTS])
def test_columns(name: str) -> None:
    columns, wanted = cases()[name]
    assert everything(columns) == wanted
    assert columns["event"] == next(event.event for event in EVENTS if event.name == name)
    assert columns["no such column"] is UNDEFINED


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_what_people_are_told_of_is_there(event: Any) -> None:
    assert set(event.columns) <= set(CLASSES[event.name].getters)
    assert set(event.test_columns) <= set(event.columns)
    found = rule(event.sql_example)
    assert found.topics == (("t/#",) if event.is_message else (event.topic,))
    row = event.row()
    assert list(row) == ["event", "title", "description", "test_columns", "columns", "sql_example"]
    assert row["event"] == f"$events/{event.name}"
    for words in (row["title"], row["description"]):
        assert set(words) == {"en", "zh"}
        assert all(words.values())
    encode(row)


def test_there_are_eleven_events_in_the_order_of_the_api() -> None:
    assert [event.name for event in EVENTS] == list(
        "message_publish message_delivered message_acked message_dropped delivery_dropped client_connected "
        "client_disconnected client_connack session_subscribed session_unsubscribed client_check_acl_complete".split()
    )
    assert set(CLASSES) == {event.name for event in EVENTS}


def test_which_event_an_entry_of_from_means() -> None:
    assert event_of("$events/client_connected") is EVENTS[5]
    assert event_of("$events/client_connected/x") is EVENTS[5]
    for source in ("t/#", "$events/message_publish", "$events/other", "$events/client_connectedx"):
        assert event_of(source) is None


def test_values_that_are_not_there_are_null() -> None:
    sent = Message("t", b"x")
    columns = eventcolumns.published(sent, NODE, NOW)
    assert [columns[name] for name in ("clientid", "username", "peerhost")] == [UNDEFINED] * 3
    info = ClientInfo("c")
    refused = eventcolumns.connack(info, "not_authorized", NODE, NOW)
    assert [refused[name] for name in ("username", "connected_at", "conn_props")] == [UNDEFINED, UNDEFINED, {}]
    info.mountpoint, info.sockname, info.sockport = "m/", "::1", 1883
    connected = eventcolumns.connected(info, NODE, NOW)
    assert (connected["mountpoint"], connected["sockname"]) == ("m/", "[::1]:1883")


def test_properties_have_the_names_of_the_standard() -> None:
    sent = message()
    sent.properties = Properties()
    sent.properties.payload_format_indicator = 1
    sent.properties.correlation_data = b"\xff"
    sent.properties.response_topic = "r"
    sent.properties.maximum_qos = 1
    sent.properties.subscription_identifier = [7]
    sent.properties.user_property = [("k", "1"), ("l", "2"), ("k", "3")]
    assert eventcolumns.published(sent, NODE, NOW)["pub_props"] == {
        "Payload-Format-Indicator": 1,
        "Correlation-Data": b"\xff",
        "Response-Topic": "r",
        "Maximum-QoS": 1,
        "Subscription-Identifier": 7,
        "User-Property": {"k": "3", "l": "2"},
        "User-Property-Pairs": [{"key": "k", "value": "1"}, {"key": "l", "value": "2"}, {"key": "k", "value": "3"}],
    }
    who = client()
    assert eventcolumns.subscribed(who, "t", SubOpts(), NODE, NOW)["sub_props"] == {}
    who.said = Properties()
    who.said.subscription_identifier = [9]
    assert eventcolumns.subscribed(who, "t", SubOpts(), NODE, NOW)["sub_props"] == {"Subscription-Identifier": 9}


def test_headers_leave_out_what_is_no_value() -> None:
    sent = message()
    sent.sys = True
    sent.headers = {"hops": 1, "object": object(), "pair": (1, 2)}
    columns = eventcolumns.published(sent, NODE, NOW)
    headers: Any = columns["headers"]
    assert (headers["username"], headers["hops"], headers["pair"]) == ("ops", 1, [1, 2])
    assert "object" not in headers
    assert "protocol" not in headers, "it is nobody's"
    sent.proto_ver = 4
    of_client: Any = eventcolumns.published(sent, NODE, NOW)["headers"]
    assert (of_client["protocol"], of_client["proto_ver"]) == ("mqtt", 4)
    assert columns["flags"] == {"retain": False, "dup": False, "sys": True}


def test_columns_are_made_when_a_rule_asks_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    getters = {name: lambda e, name=name: calls.append(name) or name for name in ("a", "b", "c")}
    monkeypatch.setattr(EventColumns, "getters", getters)
    columns = EventColumns(NODE, NOW, message())
    for _ in range(2):
        assert rule("SELECT a, b AS x FROM t WHERE a = 'a'").run(columns) == {"a": "a", "x": "b"}
    assert calls == ["a", "b"]


def test_the_payload_is_read_from_the_message_itself() -> None:
    columns = eventcolumns.published(message(), NODE, NOW)
    assert rule("SELECT payload.t AS t FROM t").run(columns) == {"t": 21.5}
    assert "payload" not in dict(columns), "no text was made of it"
    binary = eventcolumns.published(Message("t", b"\xff"), NODE, NOW)
    assert binary["payload"] == b"\xff"
    with pytest.raises(EvalError, match="the payload is not JSON"):
        rule("SELECT payload.t AS t FROM t").run(binary)
    assert rule("SELECT payload.t AS t FROM t").run(eventcolumns.connected(client(), NODE, NOW))["t"] is UNDEFINED


def test_the_owner_is_whoever_raised_the_event() -> None:
    assert eventcolumns.published(message(), NODE, NOW).owner == "pump-1"
    assert eventcolumns.delivered(client(), message(), NODE, NOW).owner == "viewer"
