"""Tries the SQL of a rule on made-up columns, and does nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from trioemqx.core.topics import matches
from trioemqx.rules import requests
from trioemqx.rules.errors import NOT_FOUND, RuleError, bad_arguments, required
from trioemqx.rules.eventcolumns import CLASSES
from trioemqx.rules.events import EVENTS, EventType, event_of
from trioemqx.rules.requests import RequestHost
from trioemqx.rules.sql import UNDEFINED, Columns, EvalError, Rule, Value
from trioemqx.rules.sql.jsontext import encode
from trioemqx.rules.sql.meter import meter
from trioemqx.rules.terms import term

NO_MATCH: Final = "SQL Not Match"

_SAMPLES: Final[Mapping[str, Value]] = {
    "clientid": "c_emqx",
    "username": "u_emqx",
    "payload": '{"msg": "hello"}',
    "peerhost": "192.168.0.10",
    "topic": "t/a",
    "qos": 1,
    "flags": {},
    "headers": {},
    "peername": "192.168.0.10:56431",
    "sockname": "0.0.0.0:1883",
    "proto_name": "MQTT",
    "proto_ver": 5,
    "keepalive": 60,
    "clean_start": True,
    "expiry_interval": 3600,
    "is_bridge": False,
    "mountpoint": UNDEFINED,
    "receive_maximum": 32,
    "reason_code": "success",
    "action": "publish",
    "result": "allow",
    "is_cache": "false",
    "pub_props": {"Message-Expiry-Interval": 60, "User-Property": {"foo": "bar"}},
    "puback_props": {"Reason-String": "OK"},
    "conn_props": {"Session-Expiry-Interval": 3600, "Request-Problem-Information": 1},
    "disconn_props": {"Reason-String": "some reason"},
    "sub_props": {},
    "unsub_props": {},
}
_TIMES: Final = ("timestamp", "publish_received_at", "connected_at", "disconnected_at")
_DELIVERY: Final = {
    "from_clientid": "c_emqx_1",
    "from_username": "u_emqx_1",
    "clientid": "c_emqx_2",
    "username": "u_emqx_2",
}
_REASONS: Final = {
    "client_disconnected": "normal",
    "message_dropped": "no_subscribers",
    "delivery_dropped": "queue_full",
}


class TryHost(RequestHost, Protocol):
    """What trying needs of the rule engine."""

    @property
    def node(self) -> str:
        """`name@host`"""


def tried(host: TryHost, rawsql: object, given: object) -> object:
    """What a rule selects, as JSON: an object, or for FOREACH an array. Raises RuleError, 404 when nothing matches."""
    rule = requests.compiled(host, rawsql, f"sql_tester:{secrets.token_hex(4)}")
    if given is None:
        raise required("ctx")
    if not isinstance(given, Mapping):
        raise bad_arguments(f"{{invalid_data_type,{{object,{term(given)}}}}}")
    _check_topic(rule, given.get("topic", ""))
    event = event_of(rule.topics[0]) or EVENTS[0]
    columns = Columns({**samples(event, host.node, int(host.wall() * 1000)), **given})
    try:
        found = rule.run(columns)
        meter.left = meter.work
        text = encode(found) if found is not None else None
    except EvalError as error:
        raise bad_arguments(f"{{select_and_transform_error,{term(str(error))}}}") from error
    if text is None:
        raise RuleError(NOT_FOUND, NO_MATCH)
    return msgspec.json.decode(text)


def _check_topic(rule: Rule, topic: Any) -> None:
    """Where only topics are selected from, one of them has to match."""
    if any(event_of(source) is not None for source in rule.topics):
        return
    if not isinstance(topic, str) or not any(matches(source, topic) for source in rule.topics):
        raise RuleError(NOT_FOUND, NO_MATCH)


def samples(event: EventType, node: str, now: int) -> dict[str, Value]:
    """Columns of an event with examples in them. `now` is in milliseconds."""
    names = CLASSES[event.name].getters
    found = {name: _SAMPLES[name] for name in names if name in _SAMPLES}
    if "from_clientid" in names:
        found.update(_DELIVERY)
    found.update({name: now for name in _TIMES if name in names})
    if "id" in names:
        found["id"] = secrets.token_hex(16).upper()
    if "reason" in names:
        found["reason"] = _REASONS[event.name]
    return {**found, "event": event.event, "node": node}
