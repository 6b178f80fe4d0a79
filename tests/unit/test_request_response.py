"""Request and response, and properties that only pass through (broker behaviour 9)."""

from __future__ import annotations

import pytest
from pubsub_helpers import config, messages, props

from trioemqx.testing import TestBroker
from trioemqx.types import Properties


async def test_a_request_and_its_response(broker: TestBroker) -> None:
    requester = await broker.client("requester", subscribe="answers/requester", qos=1)
    responder = await broker.client("responder", subscribe="requests/#", qos=1)
    asked = props(response_topic="answers/requester", correlation_data=b"\x00\xff1")
    await requester.publish("requests/add", b"1+1", qos=1, properties=asked)
    (request,) = await messages(responder, 1)
    assert request.properties == asked
    answer = props(correlation_data=request.properties.correlation_data)
    await responder.publish(request.properties.response_topic, b"2", qos=1, properties=answer)
    (response,) = await messages(requester, 1)
    assert (response.payload, response.properties) == (b"2", answer)


PASSED = props(
    payload_format_indicator=1,
    content_type="application/json",
    response_topic="r/$x/\u20ac",
    correlation_data=b"",
    user_property=[("b", "2"), ("a", "1"), ("b", "2"), ("", "")],
)


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_properties_pass_through_untouched_and_in_order(broker: TestBroker, qos: int) -> None:
    watcher = await broker.client("w", subscribe="t", qos=2)
    await (await broker.client("p")).publish("t", b"x", qos=qos, properties=PASSED)
    (packet,) = await messages(watcher, 1)
    assert packet.properties == PASSED


async def test_v3_receivers_get_the_message_without_them(broker: TestBroker) -> None:
    watcher = await broker.client("w", version=4, subscribe="t", qos=2)
    publisher = await broker.client("p")
    for qos in (0, 1, 2):
        await publisher.publish("t", b"x", qos=qos, properties=PASSED)
    assert [packet.payload for packet in await messages(watcher, 3)] == [b"x"] * 3


async def test_v5_receivers_of_a_v3_publisher(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t", qos=2)
    publisher = await broker.client("p", version=4)
    for qos in (0, 1, 2):
        await publisher.publish("t", b"x", qos=qos)
    found = await messages(watcher, 3)
    assert [(packet.payload, packet.properties) for packet in found] == [(b"x", None)] * 3


async def test_the_payload_format_is_not_verified(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="t")
    publisher = await broker.client("p")
    await publisher.publish("t", b"\xff\xfe", qos=1, properties=props(payload_format_indicator=1))
    assert await watcher.message() == ("t", b"\xff\xfe")


@config(mqtt={"response_information": "answers/"})
@pytest.mark.parametrize(("wanted", "expected"), [(1, "answers/"), (0, None), (None, None)])
async def test_response_information(broker: TestBroker, wanted: int | None, expected: str | None) -> None:
    properties = Properties() if wanted is None else props(request_response_information=wanted)
    client = await broker.client("c", properties=properties)
    assert client.connack.properties.response_information == expected


async def test_response_information_that_is_not_configured_is_left_out(broker: TestBroker) -> None:
    client = await broker.client("c", properties=props(request_response_information=1))
    assert client.connack.properties.response_information is None
