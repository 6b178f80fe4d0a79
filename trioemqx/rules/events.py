"""What rules can select from: published messages and the events of clients, sessions and messages, as people see them.

What the columns hold is in `eventcolumns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from trioemqx.services.rulekit import Words

PREFIX: Final = "$events/"
MESSAGE_PUBLISH: Final = "message_publish"


@attrs.frozen
class EventType:
    """One event. `columns` are those that people are told of, in order; `test_columns` what a form offers to test SQL
    with. Published messages are selected by topic filters, not by the event's topic."""

    name: str
    columns: tuple[str, ...]
    test_columns: Mapping[str, object]
    title: Words
    description: Words
    sql_example: str

    @property
    def topic(self) -> str:
        """What stands in FROM: `$events/client_connected`."""
        return PREFIX + self.name

    @property
    def event(self) -> str:
        """The column `event`: `client.connected`."""
        return self.name.replace("_", ".", 1)

    @property
    def is_message(self) -> bool:
        """True for published messages."""
        return self.name == MESSAGE_PUBLISH

    def row(self) -> dict[str, object]:
        """As `GET /rule_events` has it."""
        return {
            "event": self.topic,
            "title": self.title.as_dict(),
            "description": self.description.as_dict(),
            "test_columns": dict(self.test_columns),
            "columns": list(self.columns),
            "sql_example": self.sql_example,
        }


_SENDER: Final = {"clientid": "c_emqx", "username": "u_emqx"}
_MESSAGE: Final = {"topic": "t/a", "qos": 1, "payload": '{"msg": "hello"}'}
_PUBLISH: Final = {**_SENDER, **_MESSAGE}
_DELIVERY: Final = {
    "from_clientid": "c_emqx_1",
    "from_username": "u_emqx_1",
    "clientid": "c_emqx_2",
    "username": "u_emqx_2",
    **_MESSAGE,
}
_SUBSCRIPTION: Final = {**_SENDER, "topic": "t/a", "qos": 1}


def _event(
    name: str, columns: str, test_columns: Mapping[str, object], title: Words, description: Words, where: str = ""
) -> EventType:
    example = f'SELECT * FROM "{PREFIX}{name}"{" WHERE " + where if where else ""}'
    return EventType(name, tuple(columns.split()), test_columns, title, description, example)


EVENTS: Final = (
    EventType(
        MESSAGE_PUBLISH,
        tuple(
            "event id clientid username payload peerhost topic qos flags publish_received_at pub_props timestamp "
            "node".split()
        ),
        _PUBLISH,
        Words("message publish", "消息发布"),
        Words("A message is published", "消息被发布"),
        "SELECT payload.msg as msg FROM \"t/#\" WHERE msg = 'hello'",
    ),
    _event(
        "message_delivered",
        "event id from_clientid from_username clientid username payload peerhost topic qos flags publish_received_at "
        "pub_props timestamp node",
        _DELIVERY,
        Words("message delivered", "消息投递"),
        Words("A message is handed to the connection of a subscriber", "消息被交给订阅者的连接"),
        "topic =~ 't/#'",
    ),
    _event(
        "message_acked",
        "event id from_clientid from_username clientid username payload peerhost topic qos flags publish_received_at "
        "pub_props puback_props timestamp node",
        _DELIVERY,
        Words("message acked", "消息应答"),
        Words("A subscriber has acknowledged a message", "订阅者已确认消息"),
        "topic =~ 't/#'",
    ),
    _event(
        "message_dropped",
        "event id reason clientid username payload peerhost topic qos flags publish_received_at pub_props timestamp "
        "node",
        {"reason": "no_subscribers", **_PUBLISH},
        Words("message discarded", "消息丢弃"),
        Words("A published message goes to nobody", "发布的消息没有转发给任何人"),
        "topic =~ 't/#'",
    ),
    _event(
        "delivery_dropped",
        "event id reason from_clientid from_username clientid username payload peerhost topic qos flags "
        "publish_received_at timestamp node",
        {"reason": "queue_full", **_DELIVERY},
        Words("delivery discarded", "投递丢弃"),
        Words("A message is dropped in front of a subscriber", "消息在投递给订阅者之前被丢弃"),
        "topic =~ 't/#'",
    ),
    _event(
        "client_connected",
        "event clientid username mountpoint peername sockname proto_name proto_ver keepalive clean_start "
        "expiry_interval is_bridge connected_at conn_props timestamp node",
        {**_SENDER, "peername": "127.0.0.1:52918"},
        Words("client connected", "连接建立"),
        Words("A client has connected", "客户端已连接"),
    ),
    _event(
        "client_disconnected",
        "event reason clientid username peername sockname proto_name proto_ver disconnected_at disconn_props timestamp "
        "node",
        {**_SENDER, "reason": "normal"},
        Words("client disconnected", "连接断开"),
        Words("The connection of a client has ended", "客户端的连接已断开"),
    ),
    _event(
        "client_connack",
        "event reason_code clientid username peername sockname proto_name proto_ver keepalive clean_start "
        "expiry_interval connected_at conn_props timestamp node",
        {**_SENDER, "reason_code": "sucess"},  # EMQX spells it so
        Words("client connack", "连接确认"),
        Words("The server answers a CONNECT", "服务端应答客户端的连接请求"),
    ),
    _event(
        "session_subscribed",
        "event clientid username peerhost topic qos sub_props timestamp node",
        _SUBSCRIPTION,
        Words("session subscribed", "会话订阅完成"),
        Words("A client has subscribed to a topic", "客户端已订阅主题"),
        "topic =~ 't/#'",
    ),
    _event(
        "session_unsubscribed",
        "event clientid username peerhost topic qos unsub_props timestamp node",
        _SUBSCRIPTION,
        Words("session unsubscribed", "会话取消订阅完成"),
        Words("A client has given up a subscription", "客户端已取消订阅"),
        "topic =~ 't/#'",
    ),
    _event(
        "client_check_acl_complete",
        "event clientid username peerhost topic action is_cache result timestamp node",
        {**_SENDER, "topic": "t/1", "action": "publish", "result": "allow"},
        Words("client check acl complete", "鉴权结果"),
        Words("An access to a topic has been allowed or denied", "对主题的访问已被允许或拒绝"),
    ),
)
"""All events, in the order in which the API lists them."""


def event_of(source: str) -> EventType | None:
    """The event that an entry of FROM is about, None when it is a topic filter. `$events/client_connected/x` is about
    an event too, although nothing will ever match it."""
    for event in EVENTS[1:]:
        if source == event.topic or source.startswith(event.topic + "/"):
            return event
    return None
