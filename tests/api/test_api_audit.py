"""`/audit`: who changed what."""

from __future__ import annotations

import pytest

from trioemqx.testing import TestBroker


async def paths(broker: TestBroker, query: str = "") -> list[str]:
    answer = await broker.api("GET", f"/audit{query}")
    assert answer.code == 0, answer
    return [row["path"] for row in answer.data]


async def test_changes_are_listed_newest_first(broker: TestBroker) -> None:
    """GET /audit"""
    await broker.api("POST", "/banned?secret=1", {"who": "c1", "as": "clientid", "reason": "hunter2"})
    await broker.api("DELETE", "/banned/clientid/c1")
    await broker.api("GET", "/banned")
    answer = await broker.api("GET", "/audit")
    rows = [{name: row[name] for name in row if name != "at"} for row in answer.data]
    common = {"door": "management", "who": "admin", "peer": "127.0.0.1", "result": "ok"}
    assert rows == [
        {**common, "method": "DELETE", "path": "/api/v4/banned/clientid/c1"},
        {**common, "method": "POST", "path": "/api/v4/banned"},
    ]
    assert "hunter2" not in str(answer.data)


async def test_refusals_and_crashes_are_recorded_with_what_came_of_them(broker: TestBroker) -> None:
    await broker.api("PUT", "/clients/nobody/keepalive", {"interval": 5})
    assert [row["result"] for row in (await broker.api("GET", "/audit")).data] == ["112"]


async def test_who_has_no_credentials_writes_nothing(broker: TestBroker) -> None:
    """Otherwise strangers could push everything else out of it."""
    answer = await broker.api("DELETE", "/clients/c1", auth="admin:wrong")
    assert answer.status == 401
    for body in ({"username": "admin", "password": "wrong"}, {"username": "admin"}, {}):
        assert (await broker.api("POST", "/auth", body, auth=None, listener="dashboard")).code != 0
    assert await paths(broker) == []


async def test_messages_are_not_recorded_but_subscriptions_of_others_are(broker: TestBroker) -> None:
    await broker.client("c1")
    await broker.api("POST", "/mqtt/publish", {"topic": "t", "payload": "p", "clientid": "c1"})
    await broker.api("POST", "/mqtt/publish_batch", [{"topic": "t", "payload": "p", "clientid": "c1"}])
    await broker.api("POST", "/mqtt/subscribe", {"topic": "t", "qos": 1, "clientid": "c1"})
    assert await paths(broker) == ["/api/v4/mqtt/subscribe"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?who=admin", 2),
        ("?who=nobody", 0),
        ("?method=DELETE", 1),
        ("?peer=127.0.0.1&result=ok", 2),
        ("?door=ctl", 1),
        ("?door=dashboard", 0),
        ("?_like_path=banned", 3),
        ("?since=1&until=2", 0),
        ("?since=1", 3),
        ("?_limit=1", 1),
        ("?_limit=2&_page=2", 1),
    ],
)
async def test_filters_and_pages(broker: TestBroker, query: str, count: int) -> None:
    await broker.api("POST", "/banned", {"who": "c1", "as": "clientid", "reason": "r"})
    await broker.api("DELETE", "/banned/clientid/c1")
    await broker.ctl("banned del clientid c1")
    assert len(await paths(broker, query)) == count


@pytest.mark.parametrize("query", ["?since=x", "?until=-1", "?_page=x"])
async def test_what_is_no_number_is_refused(broker: TestBroker, query: str) -> None:
    assert (await broker.api("GET", f"/audit{query}")).code == 108


async def test_nobody_can_change_it_by_the_api(broker: TestBroker) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert (await broker.api(method, "/audit")).status in (400, 404)
