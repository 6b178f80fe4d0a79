"""Every counter and gauge, by what it counts (http-api-v4 3.1 and 3.2).

Each scenario marks a beginning and says exactly which counters its events change, so that one that counts too much is
found as well as one that counts too little. Sums, bytes and second names have tests of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from pubsub_helpers import plug, props

from trioemqx.codec.control import Auth, Subscribe, Unsubscribe
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack
from trioemqx.core.access import AuthStep
from trioemqx.metrics import SAME_AS, SUMS
from trioemqx.testing import Client, Refused, TestBroker, make_publish, running
from trioemqx.types import ClientInfo, Credentials, Message, SubOpts, Verdict

ALL = """
bytes.received bytes.sent client.acl.allow client.acl.cache_hit client.acl.deny client.auth.anonymous
client.auth.failure client.auth.success client.auth.success.anonymous client.authenticate client.check_acl
client.connack client.connect client.connected client.disconnected client.subscribe client.unsubscribe
delivery.dropped delivery.dropped.expired delivery.dropped.no_local delivery.dropped.qos0_msg
delivery.dropped.queue_full delivery.dropped.too_large messages.acked messages.delayed messages.delivered
messages.dropped messages.dropped.await_pubrel_timeout messages.dropped.expired messages.dropped.no_subscribers
messages.forward messages.publish messages.qos0.received messages.qos0.sent messages.qos1.received messages.qos1.sent
messages.qos2.received messages.qos2.sent messages.received messages.retained messages.sent packets.auth.received
packets.auth.sent packets.connack.auth_error packets.connack.error packets.connack.sent packets.connect.received
packets.disconnect.received packets.disconnect.sent packets.pingreq.received packets.pingresp.sent
packets.puback.inuse packets.puback.missed packets.puback.received packets.puback.sent packets.pubcomp.inuse
packets.pubcomp.missed packets.pubcomp.received packets.pubcomp.sent packets.publish.auth_error
packets.publish.dropped packets.publish.error packets.publish.inuse packets.publish.received packets.publish.sent
packets.pubrec.inuse packets.pubrec.missed packets.pubrec.received packets.pubrec.sent packets.pubrel.missed
packets.pubrel.received packets.pubrel.sent packets.received packets.sent packets.suback.sent
packets.subscribe.auth_error packets.subscribe.error packets.subscribe.received packets.unsuback.sent
packets.unsubscribe.error packets.unsubscribe.received session.created session.discarded session.resumed
session.takeovered session.terminated
""".split()
ELSEWHERE = {"messages.forward", "messages.delayed"}
"""Counted by the cluster link and by the delayed-publish module, which a single node does not have."""
DERIVED = {"bytes.received", "bytes.sent", *SUMS, *SAME_AS}

Begin = Callable[[], None]
Run = Callable[[TestBroker, Begin], Awaitable[None]]
SCENARIOS: dict[str, tuple[dict[str, object], dict[str, int], Run]] = {}


def counts(expected: str, /, **tree: object) -> Callable[[Run], Run]:
    """Declare a scenario: `name` or `name=2` for every counter that must change, and settings of the broker."""
    changes = {}
    for item in expected.split():
        name, _, number = item.partition("=")
        changes[name] = int(number or 1)
    if "zone" in tree:
        tree["zone"] = {"default": {"enable_acl": True, **tree["zone"]}}  # type: ignore[dict-item]

    def add(run: Run) -> Run:
        SCENARIOS[run.__name__] = (tree, changes, run)
        return run

    return add


async def _send(client: Client, topic: str, qos: int = 0, packet_id: int = 0, **extra: object) -> None:
    await client.send(
        make_publish(
            topic,
            extra.get("payload", b"x"),
            qos,
            bool(extra.get("retain")),
            bool(extra.get("dup")),
            packet_id or (9 if qos else 0),
            extra.get("properties"),
        )
    )


async def _held(broker: TestBroker, qos: int, count: int = 1, **settings: object) -> Client:
    """A receiver that does not acknowledge, with messages in flight."""
    client = await broker.client("w", subscribe="t", qos=qos, **settings)
    client.auto_ack = False
    for _ in range(count):
        broker.node.publish(Message("t", b"x", qos))
        await client.receive_publish()
    return client


async def _settle() -> None:
    await trio.sleep(0.1)


# -- CONNECT -----------------------------------------------------------------------------------------------------------

ACCEPTED = """packets.connect.received packets.connack.sent client.connect client.connack client.connected
client.authenticate client.auth.success client.auth.success.anonymous """
REFUSED = "packets.connect.received packets.connack.sent client.connect client.connack packets.connack.error "


@counts(ACCEPTED + "session.created")
async def connect(broker: TestBroker, begin: Begin) -> None:
    begin()
    await broker.client("c")


@counts(ACCEPTED + "session.created")
async def connect_v3(broker: TestBroker, begin: Begin) -> None:
    begin()
    await broker.client("c", version=4)


@counts(ACCEPTED.replace("client.auth.success.anonymous", "") + "session.created")
async def connect_decided_by_a_backend(broker: TestBroker, begin: Begin) -> None:
    async def client_authenticate(client: ClientInfo, credentials: Credentials) -> Verdict:
        return Verdict()

    plug(broker, client_authenticate=client_authenticate)
    begin()
    await broker.client("c")


def _refused(code: int, version: int) -> Run:
    async def run(broker: TestBroker, begin: Begin) -> None:
        async def client_authenticate(client: ClientInfo, credentials: Credentials) -> Verdict:
            return Verdict(code)

        plug(broker, client_authenticate=client_authenticate)
        begin()
        with pytest.raises(Refused):
            await broker.client("c", version=version)

    run.__name__ = f"connect_refused_{code:x}_v{version}"
    return run


for _version in (4, 5):
    for _code in (0x86, 0x87):
        counts(REFUSED + "client.authenticate client.auth.failure packets.connack.auth_error")(
            _refused(_code, _version)
        )
    counts(REFUSED + "client.authenticate client.auth.failure")(_refused(0x88, _version))
counts(REFUSED + "client.authenticate client.auth.failure packets.connack.auth_error")(_refused(0x8C, 4))
counts(REFUSED + "client.authenticate client.auth.failure")(_refused(0x8C, 5))


@counts(REFUSED, zone={"max_clientid_len": 23})
async def connect_refused_by_a_check(broker: TestBroker, begin: Begin) -> None:
    begin()
    with pytest.raises(Refused):
        await broker.client("c" * 24)


@counts(ACCEPTED + "session.created packets.auth.received packets.auth.sent")
async def enhanced_authentication(broker: TestBroker, begin: Begin) -> None:
    async def client_enhanced_authenticate(data: bytes | None) -> AuthStep:
        return AuthStep("continue" if data == b"1" else "ok", b"go on")

    plug(broker, client_enhanced_authenticate=client_enhanced_authenticate)
    begin()
    client = await broker.raw()
    start = props(authentication_method="m", authentication_data=b"1")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def _() -> None:
            await client.connect("c", properties=start)

        await _settle()
        await client.send(Auth(0x18, props(authentication_method="m", authentication_data=b"2")))


# -- the end of connections and sessions -------------------------------------------------------------------------------


@counts("packets.disconnect.received client.disconnected session.terminated")
async def disconnect(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.disconnect()


@counts("client.disconnected")
async def connection_lost_and_session_kept(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c", expiry=100)
    begin()
    await client.close()


@counts("session.terminated")
async def session_expired(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c", expiry=2)
    await client.close()
    await _settle()
    begin()
    await trio.sleep(5)


@counts("packets.disconnect.sent client.disconnected session.terminated")
async def kicked(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    broker.node.kick("c")
    assert await client.closed() == 0x98


@counts("client.disconnected session.terminated")
async def kicked_v3(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c", version=4)
    begin()
    broker.node.kick("c")
    assert await client.closed() is None


@counts(ACCEPTED + "session.resumed session.takeovered packets.disconnect.sent")
async def taken_over(broker: TestBroker, begin: Begin) -> None:
    await broker.client("c", expiry=100)
    begin()
    await broker.client("c", clean_start=False, expiry=100)


@counts(ACCEPTED + "session.resumed")
async def resumed(broker: TestBroker, begin: Begin) -> None:
    await (await broker.client("c", expiry=100)).close()
    await _settle()
    begin()
    await broker.client("c", clean_start=False, expiry=100)


@counts(ACCEPTED + "session.discarded session.created packets.disconnect.sent")
async def discarded(broker: TestBroker, begin: Begin) -> None:
    await broker.client("c")
    begin()
    await broker.client("c")


@counts(
    ACCEPTED + "session.discarded session.created packets.disconnect.sent client.disconnected",
    broker={"client_disconnect_discarded": True},
)
async def discarded_and_told(broker: TestBroker, begin: Begin) -> None:
    await broker.client("c")
    begin()
    await broker.client("c")


# -- PUBLISH in --------------------------------------------------------------------------------------------------------

CHECKED = "client.check_acl client.acl.allow "
NOBODY = "messages.dropped messages.dropped.no_subscribers "


@counts("packets.publish.received messages.qos0.received messages.publish " + CHECKED + NOBODY)
async def publish_qos0(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await _send(client, "t")


@counts("packets.publish.received messages.qos1.received messages.publish packets.puback.sent " + CHECKED + NOBODY)
async def publish_qos1(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.publish("t", b"", qos=1)


@counts(
    """packets.publish.received messages.qos2.received messages.publish packets.pubrec.sent packets.pubrel.received
    packets.pubcomp.sent """
    + CHECKED
    + NOBODY
)
async def publish_qos2(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.publish("t", b"", qos=2)


@counts(
    "packets.publish.received messages.qos1.received messages.publish packets.puback.sent client.acl.allow "
    "client.acl.cache_hit " + NOBODY
)
async def publish_allowed_by_the_cache(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    await client.publish("t", b"", qos=1)
    begin()
    await client.publish("t", b"", qos=1)


@counts(
    "packets.publish.received messages.qos1.received messages.publish packets.puback.sent " + NOBODY,
    zone={"enable_acl": False},
)
async def publish_without_acl(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.publish("t", b"", qos=1)


DENIED = "packets.publish.received client.check_acl client.acl.deny "


@counts(DENIED + "messages.qos0.received", acl_nomatch="deny")
async def publish_denied_qos0(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await _send(client, "t")


for _qos, _ack in ((1, "puback"), (2, "pubrec")):
    for _version in (4, 5):

        async def publish_denied(
            broker: TestBroker, begin: Begin, qos: int = _qos, version: int = _version, kind: int = 3 + _qos
        ) -> None:
            client = await broker.client("c", version=version)
            begin()
            await _send(client, "t", qos)
            await client.ack(kind, 9)

        publish_denied.__name__ = f"publish_denied_qos{_qos}_v{_version}"
        counts(
            DENIED
            + f"messages.qos{_qos}.received packets.{_ack}.sent packets.publish.error packets.publish.auth_error",
            acl_nomatch="deny",
        )(publish_denied)


@counts(
    """packets.publish.received messages.qos2.received packets.pubrec.sent packets.publish.inuse packets.publish.error
    messages.dropped client.acl.allow client.acl.cache_hit"""
)
async def publish_with_an_id_in_use(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    await _send(client, "t", 2)
    await client.ack(PUBREC, 9)
    begin()
    await _send(client, "t", 2)
    await client.ack(PUBREC, 9)


@counts(
    """packets.publish.received messages.qos2.received packets.publish.dropped messages.dropped client.acl.allow
    client.acl.cache_hit packets.disconnect.sent client.disconnected session.terminated""",
    zone={"max_awaiting_rel": 1},
)
async def publish_beyond_max_awaiting_rel(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    await _send(client, "t", 2)
    await client.ack(PUBREC, 9)
    begin()
    await _send(client, "t", 2, 10)
    assert await client.closed() == 0x93


@counts("messages.dropped=2 messages.dropped.await_pubrel_timeout=2", zone={"await_rel_timeout": "5s"})
async def pubrel_that_does_not_come(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    for packet_id in (1, 2):
        await _send(client, "t", 2, packet_id)
        await client.ack(PUBREC, packet_id)
    begin()
    await trio.sleep(8)


@counts("packets.pubrel.received packets.pubrel.missed packets.pubcomp.sent")
async def pubrel_of_an_unknown_id(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.send(Ack(PUBREL, 1))


async def _exhausted(broker: TestBroker) -> Client:
    client = await broker.client("c")
    while await client.publish("t", b"", qos=1) != 0x97:
        continue
    return client


QUOTA = {"quota": {"conn_messages_routing": "1,60s"}}


@counts("packets.publish.received messages.qos0.received packets.publish.dropped", zone=QUOTA)
async def publish_beyond_the_quota_qos0(broker: TestBroker, begin: Begin) -> None:
    client = await _exhausted(broker)
    begin()
    await _send(client, "t")


@counts("packets.publish.received messages.qos1.received packets.publish.error packets.puback.sent", zone=QUOTA)
async def publish_beyond_the_quota_qos1(broker: TestBroker, begin: Begin) -> None:
    client = await _exhausted(broker)
    begin()
    await _send(client, "t", 1)


@counts("packets.publish.received messages.qos2.received packets.publish.error packets.pubrec.sent", zone=QUOTA)
async def publish_beyond_the_quota_qos2(broker: TestBroker, begin: Begin) -> None:
    client = await _exhausted(broker)
    begin()
    await _send(client, "t", 2)


@counts("messages.publish " + NOBODY)
async def publish_of_the_facade(broker: TestBroker, begin: Begin) -> None:
    begin()
    broker.node.publish(Message("t", b""))


@counts("messages.publish client.disconnected session.terminated " + NOBODY)
async def publish_of_a_will(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c", will=make_publish("will", b"x"))
    begin()
    await client.close()


@counts("")
async def publish_of_a_system_message(broker: TestBroker, begin: Begin) -> None:
    begin()
    broker.node.publish(Message("$SYS/brokers/x", b"", sys=True))


@counts("messages.publish=4 messages.retained=1 " + NOBODY.replace(" ", "=4 "))
async def retained(broker: TestBroker, begin: Begin) -> None:
    """A gauge: how many are stored."""
    begin()
    for topic, payload in (("a", b"x"), ("a", b"y"), ("b", b"x"), ("b", b"")):
        broker.node.publish(Message(topic, payload, 0, True))


# -- PUBLISH out -------------------------------------------------------------------------------------------------------

for _qos in (0, 1, 2):

    async def delivered(broker: TestBroker, begin: Begin, qos: int = _qos) -> None:
        client = await broker.client("w", subscribe="t", qos=2)
        client.auto_ack = False
        begin()
        broker.node.publish(Message("t", b"", qos))
        await client.receive_publish()

    delivered.__name__ = f"delivered_qos{_qos}"
    counts(f"messages.publish messages.delivered packets.publish.sent messages.qos{_qos}.sent")(delivered)


@counts("messages.delivered")
async def delivered_system_message(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("w", subscribe="$SYS/x")
    begin()
    broker.node.publish(Message("$SYS/x", b"", sys=True))
    await client.receive_publish()


@counts("messages.publish messages.delivered=2 packets.publish.sent=2 messages.qos0.sent=2")
async def delivered_twice(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("w")
    await client.subscribe("t", "+")
    begin()
    broker.node.publish(Message("t", b""))


@counts("messages.publish")
async def queued_for_a_client_that_is_away(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("w", subscribe="t", qos=1, expiry=100)
    await client.close()
    await _settle()
    begin()
    broker.node.publish(Message("t", b"", 1))


@counts("packets.puback.received messages.acked")
async def puback(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 1)
    begin()
    await client.send(Ack(PUBACK, 1))


@counts("packets.pubrec.received messages.acked packets.pubrel.sent")
async def pubrec(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 2)
    begin()
    await client.send(Ack(PUBREC, 1))


@counts("packets.pubcomp.received")
async def pubcomp(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 2)
    await client.send(Ack(PUBREC, 1))
    await _settle()
    begin()
    await client.send(Ack(PUBCOMP, 1))


@counts("packets.puback.received packets.puback.missed")
async def puback_of_an_unknown_id(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.send(Ack(PUBACK, 1))


@counts("packets.pubrec.received packets.pubrec.missed packets.pubrel.sent")
async def pubrec_of_an_unknown_id(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.send(Ack(PUBREC, 1))


@counts("packets.pubcomp.received packets.pubcomp.missed")
async def pubcomp_of_an_unknown_id(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.send(Ack(PUBCOMP, 1))


@counts("packets.puback.received packets.puback.inuse")
async def puback_for_qos2(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 2)
    begin()
    await client.send(Ack(PUBACK, 1))


@counts("packets.pubrec.received packets.pubrec.inuse packets.pubrel.sent")
async def pubrec_for_qos1(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 1)
    begin()
    await client.send(Ack(PUBREC, 1))


@counts("packets.pubrec.received packets.pubrec.inuse packets.pubrel.sent")
async def second_pubrec(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 2)
    await client.send(Ack(PUBREC, 1))
    await _settle()
    begin()
    await client.send(Ack(PUBREC, 1))


@counts("packets.pubcomp.received packets.pubcomp.inuse")
async def pubcomp_before_pubrec(broker: TestBroker, begin: Begin) -> None:
    client = await _held(broker, 2)
    begin()
    await client.send(Ack(PUBCOMP, 1))


@counts("messages.delivered packets.publish.sent messages.qos1.sent", zone={"retry_interval": "5s"})
async def retried(broker: TestBroker, begin: Begin) -> None:
    await _held(broker, 1, version=4)
    begin()
    await trio.sleep(7)


# -- deliveries that are dropped ---------------------------------------------------------------------------------------


@counts("messages.publish delivery.dropped.no_local")
async def dropped_no_local(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("w")
    await client.subscribe("t", opts=SubOpts(nl=True))
    begin()
    broker.node.publish(Message("t", b"", publisher="w"))


@counts("messages.publish delivery.dropped.too_large")
async def dropped_too_large(broker: TestBroker, begin: Begin) -> None:
    await broker.client("w", subscribe="t", properties=props(maximum_packet_size=50))
    begin()
    broker.node.publish(Message("t", b"x" * 50))


async def _absent(broker: TestBroker) -> None:
    client = await broker.client("w", subscribe="t", qos=1, expiry=100)
    await client.close()
    await _settle()


@counts("messages.publish delivery.dropped.qos0_msg", zone={"mqueue_store_qos0": False})
async def dropped_qos0_msg(broker: TestBroker, begin: Begin) -> None:
    await _absent(broker)
    begin()
    broker.node.publish(Message("t", b""))


@counts("messages.publish=3 delivery.dropped.queue_full=2", zone={"max_mqueue_len": 1})
async def dropped_queue_full(broker: TestBroker, begin: Begin) -> None:
    await _absent(broker)
    begin()
    for _ in range(3):
        broker.node.publish(Message("t", b"", 1))


@counts(ACCEPTED + "session.resumed delivery.dropped.expired")
async def dropped_expired(broker: TestBroker, begin: Begin) -> None:
    await _absent(broker)
    broker.node.publish(Message("t", b"", 1, properties=props(message_expiry_interval=1)))
    await trio.sleep(3)
    begin()
    await broker.client("w", clean_start=False, expiry=100)


# -- other packets -----------------------------------------------------------------------------------------------------


@counts("packets.pingreq.received packets.pingresp.sent")
async def ping(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.ping()


@counts("packets.subscribe.received packets.suback.sent client.subscribe client.check_acl=2 client.acl.allow=2")
async def subscribe(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.subscribe("a", "b")


@counts(
    """packets.subscribe.received packets.suback.sent client.subscribe client.check_acl=2 client.acl.deny=2
    packets.subscribe.error packets.subscribe.auth_error""",
    acl_nomatch="deny",
)
async def subscribe_denied(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c")
    begin()
    await client.subscribe("a", "b")


@counts(
    """packets.subscribe.received packets.suback.sent client.subscribe client.check_acl=2 client.acl.allow=2
    packets.subscribe.error"""
)
async def subscribe_refused_by_a_cap(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c", version=4)
    begin()
    await client.send(Subscribe(1, [("a", SubOpts()), ("$exclusive/b", SubOpts())], None))


@counts("packets.unsubscribe.received packets.unsuback.sent client.unsubscribe")
async def unsubscribe(broker: TestBroker, begin: Begin) -> None:
    client = await broker.client("c", subscribe="a")
    begin()
    await client.unsubscribe("a", "unknown")


@counts("packets.unsubscribe.received packets.unsuback.sent client.unsubscribe packets.unsubscribe.error")
async def unsubscribe_from_what_a_hook_made_invalid(broker: TestBroker, begin: Begin) -> None:
    plug(broker, client_unsubscribe=lambda filters: [("$share/g", opts) for _, opts in filters])
    client = await broker.client("c")
    begin()
    await client.send(Unsubscribe(1, ["a", "b"], None))


@counts("")
async def subscribe_and_unsubscribe_by_the_facade(broker: TestBroker, begin: Begin) -> None:
    await broker.client("c")
    begin()
    broker.node.subscribe("c", "t")
    broker.node.unsubscribe("c", "t")


# -- the tests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str, autojump_clock: object) -> None:
    tree, expected, run = SCENARIOS[name]
    async with running(tree) as broker:
        before: dict[str, int] = {}
        await run(broker, lambda: before.update(broker.node.metrics))
        await _settle()
        after = broker.node.metrics
        changed = {key: after[key] - before[key] for key in after if after[key] != before[key] and key not in DERIVED}
        assert changed == expected
        check_sums(after)


def check_sums(values: dict[str, int]) -> None:
    for group, parts in (("packets", ("received", "sent")), ("messages", ("received", "sent"))):
        for part in parts:
            total = sum(
                value for name, value in values.items() if name.startswith(f"{group}.") and name.endswith(f".{part}")
            )
            assert total - values[f"{group}.{part}"] == values[f"{group}.{part}"]
    reasons = ("no_local", "too_large", "qos0_msg", "queue_full", "expired")
    assert values["delivery.dropped"] == sum(values[f"delivery.dropped.{reason}"] for reason in reasons)
    assert values["client.auth.anonymous"] == values["client.auth.success.anonymous"]
    assert values["messages.dropped.expired"] == values["messages.dropped.await_pubrel_timeout"]


def test_every_counter_is_counted_by_some_scenario() -> None:
    counted = {name for _, expected, _ in SCENARIOS.values() for name in expected}
    assert counted <= set(ALL)
    assert set(ALL) - counted - DERIVED == ELSEWHERE


async def test_every_name_is_there_from_the_start_with_0(broker: TestBroker) -> None:
    assert list(broker.node.metrics) == sorted(ALL)
    assert len(ALL) == 86
    assert set(broker.node.metrics.values()) == {0}


async def test_bytes(broker: TestBroker) -> None:
    client = await broker.client("c", subscribe="t")
    before = broker.node.metrics
    await client.ping()
    await client.send_raw(b"\x30\x05\x00\x01t\x00x")  # 7 bytes in, and out again
    await client.receive_publish()
    after = broker.node.metrics
    assert after["bytes.received"] - before["bytes.received"] == 2 + 7
    assert after["bytes.sent"] - before["bytes.sent"] == 2 + 7


async def test_counters_of_plugins(broker: TestBroker) -> None:
    metrics = broker.node.broker.metrics
    metrics.inc("webhook.client_connect")
    metrics.inc("webhook.client_connect", 2)
    metrics.inc("messages.delayed")
    assert broker.node.metrics["webhook.client_connect"] == 3
    assert broker.node.metrics["messages.delayed"] == 1


async def test_a_malformed_packet_is_not_received(broker: TestBroker) -> None:
    client = await broker.client("c")
    before = broker.node.metrics
    await client.send_raw(b"\x36\x05\x00\x01t\x00\x01")  # QoS 3
    await client.closed()
    after = broker.node.metrics
    assert after["packets.received"] == before["packets.received"]
    assert after["packets.disconnect.sent"] == before["packets.disconnect.sent"] + 1


# -- stats -------------------------------------------------------------------------------------------------------------

GAUGES = """channels connections live_connections resources retained routes sessions suboptions subscribers
subscriptions subscriptions.shared topics""".split()


async def test_names_of_the_stats(broker: TestBroker) -> None:
    assert list(broker.node.stats()) == [f"{name}.{part}" for name in sorted(GAUGES) for part in ("count", "max")]
    assert set(broker.node.stats().values()) == {0}


def _now(broker: TestBroker) -> dict[str, int]:
    return {
        name.removesuffix(".count"): value for name, value in broker.node.stats().items() if name.endswith(".count")
    }


async def test_what_the_stats_say(broker: TestBroker) -> None:
    here = await broker.client("here")
    away = await broker.client("away", expiry=10)
    await here.subscribe("a", "b/#", "$share/g/a", "$queue/c")
    await away.subscribe("a", "$share/g/a")
    await here.publish("kept", b"x", qos=1, retain=True)
    await trio.sleep(1.5)  # the peaks are sampled
    await away.close()
    await _settle()
    expected = {
        "connections": 1,
        "live_connections": 1,
        "channels": 2,
        "sessions": 2,
        "subscribers": 3,
        "subscriptions": 6,
        "suboptions": 6,
        "subscriptions.shared": 3,
        "routes": 4,
        "topics": 4,
        "retained": 1,
        "resources": 0,
    }
    assert _now(broker) == expected
    await here.unsubscribe("a", "$share/g/a", "$queue/c", "b/#")
    await here.publish("kept", b"", qos=1, retain=True)
    await here.disconnect()
    await trio.sleep(12)
    assert set(_now(broker).values()) == {0}
    highest = {name: broker.node.stats()[f"{name}.max"] for name in GAUGES}
    assert highest == {**expected, "connections": 2, "live_connections": 2}


async def test_peaks_are_seen_when_nobody_asks(broker: TestBroker) -> None:
    clients = [await broker.client(f"c{number}") for number in range(5)]
    await trio.sleep(1.5)
    for client in clients:
        await client.disconnect()
    await trio.sleep(10)
    assert broker.node.stats()["connections.max"] == 5
    assert broker.node.stats()["connections.count"] == 0


async def test_faults_are_among_the_metrics_once_there_are_any(broker: TestBroker) -> None:
    assert "hook.crashed" not in broker.node.metrics
    broker.node.broker.metrics.hook_crashed += 1
    assert broker.node.metrics["hook.crashed"] == 1
    assert any("hook.crashed" in line for line in await broker.ctl("broker metrics"))
