"""Resources: made, looked at, changed and forgotten over HTTP, with a real web server at the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from trioemqx.testing import ApiAnswer, TestBroker, WebServer, running, web_server

CLOSED = "http://127.0.0.1:9"
"""A port that nobody listens on."""


@asynccontextmanager
async def world() -> AsyncIterator[tuple[TestBroker, WebServer]]:
    """A web server and a broker, on real time."""
    async with web_server() as server, running(listen=True) as broker:
        yield broker, server


async def create(broker: TestBroker, url: str, **more: object) -> ApiAnswer:
    return await broker.api("POST", "/resources", {"type": "web_hook", "config": {"url": url}, **more})


def using(resource: str) -> dict[str, object]:
    """A rule that uses a resource."""
    action = {"name": "data_to_webserver", "params": {"$resource": resource, "path": "x"}}
    return {"rawsql": 'SELECT payload FROM "t/#"', "actions": [action]}


async def status(broker: TestBroker, resource: str) -> object:
    return (await broker.api("GET", f"/resource_status/{resource}")).data


async def test_create() -> None:
    """POST /resources"""
    async with world() as (broker, server):
        answer = await create(broker, server.url, description="mine")
        made = answer.data
        assert made == {
            "id": made["id"],
            "type": "web_hook",
            "config": {
                "url": server.url,
                "connect_timeout": "5s",
                "request_timeout": "5s",
                "pool_size": 8,
                "enable_pipelining": True,
                "cacertfile": "",
                "keyfile": "",
                "certfile": "",
                "verify": False,
                "method": "POST",
                "headers": {},
            },
            "description": "mine",
        }
        assert made["id"].startswith("resource:")
        assert len(made["id"]) == 17
        assert await status(broker, made["id"]) == {"is_alive": True}
        assert broker.node.stats()["resources.count"] == 1


async def test_one_that_cannot_be_connected_is_kept_all_the_same() -> None:
    """GET /resource_status/{id}"""
    async with world() as (broker, _):
        assert (await create(broker, CLOSED, id="w")).code == 0
        answer = await broker.api("GET", "/resource_status/w")
        assert answer.json() == {"code": 400, "message": "Resource w Not Found"}
        assert (await broker.api("GET", "/resource_status/none")).code == 400
        assert broker.alarms() == {"resource/web_hook/w/down": {"id": "w", "type": "web_hook"}}
        await broker.api("DELETE", "/resources/w")
        assert broker.alarms() == {}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'Bad Arguments: {required_field_missing,<<"type">>}'),
        ([], 'Bad Arguments: {required_field_missing,<<"type">>}'),
        ({"type": "x"}, 'Bad Arguments: {resource_type_not_found,<<"x">>}'),
        ({"type": ["x"]}, 'Bad Arguments: {resource_type_not_found,[<<"x">>]}'),
        ({"type": "web_hook", "id": ""}, "Bad Arguments: {empty_string_not_allowed,id}"),
        ({"type": "web_hook"}, 'Bad Arguments: {required_field_missing,<<"url">>}'),
        ({"type": "web_hook", "config": 5}, "Bad Arguments: {invalid_data_type,{object,5}}"),
        (
            {"type": "web_hook", "config": {"url": "ftp://x"}},
            'Bad Arguments: {invalid_data_type,{string,<<"ftp://x">>}}',
        ),
        (
            {"type": "web_hook", "config": {"url": CLOSED, "pool_size": "8"}},
            'Bad Arguments: {invalid_data_type,{number,{<<"8">>,any}}}',
        ),
        (
            {"type": "web_hook", "config": {"url": CLOSED, "verify": "x"}},
            'Bad Arguments: {invalid_data_type,{boolean,<<"x">>}}',
        ),
        (
            {"type": "web_hook", "config": {"url": CLOSED, "method": "PATCH"}},
            'Bad Arguments: {invalid_data_type,{enum,{<<"PATCH">>,[<<"PUT">>,<<"POST">>]}}}',
        ),
        (
            {"type": "web_hook", "config": {"url": CLOSED, "pool_size": 0}},
            "Bad Arguments: {invalid_pool_size,{1,1024}}",
        ),
        (
            {"type": "web_hook", "config": {"url": CLOSED, "request_timeout": "soon"}},
            "Bad Arguments: {invalid_duration,request_timeout}",
        ),
        (
            {"type": "web_hook", "config": {"url": CLOSED, "keyfile": {"file": 5}}},
            'Bad Arguments: {invalid_data_type,{file,<<"keyfile">>}}',
        ),
        (
            {"type": "bridge_rpc", "config": {"address": "emqx2@127.0.0.1", "pool_size": 1}},
            'Bad Arguments: {not_supported,<<"bridge_rpc links nodes of Erlang: use bridge_mqtt">>}',
        ),
        (
            {"type": "bridge_mqtt", "config": {"address": "h", "pool_size": 1, "clientid": "c", "mountpoint": "a/#"}},
            "Bad Arguments: {invalid_value,mountpoint}",
        ),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_kept(broker: TestBroker, body: object, message: str) -> None:
    answer = await broker.api("POST", "/resources", body)
    assert (answer.status, answer.code, answer.message) == (200, 400, message)
    assert (await broker.api("GET", "/resources")).data == []


async def test_an_identifier_is_used_once(broker: TestBroker) -> None:
    assert (await create(broker, CLOSED, id="a/b")).code == 0
    assert (await create(broker, CLOSED, id="a/b")).json() == {"code": 400, "message": "Already Exists"}
    assert (await broker.api("GET", "/resources/a%2Fb")).data["id"] == "a/b"


async def test_a_connection_is_tried_and_nothing_kept() -> None:
    async with world() as (broker, server):
        body = {"type": "web_hook", "config": {"url": server.url}}
        assert (await broker.api("POST", "/resources?test=true", body)).json() == {"code": 0}
        body["config"] = {"url": CLOSED}
        answer = await broker.api("POST", "/resources", {**body, "test": "true"})
        assert (answer.code, answer.message) == (500, "Init resource failure!")
        assert "connection refused" in answer.json()["reason"]
        missing = await broker.api("POST", "/resources?test=true", {"type": "web_hook"})
        assert missing.message == 'Bad Arguments: {required_field_missing,<<"url">>}'
        assert (await broker.api("GET", "/resources")).data == []
        assert broker.alarms() == {}


async def test_list_and_show() -> None:
    """GET /resources, GET /resources/{id}"""
    async with world() as (broker, server):
        for name, url in (("up", server.url), ("down", CLOSED)):
            await create(broker, url, id=name)
        rows = (await broker.api("GET", "/resources")).data
        node = broker.node.node
        assert [(row["id"], row["status"]) for row in rows] == [
            ("up", [{"node": node, "is_alive": True}]),
            ("down", [{"node": node, "is_alive": False}]),
        ]
        assert (await broker.api("GET", "/resources/up")).data == rows[0]
        assert (await broker.api("GET", "/resources/none")).json() == {"code": 404, "message": "Not Found"}


async def test_connect_now() -> None:
    """POST /resources/{id}"""
    async with web_server() as server:
        url = server.url
        server.stop()
        async with running(listen=True) as broker:
            await create(broker, url, id="w")
            answer = await broker.api("POST", "/resources/w")
            assert answer.code == 400
            assert answer.message.startswith("Bad Arguments: {resource_down,")
            assert (await broker.api("POST", "/resources/none")).message == "Resource none Not Found"
            async with web_server() as again:
                await broker.api("PUT", "/resources/w", {"config": {"url": again.url}})
                assert (await broker.api("POST", "/resources/w")).json() == {"code": 0}
                assert await status(broker, "w") == {"is_alive": True}
                assert broker.alarms() == {}


async def test_update() -> None:
    """PUT /resources/{id}"""
    async with world() as (broker, server):
        await create(broker, server.url, id="w", description="old")
        assert (await broker.api("PUT", "/resources/w", {"description": "new"})).json() == {"code": 0}
        assert (await broker.api("PUT", "/resources/w", {"config": {}})).json() == {"code": 0}
        changed = {"url": server.url, "pool_size": 2}
        assert (await broker.api("PUT", "/resources/w", {"config": changed})).json() == {"code": 0}
        row = (await broker.api("GET", "/resources/w")).data
        assert (row["description"], row["config"]["pool_size"]) == ("new", 2)
        for config, code, message in (
            ({"url": CLOSED}, 500, "Init resource failure:w"),
            ({}, 0, None),
            ({"url": 5}, 400, "Bad Arguments: {invalid_data_type,{string,5}}"),
            ({"pool_size": 1}, 400, 'Bad Arguments: {required_field_missing,<<"url">>}'),
        ):
            answer = await broker.api("PUT", "/resources/w", {"config": config})
            assert answer.code == code
            if message is not None:
                assert answer.message == message
        assert (await broker.api("GET", "/resources/w")).data == row
        unknown = await broker.api("PUT", "/resources/none", {"description": "x"})
        assert unknown.json() == {"code": 400, "message": "Resource not found:none"}


async def test_what_an_enabled_rule_uses_stays() -> None:
    """DELETE /resources/{id}"""
    async with world() as (broker, server):
        await create(broker, server.url, id="w")
        rule = (await broker.api("POST", "/rules", {**using("w"), "id": "r"})).data
        assert rule["enabled"] is True
        refusal = 'Found rules [<<"r">>] depends on this resource, disable them first'
        for answer in (
            await broker.api("DELETE", "/resources/w"),
            await broker.api("PUT", "/resources/w", {"config": {"url": server.url}}),
        ):
            assert answer.json() == {"code": 400, "message": refusal}
        await broker.api("PUT", "/rules/r", {"enabled": False})
        assert (await broker.api("DELETE", "/resources/w")).json() == {"code": 0}
        assert (await broker.api("DELETE", "/resources/w")).json() == {"code": 0}
        answer = await broker.api("PUT", "/rules/r", {"enabled": True})
        assert answer.json() == {"code": 400, "message": 'Bad Arguments: {resource_not_initialized,<<"w">>}'}
        assert (await broker.api("GET", "/rules/r")).data["enabled"] is False


async def test_a_rule_whose_resource_is_not_there_is_made_disabled(broker: TestBroker) -> None:
    """POST /rules"""
    answer = await broker.api("POST", "/rules", using("none"))
    assert (answer.code, answer.data["enabled"]) == (0, False)


async def test_a_resource_in_a_fallback_is_in_use_too() -> None:
    async with world() as (broker, server):
        await create(broker, server.url, id="w")
        fallback = using("w")["actions"]
        body = {"rawsql": 'SELECT * FROM "t"', "actions": [{"name": "do_nothing", "fallbacks": fallback}]}
        await broker.api("POST", "/rules", {**body, "id": "r"})
        assert (await broker.api("DELETE", "/resources/w")).code == 400
