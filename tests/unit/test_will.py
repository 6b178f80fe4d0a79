"""Wills [MQTT5 3.1.2.5, 3.1.3.2] [broker.md 7.5]: when they are published, delayed, cancelled, and as what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from session_helpers import Recorder, both_families, config, every_version, props, zone

from trioemqx.codec.packets import make_publish
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, TestBroker, Will
from trioemqx.types import ClientInfo, Credentials, Message, SubOpts, Verdict

BYE = ("will", b"bye")


def will(delay: int | None = None, **more: object) -> Will:
    properties = props(will_delay_interval=delay, **more) if delay is not None or more else None
    return Will("will", b"bye", 1, False, properties)


async def watcher(broker: TestBroker) -> Client:
    return await broker.client("watcher", subscribe="will", qos=2)


# -- when ------------------------------------------------------------------------------------------------------------


async def _lose(broker: TestBroker, client: Client) -> None:
    await client.close()


async def _break_the_protocol(broker: TestBroker, client: Client) -> None:
    await client.send_raw(b"\x82\x00")


async def _fall_silent(broker: TestBroker, client: Client) -> None:
    await trio.sleep(8)


async def _be_kicked(broker: TestBroker, client: Client) -> None:
    broker.node.kick("c")


@every_version
@pytest.mark.parametrize("end", [_lose, _break_the_protocol, _fall_silent, _be_kicked])
async def test_a_will_is_published_when_the_connection_is_lost(
    broker: TestBroker, version: int, end: Callable[[TestBroker, Client], Awaitable[None]]
) -> None:
    """[MQTT-3.1.2-8] I/O error, keep-alive, protocol error, closed by the server: once each."""
    seen = await watcher(broker)
    client = await broker.client("c", version=version, will=will(), keepalive=4)
    await end(broker, client)
    assert await seen.message() == BYE
    assert await seen.nothing(20)


@every_version
async def test_a_clean_disconnect_deletes_the_will(broker: TestBroker, version: int) -> None:
    """[MQTT-3.1.2-10] [MQTT-3.14.4-3]"""
    seen = await watcher(broker)
    client = await broker.client("c", version=version, will=will())
    await client.disconnect()
    assert await seen.nothing(5)


async def test_a_disconnect_with_another_code_keeps_the_will(broker: TestBroker) -> None:
    """[5.5] 0x04 "with will message" and every other code."""
    seen = await watcher(broker)
    for code in (0x04, 0x80, 0x97):
        client = await broker.client("c", will=will())
        await client.disconnect(code)
        assert await seen.message() == BYE
    assert await seen.nothing()


async def test_a_disconnect_with_0x04_respects_the_delay(broker: TestBroker) -> None:
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(10))
    await client.disconnect(0x04)
    assert await seen.nothing(8)
    await trio.sleep(3)
    assert await seen.message() == BYE


@both_families
async def test_a_clean_disconnect_with_delay_leaves_no_will_behind(broker: TestBroker, version: int) -> None:
    seen = await watcher(broker)
    expiry = 20 if version == 5 else None
    client = await broker.client("c", version=version, clean_start=False, expiry=expiry, will=will())
    await client.disconnect()
    assert await seen.nothing(60)


# -- delay -----------------------------------------------------------------------------------------------------------


async def test_delay_zero_is_no_delay(broker: TestBroker) -> None:
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(0))
    await client.close()
    assert await seen.message() == BYE


async def test_the_will_comes_after_its_delay(broker: TestBroker) -> None:
    """[MQTT-3.1.3-9] Will Delay Interval or the end of the session, whichever is first."""
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(30))
    await client.close()
    assert await seen.nothing(28)
    await trio.sleep(3)
    assert await seen.message() == BYE
    assert broker.node.find("c") is not None
    assert await seen.nothing(100)
    assert broker.node.find("c") is None


async def test_the_end_of_the_session_ends_the_delay(broker: TestBroker) -> None:
    """[MQTT5 3.1.3.2.2] Delay 1000, expiry 20: published when the session expires."""
    seen = await watcher(broker)
    recorder = Recorder(broker)
    client = await broker.client("c", expiry=20, will=will(1000))
    await client.close()
    assert await seen.nothing(17)
    await trio.sleep(5)
    assert await seen.message() == BYE
    assert recorder.of("c")[-1] == ("session.terminated", "expired")
    assert await seen.nothing(1000)


async def test_expiry_zero_means_at_once_whatever_the_delay(broker: TestBroker) -> None:
    """[7.5] expiry 0 ⇒ at once."""
    seen = await watcher(broker)
    client = await broker.client("c", will=will(1000))
    await client.close()
    assert await seen.message() == BYE


async def test_a_disconnect_that_ends_the_session_ends_the_delay(broker: TestBroker) -> None:
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(1000))
    await client.disconnect(0x04, props(session_expiry_interval=0))
    assert await seen.message() == BYE


async def test_a_session_for_ever_with_a_delay(broker: TestBroker) -> None:
    seen = await watcher(broker)
    client = await broker.client("c", expiry=0xFFFFFFFF, will=will(5))
    await client.close()
    assert await seen.nothing(3)
    await trio.sleep(4)
    assert await seen.message() == BYE


async def test_coming_back_in_time_cancels_the_will(broker: TestBroker) -> None:
    """[MQTT-3.1.3-9] A new connection to the session before the delay has passed: the will must not be sent."""
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(30))
    await client.close()
    await trio.sleep(20)
    again = await broker.client("c", clean_start=False, expiry=100)
    assert await seen.nothing(60)
    await again.close()
    assert await seen.nothing(60)


async def test_a_new_connection_brings_its_own_will(broker: TestBroker) -> None:
    """The will belongs to the connection: the first one's is gone, the second one's counts."""
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(30))
    await client.close()
    await trio.sleep(2)
    again = await broker.client("c", clean_start=False, expiry=100, will=Will("will", b"second", 0, False, None))
    await again.close()
    assert await seen.message() == ("will", b"second")
    assert await seen.nothing(60)


async def test_a_clean_start_ends_the_session_and_so_the_delay(broker: TestBroker) -> None:
    """[MQTT-3.1.2-8] [MQTT5 3.1.4] The old session ends with the new one's start: its will is due."""
    seen = await watcher(broker)
    client = await broker.client("c", expiry=100, will=will(30))
    await client.close()
    await trio.sleep(2)
    await broker.client("c", clean_start=True)
    assert await seen.message() == BYE
    assert await seen.nothing(60)


