"""Sessions with an expiry outlive the process: what is acknowledged is there after a crash, and nothing is acknowledged
before it is. A crash is a copy of what the store had committed at that moment."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
from durable_helpers import HeldStore, broker_on, silent, turns
from session_helpers import props

from trioemqx.codec.control import Disconnect
from trioemqx.codec.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, make_publish
from trioemqx.core.journal import TABLES
from trioemqx.node import open_broker
from trioemqx.testing import OPEN_CONFIG, Closed, Refused, Will
from trioemqx.types import Message, SubOpts


@pytest.fixture
def store():
    return HeldStore()


async def absent(broker, clientid="sub", topic="t", qos=1, **more):
    """A client with a session of an hour that subscribes and goes."""
    client = await broker.client(clientid, subscribe=topic, qos=qos, expiry=3600, **more)
    await client.disconnect()


async def back(broker, clientid="sub", expiry=3600, **more):
    """The client again, with its session."""
    return await broker.client(clientid, clean_start=False, expiry=expiry, **more)


async def messages(client, count):
    return [(await client.message())[1] for _ in range(count)]


@asynccontextmanager
async def started(store, monkeypatch, wall, later):
    """A node whose wall clock shows `later` seconds more than `wall`."""
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    async with open_broker(dict(OPEN_CONFIG), wall=lambda: wall() + later, in_memory=True) as node:
        yield node


def left(store):
    return {name: len(store.table(name)) for name in TABLES if store.table(name)}


# -- nothing is acknowledged before it is safe -------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_puback_waits_for_the_commit(store, monkeypatch, version, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        publisher = await broker.client("pub", version=version)
        store.held = True
        await publisher.send(make_publish("t", b"1", 1, False, False, 7))
        assert await silent(publisher)
        store.settle()
        assert (await publisher.ack(PUBACK, 7)).code == 0


async def test_what_follows_keeps_its_place_behind_it(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        publisher = await broker.client("pub", subscribe="other")
        store.held = True
        await publisher.send(make_publish("t", b"1", 1, False, False, 7))
        await publisher.send(make_publish("other", b"2"))
        await turns()
        await publisher.send(make_publish("t", b"3", 1, False, False, 8))
        await turns()
        assert await silent(publisher)
        assert len(store.waiting_batches) == 2
        store.settle()
        kinds = [type(await publisher.receive()) for _ in range(3)]
        assert kinds == [Ack, Publish, Ack]


async def test_sessions_without_expiry_do_not_wait_and_write_nothing(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        store.held = True
        subscriber = await broker.client("sub", subscribe="t", qos=2)
        publisher = await broker.client("pub")
        assert await publisher.publish("t", b"1", qos=1) == 0
        assert await publisher.publish("t", b"2", qos=2) == 0
        assert await messages(subscriber, 2) == [b"1", b"2"]
        await subscriber.unsubscribe("t")
        assert not any(table in TABLES for changes, _ in store.waiting_batches for table, _, _ in changes)


async def test_connack_suback_and_unsuback_wait(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        client = await broker.client("c", expiry=60)
        for act in (lambda: client.subscribe("t"), lambda: client.unsubscribe("t")):
            store.held = True

            async with trio.open_nursery() as nursery:
                done = []

                async def run(act=act, done=done):
                    await act()
                    done.append(True)

                nursery.start_soon(run)
                await turns()
                assert not done
                store.settle()
                store.held = False
        store.held = True
        other = await broker.raw()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: other.connect("d", properties=props(session_expiry_interval=60)))
            await turns()
            assert other.connack is None
            store.settle()
        assert other.connack.code == 0


async def test_a_retained_message_is_safe_before_its_puback(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        publisher = await broker.client("pub")
        store.held = True
        await publisher.send(make_publish("r", b"kept", 1, True, False, 7))
        assert await silent(publisher)
        store.settle()
        await publisher.ack(PUBACK, 7)
        assert len(store.table("retained")) == 1


# -- what a crash leaves -----------------------------------------------------------------------------------------------


async def test_session_subscriptions_and_queue_come_back_in_order(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker, username="alice")
        publisher = await broker.client("pub")
        for number in range(5):
            properties = props(user_property=[("n", str(number))], correlation_data=b"\x00\xff")
            await publisher.publish("t", b"%d" % number, qos=1, properties=properties)
        await publisher.publish("t", b"not promised", qos=0)
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        assert broker.node.find("sub").info.username == "alice"
        await (await broker.client("pub")).publish("t", b"5", qos=1)
        client = await back(broker, username="alice")
        assert client.connack.session_present
        first = await client.receive_publish()
        assert (first.payload, first.qos, first.dup) == (b"0", 1, False)
        assert first.properties.user_property == [("n", "0")]
        assert first.properties.correlation_data == b"\x00\xff"
        assert await messages(client, 5) == [b"1", b"2", b"3", b"4", b"5"]
        assert await client.nothing()
        assert left(after) == {"sessions": 1, "subscriptions": 1}


async def test_what_was_in_flight_comes_again(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        client = await broker.client("sub", subscribe="t", qos=1, expiry=3600)
        client.auto_ack = False
        await (await broker.client("pub")).publish("t", b"1", qos=1)
        assert (await client.receive_publish()).payload == b"1"
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        assert await messages(await back(broker), 1) == [b"1"]


async def test_what_was_acknowledged_does_not(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        client = await broker.client("sub", subscribe="t", qos=1, expiry=3600)
        await (await broker.client("pub")).publish("t", b"1", qos=1)
        assert await messages(client, 1) == [b"1"]
        await client.ping()
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        assert await (await back(broker)).nothing()


async def test_a_message_for_many_is_kept_until_the_last_has_it(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        for name in "abc":
            await absent(broker, name)
        publisher = await broker.client("pub")
        await publisher.publish("t", b"1", qos=1)
        await publisher.publish("t", b"2", qos=1)
        assert left(store)["messages"] == 2
        client = await back(broker, "a")
        assert await messages(client, 2) == [b"1", b"2"]
        await client.ping()
        assert (left(store)["messages"], left(store)["queue"]) == (2, 4)
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        assert await (await back(broker, "a")).nothing()
        for name in "bc":
            client = await back(broker, name)
            assert await messages(client, 2) == [b"1", b"2"]
            await client.ping()
        assert left(after) == {"sessions": 3, "subscriptions": 3}


async def test_subscription_options_share_groups_and_exclusive_topics_come_back(store, monkeypatch, autojump_clock):
    config = {"zone": {"default": {"exclusive_subscription": True}}}
    async with broker_on(store, monkeypatch, config) as broker:
        client = await broker.client("sub", expiry=3600)
        await client.subscribe("a/+", opts=SubOpts(2, nl=True, rap=True, rh=2), identifier=9)
        await client.subscribe("$share/g/b", qos=1)
        await client.subscribe("$exclusive/c", qos=1)
        await client.subscribe("gone", qos=1)
        await client.unsubscribe("gone")
        after = store.crashed()
    async with broker_on(after, monkeypatch, config) as broker:
        kept = broker.node.find("sub").subscriptions
        assert sorted(kept) == ["$share/g/b", "a/+", "c"]
        assert kept["a/+"].opts == SubOpts(2, nl=True, rap=True, rh=2, identifier=9)
        other = await broker.client("other")
        assert await other.subscribe("$exclusive/c") == [0x97]
        client = await back(broker)
        assert await client.unsubscribe("a/+", "$share/g/b", "gone") == [0, 0, 0x11]
        assert len(after.table("subscriptions")) == 1


# -- QoS 2 -------------------------------------------------------------------------------------------------------------


async def test_a_publisher_that_repeats_after_a_crash_is_not_heard_twice(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker, qos=2)
        publisher = await broker.client("pub", expiry=3600)
        store.held = True
        await publisher.send(make_publish("t", b"once", 2, False, False, 7))
        assert await silent(publisher)
        store.settle()
        assert (await publisher.ack(PUBREC, 7)).code == 0
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        publisher = await back(broker, "pub")
        await publisher.send(make_publish("t", b"once", 2, False, True, 7))
        assert (await publisher.ack(PUBREC, 7)).code == 0
        after.held = True
        await publisher.send(Ack(PUBREL, 7))
        assert await silent(publisher), "PUBCOMP waits for the identifier to be free on disk"
        after.settle()
        after.held = False
        await publisher.ack(PUBCOMP, 7)
        client = await back(broker)
        assert await messages(client, 1) == [b"once"]
        assert await client.nothing()
        assert left(after) == {"sessions": 2, "subscriptions": 1}


async def test_a_qos_2_message_is_sent_when_its_identifier_is_safe_and_again_under_the_same(
    store, monkeypatch, autojump_clock
):
    async with broker_on(store, monkeypatch) as broker:
        client = await broker.client("sub", subscribe="t", qos=2, expiry=3600)
        client.auto_ack = False
        publisher = await broker.client("pub")
        store.held = True
        await publisher.send(make_publish("t", b"once", 2, False, False, 7))
        assert await silent(client)
        store.settle()
        first = await client.receive_publish()
        store.held = False
        await publisher.ack(PUBREC, 7)
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        client = await back(broker)
        client.auto_ack = False
        again = await client.receive_publish()
        assert (again.packet_id, again.dup, again.payload) == (first.packet_id, True, b"once")
        after.held = True
        await client.send(Ack(PUBREC, again.packet_id))
        assert await silent(client), "PUBREL waits"
        after.settle()
        await client.ack(PUBREL, again.packet_id)
        last = after.crashed()
    async with broker_on(last, monkeypatch) as broker:
        client = await back(broker)
        released = await client.receive()
        assert (released.kind, released.packet_id) == (PUBREL, first.packet_id)
        await client.send(Ack(PUBCOMP, first.packet_id))
        await client.ping()
        assert left(last) == {"sessions": 1, "subscriptions": 1}


# -- a store that fails ------------------------------------------------------------------------------------------------


async def test_a_failed_commit_ends_the_connection_and_never_says_yes(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        watcher = await broker.client("watcher", subscribe="free")
        clients = [await broker.client(f"pub{version}", version=version) for version in (4, 5)]
        store.held = True
        for client in clients:
            await client.send(make_publish("t", b"1", 1, False, False, 7))
        await turns()
        store.fail()
        assert await clients[0].closed() is None
        assert await clients[1].closed() == 0x97
        # While it lasts: refused at once; what need not be written goes on.
        client = await broker.client("pub", expiry=0)
        assert await client.publish("t", b"2", qos=1) == 0x97
        assert await client.publish("t", b"2", qos=2) == 0x97
        assert await client.publish("free", b"3", qos=1) == 0
        assert await watcher.message() == ("free", b"3")
        with pytest.raises(Refused) as refused:
            await broker.client("new", expiry=60)
        assert refused.value.connack.code == 0x97
        old = await broker.client("old", version=4)
        with pytest.raises(Closed):
            await old.publish("t", b"2", qos=1)
        store.held = False
        store.settle()
        await turns()

        await trio.sleep(2)
        assert await client.publish("t", b"4", qos=1) == 0
        assert await messages(await back(broker), 3) == [b"1", b"1", b"4"]


async def test_a_connack_that_cannot_be_said_becomes_a_refusal(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        store.held = True
        client = await broker.raw()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_soon, store)
            with pytest.raises(Refused) as refused:
                await client.connect("c", properties=props(session_expiry_interval=60))
        assert refused.value.connack.code == 0x97


async def test_a_session_whose_connack_was_refused_is_none(store, monkeypatch, autojump_clock):
    """A client that never heard of it would have to end a connection that resumes it [MQTT-3.2.2-4]."""
    async with broker_on(store, monkeypatch) as broker:
        store.held = True
        client = await broker.raw()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_soon, store)
            with pytest.raises(Refused):
                await client.connect("c", properties=props(session_expiry_interval=60))
        store.held = False
        store.settle()
        await trio.sleep(2)
        again = await broker.raw()
        connack = await again.connect("c", clean_start=False, properties=props(session_expiry_interval=60))
        assert not connack.session_present
        await again.disconnect()
        await turns()
        assert left(store) == {"sessions": 1}


async def test_a_clean_start_is_refused_while_a_crash_would_bring_the_old_session_back(
    store, monkeypatch, autojump_clock
):
    """Also the second time, when the session is gone from memory and its end still waits for the disk: the client would
    use packet identifiers anew that the old session, after a crash, takes for a repetition."""
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        store.held = True
        for _ in range(3):
            client = await broker.raw()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_soon, store)
                with pytest.raises(Refused) as refused:
                    await client.connect("sub", clean_start=True)
            assert refused.value.connack.code == 0x97
        free = await broker.client("somebody else")
        await free.disconnect()
        store.held = False
        store.settle()
        await trio.sleep(2)
        client = await broker.client("sub", clean_start=True)
        await client.disconnect()
        assert left(store) == {}
        assert broker.node.broker.journal.ending == {}


async def fail_soon(store):
    await turns()
    store.fail()


# -- the end of sessions -----------------------------------------------------------------------------------------------


async def test_clean_start_and_expiry_0_remove_every_row(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        for again in ({"clean_start": True}, {"clean_start": False, "expiry": 0}):
            await absent(broker, qos=2)
            await (await broker.client("pub")).publish("t", b"1", qos=2)
            assert left(store) == {"sessions": 1, "subscriptions": 1, "messages": 1, "queue": 1}
            client = await broker.client("sub", **again)
            await client.disconnect()
            await turns()
            assert left(store) == {}


async def test_a_session_that_gets_an_expiry_is_kept_with_all_it_has(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        client = await broker.client("sub", subscribe="t", qos=2)
        client.auto_ack = False
        publisher = await broker.client("pub")
        await publisher.publish("t", b"1", qos=1)
        await publisher.publish("t", b"2", qos=2)
        assert left(store) == {}
        await back(broker, "sub")
        assert left(store) == {"sessions": 1, "subscriptions": 1, "messages": 2, "queue": 2}
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        assert sorted(await messages(await back(broker), 2)) == [b"1", b"2"]


async def test_expiry_goes_on_while_the_broker_is_down(store, monkeypatch, autojump_clock):

    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        await turns()
        after = store.crashed()
    async with started(after, monkeypatch, broker.node.wall, 3000) as node:
        assert node.find("sub") is not None
        await trio.sleep(550)
        assert node.find("sub") is not None
        await trio.sleep(100)
        assert node.find("sub") is None
        await turns()
        assert left(after) == {}


@pytest.mark.parametrize("jump", [-3600, 3600, -315_360_000, 315_360_000])
async def test_a_clock_that_jumps_neither_ends_all_sessions_nor_makes_them_eternal(
    store, monkeypatch, jump, autojump_clock
):

    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        await turns()
        after = store.crashed()
    async with started(after, monkeypatch, broker.node.wall, jump) as node:
        assert node.find("sub") is not None
        await trio.sleep(29)
        assert node.find("sub") is not None
        await trio.sleep(3700)
        assert node.find("sub") is None


# -- wills -------------------------------------------------------------------------------------------------------------


def will(payload=b"gone", delay=None):
    return Will("will", payload, 1, False, None if delay is None else props(will_delay_interval=delay))


async def test_a_will_waits_for_its_client_after_a_crash_and_is_published_once(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        for name, delay in (("stays", None), ("slow", 100), ("returns", None)):
            await broker.client(name, expiry=3600, will=will(name.encode(), delay))
        leaves = await broker.client("leaves", expiry=3600, will=will(b"leaves"))
        await leaves.disconnect()
        await turns()
        after = store.crashed()

    async with broker_on(after, monkeypatch) as broker:
        watcher = await broker.client("watcher", subscribe="will")
        await back(broker, "returns")
        assert await watcher.nothing(29)
        await trio.sleep(3)
        assert await watcher.message() == ("will", b"stays")
        assert await watcher.nothing(60)
        await trio.sleep(15)
        assert await watcher.message() == ("will", b"slow")
        assert await watcher.nothing(100)
        last = after.crashed()
    async with broker_on(last, monkeypatch) as broker:
        watcher = await broker.client("watcher", subscribe="will")
        assert await watcher.nothing(20)


async def test_a_stop_in_good_order_keeps_everything_and_defers_wills(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        watcher = await broker.client("watcher", subscribe="will", qos=1, expiry=3600)
        client = await broker.client("c", expiry=3600, will=will())
        await client.publish("t", b"1", qos=1)
        broker.node.stop()
        assert await client.closed() == 0x8B
        assert await watcher.closed() == 0x8B
        assert watcher.inbox == []
    async with broker_on(store, monkeypatch) as broker:
        watcher = await back(broker, "watcher")
        assert watcher.connack.session_present
        assert await messages(await back(broker), 1) == [b"1"]
        assert await watcher.nothing(29)

        await trio.sleep(3)
        assert await watcher.message() == ("will", b"gone")


# -- bounds ------------------------------------------------------------------------------------------------------------


async def test_a_full_queue_drops_on_disk_too(store, monkeypatch, autojump_clock):
    config = {"zone": {"default": {"max_mqueue_len": 3, "max_inflight": 2}}}
    async with broker_on(store, monkeypatch, config) as broker:
        client = await broker.client("sub", subscribe="t", qos=1, expiry=3600)
        client.auto_ack = False
        publisher = await broker.client("pub")
        for number in range(7):
            await publisher.publish("t", b"%d" % number, qos=1)
        assert left(store)["messages"] == 5
        after = store.crashed()
    async with broker_on(after, monkeypatch, config) as broker:
        client = await back(broker)
        assert await messages(client, 5) == [b"0", b"1", b"4", b"5", b"6"], "in flight and queued, all that was kept"


async def test_publishers_are_read_more_slowly_while_the_store_is_behind(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        publisher = await broker.client("pub")
        store.room = 10
        store.held = True

        async with trio.open_nursery() as nursery:

            async def flood():
                for number in range(1, 501):
                    await publisher.send(make_publish("t", b"x", 1, False, False, number))
                    await trio.lowlevel.checkpoint()

            nursery.start_soon(flood)
            await trio.sleep(0.5)
            assert store.pending() < 200
            store.held = False
            store.settle()
        for number in range(1, 501):
            await publisher.ack(PUBACK, number)


async def test_a_store_without_room_gets_everything_later(store, monkeypatch, autojump_clock):
    config = {"zone": {"default": {"max_mqueue_len": 3}}}
    async with broker_on(store, monkeypatch, config) as broker:
        await absent(broker)
        await absent(broker, "other")
        publisher = await broker.client("pub")
        await turns()
        store.full = True
        await publisher.send(make_publish("t", b"not acknowledged", 1, False, False, 7))
        assert await publisher.closed() == 0x97
        for number in range(200):
            broker.node.publish(Message("t", b"%d" % number, qos=1))
            await turns()
        assert len(broker.node.session_store._left) == 9, "what came and went meanwhile takes no room"
        store.full = False
        await trio.sleep(2)
        assert not broker.node.session_store._left
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        for name in ("sub", "other"):
            assert await messages(await back(broker, name), 3) == [b"197", b"198", b"199"]


async def test_a_connection_that_waits_for_the_disk_is_not_a_slow_one(store, monkeypatch, autojump_clock):
    config = {"zone": {"default": {"conn_congestion": {"alarm": True}}}}
    async with broker_on(store, monkeypatch, config) as broker:
        await absent(broker)
        publisher = await broker.client("pub", subscribe="x")
        store.held = True
        await publisher.send(make_publish("t", b"1", 1, False, False, 7))
        await trio.sleep(60)
        assert broker.alarms() == {}
        broker.node.publish(Message("x", b"behind it"))
        store.settle()
        assert (await publisher.ack(PUBACK, 7)).code == 0
        assert await publisher.message() == ("x", b"behind it")


async def test_a_client_that_leaves_while_the_broker_stops_has_no_will_afterwards(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        client = await broker.client("c", expiry=3600, will=will())
        await client.send(Disconnect(0))
        broker.node.stop()
    async with broker_on(store, monkeypatch) as broker:
        assert broker.node.find("c").will is None


async def test_rows_that_cannot_be_read_are_left_out(store, monkeypatch, caplog, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        broker.node.publish(Message("t", b"good", qos=1))
        await turns()
        after = store.crashed()
    after._tables["sessions"]["bad"] = "{}"
    after._tables["subscriptions"]["nobody:00000000000000aa"] = "{}"
    async with broker_on(after, monkeypatch) as broker:
        assert broker.node.session_store.refused == 1
        client = await back(broker)
        assert await messages(client, 1) == [b"good"]
        await client.ping()
        assert left(after) == {"sessions": 1, "subscriptions": 1}
    assert "cannot be read and is left out" in caplog.text


# -- a disk that takes its time, a clock that is set -------------------------------------------------------------------


async def test_so_many_messages_of_one_client_wait_for_the_disk_and_no_more_are_read(
    store, monkeypatch, autojump_clock
):
    async with broker_on(store, monkeypatch, {"store": {"max_pending_publishes": 10}}) as broker:
        await absent(broker)
        publisher = await broker.client("pub")
        other = await broker.client("other")
        store.held = True
        for number in range(1, 31):
            await publisher.send(make_publish("t", b"%d" % number, 1, False, False, number))
        await trio.sleep(20)
        assert len(broker.node.find("sub").mqueue) == 10
        assert await other.publish("nobody", b"x", qos=1) == 16, "others go on"
        for _ in range(3):
            store.settle()
            await turns()
        for number in range(1, 31):
            assert (await publisher.ack(PUBACK, number)).code == 0
        assert len(broker.node.find("sub").mqueue) == 30


async def test_a_client_that_is_held_keeps_its_connection_and_its_rate_limit(store, monkeypatch, autojump_clock):
    config = {"store": {"max_pending_publishes": 2}, "zone": {"default": {"rate_limit": {"conn_messages_in": "4,10s"}}}}
    async with broker_on(store, monkeypatch, config) as broker:
        await absent(broker)
        publisher = await broker.client("pub", keepalive=2)
        store.held = True
        for number in range(1, 7):
            await publisher.send(make_publish("t", b"%d" % number, 1, False, False, number))
        await trio.sleep(60)
        assert len(broker.node.find("sub").mqueue) == 2
        store.held = False
        store.settle()
        for number in range(1, 7):
            await publisher.ack(PUBACK, number)


async def test_a_commit_that_takes_ten_seconds_delays_its_own_and_nobody_else(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        publisher = await broker.client("pub")
        listener = await broker.client("clean", subscribe="other")
        store.held = True
        began = trio.current_time()
        await publisher.send(make_publish("t", b"1", 1, False, False, 7))
        for number in range(10):
            await (await broker.client(f"clean {number}")).publish("other", b"%d" % number, qos=1)
            await trio.sleep(1)
        assert await messages(listener, 10) == [b"%d" % number for number in range(10)]
        assert broker.node.find("pub").channel.out.promised() == 1
        store.settle()
        await publisher.ack(PUBACK, 7)
        assert trio.current_time() - began >= 10


async def test_a_commit_that_comes_late_finds_nobody_and_is_kept(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch) as broker:
        await absent(broker)
        publisher = await broker.client("pub")
        store.held = True
        await publisher.send(make_publish("t", b"1", 1, False, False, 7))
        await turns()
        await publisher.close()
        await trio.sleep(10)
        store.settle()
        store.held = False
        await turns()
        after = store.crashed()
    async with broker_on(after, monkeypatch) as broker:
        assert await messages(await back(broker), 1) == [b"1"]


@pytest.mark.parametrize("jump", [-315_360_000, -3600, 3600, 315_360_000])
async def test_a_clock_that_is_set_makes_no_message_older_or_younger(store, monkeypatch, jump, autojump_clock):
    expiring = props(message_expiry_interval=100)
    steps = [0.0]
    config = {**OPEN_CONFIG, "store": {"queue_window": 1}}
    monkeypatch.setattr("trioemqx.node.make_store", lambda *_: store)
    async with broker_on(store, monkeypatch, config) as broker:
        wall = broker.node.session_store._jumps._wall
        broker.node.session_store._jumps._wall = lambda: wall() + steps[0]
        await absent(broker)
        for number in range(10):
            broker.node.publish(Message("t", b"%d" % number, qos=1, properties=expiring.copy()))
        await turns()
        steps[0] += jump
        await trio.sleep(50)
        client = await back(broker)
        for number in range(10):
            message = await client.receive_other(keep=False)
            assert message.payload == b"%d" % number
            assert message.properties.message_expiry_interval in (49, 50)
