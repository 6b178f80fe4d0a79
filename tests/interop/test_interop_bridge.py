"""A bridge to a real mosquitto."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from broker_process import PATIENCE
from interop_peers import need

from trioemqx.services.bridge import Bridge
from trioemqx.testing import Client, TestBroker, running

VERSIONS = pytest.mark.parametrize("proto_ver", ["mqttv3", "mqttv4", "mqttv5"])
CONFIG = """
user root
allow_anonymous true
persistence false
listener {port} 127.0.0.1
listener {tls_port} 127.0.0.1
certfile {folder}/cert.pem
keyfile {folder}/key.pem
"""
"""`user` counts when root starts it: otherwise it would become a user who cannot read the key."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@attrs.define
class Mosquitto:
    """A broker that can be killed and started again on the same ports."""

    folder: Path
    certificates: Path
    port: int = attrs.field(factory=free_port)
    tls_port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    clients: list[Client] = attrs.field(factory=list)

    def start(self) -> None:
        file = self.folder / "mosquitto.conf"
        file.write_text(CONFIG.format(port=self.port, tls_port=self.tls_port, folder=self.certificates))
        log = (self.folder / "mosquitto.log").open("ab")
        with log:
            self.process = subprocess.Popen([need("mosquitto"), "-c", str(file)], stdout=log, stderr=log)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None


@pytest.fixture
def mosquitto(tmp_path: Path, certificates: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path, certificates)
    found.start()
    yield found
    found.kill()
    print((tmp_path / "mosquitto.log").read_text())


async def client(mosquitto: Mosquitto, name: str) -> Client:
    """A client of mosquitto, once it is there."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                found = Client(await trio.open_tcp_stream("127.0.0.1", mosquitto.port), 5)
                break
            except OSError:
                await trio.sleep(0.05)
    mosquitto.clients.append(found)
    await found.connect(name)
    return found


@asynccontextmanager
async def bridged(mosquitto: Mosquitto, **settings: object) -> AsyncIterator[tuple[TestBroker, Bridge]]:
    one = {
        "address": f"127.0.0.1:{mosquitto.port}",
        "clientid": "bridge",
        "forwards": "out/#",
        "forward_mountpoint": "from/${node}/",
        "receive_mountpoint": "got/",
        "subscription": {"1": {"topic": "in/#", "qos": 2}},
        "reconnect_interval": "200ms",
        **settings,
    }
    tree = {"plugins": {"load": ["emqx_bridge_mqtt"]}, "bridge": {"mqtt": {"one": one}}}
    await client(mosquitto, "first")
    async with running(tree, listen=True) as broker:
        bridge = broker.node.plugins.plugin("emqx_bridge_mqtt").bridges["one"]  # type: ignore[attr-defined]
        await until(lambda: bridge.connected)
        try:
            yield broker, bridge
        finally:
            for each in mosquitto.clients:
                await each.close()


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.01)


async def both_ways(mosquitto: Mosquitto, broker: TestBroker) -> None:
    """Twenty messages of each QoS there, and here."""
    far = await client(mosquitto, "far")
    near = await broker.client("near")
    node = broker.node.broker.node
    await far.subscribe("from/#", qos=2)
    await near.subscribe("got/#", qos=2)
    sent = [(b"%d" % number, number % 3) for number in range(60)]
    for payload, qos in sent:
        await near.publish("out/x", payload, qos)
        await far.publish("in/x", payload, qos)
    for watcher, topic in ((far, f"from/{node}/out/x"), (near, "got/in/x")):
        found = [await watcher.receive_publish() for _ in sent]
        assert {packet.topic for packet in found} == {topic}
        for qos in range(3):  # mosquitto gives QoS 2 on when it is released, and may be overtaken there by others
            expected = [payload for payload, wanted in sent if wanted == qos]
            assert [packet.payload for packet in found if packet.qos == qos] == expected


@VERSIONS
async def test_messages_of_each_qos_go_both_ways(mosquitto: Mosquitto, proto_ver: str) -> None:
    async with bridged(mosquitto, proto_ver=proto_ver, bridge_mode=True) as (broker, bridge):
        await both_ways(mosquitto, broker)
        await until(lambda: bridge.status().in_flight == 0)
        assert sum(bridge.counters.dropped.values()) == 0


async def test_over_tls_with_a_certificate_that_is_checked(mosquitto: Mosquitto) -> None:
    tls = {"ssl": True, "verify": True, "cacertfile": str(mosquitto.certificates / "cacert.pem")}
    async with bridged(mosquitto, address=f"127.0.0.1:{mosquitto.tls_port}", **tls) as (broker, _):
        await both_ways(mosquitto, broker)


@pytest.mark.parametrize("proto_ver", ["mqttv4", "mqttv5"])
async def test_a_bridge_does_not_get_back_what_it_sends(mosquitto: Mosquitto, proto_ver: str) -> None:
    same = {"forward_mountpoint": "", "receive_mountpoint": "", "subscription": {"1": {"topic": "out/#", "qos": 1}}}
    async with bridged(mosquitto, proto_ver=proto_ver, bridge_mode=True, **same) as (broker, bridge):
        near = await broker.client("near", subscribe="out/#", qos=1)
        await near.publish("out/x", b"1", 1)
        await until(lambda: bridge.counters.acked == 1)
        far = await client(mosquitto, "far")
        await far.publish("out/x", b"2", 1)
        assert [await near.message() for _ in range(2)] == [("out/x", b"1"), ("out/x", b"2")]
        assert bridge.counters.received == 1


@pytest.mark.parametrize("disk", [False, True], ids=["memory", "disk"])
async def test_what_is_published_while_mosquitto_is_dead_arrives(
    mosquitto: Mosquitto, tmp_path: Path, disk: bool
) -> None:
    queue = {"queue": {"replayq_dir": str(tmp_path / "queue")}} if disk else {}
    async with bridged(mosquitto, **queue) as (broker, bridge):
        near = await broker.client("near")
        await near.publish("out/x", b"0", 1)
        await until(lambda: bridge.counters.acked == 1)
        mosquitto.kill()
        await until(lambda: not bridge.connected)
        for number in range(1, 300):
            await near.publish("out/x", b"%d" % number, 1)
        mosquitto.start()
        far = await client(mosquitto, "far")
        await far.subscribe("from/#", qos=1)
        # Those that came before this subscription are gone, and the bridge was told that they arrived.
        await until(lambda: bridge.counters.acked == 300)
        await near.publish("out/x", b"last", 1)
        while (await far.message())[1] != b"last":
            pass
        assert bridge.counters.reconnects == 1