# -- takeover --------------------------------------------------------------------------------------------------------


@every_version
@pytest.mark.parametrize("clean_start", [True, False], ids=["discard", "takeover"])
async def test_a_connection_that_loses_its_session_leaves_its_will(
    broker: TestBroker, version: int, clean_start: bool
) -> None:
    """[MQTT-3.1.2-8] The server closes the old connection, so a will without delay is due (reliability.md 4)."""
    seen = await watcher(broker)
    expiry = 100 if version == 5 else None
    await broker.client("c", version=version, clean_start=False, expiry=expiry, will=will())
    again = await broker.client("c", version=version, clean_start=clean_start, expiry=expiry)
    assert await seen.message() == BYE
    await again.disconnect()
    assert await seen.nothing(5)


async def test_a_takeover_cancels_a_delayed_will(broker: TestBroker) -> None:
    """[MQTT-3.1.3-9]"""
    seen = await watcher(broker)
    await broker.client("c", expiry=100, will=will(30))
    await broker.client("c", expiry=100, clean_start=False)
    assert await seen.nothing(60)


async def test_a_discard_ends_the_delay_of_a_live_connection(broker: TestBroker) -> None:
    """[MQTT5 3.1.4] "... or the new Network Connection has Clean Start set to 1 then [the will] will be sent"."""
    seen = await watcher(broker)
    await broker.client("c", expiry=100, will=will(30))
    await broker.client("c", expiry=100, clean_start=True)
    assert await seen.message() == BYE
    assert await seen.nothing(60)


async def test_a_takeover_of_expiry_zero_ends_the_delay(broker: TestBroker) -> None:
    """[MQTT5 3.1.4] "If the Session Expiry Interval of the existing Network Connection is 0 ... it will be sent"."""
    seen = await watcher(broker)
    await broker.client("c", will=will(30))
    await broker.client("c", expiry=100, clean_start=False)
    assert await seen.message() == BYE
    assert await seen.nothing(60)


# -- as what ---------------------------------------------------------------------------------------------------------


@every_version
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_will_has_its_qos_and_retain(broker: TestBroker, version: int, qos: int) -> None:
    """[MQTT-3.1.2-14] [MQTT-3.1.2-15] Retained or not; a later subscriber finds it."""
    seen = await watcher(broker)
    client = await broker.client("c", version=version, will=make_publish("will", b"bye", qos, True))
    await client.close()
    packet = await seen.receive_publish()
    assert (packet.qos, packet.retain) == (qos, False)
    late = await broker.client("late", subscribe="will", qos=2)
    packet = await late.receive_publish()
    assert (packet.payload, packet.qos, packet.retain) == (b"bye", qos, True)


