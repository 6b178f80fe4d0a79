"""Answers and requests of EMQX 4.4's API, by endpoint: what clients have been written against."""

from __future__ import annotations

from typing import Any, Final

NODE: Final = "emqx@127.0.0.1"
OK: Final[dict[str, Any]] = {"code": 0}
BROKER: Final = {
    "node": NODE,
    "node_status": "Running",
    "version": "4.4.19",
    "sysdescr": "EMQX Broker",
    "otp_release": "24.1.5-3/12.1.5",
    "uptime": "4 hours, 21 minutes, 19 seconds",
    "datetime": "2020-02-19 15:27:24",
}
A_NODE: Final = {
    "node": NODE,
    "node_status": "Running",
    "version": "4.4.19",
    "otp_release": "24.1.5-3/12.1.5",
    "uptime": "7 seconds",
    "connections": 0,
    "live_connections": 0,
    "load1": "2.31",
    "load5": "2.60",
    "load15": "2.65",
    "max_fds": 10240,
    "process_used": 315,
    "process_available": 1048576,
}
CLIENT: Final = {
    **dict.fromkeys(
        "recv_oct recv_cnt recv_pkt recv_msg send_oct send_cnt send_pkt send_msg recv_msg.qos0 recv_msg.qos1 "
        "recv_msg.qos2 recv_msg.dropped send_msg.qos0 send_msg.qos1 send_msg.qos2 send_msg.dropped "
        "send_msg.dropped.expired send_msg.dropped.queue_full send_msg.dropped.too_large mailbox_len heap_size "
        "reductions subscriptions_cnt max_subscriptions inflight mqueue_len mqueue_dropped awaiting_rel "
        "expiry_interval".split(),
        0,
    ),
    "node": NODE,
    "clientid": "example",
    "username": "undefined",
    "zone": "external",
    "proto_name": "MQTT",
    "proto_ver": 4,
    "ip_address": "127.0.0.1",
    "port": 52918,
    "mountpoint": "undefined",
    "keepalive": 60,
    "is_bridge": False,
    "clean_start": True,
    "connected": True,
    "connected_at": "2020-02-19 17:01:26",
    "created_at": "2020-02-19 17:01:26",
    "max_inflight": 32,
    "max_mqueue": 1000,
    "max_awaiting_rel": 100,
}
RULE_ACTION: Final = {
    "id": "inspect_1582434715354188116",
    "name": "inspect",
    "params": {"a": 1},
    "metrics": [{"node": NODE, "taken": 0, "success": 0, "failed": 0}],
    "fallbacks": [],
}
A_RULE: Final = {
    "id": "rule:7fdb2c9e",
    "rawsql": 'select * from "t/a"',
    "for": ["t/a"],
    "enabled": True,
    "description": "test-rule",
    "on_action_failed": "continue",
    "created_at": 1582434715354188,
    "metrics": [
        {
            "node": NODE,
            **dict.fromkeys(("matched", "passed", "failed", "exception", "no_result", "speed_max"), 0),
            "speed": 0.0,
            "speed_last5m": 0.0,
        }
    ],
    "actions": [{**RULE_ACTION, "fallbacks": [RULE_ACTION]}],
}
AN_ACTION: Final = {
    "name": "do_nothing",
    "category": "debug",
    "app": "emqx_rule_engine",
    "for": "$any",
    "types": [],
    "params": {},
    "title": {"zh": "空动作 (调试)", "en": "Do Nothing (debug)"},
    "description": {"zh": "此动作什么都不做", "en": "This action does nothing and never fails."},
}
RESOURCE_TYPE: Final = {
    "name": "web_hook",
    "provider": "emqx_web_hook",
    "params": {
        "url": {
            "type": "string",
            "required": True,
            "format": "url",
            "title": {"zh": "请求 URL", "en": "Request URL"},
            "description": {"zh": "请求 URL", "en": "Request URL"},
        }
    },
    "title": {"zh": "WebHook", "en": "WebHook"},
    "description": {"zh": "WebHook", "en": "WebHook"},
}
RESOURCE: Final = {
    "id": "resource:b12d3e44",
    "type": "web_hook",
    "description": "web hook resource-1",
    "config": {"url": "http://127.0.0.1:9910", "method": "POST", "headers": {"token": "axfw34y235wrq234t4ersgw4t"}},
}
UP: Final = {**RESOURCE, "status": [{"node": NODE, "is_alive": False}]}
EVENT: Final = {
    "event": "$events/client_connected",
    "title": {"en": "client connected", "zh": "连接建立"},
    "description": {"en": "client connected", "zh": "连接建立"},
    "test_columns": {"clientid": "c_emqx", "username": "u_emqx", "peername": "127.0.0.1:52918"},
    "columns": ["event", "clientid"],
    "sql_example": 'SELECT * FROM "$events/client_connected"',
}
SUBSCRIPTION: Final = {"node": NODE, "clientid": "c1", "topic": "a/b", "qos": 1}
ROUTE: Final = {"topic": "a/+/c", "node": NODE}
PLUGIN: Final = {
    "name": "emqx_auth_mnesia",
    "version": "4.4.19",
    "description": "EMQX Authentication with Mnesia",
    "active": False,
    "type": "auth",
}
MODULE: Final = {"name": "emqx_mod_presence", "description": "EMQX Presence Module", "active": True}
LISTENER: Final = {
    "protocol": "mqtt:tcp",
    "listen_on": "0.0.0.0:1883",
    "identifier": "mqtt:tcp:external",
    "acceptors": 8,
    "max_conns": 1024000,
    "current_conns": 13,
    "shutdown_count": [{"normal": 3, "kicked": 1}],
}
HTTP_LISTENER: Final = {
    "protocol": "http:management",
    "listen_on": "8081",
    "acceptors": 2,
    "max_conns": 512,
    "current_conns": 0,
    "shutdown_count": [],
}
ALARM: Final = {
    "name": "high_system_memory_usage",
    "message": "System memory usage is higher than 60%",
    "details": {"high_watermark": 60},
    "activate_at": 1597996203658236,
    "deactivate_at": "infinity",
    "duration": 1200000,
    "activated": True,
}
PAST: Final = {**ALARM, "deactivate_at": 1597994359335482, "activated": False}
BAN: Final = {
    "who": "example",
    "as": "clientid",
    "reason": "undefined",
    "by": "user",
    "at": 1582265533,
    "until": 1582265833,
}
FILE: Final = {
    "filename": "emqx-export-2020-5-15-18-6-29.json",
    "size": 350,
    "created_at": "2020-5-15 18:6:29",
    "node": NODE,
}
TOPIC: Final = {
    f"messages.{kind}.{number}": 0 if number == "count" else 0.0
    for kind in "in out qos0.in qos0.out qos1.in qos1.out qos2.in qos2.out dropped".split()
    for number in ("count", "rate")
}
APP: Final = {"app_id": "admin", "name": "Default", "desc": "Application user", "status": True, "expired": "undefined"}
RULE: Final = {"clientid": "c1", "topic": "t/1", "action": "pub", "access": "allow"}
TRACE: Final = {
    "name": "t1",
    "type": "clientid",
    "clientid": "c1",
    "start_at": "2021-01-01T10:00:00+00:00",
    "end_at": "2021-01-01T10:10:00+00:00",
    "status": "running",
    "log_size": {NODE: 0},
}
SLOW: Final = {"clientid": "c", "node": NODE, "topic": "t", "timespan": 1200, "last_update_time": 1620000000000}


