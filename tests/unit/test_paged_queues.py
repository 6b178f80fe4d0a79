"""Queues of which only the beginning is in memory: from outside nobody can tell, except by the memory."""

from __future__ import annotations

import attrs
import pytest
import trio
from durable_helpers import HeldStore, broker_on, turns
from hypothesis import given, settings
from hypothesis import strategies as st

from trioemqx.codec.packets import PUBACK, PUBREC, PUBREL, Ack, Publish
from trioemqx.types import Message, Properties

SMALL = {"store": {"queue_window": 4}}


def limits(**zone):
    return {**SMALL, "zone": {"default": zone}}


@pytest.fixture
def store():
    return HeldStore()


async def absent(broker, clientid="sub", topic="t/#", **more):
    client = await broker.client(clientid, subscribe=topic, qos=2, expiry=3600, **more)
    await client.disconnect()
    await turns()


async def back(broker, clientid="sub", **more):
    return await broker.client(clientid, clean_start=False, expiry=3600, **more)


def publish(broker, first, end, topic="t/a", qos=1, properties=None):
    for number in range(first, end):
        message = Message(topic, b"%d" % number, qos=qos)
        message.properties = properties
        broker.node.publish(message)


async def numbers(client, count):
    return [int((await client.message())[1]) for _ in range(count)]


def queue(broker, clientid="sub"):
    return broker.node.broker.find(clientid).mqueue


def in_memory(broker, clientid="sub"):
    return len(queue(broker, clientid).items())


async def test_a_long_queue_is_on_disk_and_comes_back_in_order(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker)
        publish(broker, 0, 300)
        await turns()
        assert (len(queue(broker)), in_memory(broker)) == (300, 4)
        client = await back(broker)
        assert await numbers(client, 300) == list(range(300))
        await client.ping()
        assert queue(broker) is None
        assert not store.table("messages")
        assert not store.table("queue")


async def test_what_comes_while_it_is_read_comes_after_it(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, limits(max_inflight=3)) as broker:
        await absent(broker)
        publish(broker, 0, 100)
        client = await back(broker)
        seen = []
        for number in range(100, 200):
            publish(broker, number, number + 1)
            seen += await numbers(client, 1)
        seen += await numbers(client, 100)
        assert seen == list(range(200))


async def test_after_a_restart_only_the_number_is_known(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker)
        publish(broker, 0, 50)
        await turns()
        size = queue(broker).bytes
        after = store.crashed()
    async with broker_on(after, monkeypatch, SMALL) as broker:
        assert (len(queue(broker)), in_memory(broker), queue(broker).bytes) == (50, 0, size)
        publish(broker, 50, 60)
        await turns()
        assert (len(queue(broker)), in_memory(broker)) == (60, 0)
        assert await numbers(await back(broker), 60) == list(range(60))


async def test_a_full_queue_loses_the_oldest_also_from_the_disk(store, monkeypatch, autojump_clock):
    config = limits(max_mqueue_len=20)
    async with broker_on(store, monkeypatch, config) as broker:
        await absent(broker)
        publish(broker, 0, 20)
        await turns()
        after = store.crashed()
    async with broker_on(after, monkeypatch, config) as broker:
        lost = broker.node.broker.metrics.delivery_dropped_queue_full
        publish(broker, 20, 45)
        assert (len(queue(broker)), queue(broker).dropped) == (20, 25)
        await turns()
        assert broker.node.broker.metrics.delivery_dropped_queue_full - lost == 25
        assert len(after.table("queue")) == 20
        assert len(after.table("messages")) == 20
        assert queue(broker).bytes == sum(len("t/a") + 2 for _ in range(20))
        assert await numbers(await back(broker), 20) == list(range(25, 45))


async def test_qos_0_goes_first_when_the_rest_is_on_disk(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, limits(max_mqueue_len=10)) as broker:
        await absent(broker)
        publish(broker, 0, 8)
        publish(broker, 8, 10, qos=0)
        publish(broker, 10, 13)
        await turns()
        client = await back(broker)
        assert sorted(await numbers(client, 10)) == [1, 2, 3, 4, 5, 6, 7, 10, 11, 12]


async def test_bytes_are_bounded_with_those_on_disk(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, limits(max_mqueue_len=0, max_mqueue_bytes="10KB")) as broker:
        await absent(broker)
        for number in range(100):
            broker.node.publish(Message("t/a", b"%03d" % number + bytes(997), qos=1))
            await turns()
        assert queue(broker).bytes <= 10240
        assert len(queue(broker)) == len(store.table("queue")) == 10


async def test_without_a_limit_everything_is_kept(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, limits(max_mqueue_len=0)) as broker:
        await absent(broker)
        publish(broker, 0, 1200)
        await turns()
        assert (len(queue(broker)), in_memory(broker)) == (1200, 4)
        assert await numbers(await back(broker), 1200) == list(range(1200))


