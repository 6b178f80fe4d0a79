"""Bans: who may not connect, and who has to leave."""

from __future__ import annotations

import json

import pytest
import trio

from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Refused, TestBroker
from trioemqx.types import ClientInfo, Credentials, Verdict

MISSING = (107, "missing mandatory params: ['who', 'as']")
KIND = (108, "value of 'as' must be one of: ['clientid', 'username', 'peerhost']")


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"zone": {"default": {"enable_ban": True}, "inner": {}}}


async def ban(broker: TestBroker, who: str, kind: str = "clientid", **more: object) -> object:
    return (await broker.api("POST", "/banned", {"who": who, "as": kind, "reason": "test", **more})).data


async def kicked(client: Client) -> bool:
    return await client.closed() == 0x98


async def test_create(broker: TestBroker) -> None:
    """POST /banned"""
    sent = {"who": "c", "as": "clientid", "reason": "noisy"}
    assert (await broker.api("POST", "/banned", sent)).json() == {"code": 0, "data": sent}
    now = int(broker.node.wall())
    (row,) = (await broker.api("GET", "/banned")).data
    assert row == {**sent, "by": "user", "at": now, "until": now + 300}
    with pytest.raises(Refused) as refused:
        await broker.client("c")
    assert refused.value.connack.code == 0x8A
    await trio.sleep(301)
    await broker.client("c")


async def test_the_answer_is_what_was_sent(broker: TestBroker) -> None:
    until = int(broker.node.wall()) + 1000
    assert await ban(broker, "u", "username", by="me", at=5, until=until, more=[1]) == {
        "who": "u", "as": "username", "reason": "test", "by": "me", "at": 5, "until": until, "more": [1],
    }  # fmt: skip
    answer = await broker.api("POST", f"/banned?who=q&as=clientid&reason=a+b&until={until}", {"who": "body"})
    assert answer.data == {"who": "q", "as": "clientid", "reason": "a b", "until": str(until)}
    assert [row["who"] for row in (await broker.api("GET", "/banned")).data] == ["q", "u"]


async def test_list(broker: TestBroker) -> None:
    """GET /banned"""
    assert (await broker.api("GET", "/banned")).json() == {
        "code": 0, "data": [], "meta": {"page": 1, "limit": 10000, "count": 0, "hasnext": False},
    }  # fmt: skip
    for number in range(5):
        await ban(broker, f"c{number}")
    broker.node.banned.create("username", "u")
    page = (await broker.api("GET", "/banned/?_page=2&_limit=4")).json()
    assert [row["who"] for row in page["data"]] == ["c4", "u"]
    assert page["data"][1]["reason"] == "undefined"
    assert page["meta"] == {"page": 2, "limit": 4, "count": 6, "hasnext": False}
    assert (await broker.api("GET", "/banned?_limit=0")).data == []
    for query in ("_page=x", "_limit=-1", "_limit=1e3"):
        assert (await broker.api("GET", f"/banned?{query}")).code == 108


