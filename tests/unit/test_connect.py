"""CONNECT and CONNACK [MQTT5 3.1, 3.2] [broker.md 5.1-5.3]: first packet, checks in order, answers, deadlines."""

from __future__ import annotations

import pytest
import trio
from session_helpers import Counted, Recorder, both_families, config, every_version, props, shutdown_count, zone

from trioemqx.codec.control import Connack, Connect, Disconnect, Pingreq, Subscribe, Will
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import Publish, make_publish
from trioemqx.errors import connack_return_code
from trioemqx.hooks import Refuse
from trioemqx.hookspecs import hookimpl
from trioemqx.testing import Client, Closed, Refused, TestBroker
from trioemqx.types import ClientInfo, Credentials, Message, Properties, SubOpts, Verdict

NAMES = {3: "MQIsdp", 4: "MQTT", 5: "MQTT"}


def connect_bytes(version: int, clientid: str = "c", clean_start: bool = True) -> bytes:
    return encode(Connect(NAMES[version], version, clean_start=clean_start, clientid=clientid), version)


async def refusal(broker: TestBroker, version: int, code: int, **connect: object) -> None:
    """The CONNECT is answered with `code` (its return code in MQTT 3) and then the broker closes."""
    client = await broker.raw(version)
    with pytest.raises(Refused) as caught:
        await client.connect(**connect)  # type: ignore[arg-type]
    assert caught.value.connack.code == (code if version == 5 else connack_return_code(code))
    assert caught.value.connack.session_present is False  # [MQTT-3.2.2-6]
    assert await client.closed() is None  # [MQTT-3.2.2-7]: nothing after the CONNACK


# -- the first packet ------------------------------------------------------------------------------------------------


@every_version
async def test_connect_is_answered_with_connack_first(broker: TestBroker, version: int) -> None:
    """[MQTT-3.2.0-1] The CONNACK is the first packet the server sends."""
    client = await broker.raw(version)
    await client.send_raw(connect_bytes(version))
    answer = await client.receive()
    assert isinstance(answer, Connack)
    assert (answer.session_present, answer.code) == (False, 0)
    assert (answer.properties is not None) == (version == 5)


@both_families
@pytest.mark.parametrize(
    "first",
    [make_publish("t", b"x"), Pingreq(), Subscribe(1, [("t", SubOpts())]), Disconnect()],
    ids=lambda p: type(p).__name__,
)
async def test_anything_else_as_first_packet_closes_silently(broker: TestBroker, version: int, first: Publish) -> None:
    """[MQTT-3.1.0-1]; [5.1] before any CONNECT the socket is closed silently, reason protocol_error."""
    watcher = await broker.client("watcher", subscribe="#")
    client = await broker.raw(version)
    await client.send(first)
    assert await client.closed() is None
    assert await watcher.nothing()
    assert await shutdown_count(broker) == {"protocol_error": 1}
    assert broker.node.metrics["packets.connack.sent"] == 1  # the watcher's


@every_version
async def test_a_second_connect_ends_the_connection(broker: TestBroker, version: int) -> None:
    """[MQTT-3.1.0-2] A protocol violation: 0x82 in MQTT 5, a closed connection before; the will is published."""
    watcher = await broker.client("watcher", subscribe="will")
    client = await broker.client("c", version=version, will=make_publish("will", b"gone"))
    await client.send_raw(connect_bytes(version))
    assert await client.closed() == (0x82 if version == 5 else None)
    assert await watcher.message() == ("will", b"gone")
    assert await shutdown_count(broker) == {"protocol_error": 1}


@pytest.mark.parametrize("level", [0, 2, 6, 0x7F])
async def test_an_unknown_protocol_level_is_answered_in_the_form_everybody_reads(
    broker: TestBroker, level: int
) -> None:
    """[MQTT-3.1.2-2] CONNACK 0x01 of MQTT 3, then close; reason unsupported_protocol_version."""
    client = await broker.raw(4)
    await client.send_raw(b"\x10\x0d\x00\x04MQTT" + bytes([level]) + b"\x02\x00\x00\x00\x01c")
    assert await client.receive() == Connack(False, 1, None)
    assert await client.closed() is None
    assert await shutdown_count(broker) == {"unsupported_protocol_version": 1}


