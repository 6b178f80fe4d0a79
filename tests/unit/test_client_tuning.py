"""What an operator changes about one client: keep-alive, rate, quota, and its remembered access decisions."""

from __future__ import annotations

import pytest
import trio
from pubsub_helpers import config, messages, plug

from trioemqx.codec.encode import encode
from trioemqx.codec.packets import make_publish
from trioemqx.testing import TestBroker

NOBODY = "nobody"


def frames(count: int) -> bytes:
    return b"".join(encode(make_publish("t", b"x", 0, False, False, 0, None), 5) for _ in range(count))


# -- keep-alive --------------------------------------------------------------------------------------------------------


async def test_a_shorter_keepalive_applies_at_once(broker: TestBroker) -> None:
    client = await broker.client("c", keepalive=600)
    await trio.sleep(100)
    assert broker.node.broker.set_keepalive("c", 10)
    session = broker.node.find("c")
    assert session is not None
    assert session.info.keepalive == 10
    await trio.sleep(14)
    await client.ping()  # the new interval began with the change
    await trio.sleep(17)
    assert await client.closed() == 0x8D


@pytest.mark.parametrize("seconds", [0, 65535])
async def test_a_longer_keepalive_or_none(broker: TestBroker, seconds: int) -> None:
    client = await broker.client("c", keepalive=10)
    assert broker.node.broker.set_keepalive("c", seconds)
    await trio.sleep(1000)
    await client.ping()


async def test_the_next_connection_brings_its_own(broker: TestBroker) -> None:
    client = await broker.client("c", keepalive=10, expiry=1000)
    await client.disconnect()
    await trio.sleep(0.1)
    assert broker.node.broker.set_keepalive("c", 20), "the session is there"
    session = broker.node.find("c")
    assert session is not None
    assert session.info.keepalive == 20
    await broker.client("c", keepalive=30, clean_start=False)
    assert session.info.keepalive == 30


@pytest.mark.parametrize("seconds", [-1, 65536])
async def test_a_keepalive_has_sixteen_bits(broker: TestBroker, seconds: int) -> None:
    await broker.client("c")
    with pytest.raises(ValueError, match="0 to 65535"):
        broker.node.broker.set_keepalive("c", seconds)


# -- rates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [(None, (10, 1.0)), ((len(frames(10)), 1.0), None)], ids=["messages", "bytes"])
async def test_a_rate_holds_the_client_back(broker: TestBroker, limits: tuple[object, object]) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c")
    assert broker.node.broker.set_rate("c", *limits)  # type: ignore[arg-type]
    for _ in range(5):
        await client.send_raw(frames(10))
        await trio.sleep(0.01)
    await watcher.ping()
    assert len(watcher.inbox) <= 21
    await trio.sleep(6)
    await watcher.ping()
    assert len(watcher.inbox) == 50, "nothing is lost"


