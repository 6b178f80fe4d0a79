"""SIGTERM drains, a second one ends at once, SIGHUP reloads; nobody who does not read can hold any of it."""

from __future__ import annotations

import resource
import shutil
import signal
import ssl
import sys
import time
from pathlib import Path

import attrs
import pytest
import trio
from broker_process import OPEN, TCP, environment

from trioemqx.codec.control import Disconnect
from trioemqx.codec.packets import Publish
from trioemqx.services.certificates import ensure_self_signed
from trioemqx.testing import Client, Closed, Will

SHUTTING_DOWN = 0x8B
NARROW = OPEN + '[listener.tcp.main]\nbind = "127.0.0.1:0"\nsndbuf = "4KB"\noutbox_high_watermark = "4MB"\n'
"""A listener whose kernel takes little, so that what is queued is in the broker and has to be flushed by it."""


async def test_sigterm_tells_mqtt_5_clients_and_closes_the_others(start, dialer):
    broker = start()
    dialer.port = broker.port()
    modern = await dialer.client("modern")
    old = await dialer.client("old", version=4)
    silent = await dialer.raw()

    broker.signal(signal.SIGTERM)

    assert await modern.closed() == SHUTTING_DOWN
    assert await old.closed() is None
    assert await silent.closed() is None
    await dialer.close()  # else the broker waits a moment for them to do so
    assert await broker.ended() == 0
    assert "Traceback" not in broker.output + broker.log()


async def test_sigterm_flushes_what_is_queued_for_clients(start, dialer):
    """The receiver starts to read when others have long been cut off: it has five seconds, not one."""
    broker = start(NARROW)
    dialer.port = broker.port()
    receiver = await dialer.client("receiver", subscribe="flood", qos=1)
    sender = await dialer.client("sender")
    count, payload = 100, b"x" * 20_000
    for _ in range(count):
        await sender.publish("flood", payload, qos=1)

    broker.signal(signal.SIGTERM)
    assert await sender.closed() == SHUTTING_DOWN
    await trio.sleep(2.2)
    *received, last = await _everything(receiver)

    assert isinstance(last, Disconnect)
    assert last.code == SHUTTING_DOWN
    assert len(received) == count
    assert all(isinstance(packet, Publish) and packet.payload == payload for packet in received)
    assert await broker.ended() == 0


async def test_nothing_follows_a_disconnect_not_even_a_will(start, dialer):
    """[MQTT-3.14.4-1]: wills fire while the node stops, when their receivers have been told of it already."""
    broker = start('log.to = "console"\nlog.level = "info"\n' + NARROW)
    dialer.port = broker.port()
    slow = await dialer.client("slow", subscribe="#")
    dying = await dialer.client("dying", will=Will("will", b"gone", 0, False, None))
    for _ in range(20):
        await dying.publish("flood", b"x" * 100_000)
    await dying.ping()

    broker.signal(signal.SIGTERM)
    assert await dying.closed() == SHUTTING_DOWN
    await broker.line("dying@127.0.0.1")  # its will has fired
    *before, last = await _everything(slow)

    assert len(before) == 20
    assert isinstance(last, Disconnect)
    assert await broker.ended() == 0


async def test_a_client_that_never_reads_cannot_hold_the_end(start, dialer):
    broker = start(NARROW)
    dialer.port = broker.port()
    await dialer.client("deaf", subscribe="flood", qos=0)
    sender = await dialer.client("sender")
    for _ in range(100):
        await sender.publish("flood", b"x" * 100_000)
    await sender.ping()

    begin = time.monotonic()
    broker.signal(signal.SIGTERM)

    assert await broker.ended() == 0
    assert time.monotonic() - begin < 9.0


async def test_a_second_sigterm_does_not_wait_for_the_drain(start, dialer):
    broker = start(NARROW)
    dialer.port = broker.port()
    await dialer.client("deaf", subscribe="flood", qos=0)
    sender = await dialer.client("sender")
    for _ in range(100):
        await sender.publish("flood", b"x" * 100_000)
    await sender.ping()

    begin = time.monotonic()
    broker.signal(signal.SIGTERM)
    assert await sender.closed() == SHUTTING_DOWN
    broker.signal(signal.SIGTERM)

    assert await broker.ended() == 0
    assert time.monotonic() - begin < 3.0
    assert "Traceback" not in broker.output + broker.log()


