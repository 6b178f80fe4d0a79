"""The crash table on a broker that runs: a plugin breaks what it is told to, and clients see what becomes of it.

What only a test inside the process can see, each crash of each part, is in tests/nursery.
"""

from __future__ import annotations

import pytest
import trio
from broker_process import OPEN, PATIENCE, TCP, dialing

from trioemqx.testing import Closed, Refused

SHUTTING_DOWN = 0x8B
BREAKER = """
from __future__ import annotations
from trioemqx.api.service import ApiService
from trioemqx.listeners.listener import Listener
from trioemqx.plugin import Plugin, hookimpl
from trioemqx.services.stats import StatsKeeper
from trioemqx.services.store.database import Database

API = ">=1,<2"
PLACES = {
    "store": (Database, "remember"),
    "listener": (Listener, "_accept_ready"),
    "api": (ApiService, "settle"),
    "stats": (StatsKeeper, "refresh"),
}

def bug(*arguments, **named):
    raise ZeroDivisionError("a bug")

class Breaker(Plugin):
    @hookimpl
    def message_publish(self, message):
        if message.topic.startswith("break/"):
            setattr(*PLACES[message.topic[6:]], bug)
        if message.topic == "hook":
            raise ZeroDivisionError("a bug")

plugin = Breaker
"""
TWO = OPEN + '[listener.tcp]\nmain = "127.0.0.1:0"\nother = "127.0.0.1:0"\n'
API = '[management.listener]\nhttp = "127.0.0.1:0"\n'


def breakable(folder, rest: str = TWO + API, more: str = "") -> str:
    """Settings of a broker that can be told what to break."""
    if not folder.exists():
        folder.mkdir()
        (folder / "breaker.py").write_text(BREAKER)
    return rest + f'[plugins]\ndirs = ["{folder}"]\nload = ["breaker", "emqx_retainer"]\n{more}'


async def provoked(what: str, broker, dialer) -> None:
    """Have the broken part work until nobody is there any more."""
    with trio.move_on_after(PATIENCE):
        while broker.process.poll() is None:
            try:
                client = await dialer.client("prober", expiry=100 if what == "store" else None)
                await client.close()
            except (OSError, Closed, Refused, trio.TooSlowError, trio.BrokenResourceError):
                await trio.sleep(0.05)


@pytest.mark.parametrize("what", ["store", "listener"])
async def test_what_the_broker_cannot_do_without_ends_it_in_good_order_with_70(start, tmp_path, what):
    """Clients are told, what was acknowledged is there, and a new process goes on, which systemd starts after this exit
    code."""
    broker = start(breakable(tmp_path / "plugins"))
    async with dialing(broker.port()) as dialer:
        absent = await dialer.client("absent", expiry=3600)
        assert await absent.subscribe("durable", qos=1) == [1]
        await absent.close()
        watcher = await dialer.client("watcher", port=broker.port("tcp", "other"))
        publisher = await dialer.client("publisher")
        for number in range(20):
            assert await publisher.publish("durable", b"%d" % number, qos=1) == 0
        await publisher.publish(f"break/{what}", b"")
        await provoked(what, broker, dialer)
        assert await watcher.closed() == SHUTTING_DOWN
        assert await broker.ended() == 70
    assert "[critical]" in broker.log()
    assert "a bug" in broker.log()
    again = start(breakable(tmp_path / "plugins"))
    async with dialing(again.port()) as dialer:
        client = await dialer.client("absent", clean_start=False, expiry=3600)
        assert client.connack.session_present
        assert [(await client.message())[1] for _ in range(20)] == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("what", ["api", "stats"])
async def test_what_it_can_do_without_stays_off_under_an_alarm(start, tmp_path, what):
    """Nobody who speaks MQTT notices, from the first crash to the last."""
    broker = start(breakable(tmp_path / "plugins"))
    async with dialing(broker.port()) as dialer:
        watcher = await dialer.client("watcher", subscribe="t")
        alarms = await dialer.client("alarms", subscribe="$SYS/brokers/+/alarms/activate")
        publisher = await dialer.client("publisher")
        await publisher.publish(f"break/{what}", b"")
        while b'"%s_crashed"' % what.encode() not in (await alarms.message())[1]:
            continue  # who asks a part that is broken crashes too
        with trio.fail_after(PATIENCE):
            while f"{what} crashed 5 times in 60 s; it stays off" not in broker.log():
                assert await publisher.publish("t", b"x", qos=1) == 0
                assert await watcher.message() == ("t", b"x")
                await trio.sleep(0.05)
        await dialer.client("new", port=broker.port("tcp", "other"))
    assert broker.stop() == 0
    assert broker.log().count(f"service {what} crashed") == 5


async def test_a_hook_that_crashes_takes_nothing_with_it(start, tmp_path):
    """Not the message, not its sender; again and again it takes its plugin."""
    broker = start(breakable(tmp_path / "plugins", OPEN + TCP, "max_crashes = 3\n"))
    async with dialing(broker.port()) as dialer:
        client = await dialer.client("c", subscribe="hook")
        for number in range(5):
            assert await client.publish("hook", b"%d" % number, qos=1) == 0
            assert await client.message() == ("hook", b"%d" % number)
    assert broker.stop() == 0
    assert "breaker is switched off" in broker.log()