@config(zone={"rate_limit": {"conn_messages_in": "1,1h"}})
async def test_without_its_limit_the_client_goes_on_at_once(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c", keepalive=10)
    await client.send_raw(frames(30))
    await trio.sleep(60)
    await watcher.ping()
    assert len(watcher.inbox) < 30
    assert broker.node.broker.clear_rate("c")
    await watcher.ping()
    await client.ping()
    await watcher.ping()
    assert len(watcher.inbox) == 30
    await trio.sleep(17)
    assert await client.closed() == 0x8D, "while it was not read its silence did not count, and now it does"


@config(zone={"rate_limit": {"conn_messages_in": "1,1h"}})
async def test_another_limit_takes_the_place_of_the_zones(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    client = await broker.client("c")
    await client.send_raw(frames(30))
    await trio.sleep(1)
    assert broker.node.broker.set_rate("c", None, (10, 1.0))
    await trio.sleep(5)
    await watcher.ping()
    assert len(watcher.inbox) == 30


@pytest.mark.parametrize("rate", [(0, 1.0), (1, 0.0), (-1, 1.0)])
async def test_a_rate_is_above_zero(broker: TestBroker, rate: tuple[int, float]) -> None:
    for call in (lambda: broker.node.broker.set_rate("c", rate, None), lambda: broker.node.broker.set_quota("c", rate)):
        with pytest.raises(ValueError, match="above 0"):
            call()


# -- quota -------------------------------------------------------------------------------------------------------------


async def test_a_quota_refuses_what_goes_beyond(broker: TestBroker) -> None:
    client = await broker.client("c")
    assert broker.node.broker.set_quota("c", (1, 60.0))
    assert [await client.publish("t", b"", qos=1) for _ in range(3)] == [0x10, 0x10, 0x97]
    assert broker.node.broker.set_quota("c", (1, 60.0))
    assert await client.publish("t", b"", qos=1) == 0x10, "a new quota begins anew"
    assert broker.node.broker.clear_quota("c")
    assert [await client.publish("t", b"", qos=1) for _ in range(5)] == [0x10] * 5


async def test_limits_of_an_absent_client_are_accepted_and_end_with_its_absence(broker: TestBroker) -> None:
    client = await broker.client("c", expiry=1000)
    await client.disconnect()
    await trio.sleep(0.1)
    facade = broker.node.broker
    assert facade.set_rate("c", (1, 3600.0), (1, 3600.0))
    assert facade.set_quota("c", (1, 3600.0))
    again = await broker.client("c", clean_start=False)
    assert [await again.publish("t", b"", qos=1) for _ in range(5)] == [0x10] * 5


# -- access decisions --------------------------------------------------------------------------------------------------


@config(acl_cache_ttl="60s", acl_cache_max_size=3)
async def test_the_cache_is_listed_oldest_first(broker: TestBroker) -> None:
    asked: list[str] = []
    plug(broker, client_check_acl_now=lambda topic: asked.append(topic) or topic != "no")
    client = await broker.client("c")
    await client.publish("a", b"", qos=1)
    began = int(broker.node.wall() * 1000)
    await trio.sleep(10)
    await client.publish("no", b"", qos=1)
    await client.subscribe("b/+")
    cache = broker.node.broker.acl_cache("c")
    assert cache is not None
    assert [entry[:3] for entry in cache] == [
        ("publish", "a", True),
        ("publish", "no", False),
        ("subscribe", "b/+", True),
    ]
    assert [round((entry[3] - began) / 1000) for entry in cache] == [0, 10, 10]
    await trio.sleep(55)
    cache = broker.node.broker.acl_cache("c")
    assert cache is not None
    assert [entry[1] for entry in cache] == ["no", "b/+"], "the first has expired"
    assert broker.node.broker.clean_acl_cache("c")
    assert broker.node.broker.acl_cache("c") == []
    await client.publish("no", b"", qos=1)
    assert asked == ["a", "no", "b/+", "no"], "asked again"


async def test_an_absent_client_remembers_nothing(broker: TestBroker) -> None:
    client = await broker.client("c", expiry=1000)
    await client.publish("a", b"", qos=1)
    await client.disconnect()
    await trio.sleep(0.1)
    assert broker.node.broker.acl_cache("c") == []
    assert broker.node.broker.clean_acl_cache("c")


async def test_without_a_session_every_call_says_so(broker: TestBroker) -> None:
    facade = broker.node.broker
    assert not facade.set_keepalive(NOBODY, 10)
    assert not facade.set_rate(NOBODY, (1, 1.0), None)
    assert not facade.clear_rate(NOBODY)
    assert not facade.set_quota(NOBODY, (1, 1.0))
    assert not facade.clear_quota(NOBODY)
    assert not facade.clean_acl_cache(NOBODY)
    assert facade.acl_cache(NOBODY) is None


async def test_a_quota_does_not_touch_others(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    one, other = await broker.client("one"), await broker.client("other")
    broker.node.broker.set_quota("one", (1, 3600.0))
    await one.publish("t", b"1", qos=1)
    assert await one.publish("t", b"2", qos=1) == 0x97
    assert await other.publish("t", b"3", qos=1) == 0
    assert [packet.payload for packet in await messages(watcher, 2)] == [b"1", b"3"]