def test_sigint_ends_like_sigterm(start):
    broker = start()
    broker.signal(signal.SIGINT)

    assert broker.wait_end() == 0
    assert "Traceback" not in broker.output


# -- SIGHUP ------------------------------------------------------------------------------------------------------------


@attrs.define
class Certificates:
    """What a TLS listener is given: `replace` puts another pair in the place of the present one."""

    folder: Path

    def make(self, name: str) -> Path:
        ensure_self_signed(self.folder / name, ["127.0.0.1"])
        return self.folder / name

    def replace(self, name: str) -> None:
        for file in ("key.pem", "cert.pem", "cacert.pem"):
            shutil.copy(self.folder / name / file, self.folder / "used" / file)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    found = Certificates(tmp_path / "certificates")
    for name in ("used", "old", "new"):
        found.make(name)
    found.replace("old")
    return found


def tls_config(certificates: Certificates, folder: str = "used", *, tls_versions: str = "tlsv1.3,tlsv1.2") -> str:
    files = certificates.folder / folder
    return (
        OPEN
        + 'log.to = "console"\n'
        + TCP
        + f'[listener.ssl.main]\nbind = "127.0.0.1:0"\nkeyfile = "{files}/key.pem"\ncertfile = "{files}/cert.pem"\n'
        + f'tls_versions = "{tls_versions}"\n'
    )


def trusting(folder: Path) -> ssl.SSLContext:
    """Accepts the certificate in `folder` only."""
    return ssl.create_default_context(cafile=str(folder / "cacert.pem"))


async def tls_client(dialer, port: int, trust: Path, clientid: str) -> Client:
    context = trusting(trust)
    dialer.wrap = lambda stream: trio.SSLStream(stream, context, server_hostname="127.0.0.1")
    return await dialer.client(clientid, port=port)