async def test_expired_messages_on_disk_are_counted_when_their_turn_comes(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker)
        short = Properties()
        short.message_expiry_interval = 5
        publish(broker, 0, 10)
        publish(broker, 10, 20, properties=short)
        publish(broker, 20, 30)
        await trio.sleep(10)
        client = await back(broker)
        assert await numbers(client, 20) == [*range(10), *range(20, 30)]
        await client.ping()
        assert broker.node.broker.metrics.delivery_dropped_expired == 10
        assert not store.table("queue")


async def test_priorities_hold_for_what_is_on_disk(store, monkeypatch, autojump_clock):
    config = limits(mqueue_priorities={"t/high": 10, "t/low": 1}, mqueue_default_priority="lowest")
    async with broker_on(store, monkeypatch, config) as broker:
        await absent(broker)
        for number in range(30):
            publish(broker, number, number + 1, "t/low")
            publish(broker, 100 + number, 101 + number, "t/high")
        await turns()
        after = store.crashed()
        seen = await numbers(await back(broker), 60)
        assert seen[:30] == list(range(100, 130))
        assert seen[30:] == list(range(30))
    async with broker_on(after, monkeypatch, config) as broker:
        assert len(queue(broker)) == 60
        assert await numbers(await back(broker), 60) == seen


async def test_a_client_that_leaves_takes_no_more_memory_than_an_absent_one(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, limits(max_inflight=1)) as broker:
        client = await broker.client("sub", subscribe="t/#", qos=2, expiry=3600)
        client.auto_ack = False
        publish(broker, 0, 200)
        await turns()
        assert in_memory(broker) == 199
        await client.close()
        await turns()
        assert (in_memory(broker), len(queue(broker))) == (4, 199)
        client = await back(broker)
        assert await numbers(client, 200) == list(range(200))


