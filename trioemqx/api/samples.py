"""Examples for the documents: a value that fits a JSON Schema, and looks like what the broker would send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

NAMED: Final[Mapping[str, Any]] = {
    "access": "allow",
    "action": "pub",
    "activate_at": 1597996203658236,
    "all": "$all",
    "app_id": "tool",
    "appid": "tool",
    "as": "clientid",
    "at": 1582265533,
    "by": "user",
    "clientid": "c1",
    "connected_at": "2020-02-19 15:27:24",
    "conn_bytes_in": "100KB, 10s",
    "conn_messages_in": "100, 10s",
    "conn_messages_routing": "100, 1s",
    "created_at": "2020-02-19 15:27:24",
    "datetime": "2020-02-19 15:27:24",
    "deactivate_at": "infinity",
    "desc": "what it is for",
    "description": "what it is",
    "descr": "A list of clients on current node",
    "disconnected_at": "2020-02-19 15:27:24",
    "encoding": "plain",
    "end_at": "2030-01-01T10:10:00+00:00",
    "expired": 4102444800,
    "expiry_interval": 7200,
    "file": '{"version":"4.4"}',
    "filename": "emqx-export-2020-5-15-18-6-29.json",
    "identifier": "mqtt:tcp:external",
    "interval": 60,
    "ip_address": "127.0.0.1",
    "items": "",
    "keepalive": 60,
    "license": "the text of the license",
    "listen_on": "0.0.0.0:1883",
    "load1": "2.31",
    "load15": "2.31",
    "load5": "2.31",
    "max_conns": 1024000,
    "mechanism": "SCRAM-SHA-1",
    "message": "not_found",
    "method": "GET",
    "module": "emqx_mod_trace",
    "mountpoint": "undefined",
    "msgid": "0005F3A1B0E7C5C4F44200000A3C0000",
    "mqtt.max_packet_size": "1MB",
    "name": "example",
    "new_pwd": "n3w passw0rd",
    "node": "emqx@127.0.0.1",
    "node_status": "Running",
    "old_pwd": "0ld passw0rd",
    "otp_release": "Python 3.11.9/trio 0.30.0",
    "password": "passw0rd",
    "path": "/clients/",
    "payload": "hello",
    "plugin": "emqx_retainer",
    "port": 52918,
    "proto_name": "MQTT",
    "proto_ver": 5,
    "protocol": "mqtt:tcp",
    "qos": 1,
    "reason": "test",
    "result": "allow",
    "salt": "c2FsdA",
    "secret": "s3cret",
    "start_at": "2030-01-01T10:00:00+00:00",
    "status": True,
    "sysdescr": "trioemqx",
    "tags": "administrator",
    "topic": "t/1",
    "topics": "t/1,t/2",
    "type": "feature",
    "until": 1582265833,
    "updated_time": 1582180824571,
    "uptime": "4 hours, 21 minutes, 19 seconds",
    "username": "u1",
    "version": "4.4",
    "who": "c1",
    "zone": "external",
}
"""By the name of the member or parameter; taken where the type fits."""
_PLAIN: Final[Mapping[str, Any]] = {
    "string": "text",
    "integer": 0,
    "number": 0.0,
    "boolean": True,
    "null": None,
}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def sample(schema: Schema, name: str = "") -> Any:
    """A value for a schema of the kinds that `services.web.schema` makes."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        named = NAMED.get(name)
        return named if isinstance(named, str) and named in schema["enum"] else schema["enum"][0]
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return sample(schema[word][0], name)
    kind = schema.get("type")
    if kind == "array":
        return [sample(schema.get("items", {}), name)]
    if kind == "object":
        return _object(schema)
    return _plain(kind if isinstance(kind, str) else "string", name)


def _object(schema: Schema) -> dict[str, Any]:
    found = {name: sample(member, name) for name, member in schema.get("properties", {}).items()}
    more = schema.get("additionalProperties")
    if isinstance(more, Mapping):
        found["name"] = sample(more, "name")
    return found


def _plain(kind: str, name: str) -> Any:
    """The value that the name has, when it is of the kind."""
    named = NAMED.get(name)
    if isinstance(named, _TYPES.get(kind, ())) and not (isinstance(named, bool) and kind != "boolean"):
        return named
    return _PLAIN.get(kind)