def ok(data: object) -> dict[str, Any]:
    """A success with data."""
    return {"code": 0, "data": data}


def page(rows: list[Any], count: int = 1, **more: object) -> dict[str, Any]:
    """A page of a list."""
    return {"code": 0, "data": rows, "meta": {"page": 1, "limit": 10, "count": count, **more}}


PLAIN: Final = (
    "DELETE /clients/{clientid}/ratelimit",
    "POST /clients/{clientid}/quota",
    "PUT /nodes/{node}/modules/{module}/load",
    "PUT /nodes/{node}/modules/{module}/unload",
    "PUT /nodes/{node}/modules/{module}/reload",
    "PUT /modules/{module}/load",
    "PUT /modules/{module}/reload",
    "PUT /nodes/{node}/plugins/{plugin}/unload",
    "PUT /nodes/{node}/plugins/{plugin}/reload",
    "PUT /plugins/{plugin}/unload",
    "DELETE /acl/clientid/{clientid}/topic/{topic}",
    "DELETE /acl/username/{username}/topic/{topic}",
    "PUT /auth_username/{username}",
    "DELETE /auth_username/{username}",
    "PUT /sasl",
    "DELETE /sasl",
)
"""Answered with a bare success."""

ANSWERS: Final[dict[str, list[dict[str, Any]]]] = {
    "GET /": [ok([{"name": "list_clients", "method": "GET", "path": "/clients/", "descr": "A list of clients"}])],
    "GET /brokers": [ok([BROKER])],
    "GET /brokers/{node}": [ok(BROKER)],
    "GET /nodes": [ok([{**A_NODE, "memory_total": "118.27M", "memory_used": "96.75M"}])],
    "GET /nodes/{node}": [ok({**A_NODE, "memory_total": 123342848, "memory_used": 101379168})],
    "GET /clients": [
        page([CLIENT], hasnext=False),
        page([{**CLIENT, "connected": False, "disconnected_at": "2020-02-19 18:01:26"}], -1, hasnext=True),
    ],
    "GET /nodes/{node}/clients": [page([], 0, hasnext=False)],
    "GET /clients/{clientid}": [ok([CLIENT]), ok([])],
    "GET /nodes/{node}/clients/{clientid}": [ok([CLIENT])],
    "GET /clients/username/{username}": [ok([CLIENT, CLIENT])],
    "GET /nodes/{node}/clients/username/{username}": [ok([])],
    "DELETE /clients/{clientid}": [OK],
    "GET /clients/{clientid}/acl_cache": [
        ok([{"access": "publish", "topic": "test", "result": "allow", "updated_time": 1582180824571}])
    ],
    "DELETE /clients/{clientid}/acl_cache": [OK],
    "POST /clients/{clientid}/ratelimit": [OK],
    "DELETE /clients/{clientid}/quota": [OK],
    "PUT /clients/{clientid}/keepalive": [OK],
    "GET /subscriptions": [page([SUBSCRIPTION, {**SUBSCRIPTION, "topic": "$share/g/t/#"}], 2, hasnext=False)],
    "GET /nodes/{node}/subscriptions": [page([SUBSCRIPTION], -1, hasnext=False)],
    "GET /subscriptions/{clientid}": [ok([SUBSCRIPTION])],
    "GET /nodes/{node}/subscriptions/{clientid}": [ok([])],
    "GET /routes": [page([ROUTE, ROUTE], 2)],
    "GET /routes/{topic}": [ok([ROUTE])],
    "POST /mqtt/publish": [OK, ok({"msgid": "0" * 32}), ok({"msgids": ["0" * 32, "F" * 32]})],
    "POST /mqtt/subscribe": [OK],
    "POST /mqtt/unsubscribe": [OK],
    "POST /mqtt/publish_batch": [
        ok([{"topic": "a/b/c", "code": 0}, {"topic": "a/b/c", "code": 0}]),
        ok([{"code": 108, "message": "bad_params"}]),
        ok([]),
    ],
    "POST /mqtt/subscribe_batch": [
        ok([{"clientid": "c", "topic": "a", "code": 0}, {"clientid": "undefined", "topic": "a", "code": 108}])
    ],
    "POST /mqtt/unsubscribe_batch": [ok([{"clientid": "c", "topic": "a", "code": 115}])],
    "GET /plugins": [ok([{"node": NODE, "plugins": [PLUGIN]}])],
    "GET /nodes/{node}/plugins": [ok([PLUGIN])],
    "PUT /nodes/{node}/plugins/{plugin}/load": [OK],
    "PUT /plugins/{plugin}/reload": [OK],
    "GET /modules": [ok([{"node": NODE, "modules": [MODULE]}])],
    "GET /nodes/{node}/modules": [ok([MODULE])],
    "PUT /modules/{module}/unload": [OK],
    "GET /listeners": [ok([{"node": NODE, "listeners": [LISTENER, HTTP_LISTENER]}])],
    "GET /nodes/{node}/listeners": [ok([LISTENER])],
    "PUT /listeners/{identifier}/restart": [OK],
    "PUT /nodes/{node}/listeners/{identifier}/restart": [ok([76, 105, 115, 116])],
    "GET /metrics": [ok([{"node": NODE, "metrics": {"bytes.received": 805, "client.connect": 13}}])],
    "GET /nodes/{node}/metrics": [ok({"bytes.received": 0})],
    "GET /stats": [ok([{"node": NODE, "stats": {"topics.max": 0, "topics.count": 0}}])],
    "GET /nodes/{node}/stats": [ok({"retained.count": 3})],
    "GET /topic-metrics": [ok([{"topic": "a/b/c", "metrics": TOPIC}]), ok([])],
    "GET /topic-metrics/{topic}": [ok(TOPIC), ok({})],
    "POST /topic-metrics": [OK],
    "DELETE /topic-metrics": [OK],
    "DELETE /topic-metrics/{topic}": [OK],
    "GET /alarms": [ok([{"node": NODE, "alarms": [ALARM, PAST]}])],
    "GET /nodes/{node}/alarms": [ok([ALARM, PAST])],
    "GET /alarms/activated": [ok([{"node": NODE, "alarms": [ALARM]}])],
    "GET /nodes/{node}/alarms/activated": [ok([ALARM])],
    "GET /alarms/deactivated": [ok([{"node": NODE, "alarms": [PAST]}])],
    "GET /nodes/{node}/alarms/deactivated": [ok([PAST])],
    "POST /alarms/deactivated": [OK],
    "DELETE /alarms/deactivated": [OK],
    "DELETE /nodes/{node}/alarms/deactivated": [OK],
    "DELETE /acl-cache": [OK],
    "DELETE /node/{node}/acl-cache": [OK],
    "DELETE /nodes/{node}/acl-cache": [OK],
    "GET /banned": [page([BAN])],
    "POST /banned": [ok({"who": "example", "as": "clientid", "reason": "test"})],
    "DELETE /banned/{as}/{who}": [OK],
    "GET /data/export": [ok([FILE, FILE])],
    "POST /data/export": [ok(FILE)],
    "POST /data/import": [OK],
    "GET /data/file/{filename}": [{"filename": "emqx-export-2020-5-18-17-17-44.json", "file": '{"version":"dev"}'}],
    "POST /data/file": [ok({"node": NODE})],
    "DELETE /data/file/{filename}": [OK],
    "POST /license/upload": [OK],
    "GET /auth_clientid": [page([{"clientid": "c1", "created_at": 1620000000000}], hasnext=False)],
    "GET /auth_clientid/{clientid}": [ok({"clientid": "c1", "created_at": 1620000000000}), ok({})],
    "POST /auth_clientid": [OK, ok({"c1": "ok", "c2": "{error,existed}", "c3": "{error,password}"})],
    "PUT /auth_clientid/{clientid}": [OK],
    "DELETE /auth_clientid/{clientid}": [OK],
    "GET /auth_username/{username}": [ok({"username": "u1", "created_at": 1620000000000})],
    "GET /acl/clientid": [page([RULE])],
    "GET /acl/$all": [page([{"all": "$all", "topic": "t/1", "action": "sub", "access": "deny"}])],
    "GET /acl/clientid/{clientid}": [ok([RULE])],
    "POST /acl": [ok({**RULE, "result": "ok"}), ok([{**RULE, "result": "ok"}, {**RULE, "result": "{error,topic}"}])],
    "DELETE /acl/$all/topic/{topic}": [OK],
    "GET /telemetry/status": [ok({"enabled": True})],
    "PUT /telemetry/status": [OK],
    "GET /telemetry/data": [
        ok(
            {
                "emqx_version": "4.4.19",
                "license": {"edition": "community"},
                "os_name": "Linux",
                "os_version": "5.10",
                "otp_version": "24",
                "up_time": 553357,
                "uuid": "x",
                "nodes_uuid": [],
                "active_plugins": ["emqx_retainer"],
                "active_modules": [],
                "num_clients": 0,
                "messages_received": 0,
                "messages_sent": 0,
            }
        )
    ],
    "GET /slow_subscriptions": [ok([SLOW])],
    "DELETE /slow_subscriptions": [OK],
    "GET /trace": [ok([TRACE, {**TRACE, "type": "topic", "topic": "t/#"}])],
    "POST /trace": [OK],
    "DELETE /trace": [OK],
    "DELETE /trace/{name}": [OK],
    "PUT /trace/{name}/stop": [ok({"enable": False, "name": "t1"})],
    "GET /trace/{name}/detail": [ok([{"node": NODE, "size": 123, "mtime": 1620000000}])],
    "GET /trace/{name}/log": [ok({"meta": {"position": 10, "bytes": 10}, "items": "text"})],
    "GET /apps": [ok([APP])],
    "POST /apps": [ok({"secret": "public"})],
    "GET /apps/{appid}": [ok({**APP, "secret": "******"}), ok({})],
    "PUT /apps/{appid}": [OK],
    "DELETE /apps/{appid}": [OK],
    "POST /auth": [OK],
    "GET /users": [ok([{"username": "admin", "tags": "administrator"}])],
    "POST /users": [OK],
    "PUT /users/{name}": [OK],
    "DELETE /users/{name}": [OK],
    "PUT /change_pwd/{username}": [OK],
    "POST /sasl": [OK],
    "GET /sasl": [ok([{"SCRAM-SHA-1": ["u1"]}]), ok({"SCRAM-SHA-1": ["u1"]})],
    "GET /acl/username": [page([{"username": "u1", "topic": "t/1", "action": "pub", "access": "allow"}])],
    "GET /acl/username/{username}": [ok([])],
    "GET /auth_username": [page([{"username": "u1", "created_at": 1620000000000}], -1, hasnext=False)],
    "POST /auth_username": [ok({"u1": "ok"})],
    "GET /emqx_prometheus": [
        ok(
            {
                **{name: {} for name in ("packets", "messages", "delivery", "client", "session")},
                "stats": {"emqx_connections_count": 0},
                "metrics": {"emqx_vm_cpu_use": 1.5},
            }
        )
    ],
    "POST /rules": [ok(A_RULE), ok({"msg": "hello"}), ok([{"item": 1}])],
    "GET /rules": [ok([A_RULE]), page([A_RULE])],
    "GET /rules/{id}": [ok(A_RULE)],
    "PUT /rules/{id}": [ok(A_RULE)],
    "DELETE /rules/{id}": [OK],
    "PUT /rules/{id}/reset_metrics": [OK],
    "GET /rule_events": [ok([EVENT])],
    "GET /actions": [ok([AN_ACTION])],
    "GET /actions/{action}": [ok(AN_ACTION)],
    "GET /resource_types": [ok([RESOURCE_TYPE])],
    "GET /resource_types/{type}": [ok(RESOURCE_TYPE)],
    "GET /resource_types/{type}/resources": [ok([RESOURCE])],
    "GET /resources": [ok([UP])],
    "POST /resources": [ok(RESOURCE)],
    "GET /resources/{id}": [ok(UP)],
    "PUT /resources/{id}": [OK],
    "GET /resource_status/{id}": [ok({"is_alive": True})],
    "POST /resources/{id}": [OK],
    "DELETE /resources/{id}": [OK],
    **{key: [OK] for key in PLAIN},
}
"""By `METHOD /path`."""