async def test_a_will_has_its_properties_but_not_the_delay(broker: TestBroker) -> None:
    """[MQTT5 3.1.3.2] Everything but Will Delay Interval goes on; expiry counts from the publication."""
    seen = await watcher(broker)
    full = will(
        5,
        payload_format_indicator=1,
        message_expiry_interval=60,
        content_type="text",
        response_topic="answer/here",
        correlation_data=b"1",
        user_property=[("a", "1"), ("a", "2")],
    )
    client = await broker.client("c", expiry=100, will=full)
    await client.close()
    await trio.sleep(7)
    packet = await seen.receive_publish()
    assert packet.properties is not None
    assert packet.properties.as_dict() == {
        "payload_format_indicator": 1,
        "message_expiry_interval": 60,
        "content_type": "text",
        "response_topic": "answer/here",
        "correlation_data": b"1",
        "user_property": [("a", "1"), ("a", "2")],
    }


async def test_an_empty_retained_will_clears_the_topic(broker: TestBroker) -> None:
    broker.node.publish(Message("will", b"old", 0, True))
    client = await broker.client("c", will=Will("will", b"", 0, True, None))
    await client.close()
    await trio.sleep(1)
    late = await broker.client("late", subscribe="will")
    assert await late.nothing()


@both_families
@zone(mountpoint="dev/%c/")
async def test_the_will_topic_is_mounted(broker: TestBroker, version: int) -> None:
    """[7.5] → mount it."""
    heard: list[str] = []

    class Ear:
        @hookimpl
        def message_publish(self, message: Message) -> None:
            heard.append(message.topic)

    broker.node.hooks.register(Ear(), "ear")
    client = await broker.client("c", version=version, will=will())
    await client.close()
    await trio.sleep(1)
    assert heard == ["dev/c/will"]


async def test_no_local_keeps_ones_own_will_away(broker: TestBroker) -> None:
    """The publisher of a will is its client [MQTT-3.8.3-3]."""
    client = await broker.client("c", expiry=100, will=will())
    await client.subscribe("will", opts=SubOpts(1, nl=True))
    await client.close()
    await trio.sleep(1)
    again = await broker.client("c", clean_start=False, expiry=100)
    assert await again.nothing()


# -- access ----------------------------------------------------------------------------------------------------------


class Acl:
    """Nobody may publish to `will`; everybody is a superuser."""

    def __init__(self, delay: float = 0.0, allow: bool = False) -> None:
        self.delay = delay
        self.allow = allow

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
        return Verdict(0, is_superuser=True)

    @hookimpl
    async def client_check_acl(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        await trio.sleep(self.delay)
        return self.allow if (action, topic) == ("publish", "will") else None


@both_families
@pytest.mark.parametrize("delay", [0.0, 2.0])
@pytest.mark.parametrize("allow", [True, False])
async def test_a_will_is_subject_to_the_acl_also_of_superusers(
    broker: TestBroker, version: int, delay: float, allow: bool
) -> None:
    """[7.5] Publishing runs the publish ACL for the client; denied wills are dropped."""
    broker.node.hooks.register(Acl(delay, allow), "acl")
    seen = await watcher(broker)
    client = await broker.client("c", version=version, will=will())
    await client.close()
    await trio.sleep(5)
    assert await seen.nothing() == (not allow)


@config(acl_nomatch="deny", zone={"default": {"enable_acl": True}})
async def test_without_any_rule_a_denying_zone_drops_wills(broker: TestBroker) -> None:
    recorder: list[str] = []

    class Ear:
        @hookimpl
        def message_publish(self, message: Message) -> None:
            recorder.append(message.topic)

    broker.node.hooks.register(Ear(), "ear")
    client = await broker.client("c", will=will())
    await client.close()
    await trio.sleep(3)
    assert recorder == []


async def test_a_refused_connect_has_no_will(broker: TestBroker) -> None:
    """[reliability 2.1] wills dropped on refused CONNECT."""
    seen = await watcher(broker)

    class No:
        @hookimpl
        async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict:
            return Verdict(0x86)

    broker.node.hooks.register(No(), "no")
    for version in (3, 4, 5):
        client = await broker.raw(version)
        with pytest.raises(Exception, match="CONNACK"):
            await client.connect("c", will=will())
    assert await seen.nothing(5)
