"""`/acl`, which the plugin emqx_auth_mnesia serves."""

from __future__ import annotations

import pytest
import trio

from trioemqx.testing import TestBroker

NAME = "emqx_auth_mnesia"
RULE = {"clientid": "c1", "topic": "t/1", "action": "pub", "access": "deny"}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": [NAME]}, "auth": {"mnesia": {"max_acl_rows": 200, "max_acl_rows_per_name": 150}}}


async def add(broker: TestBroker, *rules: dict[str, object]) -> None:
    for rule in rules:
        assert (await broker.api("POST", "/acl", rule)).data["result"] == "ok"


def rule(topic: str, action: str = "pub", access: str = "allow", **who: str) -> dict[str, object]:
    return {**who, "topic": topic, "action": action, "access": access}


async def listed(broker: TestBroker, path: str) -> list[dict[str, object]]:
    return list((await broker.api("GET", f"/acl/{path}")).data)


async def test_list_of_clients(broker: TestBroker) -> None:
    """GET /acl/clientid"""
    await lists(broker, "clientid")


async def test_list_of_users(broker: TestBroker) -> None:
    """GET /acl/username"""
    await lists(broker, "username")


async def lists(broker: TestBroker, kind: str) -> None:
    other = "username" if kind == "clientid" else "clientid"
    await add(broker, rule("x", **{other: "c1"}), rule("y"))
    await add(broker, *(rule(f"t/{number}", **{kind: f"c{number % 3}"}) for number in range(60)))
    answer = await broker.api("GET", f"/acl/{kind}")
    assert answer.json()["meta"] == {"page": 1, "limit": 50, "count": 60}
    rest = await broker.api("GET", f"/acl/{kind}?_page=2")
    assert sorted(row["topic"] for row in answer.data + rest.data) == sorted(f"t/{number}" for number in range(60))
    one = await broker.api("GET", f"/acl/{kind}?{kind}=c1&_limit=5")
    assert one.json()["meta"] == {"page": 1, "limit": 5, "count": 20}
    assert one.data[0] == {kind: "c1", "topic": "t/58", "action": "pub", "access": "allow"}, "the newest"
    for query, count in (
        (f"_like_{kind}=2", 20),
        (f"_like_{kind}=", 60),
        (f"_like_{kind}=C", 0),
        ("topic=t/7", 1),
        ("topic=t/7&access=deny", 0),
        ("action=sub", 0),
        ("action=pub&access=allow", 60),
        ("topic=%00", 0),
    ):
        found = (await broker.api("GET", f"/acl/{kind}?{query}")).json()
        assert found["meta"]["count"] == count, query
    for query in ("_limit=-1", "_limit=x", "_page=1e3"):
        assert (await broker.api("GET", f"/acl/{kind}?{query}")).code == 108


async def test_list_for_all(broker: TestBroker) -> None:
    """GET /acl/$all"""
    await add(broker, rule("x", clientid="c1"), rule("a/#", "pubsub", "deny"), rule("b"))
    answer = await broker.api("GET", "/acl/$all")
    assert answer.json()["meta"] == {"page": 1, "limit": 50, "count": 3}
    assert answer.data[0] == {"all": "$all", "topic": "b", "action": "pub", "access": "allow"}
    assert [row["action"] for row in await listed(broker, "$all?topic=a/%23")] in (["pub", "sub"], ["sub", "pub"])


async def test_rules_of_a_client(broker: TestBroker) -> None:
    """GET /acl/clientid/{clientid}"""
    await looks_up(broker, "clientid")


async def test_rules_of_a_user(broker: TestBroker) -> None:
    """GET /acl/username/{username}"""
    await looks_up(broker, "username")


async def looks_up(broker: TestBroker, kind: str) -> None:
    first, second = rule("t/1", **{kind: "a/b"}), rule("t/2", "sub", "deny", **{kind: "a/b"})
    await add(broker, first, second, rule("t/3", **{kind: "other"}))
    assert await listed(broker, f"{kind}/a%2Fb") == [second, first]
    assert await listed(broker, f"{kind}/%00") == await listed(broker, f"{kind}/x") == []


