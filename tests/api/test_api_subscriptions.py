"""`/subscriptions` and `/routes`."""

from __future__ import annotations

from trioemqx.testing import TestBroker


async def made(broker: TestBroker) -> None:
    one = await broker.client("one")
    await one.subscribe("a/+/c", qos=1)
    await one.subscribe("$share/g/t", qos=2)
    await one.subscribe("$queue/q")
    two = await broker.client("two")
    await two.subscribe("a/+/c")


async def test_lists(broker: TestBroker) -> None:
    """GET /subscriptions GET /nodes/{node}/subscriptions"""
    await made(broker)
    answer = await broker.api("GET", "/subscriptions")
    node = broker.node.node
    assert answer.data == [
        {"node": node, "clientid": "one", "topic": "a/+/c", "qos": 1},
        {"node": node, "clientid": "one", "topic": "$share/g/t", "qos": 2},
        {"node": node, "clientid": "one", "topic": "$share/$queue/q", "qos": 0},
        {"node": node, "clientid": "two", "topic": "a/+/c", "qos": 0},
    ]
    assert answer.json()["meta"] == {"page": 1, "limit": 10000, "count": 4, "hasnext": False}

    async def found(query: str) -> list[tuple[str, str]]:
        rows = (await broker.api("GET", f"/nodes/{node}/subscriptions?{query}")).data
        return [(row["clientid"], row["topic"]) for row in rows]

    assert await found("clientid=two") == [("two", "a/+/c")]
    assert await found("topic=t") == [("one", "$share/g/t")]
    assert await found("share=g&qos=2") == [("one", "$share/g/t")]
    assert await found("_match_topic=a/%23") == [("one", "a/+/c"), ("two", "a/+/c")]
    assert await found("topic=a%2F%2B%2Fc&_limit=1&_page=2") == [("two", "a/+/c")]
    counted = (await broker.api("GET", "/subscriptions?topic=a%2F%2B%2Fc&_limit=1")).json()["meta"]
    assert counted == {"page": 1, "limit": 1, "count": 2, "hasnext": True}


async def test_a_bad_qos(broker: TestBroker) -> None:
    """GET /subscriptions"""
    answer = await broker.api("GET", "/subscriptions?qos=x")
    assert answer.status == 400
    assert answer.json() == {"code": 108, "message": '{bad_value_type,{<<"qos">>,integer,<<"x">>}}'}
    assert (await broker.api("GET", "/subscriptions?qos=x&topic=t")).json()["code"] == 108


async def test_of_one_client(broker: TestBroker) -> None:
    """GET /subscriptions/{clientid} GET /nodes/{node}/subscriptions/{clientid}"""
    await made(broker)
    assert [row["topic"] for row in (await broker.api("GET", "/subscriptions/two")).data] == ["a/+/c"]
    assert len((await broker.api("GET", f"/nodes/{broker.node.node}/subscriptions/one")).data) == 3
    assert (await broker.api("GET", "/subscriptions/nobody")).data == []
    assert (await broker.api("GET", "/nodes/other@host/subscriptions/one")).status == 404


async def test_routes(broker: TestBroker) -> None:
    """GET /routes GET /routes/{topic}"""
    await made(broker)
    node = broker.node.node
    answer = await broker.api("GET", "/routes?_limit=2")
    assert len(answer.data) == 2
    assert answer.json()["meta"]["count"] == 3
    assert (await broker.api("GET", "/routes/a%2F%2B%2Fc")).data == [{"topic": "a/+/c", "node": node}]
    assert (await broker.api("GET", "/routes/t")).data == [{"topic": "t", "node": node}]
    assert (await broker.api("GET", "/routes/a%2Fb%2Fc")).data == []
    assert (await broker.api("GET", "/routes?_limit=0")).data == []


async def test_the_stats_count_the_routes_that_are_listed(broker: TestBroker) -> None:
    """GET /routes, GET /stats"""
    client = await broker.client("c", subscribe="a")
    for name in ("$share/g/a", "$share/h/a", "$queue/b", "b/#"):
        await client.subscribe(name)
    other = await broker.client("d", subscribe="a")
    await other.subscribe("$share/g/a")
    for gone in (None, "a", "$share/h/a", "$queue/b"):
        if gone is not None:
            await client.unsubscribe(gone)
        listed = len((await broker.api("GET", "/routes")).data)
        stats = (await broker.api("GET", "/stats")).data[0]["stats"]
        assert stats["routes.count"] == stats["topics.count"] == listed == {None: 5, "a": 5}.get(gone, listed)
    assert listed == 3
