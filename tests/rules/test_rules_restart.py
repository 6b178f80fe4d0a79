"""What is left of rules and resources after a restart, and after an export and an import."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from rules_helpers import rule

from trioemqx.rules.records import RULES, Records
from trioemqx.rules.transfer import LEFT_TABLE
from trioemqx.services.store.protocol import Put
from trioemqx.testing import TestBroker, running, web_server
from trioemqx.types import Message

SEND = {"name": "data_to_webserver", "params": {"$resource": "w", "body": "${x}"}}
SQL = 'SELECT payload.x AS x FROM "t/#"'


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[TestBroker]:
    """A broker on a data directory, on real time."""
    config = {"node": {"data_dir": str(folder)}, "store": {"sync": "normal"}}
    async with running(config, listen=True) as broker:
        yield broker


async def until(condition: Any) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.005)


async def test_rules_and_resources_are_there_after_a_restart(tmp_path: Path) -> None:
    async with web_server() as server:
        async with kept(tmp_path) as broker:
            await broker.node.rules.resources.create("web_hook", {"url": server.url}, "mine", "w")
            await rule(broker, SQL, {**SEND, "fallbacks": [{"name": "do_nothing"}]}, id="a", description="first")
            await rule(broker, SQL, "do_nothing", id="off", enabled=False)
            await rule(broker, SQL, "do_nothing", id="gone")
            await broker.node.rules.delete("gone")
            broker.node.publish(Message("t/1", b'{"x":1}'))
            before = {row["id"]: row for row in (await broker.api("GET", "/rules")).data}
            resource = (await broker.api("GET", "/resources/w")).data
        async with kept(tmp_path) as broker:
            engine = broker.node.rules
            await until(lambda: engine.find("a").active)  # type: ignore[union-attr]
            after = {row["id"]: row for row in (await broker.api("GET", "/rules")).data}
            assert list(after) == ["off", "a"]
            for name, row in after.items():
                assert row["metrics"][0]["matched"] == 0, "counters are not kept"
                assert {**row, "metrics": 0, "actions": 0} == {**before[name], "metrics": 0, "actions": 0}
                assert [action["id"] for action in row["actions"]] == [a["id"] for a in before[name]["actions"]]
            assert (await broker.api("GET", "/resources/w")).data == resource
            broker.node.publish(Message("t/1", b'{"x":2}'))
            assert [request.body for request in await server.asked(2)] == [b"1", b"2"]


async def test_a_rule_waits_for_its_resource_after_a_restart(tmp_path: Path) -> None:
    async with web_server() as server:
        async with kept(tmp_path) as broker:
            await broker.node.rules.resources.create("web_hook", {"url": server.url}, "", "w")
            await rule(broker, SQL, SEND, id="a")
        server.stop()
        async with kept(tmp_path) as broker, trio.open_nursery() as nursery:
            await until(lambda: "resource/web_hook/w/down" in broker.alarms())
            assert (await broker.api("GET", "/rules/a")).data["enabled"] is False
            await nursery.start(server.run)
            assert (await broker.api("POST", "/resources/w")).code == 0
            assert (await broker.api("GET", "/rules/a")).data["enabled"] is True
            server.stop()


async def test_rules_without_resources_see_the_first_message(broker: TestBroker) -> None:
    """They are active before a socket opens: `load` makes them so."""
    record = (await rule(broker, SQL, "do_nothing", id="a")).record
    async with running() as other:
        engine = other.node.rules
        engine.records.keep(record)
        engine.records.drop(record)
        engine.records.keep(record)
        await engine.load()
        assert [entry.active for entry in engine.entries()] == [True]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"id":5}', '"x"'])
async def test_a_row_that_cannot_be_read_keeps_nobody_from_starting(broker: TestBroker, text: str) -> None:
    store = broker.node.store
    store.apply([Put(RULES, "bad", {"text": text}), Put(RULES, "worse", {"other": 1})])
    assert [record async for record in Records(store).rules()] == []


async def test_sql_that_is_no_longer_read_waits(broker: TestBroker) -> None:
    engine = broker.node.rules
    good = (await rule(broker, SQL, "do_nothing", id="a")).record
    import attrs

    entry = engine.restore(attrs.evolve(good, id="b", rawsql="SELECT nonsense"))
    assert (entry.active, entry.waiting) == (False, True)
    row = (await broker.api("GET", "/rules/b")).data
    assert (row["enabled"], row["for"], row["rawsql"]) == (False, [], "SELECT nonsense")
    await trio.sleep(21)
    assert not entry.active
    assert (await broker.api("PUT", "/rules/b", {"rawsql": SQL, "enabled": True})).data["enabled"] is True


async def test_a_waiting_rule_that_is_repaired_works_at_once(broker: TestBroker) -> None:
    engine = broker.node.rules
    missing = {"name": "data_to_webserver", "params": {"$resource": "none"}}
    await taken(broker, rules=[exported(actions=[{**missing, "args": missing["params"]}])])
    entry = engine.find("rule:1")
    assert entry is not None
    assert entry.waiting
    await engine.update("rule:1", {"actions": [{"name": "do_nothing"}]})
    assert (entry.active, entry.waiting) == (True, False)


# -- export and import -------------------------------------------------------------------------------------------------


async def taken(broker: TestBroker, version: str = "4.4", **content: object) -> list[str]:
    """Import something; returns what was not taken as it stood."""
    return await broker.node.rules.transfer.take(
        content.get("resources", []),
        content.get("rules", []),
        version,  # type: ignore[arg-type]
    )


def exported(rule_id: str = "rule:1", **more: object) -> dict[str, object]:
    action = {
        "id": "republish_1",
        "name": "republish",
        "args": {"target_topic": "out", "target_qos": 0, "payload_tmpl": "${x}"},
        "fallbacks": [{"id": "inspect_1", "name": "inspect", "args": {}, "fallbacks": []}],
    }
    return {"id": rule_id, "rawsql": SQL, "actions": [action], "enabled": True, "description": "d", **more}


async def test_a_rule_of_emqx_works(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="out")
    assert await taken(broker, rules=[exported()]) == []
    broker.node.publish(Message("t/1", b'{"x":1}'))
    assert await watcher.message() == ("out", b"1")
    row = (await broker.api("GET", "/rules/rule:1")).data
    assert (row["actions"][0]["id"], row["actions"][0]["params"]["target_retain"]) == ("republish_1", False)


async def test_what_is_exported_can_be_imported(broker: TestBroker) -> None:
    engine = broker.node.rules
    await rule(broker, SQL, "do_nothing", id="a", on_action_failed="stop", description="x")
    await engine.resources.create("web_hook", {"url": "http://127.0.0.1:9"}, "d", "w")
    rows = {name: [row async for row in engine.transfer.rows(name)] for name in ("rules", "resources")}
    json.dumps(rows)
    before = [entry.record for entry in engine.entries()]
    async with running() as other:
        assert await other.node.rules.transfer.take(rows["resources"], rows["rules"], "4.4") == []
        (after,) = [entry.record for entry in other.node.rules.entries()]
        assert after.created_at // 1000 == before[0].created_at // 1000
        assert {**vars_of(after), "created_at": 0} == {**vars_of(before[0]), "created_at": 0}
        (resource,) = other.node.rules.resources.entries()
        assert resource.record.config == engine.resources.find("w").record.config  # type: ignore[union-attr]


def vars_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("id", "rawsql", "actions", "enabled", "on_action_failed")}


async def test_an_import_takes_the_place_of_what_has_the_same_identifier(broker: TestBroker) -> None:
    old = await rule(broker, 'SELECT 1 FROM "u"', "do_nothing", id="rule:1")
    await taken(broker, rules=[exported()])
    broker.node.publish(Message("u", b""))
    assert [entry.topics for entry in broker.node.rules.entries()] == [("t/#",)]
    assert (old.active, old.metrics.matched) == (False, 0)


async def test_old_web_hooks_are_brought_up_to_date(broker: TestBroker) -> None:
    hook = {
        "id": "w",
        "type": "web_hook",
        "config": {
            "url": "http://127.0.0.1:9/x",
            "method": "PUT",
            "headers": {"token": "t"},
            "content_type": "text/plain",
            "request_timeout": 7,
        },
    }
    action = {"name": "data_to_webserver", "args": {"$resource": "w", "payload_tmpl": "${x}"}}
    notes = await taken(broker, "4.2.11", resources=[hook], rules=[exported(actions=[action])])
    assert notes == ['rule rule:1 waits: {resource_not_initialized,<<"w">>}']
    config = broker.node.rules.resources.find("w").record.config  # type: ignore[union-attr]
    assert (config["request_timeout"], config["method"], config["headers"]) == ("7s", "POST", {})
    (made,) = broker.node.rules.find("rule:1").record.actions  # type: ignore[union-attr]
    assert made.params == {
        "$resource": "w",
        "method": "PUT",
        "headers": {"content-type": "text/plain", "token": "t"},
        "body": "${x}",
        "path": "",
    }


async def test_what_is_not_known_here_is_kept_and_told(broker: TestBroker) -> None:
    resource = {"id": "r", "type": "backend_redis_single", "config": {"server": "127.0.0.1:6379", "ssl": "on"}}
    actions = [{"name": "data_to_redis", "args": {"$resource": "r", "cmd": "SET x ${x}"}}]
    notes = await taken(broker, resources=[resource], rules=[exported(actions=actions)])
    assert notes == [
        "resource r waits: there is no type 'backend_redis_single'",
        "rule rule:1 waits: {action_not_found,data_to_redis}",
    ]
    rows = [row async for row in broker.node.rules.transfer.rows("rules")]
    assert rows[0]["actions"][0]["args"] == actions[0]["args"]
    assert broker.node.rules.resources.find("r").record.config["ssl"] is True  # type: ignore[union-attr]
    await trio.sleep(60)
    assert broker.node.rules.find("rule:1").waiting  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "row",
    [
        {"id": ""},
        {"id": "x"},
        {"id": "x", "rawsql": 5},
        {"id": "x", "rawsql": SQL, "actions": {}},
        {"id": "x", "rawsql": SQL, "actions": [{"name": 5}]},
        {"id": "x", "rawsql": SQL, "actions": [], "enabled": "yes"},
        {"id": "x", "rawsql": SQL, "actions": [], "description": {}},
        {"id": "x" * 600, "rawsql": SQL, "actions": []},
    ],
)
async def test_a_row_that_is_no_rule_stops_an_import_before_it_begins(broker: TestBroker, row: dict[str, Any]) -> None:
    body = {"version": "4.4", "rules": [exported(), row]}
    answer = await broker.api("POST", "/data/import", body)
    assert (answer.code, answer.message) == (102, "import_failed")
    assert answer.json()["reason"].startswith("rules[1]: missing or not valid")
    assert broker.node.rules.entries() == []


async def test_what_an_earlier_version_has_kept_is_taken(broker: TestBroker) -> None:
    rows = [
        ("rule", exported()),
        ("resource", {"id": "w", "type": "web_hook", "config": {"url": "http://127.0.0.1:9"}}),
    ]
    store = broker.node.store
    for kind, row in rows:
        kept_row = {"kind": kind, "id": row["id"], "version": "4.4", "text": json.dumps(row)}
        store.put(LEFT_TABLE, f"{kind}/{row['id']}", kept_row)
    await broker.node.rules.load()
    assert broker.node.rules.find("rule:1").active  # type: ignore[union-attr]
    assert broker.node.rules.resources.find("w") is not None
    assert await store.items(LEFT_TABLE) == []