async def test_add(broker: TestBroker) -> None:
    """POST /acl"""
    client = await broker.client("c1")
    assert await client.publish("t/1", b"x", qos=1) == 0x10  # nobody listens
    assert (await broker.api("POST", "/acl", RULE)).data == {**RULE, "result": "ok"}
    assert await client.publish("t/1", b"x", qos=1) == 0x87, "at once, for those who are connected"
    assert (await broker.api("POST", "/acl", {**RULE, "access": "allow"})).data["access"] == "allow"
    assert await client.publish("t/1", b"x", qos=1) == 0x10
    assert await listed(broker, "clientid") == [{**RULE, "access": "allow"}], "it has been replaced"
    both = (await broker.api("POST", "/acl", rule("t", "pubsub", username="u"))).data
    assert both == {"username": "u", "topic": "t", "action": "pubsub", "access": "allow", "result": "ok"}
    assert sorted(str(row["action"]) for row in await listed(broker, "username")) == ["pub", "sub"]
    assert (await broker.api("POST", "/acl", rule("t"))).data["all"] == "$all"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"clientid": ""}, "login"),
        ({"clientid": None}, "login"),
        ({"clientid": ["c1"]}, "login"),
        ({"clientid": "", "topic": "", "action": "", "access": ""}, "login"),
        ({"topic": "a/#/b"}, "topic"),
        ({"topic": None, "action": None}, "topic"),
        ({"topic": 5}, "topic"),
        ({"topic": "a\0"}, "topic"),
        ({"action": "publish", "access": "x"}, "action"),
        ({"action": ["pub"]}, "action"),
        ({"action": {"pub": 1}}, "action"),
        ({"access": "maybe"}, "access"),
        ({"access": True}, "access"),
        ({"access": []}, "access"),
    ],
)
async def test_add_what_cannot_be(broker: TestBroker, change: dict[str, object], key: str) -> None:
    """POST /acl"""
    answer = await broker.api("POST", "/acl", {**RULE, **change})
    assert (answer.status, answer.code) == (200, 108)
    assert str(answer.message).startswith("{add,#{")
    assert f'result => <<"{{error,{key}}}">>' in str(answer.message)
    (result,) = (await broker.api("POST", "/acl", [{**RULE, **change}])).data
    assert result["result"] == f"{{error,{key}}}"
    assert await listed(broker, "clientid") == []


async def test_a_message_shows_what_was_asked_for(broker: TestBroker) -> None:
    """POST /acl"""
    answer = await broker.api("POST", "/acl", {**RULE, "clientid": 'a"b', "action": "ü"})
    assert answer.message == (
        '{add,#{access => <<"deny">>,action => <<195,188>>,clientid => <<"a\\"b">>,'
        'result => <<"{error,action}">>,topic => <<"t/1">>}}'
    )


@pytest.mark.parametrize("body", [None, {}, [], [5], [[]], [RULE, None], {**RULE, "username": "u"}])
async def test_add_nothing_that_could_be_read(broker: TestBroker, body: object) -> None:
    """POST /acl"""
    assert (await broker.api("POST", "/acl", body)).json() == {"code": 108, "message": "bad_params"}
    assert (await broker.api("POST", "/acl", [RULE, {**RULE, "username": "u"}])).code == 108
    assert await listed(broker, "clientid") == [], "not half of it either"


async def test_add_many(broker: TestBroker) -> None:
    """POST /acl"""
    batch = [rule("a", clientid="c"), rule("b", "x", username="u"), rule("c")]
    assert (await broker.api("POST", "/acl", batch)).data == [
        {"all": "$all", "topic": "c", "action": "pub", "access": "allow", "result": "ok"},
        {"username": "u", "topic": "b", "action": "x", "access": "allow", "result": "{error,action}"},
        {"clientid": "c", "topic": "a", "action": "pub", "access": "allow", "result": "ok"},
    ]


async def test_many_are_added_while_others_have_their_turns(broker: TestBroker) -> None:
    """POST /acl"""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        answer = await broker.api("POST", "/acl", [rule(str(number), clientid="c") for number in range(151)])
        nursery.cancel_scope.cancel()
    assert turns > 15
    results = [row["result"] for row in answer.data]
    assert results == ["{error,full, auth.mnesia.max_acl_rows_per_name is 150}", *["ok"] * 150]
    one = await broker.api("POST", "/acl", rule("more", clientid="c"))
    assert one.code == 102


async def test_delete_of_a_client(broker: TestBroker) -> None:
    """DELETE /acl/clientid/{clientid}/topic/{topic}"""
    client = await broker.client("c1")
    await add(broker, RULE)
    assert await client.publish("t/1", b"x", qos=1) == 0x87
    await deletes(broker, "clientid/c1", "clientid/c1", clientid="c1")
    assert await client.publish("t/1", b"x", qos=1) == 0x10


async def test_delete_of_a_user(broker: TestBroker) -> None:
    """DELETE /acl/username/{username}/topic/{topic}"""
    await deletes(broker, "username/a%2Fb", "username/a%2Fb", username="a/b")


async def test_delete_for_all(broker: TestBroker) -> None:
    """DELETE /acl/$all/topic/{topic}"""
    await deletes(broker, "$all", "$all")


async def deletes(broker: TestBroker, path: str, shown: str, **who: str) -> None:
    await add(broker, rule("t/1", "pubsub", "deny", **who), rule("t/2", **who))
    for _ in range(2):
        assert (await broker.api("DELETE", f"/acl/{path}/topic/t%2F1")).json() == {"code": 0}
        assert [row["topic"] for row in await listed(broker, shown)] == ["t/2"]
    assert (await broker.api("DELETE", f"/acl/{path}/topic/%00")).json() == {"code": 0}


async def test_without_the_plugin(broker: TestBroker) -> None:
    await broker.node.plugins.unload(NAME)
    for method, path in (
        *(("GET", path) for path in ("clientid", "username", "$all", "clientid/c", "username/u")),
        *(("DELETE", f"{path}/topic/t") for path in ("clientid/c", "username/u", "$all")),
    ):
        answer = await broker.api(method, f"/acl/{path}")
        assert (answer.status, answer.json()) == (404, {"code": 404, "message": "Not found."})
    assert (await broker.api("POST", "/acl", RULE)).status == 404
