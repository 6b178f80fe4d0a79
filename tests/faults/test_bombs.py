"""Packets that are small on the wire and meant to be large behind it: refused before they cost anything, each alone."""

from __future__ import annotations

import pytest
from fault_doors import ended

from trioemqx.codec.control import Disconnect, Suback, Subscribe
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import make_publish
from trioemqx.testing import Closed
from trioemqx.types import Properties, SubOpts


@pytest.fixture
def settings():
    return {
        "zone": {"default": {"max_subscriptions": 3}},
        "modules": {"load": ["emqx_mod_delayed"]},
    }


async def test_a_packet_with_too_many_properties_ends_its_connection_alone(doors):
    honest = await doors.client("honest", subscribe="t")
    bomber = await doors.client("bomber")
    properties = Properties()
    properties.user_property = [("k", "v")] * 5000
    await bomber.send_raw(encode(make_publish("t", b"x", 0, False, False, 0, properties), 5))
    with pytest.raises(Closed):
        await bomber.ping()
    await honest.ping()
    assert await honest.publish("t", b"1", qos=1) == 0
    assert await honest.message() == ("t", b"1")


@pytest.mark.parametrize("levels", [129, 4000, 65535])
async def test_topics_of_too_many_levels_are_refused_before_they_do_anything(doors, levels):
    honest = await doors.client("honest")
    deep = "/" * (levels - 1)
    subscriber = await doors.client("subscriber")
    await subscriber.send(Subscribe(1, [(deep, SubOpts(0))]))
    answer = await subscriber.receive()
    assert answer in (Suback(1, [0x8F], None), Disconnect(0x8F, None)), answer
    publisher = await doors.client("publisher")
    await publisher.send(make_publish(deep, b"", 1, False, False, 1))
    assert await ended(publisher) == 0x90
    await honest.ping()
    assert doors.node.broker.gauges()["subscriptions"] == 0


async def test_delays_that_are_no_numbers_publish_nothing(doors):
    client = await doors.client("c", subscribe="#")
    for number in ("", "-1", "1e9", "9" * 4000, "0x10", "1_0", "\u0661", " 1"):
        await client.publish(f"$delayed/{number}/t", b"x", qos=1)
    assert await client.publish("t", b"last", qos=1) == 0
    assert await client.message() == ("t", b"last")


async def test_more_subscriptions_than_allowed_are_refused_one_by_one(doors):
    client = await doors.client("c")
    await client.send(Subscribe(1, [(f"t/{n}", SubOpts(0)) for n in range(5)]))
    assert (await client.receive()).codes == [0, 0, 0, 0x97, 0x97]