async def test_delete(broker: TestBroker) -> None:
    """DELETE /banned/{as}/{who}"""
    await ban(broker, "a/b c")
    await ban(broker, "::ffff:10.0.0.1", "peerhost")
    assert (await broker.api("DELETE", "/banned/clientid/a%2Fb%20c")).json() == {"code": 0}
    assert (await broker.api("DELETE", "/banned/peerhost/10.0.0.1")).code == 0
    assert len(broker.node.banned) == 0
    assert (await broker.api("DELETE", "/banned/clientid/never")).json() == {"code": 0}
    for path, expected in (("topic/x", KIND), ("peerhost/10.0.0", (108, "bad_params"))):
        answer = await broker.api("DELETE", f"/banned/{path}")
        assert (answer.code, answer.message) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, MISSING),
        ({"who": "c"}, MISSING),
        ({"as": "clientid", "reason": "r"}, MISSING),
        ([{"who": "c", "as": "clientid", "reason": "r"}], MISSING),
        ({"who": "c", "as": "topic"}, KIND),
        ({"who": "c", "as": None, "reason": "r"}, KIND),
        ({"who": "c", "as": ["clientid"], "reason": "r"}, KIND),
        ({"who": "c", "as": "clientid"}, (107, "missing_required_params")),
        ("c", (108, "bad_params")),
        ({"who": "10.0.0.0/8", "as": "peerhost", "reason": "r"}, (108, "bad_params")),
        ({"who": "localhost", "as": "peerhost", "reason": "r"}, (108, "bad_params")),
        ({"who": "1" * 100_000, "as": "peerhost", "reason": "r"}, (108, "bad_params")),
        ({"who": "", "as": "peerhost", "reason": "r"}, (108, "bad_params")),
        ({"who": "x" * 70_000, "as": "clientid", "reason": "r"}, (108, "bad_params")),
        ({"who": 5, "as": "clientid", "reason": "r"}, (108, "bad_params")),
        ({"who": None, "as": "clientid", "reason": "r"}, (108, "bad_params")),
        ({"who": {"a": 1}, "as": "clientid", "reason": "r"}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": 1}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "by": None}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "until": "soon"}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "until": 1.5}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "until": True}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "until": 10**30}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "at": -1}, (108, "bad_params")),
        ({"who": "c", "as": "clientid", "reason": "r", "at": None}, (108, "bad_params")),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
async def test_what_cannot_be_banned_changes_nothing(broker: TestBroker, body: object, expected: object) -> None:
    answer = await broker.api("POST", "/banned", body)
    assert (answer.status, answer.code, answer.message) == (200, *expected)
    assert len(broker.node.banned) == 0


async def test_odd_names_are_names(broker: TestBroker) -> None:
    for who in ("\x00", "ü/€", "%2F", "a" * 60_000):
        assert (await ban(broker, who))["who"] == who
    assert len((await broker.api("GET", "/banned")).data) == 4


async def test_an_empty_name_is_one_and_is_nobody_without_a_name(broker: TestBroker) -> None:
    for kind in ("clientid", "username"):
        assert await ban(broker, "", kind) == {"who": "", "as": kind, "reason": "test"}
    assert [row["who"] for row in (await broker.api("GET", "/banned")).data] == ["", ""]
    await broker.client("", username=None)
    await broker.client("c", username=None)
    with pytest.raises(Refused):
        await broker.client("d", username="")


async def test_the_table_has_a_limit(broker: TestBroker) -> None:
    broker.node.banned._max_entries = 1
    await ban(broker, "one")
    answer = await broker.api("POST", "/banned", {"who": "two", "as": "clientid", "reason": "r"})
    assert (answer.code, answer.message) == (102, "the table of bans is full (1)")


# -- those who are connected -------------------------------------------------------------------------------------------


async def test_a_banned_client_id_leaves_at_once(broker: TestBroker) -> None:
    bad, good = await broker.client("bad"), await broker.client("good")
    await ban(broker, "bad")
    assert broker.node.find("bad") is None
    assert await kicked(bad)
    await good.ping()


async def test_a_banned_user_leaves_at_once_with_all_sessions(broker: TestBroker) -> None:
    clients = [await broker.client(f"c{number}", username="ann") for number in range(3)]
    other = await broker.client("other", username="bob")
    away = await broker.client("away", username="ann", expiry=1000)
    await away.close()
    assert broker.node.find("away") is not None
    await ban(broker, "ann", "username")
    assert [await kicked(client) for client in clients] == [True] * 3
    assert [session.clientid for session in broker.node.clients()] == ["other"]
    await other.ping()


async def test_a_banned_address_leaves_at_once(broker: TestBroker) -> None:
    here = await broker.client("here", subscribe="last/words")
    there = broker.node.dial(peer="2001:db8::1")
    broker.streams.append(there)
    far = Client(there, 5)
    await far.connect("far")
    away = await broker.client("away", expiry=1000)
    await away.close()
    await ban(broker, "2001:DB8:0::1", "peerhost")
    assert await kicked(far)
    await here.ping()
    await ban(broker, "127.0.0.1", "peerhost")
    assert await kicked(here)
    assert broker.node.find("away") is not None, "its client may come back from elsewhere"


async def test_a_zone_that_does_not_ask_for_bans_is_left_alone(broker: TestBroker) -> None:
    inner = await broker.client("inner", zone="inner", username="ann")
    outer = await broker.client("outer", username="ann")
    await ban(broker, "ann", "username")
    await ban(broker, "127.0.0.1", "peerhost")
    assert await kicked(outer)
    await inner.ping()


async def test_a_ban_that_is_over_or_lifted_ends_nothing(broker: TestBroker) -> None:
    client = await broker.client("c", username="ann")
    await ban(broker, "ann", "username", until=int(broker.node.wall()))
    broker.node.banned.create("peerhost", "127.0.0.1")
    broker.node.banned.delete("peerhost", "127.0.0.1")
    await trio.sleep(1)
    await client.ping()


@pytest.mark.parametrize(("kind", "who"), [("clientid", "c"), ("username", "ann"), ("peerhost", "127.0.0.1")])
async def test_a_client_that_is_being_authenticated_does_not_slip_through(
    broker: TestBroker, kind: str, who: str
) -> None:
    class Slow:
        @hookimpl
        async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
            await trio.sleep(2)
            return Verdict()

    broker.node.hooks.register(Slow(), "slow")
    client = await broker.raw(5)
    async with trio.open_nursery() as nursery:

        async def come_in() -> None:
            with pytest.raises(Refused) as refused:
                await client.connect("c", username="ann")
            assert refused.value.connack.code == 0x8A

        nursery.start_soon(come_in)
        await trio.sleep(1)
        await ban(broker, who, kind)
    await trio.sleep(3)
    assert broker.node.clients() == []


async def test_the_walk_gives_way_to_others(broker: TestBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trioemqx.services.evict.SLICE", 2)
    clients = [await broker.client(f"c{number}", username="ann") for number in range(10)]
    await trio.sleep(1)
    steps = 0

    async def count() -> None:
        nonlocal steps
        while broker.node.clients():
            steps += 1
            await trio.lowlevel.checkpoint()

    broker.node.evictor._left = 2
    await ban(broker, "ann", "username")
    await count()
    assert steps >= 5
    assert [await kicked(client) for client in clients] == [True] * 10
