"""The example greets, counts, forgets, and keeps what it knows over a reload."""

from __future__ import annotations

import pytest
import trio

from trioemqx.plugin import PluginError
from trioemqx.testing import TestBroker, running

NAME = "emqx_plugin_template"


@pytest.fixture
def broker_config(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"plugins": {NAME: getattr(request, "param", {})}}


def settings(**values: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("broker_config", [values], indirect=True, ids=[""])


async def test_a_client_is_greeted_and_visits_are_counted(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="greetings")
    for visit in (1, 2):
        await (await broker.client("guest")).disconnect()
        assert await watcher.message() == ("greetings", f"Hello, guest! Visit {visit}.".encode())
    assert broker.metrics["plugin.emqx_plugin_template.greeted"] == 3


@settings(greeting="Welcome", topic="hall/door")
async def test_what_is_said_and_where_are_settings(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="hall/#")
    await broker.client("guest")
    assert await watcher.message() == ("hall/door", b"Welcome, guest! Visit 1.")


@settings(summary_every="10s")
async def test_a_summary_comes_at_intervals(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="greetings")
    await trio.sleep(20.5)
    assert [await watcher.message() for _ in range(2)] == [("greetings", b"1 visitors, 1 visits")] * 2
    assert await watcher.nothing(5)


async def test_the_command_shows_visits(broker: TestBroker) -> None:
    await broker.client("a")
    await broker.client("b")
    assert await broker.ctl("visits") == ["a: 1", "b: 1"]
    assert await broker.ctl("visits b") == ["b: 1"]
    assert await broker.ctl("visits c") == ["Not Found."]


async def test_the_endpoints_show_visits(broker: TestBroker) -> None:
    """GET /visits, GET /visits/{clientid}"""
    for name in ("a", "b/c", "a"):
        await (await broker.client(name)).disconnect()
    answer = await broker.api("GET", "/visits?_limit=1")
    assert answer.data == [{"clientid": "b/c", "visits": 1}]
    assert answer.json()["meta"] == {"page": 1, "limit": 1, "count": 2, "hasnext": True}
    assert (await broker.api("GET", "/visits/a")).data == {"clientid": "a", "visits": 2}
    assert (await broker.api("GET", "/visits/b%2Fc")).data["visits"] == 1
    assert (await broker.api("GET", "/visits/c")).json() == {"code": 102, "message": "not_found"}
    assert (await broker.api("GET", "/visits?_page=x")).code == 108


async def test_rules_have_its_action_and_its_function(broker: TestBroker) -> None:
    rule = {
        "id": "r",
        "rawsql": 'SELECT clientid FROM "t/#" WHERE visits(clientid) > 1',
        "actions": [{"name": "greet", "params": {"greeting": "Again"}}],
    }
    assert (await broker.api("POST", "/rules", rule)).data["enabled"] is True
    assert (await broker.api("GET", "/actions/greet")).data["app"] == NAME
    for _ in range(2):
        guest = await broker.client("guest")
        await guest.publish("t/1", b"", qos=1)
        await guest.disconnect()
    watcher = await broker.client("watcher", subscribe="greetings")
    await (await broker.client("guest")).publish("t/1", b"", qos=1)
    said = [await watcher.message() for _ in range(2)]
    assert said == [("greetings", b"Hello, guest! Visit 3."), ("greetings", b"Again, guest!")]
    await broker.node.plugins.unload(NAME)
    assert (await broker.api("GET", "/rules/r")).data["enabled"] is False
    await broker.node.plugins.load(NAME)
    assert (await broker.api("GET", "/rules/r")).data["enabled"] is True


async def test_the_action_needs_a_client(broker: TestBroker) -> None:
    rule = {"id": "r", "rawsql": 'SELECT topic FROM "t/#"', "actions": [{"name": "greet"}]}
    await broker.api("POST", "/rules", rule)
    await (await broker.client("guest")).publish("t/1", b"", qos=1)
    metrics = (await broker.api("GET", "/rules/r")).data["actions"][0]["metrics"][0]
    assert (metrics["taken"], metrics["failed"]) == (1, 1)


@settings(max_visitors=2)
async def test_the_table_is_bounded_and_forgets_who_was_away_longest(broker: TestBroker) -> None:
    for name in ("a", "b", "a", "c"):
        await (await broker.client(name)).disconnect()
    assert await broker.ctl("visits") == ["a: 2", "c: 1"]
    assert broker.metrics["plugin.emqx_plugin_template.forgotten"] == 1


async def test_visits_and_counters_survive_a_reload(broker: TestBroker) -> None:
    await (await broker.client("guest")).disconnect()
    await broker.reload_plugin(NAME)
    await broker.client("guest")
    assert await broker.ctl("visits") == ["guest: 2"]
    assert broker.metrics["plugin.emqx_plugin_template.greeted"] == 2


@settings(topic="not/+/a/name")
async def test_an_invalid_topic_keeps_it_out(broker_config: dict[str, dict[str, object]]) -> None:
    async with running({"plugins": {**broker_config["plugins"], "load": [NAME]}}) as broker:
        assert "not/+/a/name" in str(broker.alarms()[f"plugin_not_loaded/{NAME}"]["reason"])
        with pytest.raises(PluginError, match=r"^emqx_plugin_template: topic 'not/\+/a/name': "):
            await broker.node.plugins.load(NAME)
        await broker.client("guest")


async def test_unloading_leaves_nothing(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="greetings")
    await broker.node.plugins.unload(NAME)
    await broker.client("guest")
    assert await watcher.nothing(120)
    assert "visits" not in broker.node.commands.names()
    assert (await broker.api("GET", "/visits")).status == 404
    assert not [name for name in broker.metrics if NAME in name]
