"""`data_to_webserver` against a real web server on 127.0.0.1."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from rules_helpers import Recorder, action_counts, rule

from trioemqx.rules.actions.webserver import joined
from trioemqx.services.http import HttpUrl
from trioemqx.testing import TestBroker, WebRequest, WebServer, running, web_server
from trioemqx.types import Message

SQL = 'SELECT payload.x AS x, clientid, topic FROM "t/#"'


@asynccontextmanager
async def world(path: str = "", engine: Any = None, **config: object) -> AsyncIterator[tuple[TestBroker, WebServer]]:
    """A web server and a broker with a resource `w` for it, on real time."""
    async with web_server() as server, running({"rule_engine": engine or {}}, listen=True) as broker:
        await broker.node.rules.resources.create("web_hook", {"url": f"{server.url}{path}", **config}, "", "w")
        yield broker, server


def send(**params: object) -> dict[str, object]:
    return {"name": "data_to_webserver", "params": {"$resource": "w", **params}}


def publish(broker: TestBroker, x: object = 1, clientid: str = "pump") -> None:
    broker.node.publish(Message("t/1", json.dumps({"x": x}).encode(), publisher=clientid))


async def until(condition: Any) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.sleep(0.005)


async def settled(entry: Any, count: int = 1) -> dict[str, int]:
    """The counters of the first action, once so many are settled."""
    metrics = entry.steps[0].metrics
    await until(lambda: metrics.success + metrics.failed >= count)
    return action_counts(entry)


async def test_everything_that_was_selected_is_posted() -> None:
    async with world("/api") as (broker, server):
        entry = await rule(broker, SQL, send())
        publish(broker, {"deep": [1, None]})
        (request,) = await server.asked(1)
        assert (request.method, request.target) == ("POST", "/api")
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.body) == {"x": {"deep": [1, None]}, "clientid": "pump", "topic": "t/1"}
        assert await settled(entry) == {"taken": 1, "success": 1}


async def test_all_of_a_request_may_have_placeholders() -> None:
    async with world("/api?key=1") as (broker, server):
        headers = {"X_Client": "${clientid}", "x-${x}": "y", "content-type": "text/plain", "Host": "evil"}
        await rule(broker, SQL, send(method="PUT", path="/a/${topic}?c=${x}", headers=headers, body="x is ${x}"))
        publish(broker, 5)
        (request,) = await server.asked(1)
        assert (request.method, request.target, request.body) == ("PUT", "/api/a/t/1?c=5&key=1", b"x is 5")
        assert request.headers["x-client"] == "pump"
        assert request.headers["x-5"] == "y"
        assert request.headers["content-type"] == "text/plain"
        assert request.headers["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_requests_without_a_body(method: str) -> None:
    async with world() as (broker, server):
        await rule(broker, SQL, send(method=method, path="x", body="not sent"))
        publish(broker)
        (request,) = await server.asked(1)
        assert (request.method, request.target, request.body) == (method, "/x", b"")
        assert "content-type" not in request.headers


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://h", "", "/"),
        ("http://h/", "x", "/x"),
        ("http://h/a", "/x/y", "/a/x/y"),
        ("http://h/a/", "x", "/a/x"),
        ("http://h/a?q=1", "", "/a?q=1"),
        ("http://h/a?q=1", "x", "/a/x?q=1"),
        ("http://h/a?q=1", "x?r=2", "/a/x?r=2&q=1"),
        ("http://h/a", "ä b#c%41", "/a/%C3%A4%20b%23c%41"),
        ("http://h/a", "x HTTP/1.1\r\nevil: 1", "/a/x%20HTTP/1.1%0D%0Aevil:%201"),
    ],
)
def test_what_is_asked_for(url: str, path: str, target: str) -> None:
    assert joined(HttpUrl.parse(url), path) == target


async def test_a_header_cannot_be_smuggled_in() -> None:
    async with world() as (broker, server):
        entry = await rule(broker, SQL, send(headers={"a": "${x}"}))
        publish(broker, "1\r\nevil: 1")
        assert await settled(entry) == {"taken": 1, "failed": 1}
        publish(broker, "fine")
        (request,) = await server.asked(1)
        assert request.headers["a"] == "fine"
        assert "evil" not in request.headers


@pytest.mark.parametrize("status", [300, 404, 500, 503])
async def test_other_statuses_are_failures(status: int) -> None:
    async with world() as (broker, server):
        recorder = Recorder(broker)
        entry = await rule(broker, SQL, {**send(), "fallbacks": [{"name": "record"}]})
        server.says(status)
        publish(broker)
        assert await settled(entry) == {"taken": 1, "failed": 1}
        assert len(recorder.outputs) == len(server.requests) == 1


async def test_a_server_that_is_away_for_a_moment_misses_nothing() -> None:
    async with world() as (broker, server), trio.open_nursery() as nursery:
        entry = await rule(broker, SQL, send())
        server.stop()
        for number in range(3):
            publish(broker, number)
        await trio.sleep(0.15)
        await nursery.start(server.run)
        requests = await server.asked(3)
        assert [json.loads(request.body)["x"] for request in requests] == [0, 1, 2]
        assert await settled(entry, 3) == {"taken": 3, "success": 3}
        server.stop()


async def test_a_server_that_stays_away_is_given_up() -> None:
    async with world(engine={"retry_for": "200ms"}) as (broker, server):
        entry = await rule(broker, SQL, send())
        server.stop()
        publish(broker)
        assert await settled(entry) == {"taken": 1, "failed": 1}


async def test_a_server_that_does_not_answer_is_not_waited_for_by_anybody() -> None:
    async with world(request_timeout="200ms") as (broker, server):

        async def silent(request: WebRequest) -> bytes:
            await trio.sleep(5)
            return b""

        server.reply = silent
        entry = await rule(broker, SQL, send())
        client = await broker.client("c", subscribe="t/#")
        began = time.perf_counter()
        await client.publish("t/1", b'{"x":1}', qos=1)
        assert await client.message() == ("t/1", b'{"x":1}')
        assert time.perf_counter() - began < 0.2
        assert await settled(entry) == {"taken": 1, "failed": 1}


async def test_old_parameters_are_taken_too() -> None:
    """EMQX before 4.3 had method and headers in the resource, and `payload_tmpl` in the action."""
    async with world(method="PUT", headers={"token": "secret"}) as (broker, server):
        await rule(broker, SQL, send(payload_tmpl="${x}!"))
        publish(broker)
        (request,) = await server.asked(1)
        assert (request.method, request.headers["token"], request.body) == ("PUT", "secret", b"1!")


async def test_requests_of_a_client_come_in_order() -> None:
    async with world() as (broker, server):
        await rule(broker, SQL, send())
        for number in range(50):
            publish(broker, number, f"c{number % 3}")
        requests = [json.loads(request.body) for request in await server.asked(50)]
        for client in range(3):
            of_client = [body["x"] for body in requests if body["clientid"] == f"c{client}"]
            assert of_client == sorted(of_client)
        assert server.connections <= 9, "kept alive, and one for the look at the start"


@pytest.mark.parametrize(
    ("config", "params", "sent"),
    [
        ({"content_type": "text/a"}, {}, "text/a"),
        ({"headers": {"Content-Type": "text/b"}, "content_type": "text/a"}, {}, "text/b"),
        ({"headers": {"Content-Type": "text/b"}}, {"headers": {"content-type": "text/c"}}, "text/c"),
        ({"headers": {"Content-Type": "text/b"}}, {"headers": {"x": "y"}}, "text/b"),
        ({}, {"headers": {}}, "application/json"),
    ],
)
async def test_the_content_type_of_a_resource_is_for_actions_without_one(
    config: dict[str, object], params: dict[str, object], sent: str
) -> None:
    async with world(**config) as (broker, server):
        await rule(broker, SQL, send(**params))
        publish(broker)
        (request,) = await server.asked(1)
        assert request.headers["content-type"] == sent