BODIES: Final[dict[str, list[Any]]] = {
    "POST /mqtt/publish": [
        {"topic": "a/b/c", "payload": "Hello World", "qos": 1, "retain": False, "clientid": "example"},
        {
            "topics": "a,b",
            "payload": {"a": [1, None]},
            "clientid": "c",
            "properties": {"user_properties": {"id": 10010}},
        },
        {"topic": "a", "payload": "SGVsbG8=", "encoding": "base64", "clientid": "c", "return": True},
    ],
    "POST /mqtt/publish_batch": [
        [
            {"topic": "a/b/c", "payload": "Hello", "qos": 1, "clientid": "example"},
            {"topic": "a", "payload": "World", "clientid": "example"},
        ]
    ],
    "POST /mqtt/subscribe": [{"topic": "a", "qos": 1, "clientid": "example"}, {"topics": "a,b", "clientid": "c"}],
    "POST /mqtt/unsubscribe": [{"topic": "a", "qos": 1, "clientid": "example"}],
    "POST /mqtt/subscribe_batch": [[{"topic": "a", "qos": 1, "clientid": "example"}]],
    "POST /clients/{clientid}/ratelimit": [{"conn_bytes_in": "100KB, 10s"}],
    "POST /clients/{clientid}/quota": [{"conn_messages_routing": "100, 1s"}],
    "PUT /clients/{clientid}/keepalive": [{"interval": 5}],
    "POST /banned": [{"who": "example", "as": "clientid", "reason": "example", "until": 4102444800}],
    "POST /alarms/deactivated": [{"node": NODE, "name": "high_system_memory_usage"}],
    "POST /data/import": [{"filename": "emqx-export-2020-5-18-17-17-44.json"}],
    "POST /data/file": [{"filename": "emqx-export-2020-5-18-17-17-44.json", "file": '{"version":"dev"}'}],
    "POST /license/upload": [{"license": "-----BEGIN CERTIFICATE-----"}],
    "POST /topic-metrics": [{"topic": "a/b/c"}],
    "POST /rules": [
        {
            "rawsql": 'select * from "t/a"',
            "actions": [{"name": "inspect", "params": {"a": 1}}],
            "description": "test-rule",
        }
    ],
    "PUT /rules/{id}": [{"rawsql": 'select * from "t/b"'}, {"enabled": False}],
    "POST /resources": [{key: RESOURCE[key] for key in ("type", "config", "description")}],
    "POST /auth_clientid": [{"clientid": "c1", "password": "p"}, [{"clientid": "c1", "password": "p"}]],
    "POST /acl": [
        {"clientid": "c1", "topic": "t/1", "action": "pub", "access": "allow"},
        [{"topic": "t/1", "action": "pubsub", "access": "deny"}],
    ],
    "PUT /telemetry/status": [{"enabled": True}],
    "POST /trace": [{"name": "t1", "type": "clientid", "clientid": "c1"}],
    "POST /apps": [{"app_id": "a", "name": "A", "secret": "s", "desc": "", "status": True, "expired": 4102444800}],
    "POST /auth": [{"username": "admin", "password": "public"}],
    "POST /users": [{"username": "jane", "password": "passw0rd", "tags": "viewer"}],
    "PUT /change_pwd/{username}": [{"old_pwd": "public", "new_pwd": "passw0rd"}],
    "POST /sasl": [
        {"mechanism": "SCRAM-SHA-1", "username": "u", "password": "p", "salt": "s", "iteration_count": 4096}
    ],
}
"""By `METHOD /path`."""