async def test_a_malformed_connect_is_answered_in_mqtt5_only(broker: TestBroker) -> None:
    """[5.1] While connecting a v5 client gets CONNACK 0x81; a v3 one is closed [MQTT-4.8.0-1]."""
    client = await broker.raw(5)
    await client.send_raw(b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x01c")  # the reserved flag [MQTT-3.1.2-3]
    assert (await client.wait_for(Connack)).code == 0x81
    assert await client.closed() is None
    old = await broker.raw(4)
    await old.send_raw(b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01c")
    assert await old.closed() is None
    assert old.connack is None
    assert await shutdown_count(broker) == {"malformed_packet": 2}


async def test_a_first_packet_above_the_limit_is_not_read(broker: TestBroker) -> None:
    """[5.1] frame_too_large is seen in the fixed header; 64 KiB is the limit until CONNECT is accepted."""
    client = await broker.raw(5)
    await client.send_raw(b"\x10\x80\x80\x04")  # remaining length 65536
    assert await client.closed() is None
    assert await shutdown_count(broker) == {"frame_too_large": 1}


@zone(idle_timeout="10s")
async def test_silence_is_ended_at_the_deadline_and_drips_do_not_extend_it(broker: TestBroker) -> None:
    """[2.4] idle_timeout runs from accept to a valid CONNECT; reason idle_timeout."""
    silent, dripping = await broker.raw(4), await broker.raw(4)
    whole = connect_bytes(4)
    began = trio.current_time()

    async def drip() -> None:
        try:
            for byte in whole[:-1]:
                await dripping.send_raw(bytes([byte]))
                await trio.sleep(0.9)
        except Closed:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        assert await _end(silent) is None
        assert 10 <= trio.current_time() - began <= 12
        assert await _end(dripping) is None
        assert trio.current_time() - began <= 13
    assert await shutdown_count(broker) == {"idle_timeout": 2}


async def _end(client: Client) -> int | None:
    """`closed` for an end that comes later than a client's usual patience."""
    while True:
        try:
            return await client.closed()
        except trio.TooSlowError:
            continue


# -- client identifiers ----------------------------------------------------------------------------------------------


async def test_mqtt31_has_no_empty_client_identifier(broker: TestBroker) -> None:
    """[5.2 step 3] v3.1: 0x85, return code 2."""
    for clean in (True, False):
        await refusal(broker, 3, 0x85, clientid="", clean_start=clean)


async def test_mqtt311_an_empty_client_identifier_needs_a_clean_session(broker: TestBroker) -> None:
    """[MQTT-3.1.3-7] [MQTT-3.1.3-8]"""
    await refusal(broker, 4, 0x85, clientid="", clean_start=False)
    assert (await broker.client("", version=4)).connack == Connack(False, 0, None)


@pytest.mark.parametrize("clean_start", [True, False])
async def test_mqtt5_gets_an_assigned_client_identifier(broker: TestBroker, clean_start: bool) -> None:
    """[MQTT-3.1.3-6] [MQTT-3.2.2-16] unique, 22 characters of base 62, and told only to whom it was assigned."""
    seen = set()
    for _ in range(5):
        client = await broker.client("", clean_start=clean_start)
        assert client.connack is not None
        assert client.connack.properties is not None
        assigned = client.connack.properties.assigned_client_identifier
        assert assigned is not None
        assert len(assigned) == 22
        assert assigned.isalnum()
        assert broker.node.find(assigned) is not None
        seen.add(assigned)
    assert len(seen) == 5
    named = await broker.client("named")
    assert named.connack is not None
    assert named.connack.properties is not None
    assert named.connack.properties.assigned_client_identifier is None


@both_families
@config(mqtt={"max_clientid_len": 23})
async def test_a_client_identifier_above_max_clientid_len_is_refused(broker: TestBroker, version: int) -> None:
    await refusal(broker, version, 0x85, clientid="x" * 24)
    await broker.client("x" * 23, version=version)


@config(mqtt={"max_clientid_len": 23})
async def test_max_clientid_len_counts_bytes(broker: TestBroker) -> None:
    """[MQTT-3.1.3-5] counts bytes in UTF-8, and so does EMQX; ours were characters."""
    await broker.client("\u00fc" * 11)
    with pytest.raises(Refused, match="CLIENT_IDENTIFIER_NOT_VALID"):
        await broker.client("\u00fc" * 12)


@both_families
@zone(use_username_as_clientid=True)
async def test_the_username_can_be_the_client_identifier(broker: TestBroker, version: int) -> None:
    """[5.2 step 4] use_username_as_clientid; an empty user name is 0x85."""
    await broker.client("ignored", version=version, username="ann")
    assert broker.node.find("ann") is not None
    assert broker.node.find("ignored") is None
    await refusal(broker, version, 0x85, clientid="c")
    await refusal(broker, version, 0x85, clientid="c", username="")


# -- checks of the packet --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [b"\x21\x00\x00", b"\x27\x00\x00\x00\x00", b"\x19\x02", b"\x17\x02", b"\x16\x00\x01x"],
    ids=[
        "Receive Maximum 0",
        "Maximum Packet Size 0",
        "Request Response 2",
        "Request Problem 2",
        "data without method",
    ],
)
async def test_property_values_that_are_protocol_errors(broker: TestBroker, wrong: bytes) -> None:
    """[MQTT5 3.1.2.11]"""
    client = await broker.raw(5)
    body = b"\x00\x04MQTT\x05\x02\x00\x00" + bytes([len(wrong)]) + wrong + b"\x00\x01c"
    await client.send_raw(bytes([0x10, len(body)]) + body)
    assert (await client.wait_for(Connack)).code == 0x82
    assert await client.closed() is None
    assert broker.node.find("c") is None


@both_families
@config(mqtt={"max_qos_allowed": 1, "retain_available": False})
async def test_a_will_above_what_the_server_can_do(broker: TestBroker, version: int) -> None:
    """[MQTT-3.2.2-12] 0x9B, [MQTT-3.2.2-13] 0x9A."""
    await refusal(broker, version, 0x9B, clientid="c", will=make_publish("w", b"", 2))
    await refusal(broker, version, 0x9A, clientid="c", will=make_publish("w", b"", 1, True))
    await broker.client("c", version=version, will=make_publish("w", b"", 1))


@both_families
@pytest.mark.parametrize(
    ("topic", "code"),
    [("", 0x90), ("a/+", 0x90), ("#", 0x90), ("/".join("a" * 129), 0x90), ("a" * 4097, 0x90), ("$SYS/x", 0x87)],
)
async def test_an_illegal_will_topic_refuses_the_connect(
    broker: TestBroker, version: int, topic: str, code: int
) -> None:
    """[5.2 step 3]; levels and length as for PUBLISH; `$SYS/` belongs to the broker."""
    await refusal(broker, version, code, clientid="c", will=Will(topic, b"x", 0, False, None))


async def test_an_illegal_response_topic_in_the_will(broker: TestBroker) -> None:
    """[MQTT-3.3.2-14] A Response Topic holds no wildcards."""
    will = Will("w", b"x", 0, False, props(response_topic="a/#"))
    await refusal(broker, 5, 0x82, clientid="c", will=will)


async def test_a_refused_connect_leaves_nothing(broker: TestBroker) -> None:
    """No session, no will, no count of connections."""
    watcher = await broker.client("watcher", subscribe="#")
    counted = Counted(broker)
    await refusal(broker, 5, 0x90, clientid="c", will=Will("a/#", b"x", 0, False, None))
    assert await watcher.nothing()
    assert broker.node.find("c") is None
    assert counted("packets.connect.received", "packets.connack.sent", "packets.connack.error") == [1, 1, 1]
    assert counted("client.connect", "client.connack", "client.connected", "client.disconnected") == [1, 1, 0, 0]
    assert broker.node.broker.registry.connected == 1
    assert await shutdown_count(broker) == {"topic_name_invalid": 1}


# -- CONNACK ---------------------------------------------------------------------------------------------------------


async def test_every_property_of_the_connack(broker: TestBroker) -> None:
    """[5.3] With EMQX's defaults; what is absent is absent."""
    client = await broker.client("c")
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.as_dict() == {
        "retain_available": 1,
        "maximum_packet_size": 1024 * 1024,
        "topic_alias_maximum": 65535,
        "wildcard_subscription_available": 1,
        "subscription_identifier_available": 1,
        "shared_subscription_available": 1,
    }


@config(
    mqtt={
        "max_qos_allowed": 1,
        "retain_available": False,
        "wildcard_subscription": False,
        "shared_subscription": False,
        "max_topic_alias": 7,
        "max_packet_size": "64KB",
        "response_information": "answers/",
    },
    zone={"default": {"server_keepalive": 33, "max_awaiting_rel": 12}},
)
async def test_every_property_of_the_connack_configured(broker: TestBroker) -> None:
    """[5.3] Maximum-QoS only below 2, Server-Keep-Alive and Receive-Maximum if configured."""
    client = await broker.client("", properties=props(request_response_information=1))
    assert client.connack is not None
    assert client.connack.properties is not None
    found = client.connack.properties.as_dict()
    assert found.pop("assigned_client_identifier")
    assert found == {
        "retain_available": 0,
        "maximum_packet_size": 64 * 1024,
        "topic_alias_maximum": 7,
        "wildcard_subscription_available": 0,
        "subscription_identifier_available": 1,
        "shared_subscription_available": 0,
        "maximum_qos": 1,
        "server_keep_alive": 33,
        "receive_maximum": 12,
        "response_information": "answers/",
    }


@config(mqtt={"response_information": "answers/"})
async def test_response_information_only_for_who_asks(broker: TestBroker) -> None:
    """[MQTT5 3.1.2.11.6] 0 or absent: the server must not send it."""
    for asked in (None, 0):
        client = await broker.client("c", properties=props(request_response_information=asked))
        assert client.connack is not None
        assert client.connack.properties is not None
        assert client.connack.properties.response_information is None


async def test_response_information_is_omitted_when_unset(broker: TestBroker) -> None:
    """[5.3] → Response-Information must be omitted when unset."""
    client = await broker.client("c", properties=props(request_response_information=1))
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.response_information is None


@pytest.mark.parametrize("version", [3, 4], ids=["v3.1", "v3.1.1"])
async def test_an_mqtt3_connack_is_four_bytes(broker: TestBroker, version: int) -> None:
    stream = await broker.stream()
    await stream.send_all(connect_bytes(version))
    assert bytes(await stream.receive_some(100)) == b"\x20\x02\x00\x00"


# -- hooks, in order -------------------------------------------------------------------------------------------------


@every_version
async def test_the_order_of_hooks(broker: TestBroker, version: int) -> None:
    """[5.2 step 12] client.connect first, client.connected before client.connack."""
    recorder = Recorder(broker)
    client = await broker.client("c", version=version)
    await client.disconnect()
    await trio.sleep(1)
    assert recorder.of("c") == [
        ("client.connect",),
        ("session.created",),
        ("client.connected",),
        ("client.connack", "success"),
        ("client.disconnected", "normal"),
        ("session.terminated", "normal"),
    ]


@both_families
async def test_client_connect_runs_before_every_check_and_connack_for_refusals_too(
    broker: TestBroker, version: int
) -> None:
    """[5.2] Failed CONNECTs also run client.connack, with the reason's name."""
    recorder = Recorder(broker)
    await refusal(broker, version, 0x90, clientid="c", will=Will("#", b"", 0, False, None))
    assert recorder.of("c") == [("client.connect",), ("client.connack", "topic_name_invalid")]


@both_families
async def test_client_connect_may_refuse(broker: TestBroker, version: int) -> None:
    """[5.2 step 2] "stop + error code"."""

    class Doorman:
        @hookimpl
        def client_connect(self, client: ClientInfo) -> None:
            raise Refuse(0x9F)

    broker.node.hooks.register(Doorman(), "doorman")
    await refusal(broker, version, 0x9F, clientid="c")
    assert await shutdown_count(broker) == {"connection_rate_exceeded": 1}


@both_families
@pytest.mark.parametrize("code", [0, 1, 0x8E, 0x1FF])
async def test_a_refusal_with_an_impossible_code_is_a_refusal(broker: TestBroker, version: int, code: int) -> None:
    """[MQTT-3.2.2-8] What a hook gets wrong must not become a CONNACK "success", nor one no client can read."""

    class Doorman:
        @hookimpl
        def client_connect(self, client: ClientInfo) -> None:
            raise Refuse(code)

    broker.node.hooks.register(Doorman(), "doorman")
    await refusal(broker, version, 0x87, clientid="c")
    broker.node.hooks.unregister("doorman")
    if code:
        broker.node.hooks.register(Backend(u=Verdict(code)), "backend")
        await refusal(broker, version, 0x87, clientid="c", username="u")


async def test_a_crash_in_client_connect_refuses(broker: TestBroker) -> None:
    """Hooks that can keep clients out fail closed."""

    class Broken:
        @hookimpl
        def client_connect(self, client: ClientInfo) -> None:
            raise ZeroDivisionError

    broker.node.hooks.register(Broken(), "broken")
    await refusal(broker, 5, 0x80, clientid="c")
    assert broker.node.broker.metrics.hook_crashed == 1


async def test_what_client_connect_makes_of_the_properties_is_in_force(broker: TestBroker) -> None:
    """[5.2 step 2] The accumulator of client.connect is the CONNECT's properties: expiry, window and sizes follow."""

    class Strict:
        @hookimpl
        def client_connect(self, client: ClientInfo, properties: Properties | None) -> Properties:
            return props(session_expiry_interval=9, receive_maximum=3, maximum_packet_size=60, topic_alias_maximum=0)

    broker.node.hooks.register(Strict(), "strict")
    client = await broker.client("c", expiry=1000, properties=props(topic_alias_maximum=10), subscribe="t")
    session = broker.node.find("c")
    assert session is not None
    assert (session.expiry_interval, session.window, session.max_out, session.max_alias) == (9, 3, 60, 0)
    await client.publish("t", b"x" * 60)
    assert await client.nothing()


async def test_client_connack_may_change_the_properties(broker: TestBroker) -> None:
    class Greeter:
        @hookimpl
        def client_connack(self, client: ClientInfo, reason: str, properties: Properties) -> Properties:
            properties.user_property = [("hello", client.clientid)]
            return properties

    broker.node.hooks.register(Greeter(), "greeter")
    client = await broker.client("c")
    assert client.connack is not None
    assert client.connack.properties is not None
    assert client.connack.properties.user_property == [("hello", "c")]


class Presence:
    """Publishes when a client is connected, as emqx_mod_presence does."""

    def __init__(self, broker: TestBroker) -> None:
        self._broker = broker

    @hookimpl
    def client_connected(self, client: ClientInfo) -> None:
        self._broker.node.publish(Message(f"presence/{client.clientid}", b"here", 1))


@every_version
async def test_nothing_comes_before_the_connack(broker: TestBroker, version: int) -> None:
    """[MQTT-3.2.0-1] Even when client.connected publishes to what the resumed session has subscribed."""
    expiry = 100 if version == 5 else None
    first = await broker.client("c", version=version, clean_start=False, expiry=expiry, subscribe="presence/#", qos=1)
    await first.close()
    await trio.sleep(1)
    broker.node.hooks.register(Presence(broker), "presence")
    client = await broker.raw(version)
    await client.send_raw(
        encode(
            Connect(
                NAMES[version],
                version,
                clean_start=False,
                clientid="c",
                properties=props(session_expiry_interval=100) if version == 5 else None,
            ),
            version,
        )
    )
    assert isinstance(await client.receive(), Connack)
    assert await client.message() == ("presence/c", b"here")


async def test_a_client_kicked_by_client_connected_is_simply_closed(broker: TestBroker) -> None:
    """No DISCONNECT before a CONNACK, no CONNACK after the end."""

    class Bouncer:
        @hookimpl
        def client_connected(self, client: ClientInfo) -> None:
            broker.node.kick(client.clientid)

    broker.node.hooks.register(Bouncer(), "bouncer")
    client = await broker.raw(5)
    await client.send_raw(connect_bytes(5))
    with pytest.raises(Closed):
        await client.receive()
    await trio.sleep(2)
    assert broker.node.find("c") is None
    assert broker.node.broker.registry.connected == 0
    assert await shutdown_count(broker) == {"kicked": 1}


# -- authentication [11.1] -------------------------------------------------------------------------------------------


class Backend:
    """Answers after `delay` seconds with a verdict by user name; unknown names are not its business."""

    def __init__(self, delay: float = 0.0, **verdicts: Verdict) -> None:
        self.delay = delay
        self.verdicts = verdicts
        self.asked: list[tuple[str | None, bytes | None]] = []

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        self.asked.append((credentials.username, credentials.password))
        await trio.sleep(self.delay)
        return self.verdicts.get(credentials.username or "")


@every_version
@pytest.mark.parametrize("code", [0x80, 0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x97, 0x9C, 0x9F])
async def test_a_verdict_is_the_answer(broker: TestBroker, version: int, code: int) -> None:
    """[5.3] v3 return codes: 0x80-0x84 → 1; 0x85 → 2; 0x86 → 4; 0x87, 0x8A, 0x8C → 5; the others → 3."""
    broker.node.hooks.register(Backend(u=Verdict(code)), "backend")
    counted = Counted(broker)
    await refusal(broker, version, code, clientid="c", username="u", password=b"p")
    wrong = code in (0x86, 0x87) or (version < 5 and code in (0x8A, 0x8C))
    assert counted["packets.connack.auth_error"] == int(wrong)
    assert counted("client.authenticate", "client.auth.success", "client.auth.failure") == [1, 0, 1]


@every_version
async def test_the_password_is_seen_by_backends_only(broker: TestBroker, version: int) -> None:
    backend = Backend(u=Verdict(0, is_superuser=True, extra={"tenant": 7}))
    broker.node.hooks.register(backend, "backend")
    counted = Counted(broker)
    await broker.client("c", version=version, username="u", password=b"secret")
    session = broker.node.find("c")
    assert session is not None
    assert session.channel is not None
    assert session.channel.connect is None
    assert session.channel.parked is None
    assert backend.asked == [("u", b"secret")]
    assert session.info.is_superuser
    assert session.info.extra == {"tenant": 7}
    assert not session.info.anonymous
    assert counted("client.auth.success", "client.auth.success.anonymous") == [1, 0]


@both_families
async def test_nobody_knows_the_client_means_the_default(broker: TestBroker, version: int) -> None:
    """[11.1] With allow_anonymous an unknown user name is admitted and counted as anonymous."""
    broker.node.hooks.register(Backend(), "backend")
    counted = Counted(broker)
    await broker.client("c", version=version, username="who")
    assert counted("client.auth.success", "client.auth.success.anonymous") == [1, 1]


@both_families
@zone(allow_anonymous="false")
async def test_without_anonymous_nobody_knows_the_client_means_no(broker: TestBroker, version: int) -> None:
    """[11.1] not_authorized, with a backend and without."""
    await refusal(broker, version, 0x87, clientid="c")
    broker.node.hooks.register(Backend(u=Verdict()), "backend")
    await refusal(broker, version, 0x87, clientid="c", username="who")
    await broker.client("c", version=version, username="u")


@both_families
@zone(allow_anonymous="false_quick_deny")
async def test_quick_deny_does_not_ask_without_a_username(broker: TestBroker, version: int) -> None:
    """[11.1] no (or empty) user name ⇒ refused at once."""
    backend = Backend(u=Verdict())
    broker.node.hooks.register(backend, "backend")
    await refusal(broker, version, 0x87, clientid="c")
    await refusal(broker, version, 0x87, clientid="c", username="")
    assert backend.asked == []
    await broker.client("c", version=version, username="u")


@both_families
@zone(bypass_auth_plugins=True, allow_anonymous="true")
async def test_a_zone_may_bypass_the_chain(broker: TestBroker, version: int) -> None:
    backend = Backend(u=Verdict(0x86))
    broker.node.hooks.register(backend, "backend")
    await broker.client("c", version=version, username="u")
    assert backend.asked == []


async def test_a_crashing_backend_denies(broker: TestBroker) -> None:
    """[11.1] → default deny for crashing auth hooks."""

    class Broken:
        @hookimpl
        async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
            raise OSError("database gone")

    broker.node.hooks.register(Broken(), "broken")
    await refusal(broker, 5, 0x87, clientid="c")
    assert broker.node.broker.metrics.hook_crashed == 1


async def test_a_backend_that_never_answers_denies_in_time(broker: TestBroker) -> None:
    """0x88 after the hook deadline of five seconds."""
    broker.node.hooks.register(Backend(delay=1e6), "backend")
    client = await broker.raw(5)
    await client.send_raw(connect_bytes(5))
    await trio.sleep(5.5)
    assert (await client.wait_for(Connack)).code == 0x88


@both_families
@config(mqtt={"ignore_loop_deliver": False})
async def test_packets_behind_connect_are_handled_in_order_while_authentication_is_pending(
    broker: TestBroker, version: int
) -> None:
    """[MQTT5 3.1.4] Clients may send packets before the CONNACK; nothing is lost, and nothing happens before it."""
    broker.node.hooks.register(Backend(delay=3), "backend")
    recorder = Recorder(broker)
    client = await broker.raw(version)
    packets = [
        Subscribe(1, [("t", SubOpts(1))]),
        *[make_publish("t", b"%d" % number, 1, False, False, number) for number in range(10, 20)],
        Pingreq(),
    ]
    await client.send_raw(connect_bytes(version) + b"".join(encode(packet, version) for packet in packets[:4]))
    for packet in packets[4:]:
        await trio.sleep(0.1)
        await client.send(packet)
    assert recorder.of("c") == [("client.connect",)]
    kinds = []
    while len(kinds) < 23:
        packet = await client.receive()
        kinds.append(type(packet).__name__)
        if isinstance(packet, Publish):
            client.inbox.append(packet)
    assert kinds[0] == "Connack"
    assert kinds[1] == "Suback"
    assert [message.payload for message in client.inbox] == [b"%d" % number for number in range(10, 20)]
    assert trio.current_time() > 2


async def test_packets_behind_a_refused_connect_are_not_looked_at(broker: TestBroker) -> None:
    """[MQTT-3.1.4-6] If the server rejects the CONNECT it must not process data sent after it."""
    watcher = await broker.client("watcher", subscribe="#")
    broker.node.hooks.register(Backend(delay=1, u=Verdict(0x87)), "backend")
    client = await broker.raw(5)
    await client.send(Connect(clientid="c", proto_ver=5, username="u"))
    await client.send(make_publish("t", b"must not arrive"))
    assert (await client.wait_for(Connack)).code == 0x87
    assert await client.closed() is None
    assert await watcher.nothing()
    assert broker.node.broker.metrics.packets_publish_received == 0


@every_version
async def test_an_answer_that_comes_after_the_socket_has_gone(broker: TestBroker, version: int) -> None:
    """A socket is not read while its client waits, so the end is seen with the answer: the client comes and goes."""
    broker.node.hooks.register(Backend(delay=3), "backend")
    recorder = Recorder(broker)
    client = await broker.raw(version)
    await client.send_raw(connect_bytes(version))
    await trio.sleep(0.5)
    await client.close()
    await trio.sleep(10)
    assert recorder.of("c")[-2:] == [("client.disconnected", "tcp_closed"), ("session.terminated", "tcp_closed")]
    assert broker.node.clients() == []
    assert broker.node.broker.registry.connected == 0
    assert broker.node.broker.registry.channels == {}
    assert set(broker.node.broker.metrics.faults().values()) == {0}
    assert await shutdown_count(broker) == {"tcp_closed": 1}


@both_families
async def test_an_answer_for_a_connection_that_was_ended_meanwhile(broker: TestBroker, version: int) -> None:
    """The node stops while a backend is asked: the answer opens nothing."""
    broker.node.hooks.register(Backend(delay=3), "backend")
    client = await broker.raw(version)
    await client.send_raw(connect_bytes(version))
    await trio.sleep(0.5)
    channel = next(iter(broker.node.broker.registry.channels))
    channel.close(0, "kicked")
    assert await client.closed() is None
    await trio.sleep(10)
    assert broker.node.clients() == []
    assert broker.node.broker.metrics.client_connected == 0
    assert await shutdown_count(broker) == {"kicked": 1}


@zone(idle_timeout="2s")
async def test_the_deadline_is_the_clients_not_the_backends(broker: TestBroker) -> None:
    """[2.4] idle_timeout ends with a valid CONNECT; a backend has a time limit of its own."""
    broker.node.hooks.register(Backend(delay=4), "backend")
    client = await broker.client("c")
    assert client.connack is not None
    assert client.connack.code == 0


async def test_many_clients_wait_for_a_slow_backend_side_by_side(broker: TestBroker) -> None:
    """One slow answer delays nobody else."""
    broker.node.hooks.register(Backend(delay=2), "backend")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(broker.client, f"c{number}")
    assert trio.current_time() - began < 4
    assert broker.node.broker.registry.connected == 50
