"""Nothing outlives a connection: no descriptor, no task, no entry in a table, however it ended."""

from __future__ import annotations

import gc

import pytest
import trio
from fault_doors import KINDS, PATIENCE, Doors, descriptors, gone, opened, reset, until

from trioemqx.codec.control import Connect
from trioemqx.codec.encode import encode
from trioemqx.codec.packets import make_publish
from trioemqx.hookspecs import hookimpl
from trioemqx.types import Verdict

CYCLES = 200
AT_ONCE = 20
STARTS = {
    "tcp": b"\x10",
    "ssl": b"\x16\x03\x01",
    "ws": b"GET /mqtt HTTP/1.1\r\n",
    "wss": b"\x16\x03\x01",
    "proxy": b"PROXY TCP4",
}


def connect_frame(clientid: str) -> bytes:
    return encode(Connect("MQTT", 5, False, True, 0, clientid, "u", b"p", None, None), 5)


def tables(doors: Doors) -> dict[str, int]:
    """Everything of which a connection has its own."""
    node = doors.node
    registry, turn = node.broker.registry, node.pump.turn
    return {
        "descriptors": descriptors(),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "links": len(turn.links),
        "resting": len(turn.poller._resting),
        "channels": len(registry.channels),
        "connected": registry.connected,
        "sessions": len(registry.sessions),
        "routes": node.broker.router.routes,
        "pauses": len(turn.pauses),
        "again": len(turn.again),
        "current": sum(listener.current for listener in node.listeners.listeners.values()),
    }


KINDS_OF_OBJECTS = (
    "Link",
    "Channel",
    "Outbox",
    "Transport",
    "TlsLayer",
    "WsLayer",
    "FrameReader",
    "Peer",
    "ClientInfo",
)


def objects() -> int:
    """Those of connections that are there, whoever holds them."""
    return sum(type(found).__name__ in KINDS_OF_OBJECTS for found in gc.get_objects())


