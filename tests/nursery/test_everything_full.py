"""Every bounded place is full at once, with a thousand clients: nothing waits for anything else, and whoever keeps up
is served as if he were alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from trioemqx.services.rulekit import ActionType, QueuedAction
from trioemqx.testing import Client, TestBroker
from trioemqx.types import Message

CLIENTS = 1000
DEAF = 30
SMALL = {"max_inflight": 2, "max_mqueue_len": 5, "outbox_high_watermark": "64KB", "max_awaiting_rel": 2}
PLUGIN = """
import trio
from trioemqx.plugin import Plugin, hookimpl

API = ">=1,<2"

class Behind(Plugin):
    async def start(self):
        self.queue = self.context.queue(size=10)

    async def run(self):
        await self.queue.get()
        await trio.sleep_forever()

    @hookimpl
    def message_publish(self, message):
        self.queue.put(message.topic)

    @hookimpl
    async def client_check_acl(self, client, action, topic):
        if topic == "ask":
            await trio.sleep_forever()
        return True

plugin = Behind
"""


class Silent(QueuedAction):
    """Waits for a server that never answers."""

    size = 10

    def prepare(self, output: object, event: object) -> object:
        return output

    def weigh(self, item: object) -> int:
        return 1

    async def deliver(self, items: Sequence[object]) -> None:
        await trio.sleep_forever()


@pytest.fixture
def broker_config(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "behind.py").write_text(PLUGIN)
    plugins = {"dirs": [str(tmp_path)], "load": ["behind", "emqx_retainer"]}
    zone = {key: value for key, value in SMALL.items() if key != "outbox_high_watermark"}
    return {"zone": {"default": zone}, "plugins": plugins}


async def fill(broker: TestBroker) -> list[Client]:
    """Windows, queues, outboxes, the lanes of a rule, the queue of a plugin, and questions that nobody answers."""
    engine = broker.node.rules
    engine.additions.add_action(ActionType("silent", lambda setup: Silent()))
    await engine.create({"rawsql": 'SELECT payload FROM "#"', "actions": [{"name": "silent"}]})
    clients = [await broker.client(f"c{number}", subscribe="all", qos=1, expiry=100) for number in range(CLIENTS)]
    for client in clients:
        client.auto_ack = False
    for number in range(DEAF):
        await broker.client(f"deaf{number}", subscribe="large")
        asks = await broker.client(f"asks{number}")
        await asks.publish("ask", b"x")
    for _ in range(30):
        broker.node.publish(Message("all", b"x", 1))
        broker.node.publish(Message("large", bytes(100_000)))
        await trio.lowlevel.checkpoint()
    return clients


async def test_no_deadlock_and_progress_within_a_second(broker: TestBroker) -> None:
    clients = await fill(broker)
    sessions = [broker.node.find(f"c{number}") for number in range(CLIENTS)]
    assert all(session is not None and len(session.mqueue) == 5 and len(session.inflight) == 2 for session in sessions)
    outboxes = [broker.node.find(f"deaf{number}").channel.out for number in range(DEAF)]
    assert all(out.blocked for out in outboxes)
    assert broker.metrics["plugin.behind.events.dropped"] > 0
    began = trio.current_time()
    healthy = await broker.client("healthy", subscribe="mine", qos=2)
    for number in range(20):
        assert await healthy.publish("mine", b"%d" % number, qos=number % 3) == 0
        assert await healthy.message() == ("mine", b"%d" % number)
    assert (await broker.api("GET", "/clients", {})).code == 0
    assert trio.current_time() - began < 1.0
    # whoever begins to read goes on where he was
    for client in clients[:5]:
        client.auto_ack = True
        await client.ping()
    async with trio.open_nursery() as nursery:
        for client in clients[5:100]:
            nursery.start_soon(client.close)
    await healthy.ping()
    assert broker.node.broker.metrics.connection_crashed == 0
    assert broker.node.broker.metrics.service_crashed == 0