async def test_one_payload_for_many_goes_when_the_last_has_it(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        for name in "abc":
            await absent(broker, name)
        publish(broker, 0, 20)
        await turns()
        assert (len(store.table("messages")), len(store.table("queue"))) == (20, 60)
        for name, left in (("a", 20), ("b", 20), ("c", 0)):
            client = await back(broker, name)
            assert await numbers(client, 20) == list(range(20))
            await client.ping()
            assert len(store.table("messages")) == left


async def test_an_ended_session_leaves_nothing_and_gives_shared_messages_to_others(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker, "sub", "$share/g/t/#")
        await absent(broker, "own", "t/#")
        publish(broker, 0, 40)
        await turns()
        other = await broker.client("other", subscribe="$share/g/t/#", qos=1)
        await (await broker.client("sub", clean_start=True)).disconnect()
        await (await broker.client("own", clean_start=True)).disconnect()
        assert sorted(await numbers(other, 40)) == list(range(40))
        await turns()
        assert not store.table("queue")
        assert not store.table("messages")


async def test_a_crash_while_an_ended_session_is_cleared_away_is_no_harm(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker)
        publish(broker, 0, 40)
        await turns()
        after = store.crashed()
        after._tables["sessions"].clear()
        after._tables["subscriptions"].clear()
    async with broker_on(after, monkeypatch, SMALL) as broker:
        await turns()
        assert not after.table("queue")
        assert not after.table("messages")


async def test_a_client_that_comes_back_without_expiry_gets_its_queue(store, monkeypatch, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker)
        publish(broker, 0, 40)
        client = await broker.client("sub", clean_start=False, expiry=0)
        assert await numbers(client, 40) == list(range(40))
        await client.disconnect()
        await turns()
        assert not store.table("queue")


UNLIMITED = {"max_mqueue_len": 0, "max_mqueue_bytes": 0, "max_inflight": 1}


async def test_what_is_on_disk_only_is_no_reason_to_end_a_client(store, monkeypatch, autojump_clock):
    """`force_shutdown_policy` is about memory."""
    async with broker_on(store, monkeypatch, limits(force_shutdown_policy="800|64MB", **UNLIMITED)) as broker:
        await absent(broker)
        publish(broker, 0, 900)
        await turns()
        client = await back(broker)
        await trio.sleep(3)
        assert len(queue(broker)) == 899
        assert in_memory(broker) < 800
        assert await numbers(client, 900) == list(range(900))


async def test_who_has_too_much_in_memory_is_cut_off_and_loses_nothing_that_is_on_disk(
    store, monkeypatch, autojump_clock
):
    async with broker_on(store, monkeypatch, limits(force_shutdown_policy="100|64MB", **UNLIMITED)) as broker:
        await absent(broker)
        publish(broker, 0, 400)
        await turns()
        await back(broker)
        await trio.sleep(3)
        assert broker.node.broker.find("sub").channel is None
        assert (len(queue(broker)), in_memory(broker)) == (399, 4)
        assert await numbers(await back(broker), 400) == list(range(400))


async def test_rows_that_are_not_there_are_not_waited_for(store, monkeypatch, caplog, autojump_clock):
    async with broker_on(store, monkeypatch, SMALL) as broker:
        await absent(broker)
        publish(broker, 0, 40)
        await turns()
        keys = sorted(store.table("queue"))
        for key in keys[10:20]:
            del store._tables["queue"][key]
        for key in sorted(store.table("messages"))[30:32]:
            store._tables["messages"][key] = '{"topic":1}'
        client = await back(broker)
        assert await numbers(client, 28) == [*range(10), *range(20, 30), *range(32, 40)]
        publish(broker, 40, 41)
        assert await numbers(client, 1) == [40]
        await turns()
        assert queue(broker) is None
    assert "cannot be read and is left out" in caplog.text


# -- in flight at a crash ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [4, 5])
async def test_what_was_sent_before_a_crash_comes_again_with_dup_and_its_identifier(
    store, monkeypatch, version, autojump_clock
):
    again = {"clean_start": False, "version": version} | ({"expiry": 3600} if version == 5 else {})
    async with broker_on(store, monkeypatch, SMALL) as broker:
        client = await broker.client("sub", subscribe="t/#", qos=2, **again)
        client.auto_ack = False
        publish(broker, 0, 3, qos=1)
        publish(broker, 3, 6, qos=2)
        sent = [await client.receive_other(keep=False) for _ in range(6)]
        await client.send(Ack(PUBACK, sent[1].packet_id))
        await client.send(Ack(PUBREC, sent[4].packet_id))
        await client.receive_other()
        after = store.crashed()
    async with broker_on(after, monkeypatch, SMALL) as broker:
        client = await broker.client("sub", **again)
        client.auto_ack = False
        repeated = [await client.receive_other(keep=False) for _ in range(5)]
        publishes = [packet for packet in repeated if isinstance(packet, Publish)]
        wanted = [(one.packet_id, bytes(one.payload)) for one in sent if one not in (sent[1], sent[4])]
        assert [(one.packet_id, bytes(one.payload)) for one in publishes] == wanted
        assert all(one.dup for one in publishes)
        released = [packet for packet in repeated if isinstance(packet, Ack)]
        assert [(one.kind, one.packet_id) for one in released] == [(PUBREL, sent[4].packet_id)]
        publish(broker, 6, 7)
        new = await client.receive_other(keep=False)
        assert not new.dup
        assert new.packet_id not in {one.packet_id for one in publishes}


# -- made-up histories -------------------------------------------------------------------------------------------------

STEPS = ("publish", "publish", "publish many", "qos 0", "leave", "come", "hold", "settle", "crash")


@attrs.define
class Model:
    """What a queue of 20 with nothing on disk would do with QoS 1 messages for one client that reads in order."""

    number: int = 0
    waiting: list[int] = attrs.field(factory=list)


async def live(steps):
    store, model, seen, sent = HeldStore(), Model(), [], []
    config = limits(max_mqueue_len=20)
    with pytest.MonkeyPatch.context() as monkeypatch:
        left = [*steps, "settle", "come"]
        while left:
            async with broker_on(store, monkeypatch, config) as broker:
                client = None
                if not broker.node.broker.find("sub"):
                    await absent(broker)
                while left and (step := left.pop(0)) != "crash":
                    if step.startswith("publish"):
                        count = 30 if step == "publish many" else 3
                        publish(broker, model.number, model.number + count)
                        sent += range(model.number, model.number + count)
                        if client is None:
                            model.waiting += range(model.number, model.number + count)
                            model.waiting = model.waiting[-20:]
                        model.number += count
                    elif step == "leave" and client is not None:
                        await client.disconnect()
                        client = None
                    elif step == "come" and client is None:
                        if store.held:
                            continue
                        client = await back(broker)
                    elif step in ("hold", "settle"):
                        store.held = step == "hold"
                        if not store.held:
                            store.settle()
                    await turns()
                    if client is not None:
                        with trio.move_on_after(0.1):
                            while True:
                                seen.append(int((await client.message())[1]))
                        model.waiting.clear()
                    else:
                        found = queue(broker)
                        assert (0 if found is None else len(found)) == len(model.waiting)
                        assert found is None or len(found.items()) <= 4
                store.held = False
                store.settle()
                await turns()
                after = store.crashed() if left else store
            store = after
    firsts = list(dict.fromkeys(seen))
    assert firsts == sorted(firsts)
    assert set(seen) <= set(sent)
    assert not store.table("queue")
    assert not store.table("messages")


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(STEPS), max_size=20))
def test_length_and_order_are_those_of_a_queue_in_memory(steps):
    trio.run(live, steps, clock=trio.testing.MockClock(autojump_threshold=0))
