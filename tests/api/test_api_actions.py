"""What rules can do and what they can be connected to, as forms are made of it."""

from __future__ import annotations

from typing import Any

from trioemqx.testing import TestBroker

PARAM_KEYS = {"order", "type", "required", "default", "enum", "format", "schema", "input", "title", "description"}


def check_params(row: dict[str, Any]) -> None:
    """Every parameter is described in the form that is known."""
    for name, param in row["params"].items():
        assert set(param) <= PARAM_KEYS, name
        assert {"order", "type", "required", "title", "description"} <= set(param), name
        for words in (param["title"], param["description"]):
            assert set(words) == {"en", "zh"}, name
            assert all(words.values()), name


def plain(params: dict[str, Any]) -> dict[str, Any]:
    """Without texts and places."""
    return {
        name: {key: value for key, value in param.items() if key not in ("title", "description", "order", "input")}
        for name, param in params.items()
    }


async def test_all_actions_by_title(broker: TestBroker) -> None:
    """GET /actions"""
    rows = (await broker.api("GET", "/actions?for=x")).data
    assert [row["title"]["en"] for row in rows] == sorted(row["title"]["en"] for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert {name: (row["category"], row["app"], row["for"], row["types"]) for name, row in by_name.items()} == {
        "inspect": ("debug", "emqx_rule_engine", "$any", []),
        "do_nothing": ("debug", "emqx_rule_engine", "$any", []),
        "republish": ("data_forward", "emqx_rule_engine", "$any", []),
        "data_to_webserver": ("data_forward", "emqx_web_hook", "$any", ["web_hook"]),
        "data_to_mqtt_broker": (
            "data_forward", "emqx_bridge_mqtt", "message.publish", ["bridge_mqtt", "bridge_rpc"],
        ),
    }  # fmt: skip
    for row in rows:
        check_params(row)
    assert plain(by_name["republish"]["params"]) == {
        "target_topic": {"type": "string", "required": True, "default": "repub/to/${clientid}"},
        "target_qos": {"type": ["number", "string"], "required": True, "default": 0, "enum": [0, 1, 2, "${qos}"]},
        "target_retain": {
            "type": ["boolean", "string"],
            "required": False,
            "default": False,
            "enum": [True, False, "${flags.retain}"],
        },
        "payload_tmpl": {"type": "string", "required": False, "default": "${payload}"},
        "mqtt_properties": {"type": "object", "required": False, "schema": {}},
        "user_properties": {"type": "object", "required": False, "schema": {}},
    }
    assert plain(by_name["data_to_webserver"]["params"]) == {
        "$resource": {"type": "string", "required": True},
        "method": {"type": "string", "required": False, "default": "POST", "enum": ["POST", "DELETE", "PUT", "GET"]},
        "path": {"type": "string", "required": False, "default": ""},
        "headers": {
            "type": "object",
            "required": False,
            "default": {"content-type": "application/json"},
            "schema": {},
        },
        "body": {"type": "string", "required": False, "default": ""},
    }
    assert [param["order"] for param in by_name["data_to_webserver"]["params"].values()] == [0, 1, 2, 3, 4]
    assert [param["order"] for param in by_name["republish"]["params"].values()] == [1, 2, 3, 4, 5, 6]


async def test_one_action(broker: TestBroker) -> None:
    """GET /actions/{name}"""
    assert (await broker.api("GET", "/actions/inspect")).data == {
        "name": "inspect",
        "category": "debug",
        "app": "emqx_rule_engine",
        "for": "$any",
        "types": [],
        "params": {},
        "title": {"zh": "检查 (调试)", "en": "Inspect (debug)"},
        "description": {
            "zh": "检查动作参数 (用以调试)",
            "en": "Inspect the details of action params for debug purpose",
        },
    }
    assert (await broker.api("GET", "/actions/none")).status == 404
    assert (await broker.api("GET", "/actions/inspec%74")).status == 404


async def test_all_resource_types_by_title(broker: TestBroker) -> None:
    """GET /resource_types"""
    rows = (await broker.api("GET", "/resource_types")).data
    assert [row["title"]["en"] for row in rows] == sorted(row["title"]["en"] for row in rows)
    by_name = {row["name"]: row for row in rows}
    assert {name: row["provider"] for name, row in by_name.items()} == {
        "web_hook": "emqx_web_hook",
        "bridge_mqtt": "emqx_bridge_mqtt",
        "bridge_rpc": "emqx_bridge_mqtt",
    }
    for row in rows:
        check_params(row)
    url = plain(by_name["web_hook"]["params"])["url"]
    assert url == {"type": "string", "required": True, "format": "url"}
    assert {
        name: param.get("default") for name, param in by_name["bridge_mqtt"]["params"].items() if param["required"]
    } == {"address": "127.0.0.1:1883", "pool_size": 8, "clientid": "client"}
    assert (
        list(by_name["bridge_mqtt"]["params"])
        == (
            "address pool_size clientid append username password mountpoint disk_cache proto_ver keepalive "
            "reconnect_interval retry_interval bridge_mode ssl cacertfile certfile keyfile ciphers verify "
            "server_name_indication"
        ).split()
    )


async def test_one_resource_type(broker: TestBroker) -> None:
    """GET /resource_types/{name}"""
    row = (await broker.api("GET", "/resource_types/web_hook")).data
    assert (row["name"], row["title"]) == ("web_hook", {"en": "WebHook", "zh": "WebHook"})
    assert (await broker.api("GET", "/resource_types/none")).status == 404


async def test_resources_of_a_type(broker: TestBroker) -> None:
    """GET /resource_types/{type}/resources"""
    assert (await broker.api("GET", "/resource_types/web_hook/resources")).data == []
    body = {"type": "web_hook", "id": "w", "config": {"url": "http://127.0.0.1:9"}}
    made = (await broker.api("POST", "/resources", body)).data
    assert (await broker.api("GET", "/resource_types/web_hook/resources")).data == [made]
    assert (await broker.api("GET", "/resource_types/bridge_mqtt/resources")).data == []
    assert (await broker.api("GET", "/resource_types/none/resources")).status == 404