FAILURES: Final[list[tuple[str, dict[str, Any]]]] = [
    ("GET /clients", {"code": 108, "message": 'Can\'t convert <<"abc">> to integer type'}),
    ("GET /clients/{clientid}/acl_cache", {"code": 112, "message": "not_found"}),
    ("PUT /clients/{clientid}/keepalive", {"code": 107, "message": "params_not_found"}),
    ("POST /mqtt/publish", {"code": 107, "message": "missing_required_params"}),
    ("POST /mqtt/publish", {"code": 115, "message": "bad_topic"}),
    ("POST /mqtt/subscribe", {"code": 116, "message": "bad_qos"}),
    ("POST /mqtt/unsubscribe", {"code": 112, "message": "channel_not_found"}),
    ("PUT /modules/{module}/load", {"code": 110, "message": "already_started"}),
    ("PUT /nodes/{node}/plugins/{plugin}/unload", {"code": 111, "message": "not_started"}),
    ("POST /alarms/deactivated", {"code": 107, "message": "missing_param"}),
    ("POST /banned", {"code": 107, "message": "missing mandatory params: ['who', 'as']"}),
    ("POST /data/import", {"code": 102, "message": "import_failed", "reason": "apps[0]: missing or not valid: id"}),
    ("POST /data/import", {"code": 101, "message": "no_existent_node"}),
    ("GET /data/file/{filename}", {"code": 102, "message": "not_found"}),
    ("POST /data/file", {"code": 109, "message": "bad_json"}),
    ("POST /license/upload", {"code": 108, "message": "bad_license"}),
    ("POST /auth_clientid", {"code": 113, "message": "existed"}),
    ("GET /rules/{id}", {"code": 404, "message": "Not Found"}),
    ("POST /rules", {"code": 400, "message": "Action foo Not Found"}),
    ("POST /resources", {"code": 500, "message": "Init resource failure!"}),
    ("POST /trace", {"code": "INCORRECT_PARAMS", "message": "name required"}),
    ("POST /apps", {"code": 113, "message": "already_existed"}),
    ("POST /auth", {"code": 103, "message": "Username/Password error"}),
    ("DELETE /users/{name}", {"code": 106, "message": "Cannot delete admin"}),
    ("PUT /change_pwd/{username}", {"code": 114, "message": "Username/Password error"}),
]