@pytest.fixture(autouse=True)
def counted_references_only():
    """What dies has to go by itself: the broker freezes what is ten seconds old, and then no collection looks at it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def many(doors: Doors, one) -> None:
    """`one(number)` CYCLES times, some of them at once; then everything is as before."""
    await one(0)  # what is made once, such as thread pools and caches, is made now
    await doors.quiet()
    await until(lambda: len(doors.node._connections.child_tasks) == 1)  # the one that keeps the nursery open
    before = tables(doors)
    there = objects()
    for start in range(0, CYCLES, AT_ONCE):
        async with trio.open_nursery() as nursery:
            for number in range(start, start + AT_ONCE):
                nursery.start_soon(one, number)
        doors.streams.clear()
    await doors.quiet()
    await until(lambda: tables(doors) == before, lambda: f"{tables(doors)}, before {before}")
    more = objects() - there
    assert more <= 2 * AT_ONCE * len(KINDS_OF_OBJECTS), "the last ones are known until the next is accepted"


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    async def test_connect_subscribe_publish_disconnect(self, doors, kind):
        async def one(number: int) -> None:
            client = await doors.client(f"c{number}", kind, subscribe=f"t/{number}")
            await client.publish(f"t/{number}", b"x", qos=1)
            await client.message()
            await client.disconnect()

        await many(doors, one)
        assert doors.node.broker.metrics.connection_crashed == 0

    async def test_a_reset_in_the_middle(self, doors, kind):
        async def one(number: int) -> None:
            client = await doors.client(f"c{number}", kind, subscribe="t/#")
            await client.send_raw(b"\x30\xff\x01half")
            reset(client._stream.raw)

        await many(doors, one)

    async def test_a_reset_before_anything_was_said(self, doors, kind):
        async def one(number: int) -> None:
            raw = await doors.socket(kind)
            await raw.send_all(STARTS[kind][: number % (len(STARTS[kind]) + 1)] or b"")
            reset(raw)

        await many(doors, one)

    async def test_half_closed(self, doors, kind):
        """A client that only shuts down its sending side is gone as far as MQTT is concerned."""

        async def one(number: int) -> None:
            client = await doors.client(f"c{number}", kind)
            await client._stream.raw.send_eof()
            await gone(client._stream.raw)
            await client.close()

        await many(doors, one)

    async def test_rubbish(self, doors, kind):
        async def one(number: int) -> None:
            raw = await doors.socket(kind)
            await raw.send_all(bytes(range(256)) * 4)
            await gone(raw)
            await raw.aclose()

        await many(doors, one)

    async def test_kicked(self, doors, kind):
        async def one(number: int) -> None:
            client = await doors.client(f"c{number}", kind)
            doors.node.kick(f"c{number}")
            assert await client.closed() == 0x98
            await client.close()

        await many(doors, one)


class Gatekeeper:
    """An authentication backend that takes its time, for as long as `waits` says."""

    def __init__(self) -> None:
        self.release = trio.Event()
        self.asked = 0

    @hookimpl
    async def client_authenticate(self, client, credentials):
        self.asked += 1
        await self.release.wait()
        return Verdict(0)

    @hookimpl
    async def client_check_acl(self, client, action, topic):
        if topic == "slow":
            self.asked += 1
            await self.release.wait()
        return True


class TestQuestions:
    """A client may leave while its packet waits for a backend; nobody may be confused by the answer."""

    @pytest.mark.parametrize("leave", ["reset", "close", "kick"])
    async def test_while_authentication_is_pending(self, doors, leave):
        keeper = Gatekeeper()
        doors.node.hooks.register(keeper, "keeper")
        raws = [await doors.socket() for _ in range(20)]
        for number, raw in enumerate(raws):
            await raw.send_all(connect_frame(f"c{number}"))
        await until(lambda: keeper.asked == 20)
        await self._leave(doors, raws, leave)
        keeper.release.set()
        await doors.quiet()
        assert doors.node.broker.registry.connected == 0
        assert doors.node.broker.registry.sessions == {}
        assert doors.node.broker.metrics.connection_crashed == 0

    @pytest.mark.parametrize("leave", ["reset", "close", "kick"])
    async def test_while_an_access_rule_is_pending(self, doors, leave):
        keeper = Gatekeeper()
        keeper.release.set()
        doors.node.hooks.register(keeper, "keeper")
        clients = [await doors.client(f"c{number}") for number in range(20)]
        keeper.release, keeper.asked = trio.Event(), 0
        publish = encode(make_publish("slow", b"x", 1, False, False, 1, None), 5)
        for client in clients:
            await client.send_raw(publish)
        await until(lambda: keeper.asked == 20)
        await self._leave(doors, [client._stream.raw for client in clients], leave)
        keeper.release.set()
        await doors.quiet()
        assert doors.node.broker.metrics.connection_crashed == 0
        assert doors.node.broker.registry.sessions == {}

    async def _leave(self, doors: Doors, raws: list[trio.SocketStream], how: str) -> None:
        for number, raw in enumerate(raws):
            if how == "kick":
                doors.node.kick(f"c{number}")
            elif how == "reset":
                reset(raw)
            else:
                await raw.aclose()
        if how == "kick":
            for raw in raws:
                await raw.aclose()

    async def test_packets_behind_the_question_wait_and_keep_their_order(self, doors):
        keeper = Gatekeeper()
        keeper.release.set()
        doors.node.hooks.register(keeper, "keeper")
        watcher = await doors.client("w", subscribe="#")
        client = await doors.client("c")
        keeper.release = trio.Event()
        await client.publish("slow", b"1")
        for number in range(2, 50):
            await client.publish("quick", b"%d" % number)
        await trio.sleep(0.05)
        assert watcher.inbox == []
        keeper.release.set()
        with trio.fail_after(PATIENCE):
            assert [int((await watcher.message())[1]) for _ in range(1, 50)] == list(range(1, 50))


async def test_a_reset_while_paused(tmp_path):
    async with opened({"zone": {"default": {"rate_limit": {"conn_messages_in": "1,60s"}}}}, tmp_path) as doors:
        client = await doors.client("c")
        for _ in range(3):
            await client.publish("t", b"x")
        await until(lambda: len(doors.node.pump.turn.pauses) == 1)
        reset(client._stream.raw)
        other = await doors.client("c")  # takes over, which ends the paused one
        await doors.quiet(1)
        assert len(doors.node.pump.turn.pauses) == 0
        await other.ping()


async def test_a_reset_while_blocked_is_noticed(doors):
    client = await doors.client("slow", subscribe="t", rcvbuf=4096)
    publisher = await doors.client("p")
    link = next(link for link in doors.node.pump.turn.links.values() if link.channel.info.clientid == "slow")
    while not link.out.blocked:
        await publisher.publish("t", bytes(100_000), qos=1)
    reset(client._stream.raw)
    await doors.quiet(1)
    assert doors.listener().shutdown_count == {"econnreset": 1}


async def test_a_reset_while_lingering(doors):
    """The broker has said its last word and waits for the peer's FIN; a RST will do."""
    client = await doors.client("c")
    doors.node.kick("c")
    await until(lambda: any(link.lingering for link in doors.node.pump.turn.links.values()))
    reset(client._stream.raw)
    began = trio.current_time()
    await doors.quiet()
    assert trio.current_time() - began < 0.9  # not at the deadline


async def test_a_reset_with_packets_left_over_from_the_last_turn(doors):
    client = await doors.client("c", subscribe="t")
    publish = encode(make_publish("t", b"x", 0, False, False, 0, None), 5)
    for _ in range(20):
        await client.send_raw(publish * 5000)
        reset(client._stream.raw)
        await doors.quiet()
        client = await doors.client("c", subscribe="t")
    assert doors.node.broker.metrics.connection_crashed == 0