async def handshake_error(port: int, context: ssl.SSLContext) -> str:
    """What a TLS client dislikes about the listener; "" when the handshake succeeds."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            await trio.SSLStream(stream, context, server_hostname="127.0.0.1").do_handshake()
        except trio.BrokenResourceError as error:
            return str(error.__cause__)
    return ""


async def reload(broker) -> None:
    before = len(broker.lines)
    broker.signal(signal.SIGHUP)
    await broker.line("reloaded with", before)


async def test_sighup_takes_new_certificates_and_drops_nobody(start, dialer, certificates):
    broker = start(tls_config(certificates))
    port = broker.port("ssl")
    old = await tls_client(dialer, port, certificates.folder / "old", "old")

    certificates.replace("new")
    await reload(broker)

    assert broker.lines[-1].endswith("reloaded with 0 problems")
    new = await tls_client(dialer, port, certificates.folder / "new", "new")
    assert "CERTIFICATE_VERIFY_FAILED" in await handshake_error(port, trusting(certificates.folder / "old"))
    await new.subscribe("still/here")
    await old.publish("still/here", b"yes")
    assert await new.message() == ("still/here", b"yes")


async def test_sighup_reports_a_broken_file_and_keeps_the_old_certificate(start, dialer, certificates):
    broker = start(tls_config(certificates))
    port = broker.port("ssl")
    old = await tls_client(dialer, port, certificates.folder / "old", "old")

    (certificates.folder / "used" / "cert.pem").write_text("half a file")
    await reload(broker)

    assert "reload: listener.ssl.main: certfile/keyfile" in broker.output
    assert broker.lines[-1].endswith("reloaded with 1 problems")
    await old.ping()
    await tls_client(dialer, port, certificates.folder / "old", "new")


async def test_sighup_with_a_broken_configuration_changes_certificates_only(start, dialer, certificates):
    broker = start(tls_config(certificates))
    port = broker.port("ssl")

    certificates.replace("new")
    broker.file.write_text(broker.file.read_text() + "\n[zone.default]\nmax_inflght = 1\n")
    await reload(broker)

    assert "max_inflght: unknown key (did you mean max_inflight?)" in broker.output
    await tls_client(dialer, port, certificates.folder / "new", "new")


async def test_sighup_without_a_descriptor_opens_no_door(start, dialer, certificates, tmp_path):
    """CVE-2017-7652: what cannot be read must not count as empty. Rules and certificates stay what they were."""
    (tmp_path / "acl.toml").write_text(
        '[[acl]]\npermission = "deny"\nwho = "all"\ntopics = ["shut"]\n[[acl]]\npermission = "allow"\nwho = "all"\n'
    )
    more = f'acl_file = "{tmp_path}/acl.toml"\nzone.default.enable_acl = true\n'
    broker = start(more + tls_config(certificates))
    port = broker.port("ssl")
    certificates.replace("new")
    limits = resource.prlimit(broker.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    await reload(broker)
    resource.prlimit(broker.pid, resource.RLIMIT_NOFILE, limits)

    assert "broker.toml: cannot be read: Too many open files" in broker.output
    client = await tls_client(dialer, port, certificates.folder / "old", "c")
    assert await client.publish("shut", b"x", qos=1) == 0x87
    assert await client.publish("open", b"x", qos=1) == 0x10
    await reload(broker)
    client = await tls_client(dialer, port, certificates.folder / "new", "c")
    assert await client.publish("shut", b"x", qos=1) == 0x87


async def test_sighup_takes_a_new_configuration_for_new_connections(start, dialer, certificates):
    """Other files, other TLS versions, other limits; what cannot change while running is named."""
    broker = start(tls_config(certificates))
    port = broker.port("ssl")
    tcp = broker.port("tcp")
    before = await dialer.client("before", port=tcp)
    assert before.connack.properties.server_keep_alive is None

    changed = tls_config(certificates, "new", tls_versions="tlsv1.3")
    broker.file.write_text(changed + '[zone.default]\nserver_keepalive = 77\n[node]\nname = "other@host"\n')
    await reload(broker)

    assert "node.name: needs a restart" in broker.output
    after = await dialer.client("after", port=tcp)
    assert after.connack.properties.server_keep_alive == 77
    await before.ping()
    new = await tls_client(dialer, port, certificates.folder / "new", "new")
    assert new.connack.properties.server_keep_alive == 77
    context = trusting(certificates.folder / "new")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "PROTOCOL_VERSION" in await handshake_error(port, context)


async def test_sighup_opens_and_closes_listeners(start, dialer):
    """A client of a listener that is gone is told; those of the others notice nothing."""
    head = 'log.to = "console"\n' + OPEN
    broker = start(head + TCP + '[listener.ws]\nold = "127.0.0.1:0"\n')
    stays = await dialer.client("stays", port=broker.port())
    leaves = await dialer.raw(port=broker.port("ws", "old"))

    broker.file.write_text(head + TCP + 'second = "127.0.0.1:0"\n')
    await reload(broker)

    port = int((await broker.line("mqtt:tcp:second: listening on")).rpartition(":")[2])
    await dialer.client("new", port=port)
    await stays.ping()
    assert await leaves.closed() is None
    with pytest.raises(OSError, match="all attempts to connect"):
        await dialer.raw(port=broker.port("ws", "old"))


async def test_sighup_changes_the_log_level(start, dialer):
    broker = start('log.to = "console"\n' + OPEN + TCP)
    dialer.port = broker.port()
    await (await dialer.client("quiet")).disconnect()

    broker.file.write_text('log.to = "console"\nlog.level = "info"\n' + OPEN + TCP)
    await reload(broker)
    await (await dialer.client("loud")).disconnect()

    assert " loud@127.0.0.1:" in await broker.line("connection closed: normal")
    assert "quiet@" not in broker.output


async def _everything(client: Client) -> list[object]:
    """All packets until the connection closes."""
    found: list[object] = []
    try:
        while True:
            found.append(await client.receive())
    except Closed:
        await client.close()
        return found


async def test_sigterm_before_there_is_a_broker_ends_the_process(tmp_path):
    """As the first process of a container it would go on otherwise: a signal without a handler is ignored there."""
    script = (
        "import os, signal, sys\n"
        "from trioemqx import cli\n"
        "cli._load = lambda path: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.argv = ['trioemqx', 'start']\n"
        "cli.main()\n"
    )
    ended = await trio.run_process(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env=environment(),
        check=False,
        capture_stdout=True,
        capture_stderr=True,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
