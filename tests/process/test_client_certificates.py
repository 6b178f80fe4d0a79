"""Client certificates on ssl and wss listeners: who is let in, and what the certificate says about who it is."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from cryptography import x509
from cryptography.x509.oid import NameOID
from layer_peers import Authority, Identity
from ws_stream import open_ws

from trioemqx.services.certificates import ensure_self_signed
from trioemqx.testing import Client, TestBroker, running
from trioemqx.types import Properties

SUBJECT = [
    x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Works, Inc."),
    x509.NameAttribute(NameOID.COMMON_NAME, "pump-1"),
]


@attrs.frozen
class Files:
    """Everything both sides need: the server's certificate, the clients' authority, and clients."""

    folder: Path
    authority: Authority
    pump: Identity
    stranger: Identity
    expired: Identity

    def listener(self, **settings: object) -> dict[str, object]:
        return {
            "bind": "127.0.0.1:0",
            "keyfile": str(self.folder / "key.pem"),
            "certfile": str(self.folder / "cert.pem"),
            "cacertfile": self.authority.file,
            **settings,
        }

    def context(self, identity: Identity | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "cacert.pem"))
        if identity is not None:
            context.load_cert_chain(identity.file)
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("certificates")
    ensure_self_signed(folder, ["127.0.0.1"])
    authority, other = Authority(folder, "clients"), Authority(folder, "others")
    return Files(
        folder, authority, authority.issue("pump", SUBJECT), other.issue("pump"), authority.issue("old", days=-1)
    )


@asynccontextmanager
async def connection(broker: TestBroker, files: Files, kind: str, identity: Identity | None) -> AsyncIterator[Client]:
    """A client behind TLS, and behind WebSocket too for `wss`, that has not sent CONNECT."""
    context = files.context(identity)
    port = broker.node.listeners.listeners[f"mqtt:{kind}:main"].port
    async with trio.open_nursery() as nursery:
        stream: trio.abc.Stream
        if kind == "wss":
            stream = await open_ws(nursery, f"wss://127.0.0.1:{port}/mqtt", context)
        else:
            stream = trio.SSLStream(await trio.open_tcp_stream("127.0.0.1", port), context, server_hostname="127.0.0.1")
        try:
            yield Client(stream)
        finally:
            await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()


async def refused(broker: TestBroker, files: Files, kind: str, identity: Identity | None) -> str:
    """The alert that a client gets; in TLS 1.3 it learns only after its handshake that it is not wanted."""
    port = broker.node.listeners.listeners[f"mqtt:{kind}:main"].port
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = trio.SSLStream(stream, files.context(identity), server_hostname="127.0.0.1")
        try:
            with trio.fail_after(5):
                await client.receive_some(100)
        except trio.BrokenResourceError as error:
            return str(error.__cause__)
    return "was let in"


KINDS = pytest.mark.parametrize("kind", ["ssl", "wss"])


@KINDS
@pytest.mark.parametrize(
    ("who", "alert"),
    [("nobody", "CERTIFICATE_REQUIRED"), ("stranger", "UNKNOWN_CA"), ("expired", "CERTIFICATE_EXPIRED")],
)
async def test_who_cannot_show_a_good_certificate_stays_outside(files, kind, who, alert):
    strict = files.listener(verify="verify_peer", fail_if_no_peer_cert=True)
    async with running({"listener": {kind: {"main": strict}}}, listen=True) as broker:
        async with connection(broker, files, kind, files.pump) as client:
            await client.connect("let in")
        assert alert in (await refused(broker, files, kind, getattr(files, who, None))).upper()


@KINDS
async def test_without_fail_if_no_peer_cert_a_certificate_may_be_missing_but_not_bad(files, kind):
    lenient = files.listener(verify="verify_peer")
    async with running({"listener": {kind: {"main": lenient}}}, listen=True) as broker:
        async with connection(broker, files, kind, None) as client:
            await client.connect("anonymous")
        assert "UNKNOWN_CA" in (await refused(broker, files, kind, files.stranger)).upper()


@KINDS
@pytest.mark.parametrize("field", ["cn", "dn", "crt", "pem", "md5"])
async def test_the_certificate_gives_user_name_and_client_id(files, kind, field):
    der = files.pump.der
    expected = {
        "cn": "pump-1",
        "dn": r"CN=pump-1,O=Works\, Inc.,C=DE",
        "crt": der.decode("latin-1"),
        "pem": base64.b64encode(der).decode(),
        "md5": hashlib.md5(der).hexdigest(),
    }[field]
    one = files.listener(verify="verify_peer", peer_cert_as_username=field)
    async with running({"listener": {kind: {"main": one}}}, listen=True) as broker:
        async with connection(broker, files, kind, files.pump) as client:
            await client.connect("c1", username="pretended")
            session = broker.node.find("c1")
            assert session is not None
            assert session.info.username == expected
            assert (session.info.cn, session.info.dn) == ("pump-1", r"CN=pump-1,O=Works\, Inc.,C=DE")
        async with connection(broker, files, kind, None) as client:
            await client.connect("c2", username="without")
            session = broker.node.find("c2")
            assert session is not None
            assert session.info.username == "without"

    other = files.listener(verify="verify_peer", peer_cert_as_clientid=field)
    async with (
        running({"listener": {kind: {"main": other}}}, listen=True) as broker,
        connection(broker, files, kind, files.pump) as client,
    ):
        await client.connect("pretended", properties=Properties())
        assert [session.clientid for session in broker.node.clients()] == [expected]


async def test_a_handshake_that_never_ends_is_given_up(files):
    """`handshake_timeout`, while CONNECT would have fifteen seconds."""
    slow = files.listener(handshake_timeout="1s")
    async with running({"listener": {"ssl": {"main": slow}}}, listen=True) as broker:
        stream = await broker.stream()
        await stream.send_all(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        with trio.fail_after(5):
            assert await stream.receive_some(100) == b""
        await stream.aclose()
        listener = broker.node.listeners.listeners["mqtt:ssl:main"]
        with trio.fail_after(5):
            while listener.current:
                await trio.sleep(0.01)
        assert listener.shutdown_count == {"ssl_upgrade_timeout": 1}
