"""The orderly end: everybody is told on every layer, and nobody who does not listen can hold it up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from fault_doors import KINDS, ended, gone, opened, until

from trioemqx.ending import ORDERLY
from trioemqx.services.rulekit import ActionType, QueuedAction
from trioemqx.testing import running
from trioemqx.types import Message

SHUTTING_DOWN = 0x8B


async def test_every_kind_of_client_is_told_and_its_layers_say_goodbye(tmp_path):
    async with opened({}, tmp_path) as doors:
        clients = {kind: await doors.client(f"c{kind}", kind) for kind in KINDS}
        old = {kind: await doors.client(f"old{kind}", kind, version=4) for kind in KINDS}
        began = trio.current_time()
        doors.node.stop()
        async with trio.open_nursery() as nursery:
            for client in (*clients.values(), *old.values()):
                nursery.start_soon(_to_the_end, client)
        assert trio.current_time() - began < 2.0
    for client in clients.values():
        assert client.told == SHUTTING_DOWN
    for client in old.values():
        assert client.told is None
    for kind, client in {**clients, **old}.items():
        for layer in client._stream.stack:
            assert layer.goodbye or kind == "proxy"
        if kind in ("ws", "wss"):
            assert client._stream.stack[-1].close_code == 1000


async def _to_the_end(client) -> None:
    """Read to the last byte, the farewells of the layers included, then close."""
    client.told = await ended(client)
    stream = client._stream
    with trio.move_on_after(5):
        try:
            while data := await stream.raw.receive_some(65536):
                await stream._up(bytes(data))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return
    await client.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_the_deaf_do_not_hold_it_up(tmp_path, kind):
    """Ten clients with full buffers who never read again, and one who does."""
    async with opened({}, tmp_path) as doors:
        for number in range(10):
            await doors.client(f"deaf{number}", kind, subscribe="t", rcvbuf=4096)
        for _ in range(20):
            doors.node.publish(Message("t", bytes(1024 * 1024)))
            await trio.lowlevel.checkpoint()
        await until(lambda: sum(link.out.blocked for link in doors.node.pump.turn.links.values()) == 10)
        honest = await doors.client("honest", kind)
        half = await doors.socket(kind)  # a handshake that never begins
        began = trio.current_time()
        doors.node.stop()
        assert await ended(honest) == SHUTTING_DOWN
        assert trio.current_time() - began < 2.0
        await gone(half)
    assert trio.current_time() - began < 8.0


async def test_the_ports_are_free_afterwards(tmp_path):
    async with opened({}, tmp_path) as doors:
        ports = doors.ports
        doors.node.stop()
        for port in ports.values():
            with pytest.raises(OSError, match=r"refused|reset|failed"):
                await _until_refused(port)


async def _until_refused(port: int) -> None:
    with trio.fail_after(5):
        while True:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.aclose()


class Silent(QueuedAction):
    """Waits for a server that never answers."""

    def prepare(self, output: object, event: object) -> object:
        return output

    def weigh(self, item: object) -> int:
        return 1

    async def deliver(self, items: Sequence[object]) -> None:
        await trio.sleep_forever()


STUBBORN = """
from trioemqx.plugin import Plugin
import trio

API = ">=1,<2"

class Hangs(Plugin):
    async def stop(self):
        await trio.sleep_forever()

plugin = Hangs
"""


async def test_servers_plugins_and_clients_that_hang_at_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Each has a time of its own, all together have `ORDERLY`; the store is closed in any case."""
    names = ["one", "two", "three"]
    for name in names:
        (tmp_path / f"{name}.py").write_text(STUBBORN)
    async with running({"plugins": {"dirs": [str(tmp_path)], "load": names}}) as broker:
        engine = broker.node.rules
        engine.additions.add_action(ActionType("silent", lambda setup: Silent()))
        entry = await engine.create({"rawsql": 'SELECT payload FROM "t"', "actions": [{"name": "silent"}]})
        await broker.client("deaf", subscribe="t")
        for _ in range(20):
            broker.node.publish(Message("t", bytes(1024 * 1024)))
        began = trio.current_time()
    assert trio.current_time() - began < ORDERLY + 2
    assert entry.metrics.matched == 20
    assert "not everything has ended in good order" in caplog.text
    assert broker.node._saved.is_set()
