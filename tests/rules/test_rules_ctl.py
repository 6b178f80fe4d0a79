"""`ctl rules`, `rule-actions`, `resources` and `resource-types`."""

from __future__ import annotations

import json

import pytest
from rules_helpers import rule

from trioemqx.testing import TestBroker, running, web_server
from trioemqx.types import Message

SQL = 'SELECT payload.x AS x FROM "t/#"'
ACTIONS = '[{"name": "inspect", "params": {"a": 1}}]'


async def test_a_rule_from_the_beginning_to_its_end(broker: TestBroker) -> None:
    made = await broker.ctl("rules", "create", SQL, ACTIONS, "-i", "r", "-d", "demo", "--on_action_failed", "stop")
    assert made == ["Rule r created"]
    broker.node.publish(Message("t/1", b'{"x":1}'))
    (line,) = await broker.ctl("rules list")
    assert line == (await broker.ctl("rules show r"))[0]
    assert line.startswith(f"rule(id='r', for='[<<\"t/#\">>]', rawsql='{SQL}', actions=[#{{<<\"id\">> => <<\"inspect_")
    assert line.endswith("enabled='true', description='demo')")
    assert "on_action_failed='stop'" in line
    assert '<<"matched">> => 1' in line
    row = json.loads("".join(await broker.ctl("rules show r --json")))
    assert row == (await broker.api("GET", "/rules/r")).data
    assert await broker.ctl("rules", "update", "r", "-e", "false", "-s", 'SELECT 1 FROM "u"') == ["Rule r updated"]
    entry = broker.node.rules.find("r")
    assert entry is not None
    assert (entry.active, entry.topics) == (False, ("u",))
    assert await broker.ctl("rules delete r") == ["ok"]
    assert await broker.ctl("rules delete r") == ["ok"]
    assert await broker.ctl("rules show r") == ["Cannot found r"]
    assert await broker.ctl("rules list") == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("SELECT", ACTIONS), "{parse_error,"),
        ((SQL, "{"), "not JSON"),
        ((SQL, '[{"name":"foo"}]'), "Action foo Not Found"),
        ((SQL, ACTIONS, "-x", "1"), "-x"),
        ((SQL, ACTIONS, "-i"), "-i"),
        ((SQL, ACTIONS, "-e", "maybe"), '{invalid_enabled,<<"maybe">>}'),
        ((SQL, ACTIONS, "-c", "{}"), "-c"),
    ],
)
async def test_options_that_cannot_be(broker: TestBroker, words: tuple[str, ...], reason: str) -> None:
    (line,) = await broker.ctl("rules", "create", *words)
    assert line.startswith("Invalid options: ")
    assert reason in line
    assert broker.node.rules.entries() == []


async def test_update_of_a_rule_that_is_not_there(broker: TestBroker) -> None:
    assert await broker.ctl("rules update x -e true") == ["Invalid options: Rule x Not Found"]


async def test_actions_and_types(broker: TestBroker) -> None:
    assert await broker.ctl("rule-actions show republish") == [
        "action(name='republish', app='emqx_rule_engine', for='$any', types=[], title ='Republish', "
        "description='Republish a MQTT message to another topic')"
    ]
    assert len(await broker.ctl("rule-actions list")) == 5
    assert await broker.ctl("resource-types show web_hook") == [
        "resource_type(name='web_hook', provider='emqx_web_hook', title ='WebHook', description='WebHook')"
    ]
    assert len(await broker.ctl("resource-types list")) == 3
    for words in ("rule-actions show x", "resource-types show x", "resources show x"):
        assert await broker.ctl(words) == ["Cannot found x"]


async def test_resources() -> None:
    async with web_server() as server, running(listen=True) as broker:
        config = json.dumps({"url": server.url})
        assert await broker.ctl("resources", "test", "web_hook", "-c", config) == [
            "Test creating resource successfully (dry-run)"
        ]
        assert await broker.ctl("resources", "test", "web_hook", "-c", '{"url":"http://127.0.0.1:9"}') == [
            "Test creating resource failed: http://127.0.0.1:9/: connection refused"
        ]
        made = await broker.ctl("resources", "create", "web_hook", "-i", "w", "-c", config, "-d", "mine")
        assert made == ["Resource w created"]
        assert await broker.ctl("resources create nothing") == [
            'Invalid options: {resource_type_not_found,<<"nothing">>}'
        ]
        (line,) = await broker.ctl("resources list -t web_hook")
        assert line.startswith("resource(id='w', type='web_hook', config=#{<<\"url\">> => ")
        assert '<<"is_alive">> => true' in line
        assert line.endswith("description='mine')")
        assert await broker.ctl("resources list -t bridge_mqtt") == []
        assert await broker.ctl("resources show w") == [line]
        assert await broker.ctl("resources", "update", "w", "-d", "yours") == ["Resource update successfully"]
        (failed,) = await broker.ctl("resources", "update", "w", "-c", '{"url":"http://127.0.0.1:9"}')
        assert failed == "Resource update failed: http://127.0.0.1:9/: connection refused"
        use = {"name": "data_to_webserver", "params": {"$resource": "w"}}
        await rule(broker, SQL, use, id="r")
        (refused,) = await broker.ctl("resources delete w")
        assert refused.startswith('Cannot delete resource as Found rules [<<"r">>] depends')
        await broker.node.rules.delete("r")
        assert await broker.ctl("resources delete w") == ["ok"]
        assert await broker.ctl("resources delete w") == ["ok"]


async def test_no_secret_comes_out_of_it(broker: TestBroker) -> None:
    """In lines and as JSON: a terminal is looked at, and what it showed is kept. The HTTP API gives them to
    administrators, as EMQX's does."""
    hook = {"url": "http://me:hunter2@127.0.0.1:9/", "headers": {"x-own": "hunter2", "accept": "*/*"}}
    there = {"address": "127.0.0.1:9", "clientid": "c", "pool_size": 1, "username": "me", "password": "hunter2"}
    for kind, name, config in (("web_hook", "hook", hook), ("bridge_mqtt", "there", there)):
        await broker.api("POST", "/resources", {"type": kind, "id": name, "config": config})
    params = {"$resource": "hook", "headers": {"x-own": "hunter2"}}
    body = {"rawsql": SQL, "actions": [{"name": "data_to_webserver", "params": params}], "id": "r"}
    assert (await broker.api("POST", "/rules", body)).code == 0
    for words in ("resources list", "resources show hook", "resources show there", "rules list", "rules show r"):
        for more in ("", " --json"):
            text = "".join(await broker.ctl(words + more))
            assert "hunter2" not in text, words
            assert "******" in text
    assert "accept" in "".join(await broker.ctl("resources show hook"))
    assert b"hunter2" in (await broker.api("GET", "/resources/there")).body
