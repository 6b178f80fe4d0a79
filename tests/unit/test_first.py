"""A smoke test."""

from __future__ import annotations

import trio

from trioemqx.testing import TestBroker, make_publish


async def test_hello(broker: TestBroker) -> None:
    watcher = await broker.client("watcher", subscribe="greetings/#")
    await (await broker.client("me")).publish("greetings/world", b"hello", qos=2)
    assert await watcher.message() == ("greetings/world", b"hello")


async def test_will_is_sent_when_keepalive_expires(broker: TestBroker) -> None:
    watcher = await broker.client("w", subscribe="last/words")
    await broker.client("d", keepalive=10, will=make_publish("last/words", b"bye"))
    await trio.sleep(16.5)
    assert await watcher.message() == ("last/words", b"bye")
