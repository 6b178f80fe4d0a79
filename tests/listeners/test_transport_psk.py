"""TLS with pre-shared keys: a listener with `psk_ciphers` asks the plugins for the key of an identity."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio
from layer_peers import Authority, TlsClient, Wire, client_context

from trioemqx.config.listener import ListenerConfig
from trioemqx.errors import ListenerError
from trioemqx.hookspecs import hookimpl
from trioemqx.listeners import build
from trioemqx.listeners.build import TransportPlan, plan_transport
from trioemqx.listeners.transport import LayerClosed, Peer
from trioemqx.testing import Client, Closed, running

PINGREQ = b"\xc0\x00"
PSK = ListenerConfig(kind="ssl", psk_ciphers=("PSK-AES128-CBC-SHA", "PSK-AES256-CBC-SHA"), tls_versions=("tlsv1.2",))
KEYS = {"pump-1": b"secret of pump 1", "größer": b"other", "empty": b""}
Callback = Callable[[str | None], bytes]
real = pytest.mark.skipif(not hasattr(ssl.SSLContext, "set_psk_server_callback"), reason="needs Python 3.13")


@pytest.fixture
def callbacks(monkeypatch: pytest.MonkeyPatch) -> list[Callback]:
    """What contexts are given as their PSK callback, on every Python."""
    found: list[Callback] = []
    monkeypatch.setattr(
        ssl.SSLContext, "set_psk_server_callback", lambda context, callback: found.append(callback), raising=False
    )
    return found


@pytest.fixture
def old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "knows_psk", lambda: False)


# -- on every Python ---------------------------------------------------------------------------------------------------


def test_the_callback_answers_with_the_key_and_with_nothing_for_strangers(callbacks: list[Callback]) -> None:
    plan_transport(PSK, 1, KEYS.get)
    (callback,) = callbacks
    assert callback("pump-1") == b"secret of pump 1"
    assert [callback(stranger) for stranger in ("pump-2", "empty", "", None)] == [b""] * 4


def test_it_needs_no_certificate_and_offers_the_suites(callbacks: list[Callback]) -> None:
    context = plan_transport(PSK, 1, KEYS.get).context
    assert context is not None
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert set(PSK.psk_ciphers) <= names
    assert all("PSK" in name for name in names if not name.startswith("TLS_"))  # TLS 1.3 is not offered here


def test_renewing_certificates_keeps_the_lookup(callbacks: list[Callback]) -> None:
    plan_transport(PSK, 1, KEYS.get).renewed()
    assert [callback("pump-1") for callback in callbacks] == [b"secret of pump 1"] * 2


def test_a_listener_without_psk_ciphers_knows_no_keys(callbacks: list[Callback], tmp_path: Path) -> None:
    certfile = str(Authority(tmp_path, "ca").issue("broker.test").file)
    plan_transport(ListenerConfig(kind="ssl", certfile=certfile), 1, KEYS.get)
    assert callbacks == []


def test_without_anybody_to_ask_it_is_not_built(callbacks: list[Callback]) -> None:
    with pytest.raises(ListenerError, match=r"^listener\.ssl\.external: psk_ciphers: nobody answers"):
        plan_transport(PSK, 1)


@pytest.mark.usefixtures("old_python")
def test_an_old_python_opens_the_listener_and_says_that_nobody_gets_in(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trioemqx"):
        plan = plan_transport(PSK, 1, KEYS.get)
    assert plan.context is not None
    (record,) = caplog.records
    assert record.getMessage().startswith("listener.ssl.external: psk_ciphers need Python 3.13, this is ")


@pytest.mark.usefixtures("callbacks")
def test_a_new_python_does_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trioemqx"):
        plan_transport(PSK, 1, KEYS.get)
    assert caplog.records == []


def listening() -> dict[str, object]:
    ciphers = ",".join(PSK.psk_ciphers)
    return {
        "listener": {"ssl": {"external": {"bind": "127.0.0.1:0", "psk_ciphers": ciphers, "tls_versions": "tlsv1.2"}}}
    }


class Keys:
    """A plugin that knows keys."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        self.keys = keys

    @hookimpl
    def tls_handshake_psk_lookup(self, identity: str) -> bytes | None:
        return self.keys.get(identity)


async def test_a_broker_asks_the_plugins_that_are_loaded_at_the_handshake(callbacks: list[Callback]) -> None:
    async with running(listening(), listen=True) as broker:
        (callback,) = callbacks
        assert callback("pump-1") == b""
        broker.node.hooks.register(Keys(KEYS), "keys")
        assert callback("pump-1") == b"secret of pump 1"
        broker.node.hooks.unregister("keys")
        assert callback("pump-1") == b""


async def test_changed_listener_settings_keep_the_lookup(callbacks: list[Callback]) -> None:
    async with running(listening(), listen=True) as broker:
        broker.node.hooks.register(Keys(KEYS), "keys")
        (listener,) = broker.node.config.listeners
        config = attrs.evolve(broker.node.config, listeners=[attrs.evolve(listener, backlog=7)])
        assert broker.node.reload(config) == []
        assert [callback("pump-1") for callback in callbacks] == [b"secret of pump 1"] * 2


# -- where Python can do it --------------------------------------------------------------------------------------------


def client(identity: str, key: bytes) -> ssl.SSLContext:
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("PSK")
    context.set_psk_client_callback(lambda hint: (identity, key))  # type: ignore[attr-defined,unused-ignore]
    return context


def meet(plan: TransportPlan, context: ssl.SSLContext) -> Wire:
    transport = plan.transport(Peer("203.0.113.9", 5))
    assert transport is not None
    wire = Wire(transport, [TlsClient(context)])
    wire.connect()
    return wire


@real
@pytest.mark.parametrize("identity", ["pump-1", "größer"])
def test_a_client_with_the_key_gets_in(identity: str) -> None:
    wire = meet(plan_transport(PSK, 1, KEYS.get), client(identity, KEYS[identity]))
    assert wire.transport.established
    wire.send(PINGREQ)
    assert wire.plain == PINGREQ
    assert wire.transport.peer.cn is None


@real
@pytest.mark.parametrize(
    ("identity", "key"),
    [("pump-1", b"wrong"), ("pump-2", b"secret of pump 1"), ("empty", b"x"), ("größer", b"Other")],
)
def test_a_client_without_it_does_not(identity: str, key: bytes) -> None:
    wire = meet(plan_transport(PSK, 1, KEYS.get), client(identity, key))
    assert isinstance(wire.ended, LayerClosed)
    assert (wire.end(), wire.transport.established, wire.plain) == ("ssl_error", False, b"")


@real
def test_a_client_without_pre_shared_keys_does_not(tmp_path: Path) -> None:
    context = client_context(Authority(tmp_path, "ca"))
    assert not meet(plan_transport(PSK, 1, KEYS.get), context).transport.established


@real
async def test_through_a_real_listener() -> None:
    async with running(listening(), listen=True) as broker:
        broker.node.hooks.register(Keys(KEYS), "keys")

        async def connect(identity: str, key: bytes) -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", broker.port)
            broker.streams.append(stream)
            await Client(trio.SSLStream(stream, client(identity, key), server_hostname="x")).connect(identity)

        await connect("pump-1", KEYS["pump-1"])
        with pytest.raises(Closed):
            await connect("pump-2", b"guessed")
        assert [found.clientid for found in broker.node.clients()] == ["pump-1"]
