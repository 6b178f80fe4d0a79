"""Every layer, and stacks of them, pass the same checks with any chunking: what goes in comes out at the other end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layer_peers import Authority, PlainClient, ProxyClient, TlsClient, Wire, WsClient, client_context
from wsproto.events import Request
from wsproto.extensions import PerMessageDeflate

from trioemqx.listeners.build import TransportPlan
from trioemqx.listeners.tlscontext import TlsSettings, build_context
from trioemqx.listeners.transport import LayerClosed, Peer
from trioemqx.listeners.wsdeflate import DeflateSettings
from trioemqx.listeners.wshandshake import WsSettings

STACKS = [
    "proxy",
    "tls",
    "ws",
    "ws-single",
    "ws-fragments",
    "ws-deflate",
    "proxy+tls",
    "proxy+ws",
    "tls+ws",
    "proxy+tls+ws",
]
PINGREQ = b"\xc0\x00"
SOME = st.sampled_from([PINGREQ, b"\x30\x05\x00\x01tHi", b"\x30\x86\x01\x00\x01t" + b"x" * 131])

MakeWire = Callable[..., Wire]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"), "ca")


@pytest.fixture(scope="module")
def server_file(authority: Authority) -> Path:
    return authority.issue("broker.test").file


@pytest.fixture(scope="module", params=STACKS)
def wire(request: pytest.FixtureRequest, authority: Authority, server_file: Path) -> MakeWire:
    """Makes a connected pair of this stack."""
    names = request.param.split("+")
    tls = TlsSettings(certfile=str(server_file)) if "tls" in names else None
    with_ws = names[-1].startswith("ws")
    plan = TransportPlan(
        proxy="proxy" in names,
        tls=tls,
        context=None if tls is None else build_context(tls),
        ws=WsSettings(piggyback_single=names[-1] == "ws-single", deflate=DeflateSettings()) if with_ws else None,
    )
    context = client_context(authority)

    def make(cut: int = 1 << 20) -> Wire:
        clients: list[PlainClient] = []
        if plan.proxy:
            clients.append(ProxyClient())
        if tls is not None:
            clients.append(TlsClient(context))
        if with_ws:
            extensions = [PerMessageDeflate()] if names[-1] == "ws-deflate" else []
            request = Request(host="broker.test", target="/mqtt", subprotocols=["mqtt"], extensions=extensions)
            clients.append(WsClient(request, fragment=3 if names[-1] == "ws-fragments" else 0))
        transport = plan.transport(Peer("203.0.113.9", 5))
        assert transport is not None
        assert not transport.established
        made = Wire(transport, clients, cut)
        made.connect()
        return made

    return make


@pytest.mark.parametrize("cut", [1, 2, 7, 100, 1 << 20])
def test_handshakes_succeed_in_pieces_of_any_size(wire: MakeWire, cut: int) -> None:
    pair = wire(cut)
    assert pair.ended is None
    assert pair.transport.established
    assert all(client.open for client in pair.clients)
    assert pair.plain == b""


@pytest.mark.parametrize("cut", [1, 3, 1000, 1 << 20])
def test_bytes_flow_both_ways_unchanged(wire: MakeWire, cut: int) -> None:
    pair = wire(cut)
    upwards = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00" + bytes(range(256)) * 3
    pair.send(upwards)
    assert pair.plain == upwards
    pair.write(b"\x20\x02\x00\x00" + PINGREQ)
    assert pair.received == b"\x20\x02\x00\x00" + PINGREQ


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(st.tuples(st.booleans(), st.lists(SOME, max_size=6)), max_size=6), cut=st.integers(1, 300))
def test_any_conversation_arrives_in_order(wire: MakeWire, script: list[tuple[bool, list[bytes]]], cut: int) -> None:
    pair = wire(cut)
    to_broker = to_client = b""
    for from_client, packets in script:
        data = b"".join(packets)
        if from_client:
            to_broker += data
            pair.send(data)
        else:
            to_client += data
            pair.write(data)
    assert pair.ended is None
    assert pair.plain == to_broker
    assert (pair.received if pair.clients else b"") == to_client


def test_large_transfers_arrive(wire: MakeWire) -> None:
    pair = wire(65536)
    payload = bytes(range(251)) * 3000
    pair.send(payload)
    assert pair.plain == payload
    packet = b"\x30\x80\x80\x30" + bytes(786432)
    pair.write(packet)
    assert pair.received == packet


def test_bytes_before_the_goodbye_are_delivered_first(wire: MakeWire) -> None:
    """An MQTT DISCONNECT often shares its segment with the close of the layer below; losing it would send the will."""
    pair = wire()
    top = pair.clients[-1]
    farewell = pair._down(b"\xe0\x00", len(pair.clients)) + pair._down(top.close(), len(pair.clients) - 1)
    pair.to_server(farewell)
    assert pair.plain == b"\xe0\x00"
    if type(top) is ProxyClient:
        assert pair.ended is None  # plain TCP below: its end is the socket's
        return
    assert pair.end() in ("closed", "ssl_closed")
    with pytest.raises(LayerClosed):
        pair.transport.feed(b"more")
    assert pair.transport.write(PINGREQ) == b""
    assert top.goodbye  # our answer to the farewell arrived


def test_close_says_goodbye_on_every_layer(wire: MakeWire) -> None:
    pair = wire()
    pair.write(PINGREQ)
    pair.close()
    assert pair.received == PINGREQ
    assert all(client.goodbye for client in pair.clients if not isinstance(client, ProxyClient))
    assert pair.transport.close() == b""


def test_writing_nothing_sends_nothing(wire: MakeWire) -> None:
    pair = wire()
    assert pair.transport.write(b"") == b""
    assert pair.transport.output() == b""


def test_proxy_alone_leaves_nothing_in_the_way() -> None:
    transport = TransportPlan(proxy=True).transport(Peer("203.0.113.9", 5))
    assert transport is not None
    assert not transport.passthrough
    assert transport.feed(b"PROXY UNKNOWN\r\n" + PINGREQ) == PINGREQ
    assert transport.passthrough
    assert TransportPlan().transport(Peer("203.0.113.9", 5)) is None
