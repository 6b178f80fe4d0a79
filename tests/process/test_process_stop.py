"""What cannot hold the end: SIGTERM under load with peers that do not listen, and with code that does not end.

What an orderly end does for those who do listen is in test_process_signals.py.
"""

from __future__ import annotations

import signal
import time

import pytest
import trio
from broker_process import OPEN, PATIENCE, TCP, dialing
from ws_stream import open_ws

from trioemqx.testing import Client, Closed, Will

SHUTTING_DOWN = 0x8B
DEADLINE = 20.0
"""Seconds; the broker allows itself 12 for everything that can be cancelled."""
STOPPING = """
from __future__ import annotations
import time
import trio
from trioemqx.plugin import Plugin

API = ">=1,<2"

class Stuck(Plugin):
    async def stop(self):
        print("stopping", flush=True)
        HOW

plugin = Stuck
"""
THREAD = "await trio.to_thread.run_sync(time.sleep, 3600)"
WAITS = "await trio.sleep_forever()"
EVERYBODY = OPEN + TCP + '[listener.ws]\nmain = "127.0.0.1:0"\n[management.listener]\nhttp = "127.0.0.1:0"\n'


def with_plugin(folder, how: str) -> str:
    """Settings of a broker with a plugin whose `stop` does not end."""
    folder.mkdir()
    (folder / "stuck.py").write_text(STOPPING.replace("HOW", how))
    return f'[plugins]\ndirs = ["{folder}"]\nload = ["stuck", "emqx_retainer"]\n'


async def publish_until_closed(client, accepted: list[bytes]) -> None:
    """QoS 1 without end; what was acknowledged is in `accepted`."""

    async def publish() -> None:
        while True:
            number = b"%d" % len(accepted)
            await client.publish("durable", number, qos=1)
            accepted.append(number)

    with pytest.raises(Closed) as end:
        await publish()
    assert end.value.code == SHUTTING_DOWN


async def deaf(port: int, request: bytes) -> trio.SocketStream:
    """Somebody who sends and never reads."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(request)
    return stream


def http_port(broker) -> int:
    """Where the HTTP API listens."""
    line = broker.wait_line("HTTP API")
    return int(line.split()[2].rpartition(":")[2])


async def test_sigterm_under_load_among_the_deaf_loses_nothing(start, tmp_path):
    """K5: 0x8B to every MQTT 5 client that reads, exit code 0 in time, and what was acknowledged is there afterwards,
    wills included."""
    broker = start(EVERYBODY)
    accepted: list[bytes] = []
    async with dialing(broker.port()) as dialer:
        absent = await dialer.client("absent", expiry=3600)
        assert await absent.subscribe("durable", "will", qos=1) == [1, 1]
        await absent.close()
        for number in range(5):
            await dialer.client(f"deaf{number}", subscribe="flood")
        api = http_port(broker)
        half = [await deaf(api, b"GET /api/v4/clients HTTP/1.1\r\nHost: x\r\n") for _ in range(3)]
        half += [await deaf(api, b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * 50) for _ in range(3)]
        readers = [await dialer.client(f"reader{number}") for number in range(10)]
        publisher = await dialer.client("publisher", will=Will("will", b"gone", 1, False, None))
        flood = await dialer.client("flood")
        for _ in range(20):
            await flood.publish("flood", bytes(500_000))
        async with trio.open_nursery() as nursery:
            web = await open_ws(nursery, f"ws://127.0.0.1:{broker.port('ws')}/mqtt")
            half.append(web.connection._stream)  # the broker may be gone before its farewell is over
            browser = Client(web, 5)
            await browser.connect("browser")
            nursery.start_soon(publish_until_closed, publisher, accepted)
            with trio.fail_after(PATIENCE):
                while len(accepted) < 20:
                    await trio.sleep(0.01)
            began = time.monotonic()
            broker.signal(signal.SIGTERM)
            for client in (*readers, browser, flood):
                assert await client.closed() == SHUTTING_DOWN
        assert await broker.ended() == 0
        assert time.monotonic() - began < DEADLINE
        for stream in half:
            await trio.aclose_forcefully(stream)
    assert "Traceback" not in broker.output + broker.log()
    again = start(EVERYBODY)
    async with dialing(again.port()) as dialer:
        client = await dialer.client("absent", clean_start=False, expiry=3600)
        assert client.connack.session_present
        found = [await client.message() for _ in range(len(accepted) + 1)]
        assert [payload for topic, payload in found if topic == "durable"][: len(accepted)] == accepted
        while ("will", b"gone") not in found:
            found.append(await client.message())


@pytest.mark.parametrize("how", [WAITS, THREAD])
async def test_a_plugin_whose_stop_hangs_cannot_hold_the_end(start, dialer, tmp_path, how):
    """One that waits is cancelled. One that blocks in a thread cannot be: a second signal leaves it behind, when what
    has to be written is written."""
    broker = start(OPEN + TCP + with_plugin(tmp_path / "plugins", how))
    dialer.port = broker.port()
    client = await dialer.client("c")
    await client.publish("kept", b"x", qos=1, retain=True)
    await client.disconnect()
    began = time.monotonic()
    broker.signal(signal.SIGTERM)
    if how == THREAD:
        await broker.line("stopping")
        broker.signal(signal.SIGTERM)
    assert await broker.ended() == 0
    assert time.monotonic() - began < DEADLINE
    assert ("ended by force" in broker.output) == (how == THREAD)
    again = start(OPEN + TCP)
    async with dialing(again.port()) as other:
        assert await (await other.client("d", subscribe="kept")).message() == ("kept", b"x")
