"""What the operator hears of clients that do not read, and of tasks that keep the event loop: alarms, topics, ends."""

from __future__ import annotations

import json

import pytest
import trio

from trioemqx.services.loopwatch import LoopWatch
from trioemqx.testing import TestBroker
from trioemqx.types import Message

MB = 1024 * 1024


def active(broker: TestBroker) -> dict[str, object]:
    return {alarm.name: alarm for alarm in broker.node.alarms.active()}


async def fill(broker: TestBroker, count: int = 12) -> None:
    """More than the kernel takes for somebody who does not read."""
    for _ in range(count):
        broker.node.publish(Message("t", bytes(MB), 1))
        await trio.lowlevel.checkpoint()


class TestCongestion:
    @pytest.fixture
    def broker_config(self):
        return {"zone": {"default": {"conn_congestion": {"alarm": True, "min_alarm_sustain_duration": "10s"}}}}

    async def test_raised_and_cleared(self, broker):
        operator = await broker.client("op", subscribe="$SYS/brokers/+/alarms/#")
        slow = await broker.client("slow", subscribe="t", username="sam")
        await fill(broker)
        await trio.sleep(1.5)
        alarm = active(broker)["conn_congestion/slow/sam"]
        assert alarm.message == "connection congested: slow/sam"
        details = alarm.details
        assert details["clientid"] == "slow"
        assert details["username"] == "sam"
        assert details["proto_ver"] == 5
        assert details["send_pend"] > 0
        assert details["high_watermark"] == MB
        assert details["conn_state"] == "connected"
        topic, payload = await operator.message()
        assert topic.endswith("/alarms/activate")
        assert json.loads(payload)["name"] == "conn_congestion/slow/sam"
        for _ in range(12):
            await slow.message()
        await trio.sleep(5)
        assert "conn_congestion/slow/sam" in active(broker)  # it stays for a while, so that it does not flicker
        await trio.sleep(8)
        assert active(broker) == {}
        assert (await operator.message())[0].endswith("/alarms/deactivate")

    async def test_cleared_when_the_client_is_gone(self, broker):
        slow = await broker.client("slow", subscribe="t")
        await fill(broker)
        await trio.sleep(1.5)
        assert list(active(broker)) == ["conn_congestion/slow/unknown_user"]
        await slow.close()
        await trio.sleep(1.5)
        assert active(broker) == {}

    async def test_who_reads_is_no_alarm(self, broker):
        client = await broker.client("c", subscribe="t")
        for _ in range(5):
            broker.node.publish(Message("t", bytes(1000)))
            await client.message()
            await trio.sleep(1)
        assert active(broker) == {}
        assert broker.node.alarms.history() == []


async def test_no_alarm_unless_the_zone_wants_it(broker):
    await broker.client("slow", subscribe="t")
    await fill(broker)
    await trio.sleep(1.5)
    assert active(broker) == {}


class TestForcedShutdown:
    @pytest.fixture
    def broker_config(self):
        zone = {
            "force_shutdown_policy": "100|8MB",
            "max_mqueue_len": 0,
            "max_mqueue_bytes": 0,
            "max_inflight": 1,
            "max_packet_size": "64KB",
        }
        return {"zone": {"default": zone, "strict": {**zone, "max_mqueue_len": 1000, "max_mqueue_bytes": "16MB"}}}

    async def test_too_many_messages_in_a_queue_without_a_bound(self, broker):
        client = await broker.client("slow", subscribe="t", qos=1, expiry=100)
        client.auto_ack = False
        for _ in range(150):
            broker.node.publish(Message("t", b"x", 1))
        await trio.sleep(3)
        assert broker.node._inside["default"].shutdown_count == {"message_queue_too_long": 1}
        assert broker.node.find("slow") is None  # the queue is the session's

    async def test_too_many_bytes(self, broker):
        client = await broker.client("slow", subscribe="t", qos=1)
        client.auto_ack = False
        for _ in range(20):
            broker.node.publish(Message("t", bytes(MB), 1))
        await trio.sleep(3)
        assert broker.node._inside["default"].shutdown_count == {"proc_heap_too_large": 1}

    async def test_what_has_a_limit_of_its_own_is_left_to_that(self, broker):
        client = await broker.client("slow", subscribe="t", qos=1, zone="strict")
        client.auto_ack = False
        for _ in range(500):
            broker.node.publish(Message("t", bytes(20_000), 1))
        await trio.sleep(3)
        assert broker.node.find("slow") is not None
        assert broker.node._inside["strict"].shutdown_count == {}


class TestLoopWatch:
    async def test_a_long_step_is_told_once(self, autojump_clock):
        published: list[Message] = []
        now = [0.0]
        watch = LoopWatch(published.append, "n@h", 0.24, lambda: now[0])

        async def hog(seconds: float) -> None:
            now[0] += seconds
            await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await trio.sleep(0.1)
            for seconds in (0.2, 0.5, 0.3):
                await hog(seconds)
            await trio.sleep(3)
            assert [message.payload for message in published] == [
                b"long_schedule: " + _me().encode() + b" kept the event loop for 500 ms"
            ]
            assert published[0].topic == "$SYS/brokers/n@h/sysmon/long_schedule"
            assert published[0].sys
            watch.threshold = 0.0
            await hog(5.0)
            await trio.sleep(3)
            assert len(published) == 1
            nursery.cancel_scope.cancel()

    async def test_it_is_part_of_the_broker(self, broker, caplog):
        watcher = await broker.client("w", subscribe="$SYS/brokers/+/sysmon/#")
        now = [0.0]
        broker.node.loop_watch._clock = lambda: now[0]
        await trio.lowlevel.checkpoint()
        now[0] += 1.0
        topic, payload = await watcher.message()
        assert topic.endswith("/sysmon/long_schedule")
        assert b"1000 ms" in payload
        assert "kept the event loop" in caplog.text


def _me() -> str:
    return trio.lowlevel.current_task().name
