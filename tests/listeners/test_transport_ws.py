"""The WebSocket layer [MQTT5 section 6]: who may upgrade, what is kept, how it ends."""

from __future__ import annotations

import base64
import re
import tracemalloc

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_peers import Wire, WsClient
from wsproto.events import Ping, Pong, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from trioemqx.errors import MalformedPacket
from trioemqx.listeners import wsframes
from trioemqx.listeners.build import TransportPlan
from trioemqx.listeners.transport import LayerClosed, Peer
from trioemqx.listeners.ws import WsLayer
from trioemqx.listeners.wsdeflate import DeflateSettings
from trioemqx.listeners.wshandshake import MAX_REQUEST, WsSettings

PINGREQ = b"\xc0\x00"
PUBLISH = b"\x30\x05\x00\x01tHi"
KEY = base64.b64encode(bytes(range(16))).decode()
HEADERS = {
    "Host": "broker.test",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "mqtt",
}


def request(target: str = "/mqtt", first: str = "", **changes: str | None) -> bytes:
    """An upgrade request; a change of None leaves a header out, underscores stand for hyphens."""
    headers = {name.lower(): value for name, value in HEADERS.items()}
    headers |= {name.replace("_", "-").lower(): value for name, value in changes.items()}
    lines = [
        first or f"GET {target} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items() if value is not None),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def layer(settings: WsSettings | None = None) -> WsLayer:
    return WsLayer(settings or WsSettings(), Peer("203.0.113.9", 5))


def status(data: bytes, settings: WsSettings | None = None, cut: int = 1 << 20) -> int:
    """The HTTP status that answers these bytes; checks that a refusal ends the layer."""
    under_test = layer(settings)
    for at in range(0, len(data), cut):
        assert under_test.feed(data[at : at + cut]) == b""
    answer = under_test.output()
    assert answer.startswith(b"HTTP/1.1 "), answer
    code = int(answer[9:12])
    assert (code == 101) is under_test.established
    if code != 101:
        assert isinstance(under_test.ended, LayerClosed)
        assert under_test.ended.name == "ws_upgrade_refused"
        assert answer.endswith(b"\r\n\r\n")
        assert b"Content-Length: 0" in answer
        assert under_test.feed(request()) == b""
        assert under_test.write(PINGREQ) == b""
        assert under_test.close() == b""
    return code


def connected(settings: WsSettings | None = None, *, client: WsClient | None = None, cut: int = 1 << 20) -> Wire:
    transport = TransportPlan(ws=settings or WsSettings()).transport(Peer("203.0.113.9", 5))
    assert transport is not None
    wire = Wire(transport, [client or WsClient()], cut)
    wire.connect()
    return wire


def client_of(wire: Wire) -> WsClient:
    client = wire.clients[0]
    assert isinstance(client, WsClient)
    return client


# -- the upgrade ---------------------------------------------------------------------------------------------------


def test_the_example_of_the_rfc() -> None:
    under_test = layer()
    under_test.feed(request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="))
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in under_test.output()


@pytest.mark.parametrize("cut", [1, 3, 50])
def test_request_in_pieces(cut: int) -> None:
    assert status(request(), cut=cut) == 101


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(request(), 101, id="as usual"),
        pytest.param(request("/mqtt?token=1"), 101, id="query"),
        pytest.param(request(Connection="keep-alive, Upgrade", Upgrade="WebSocket"), 101, id="Firefox"),
        pytest.param(request(Content_Length="0"), 101, id="empty body"),
        pytest.param(request("/"), 404, id="other path"),
        pytest.param(request("/mqtt/"), 404, id="longer path"),
        pytest.param(request("/MQTT"), 404, id="case"),
        pytest.param(request("http://broker.test/mqtt"), 404, id="absolute"),
        pytest.param(request("/../mqtt"), 404, id="dots"),
        pytest.param(request(Upgrade=None), 426, id="plain request"),
        pytest.param(request(Connection=None), 426, id="no connection header"),
        pytest.param(request(Connection="close"), 426, id="connection close"),
        pytest.param(request(Upgrade="h2c"), 426, id="other upgrade"),
        pytest.param(request(Sec_WebSocket_Version=None), 426, id="no version"),
        pytest.param(request(Sec_WebSocket_Version="8"), 426, id="old version"),
        pytest.param(request(first="POST /mqtt HTTP/1.1"), 400, id="POST"),
        pytest.param(request(first="GET /mqtt HTTP/1.0"), 400, id="HTTP/1.0"),
        pytest.param(request(Content_Length="5"), 400, id="body"),
        pytest.param(request(Transfer_Encoding="chunked"), 400, id="chunked"),
        pytest.param(request(Sec_WebSocket_Key=None), 400, id="no key"),
        pytest.param(request(Sec_WebSocket_Key="x"), 400, id="bad key"),
        pytest.param(request(Sec_WebSocket_Key="MTIz"), 400, id="short key"),
        pytest.param(request(Sec_WebSocket_Key="\xe9" * 24), 400, id="key not ASCII"),
        pytest.param(request(Host=None), 400, id="no host"),
        pytest.param(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n", 400, id="MQTT"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS"),
        pytest.param(b"GET /mqtt\r\n\r\n", 400, id="HTTP/0.9"),
        pytest.param(b"GET /mqtt HTTP/1.1\r\nHost: x\r\n y: z\r\nno colon\r\n\r\n", 400, id="no colon"),
        pytest.param(request(Cookie="x\x00y"), 400, id="NUL"),
        pytest.param(request(Cookie="x" * MAX_REQUEST), 431, id="long header"),
        pytest.param(b"GET /" + b"x" * MAX_REQUEST, 431, id="endless path"),
    ],
)
def test_status(data: bytes, expected: int) -> None:
    assert status(data) == expected


def test_426_says_what_is_wanted() -> None:
    under_test = layer()
    under_test.feed(request(Sec_WebSocket_Version="8"))
    answer = under_test.output()
    assert b"Sec-WebSocket-Version: 13\r\n" in answer
    assert b"Upgrade: websocket\r\n" in answer


@pytest.mark.parametrize("cut", [100, 60000])
def test_endless_headers_are_cut_off(cut: int) -> None:
    data = b"GET /mqtt HTTP/1.1\r\n" + b"X-Header: some value\r\n" * 3000
    assert status(data, cut=cut) == 431


def test_slow_endless_header_stays_small() -> None:
    tracemalloc.start()
    try:
        under_test = layer()
        for _ in range(MAX_REQUEST - 20):
            under_test.feed(b"x")
        assert under_test.ended is None
        size, _ = tracemalloc.get_traced_memory()
        for _ in range(30):
            under_test.feed(b"x")
    finally:
        tracemalloc.stop()
    assert size < 100_000
    assert under_test.output().startswith(b"HTTP/1.1 431")


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=80),
    cut=st.integers(1, 80),
    start=st.sampled_from([b"", b"GET ", b"GET /mqtt HTTP/1.1\r\n"]),
)
def test_arbitrary_bytes_never_raise(data: bytes, cut: int, start: bytes) -> None:
    under_test = layer()
    for at in range(0, len(start + data), cut):
        assert under_test.feed((start + data)[at : at + cut]) == b""
    assert not under_test.established


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("mqtt", "mqtt"),
        ("mqtt-v3.1.1", "mqtt-v3.1.1"),
        ("chat, mqtt-v5, mqtt", "mqtt-v5"),
        ("mqttv3.1,mqtt", "mqtt"),
        ("MQTT", None),
        ("chat", None),
        ("", None),
        (None, None),
    ],
)
def test_subprotocol(offered: str | None, chosen: str | None) -> None:
    under_test = layer()
    under_test.feed(request(Sec_WebSocket_Protocol=offered))
    answer = under_test.output().decode()
    found = re.search(r"Sec-WebSocket-Protocol: (\S+)\r\n", answer)
    assert (found and found[1]) == chosen
    assert answer.startswith("HTTP/1.1 101" if chosen else "HTTP/1.1 400")


def test_subprotocol_may_be_missing_when_allowed() -> None:
    lax = WsSettings(fail_if_no_subprotocol=False)
    under_test = layer(lax)
    under_test.feed(request(Sec_WebSocket_Protocol=None))
    assert b"Sec-WebSocket-Protocol" not in under_test.output()
    assert under_test.established
    assert status(request(Sec_WebSocket_Protocol="chat"), lax) == 400


@pytest.mark.parametrize(
    ("origin", "absence", "expected"),
    [
        ("http://localhost:18083", True, 101),
        ("HTTP://LOCALHOST:18083", True, 101),
        ("http://evil.test", True, 403),
        ("http://localhost:18083.evil.test", True, 403),
        ("null", True, 403),
        (None, True, 101),
        (None, False, 403),
    ],
)
def test_origin(origin: str | None, absence: bool, expected: int) -> None:
    checked = WsSettings(check_origin=True, origins=("http://localhost:18083",), allow_origin_absence=absence)
    assert status(request(Origin=origin), checked) == expected
    assert status(request(Origin=origin)) == 101


@pytest.mark.parametrize(
    ("address", "port", "host_seen", "port_seen"),
    [
        ("192.0.2.7", "4711", "192.0.2.7", 4711),
        ("192.0.2.7, 198.51.100.1", "4711, 80", "192.0.2.7", 4711),
        ("2001:db8::7", None, "2001:db8::7", 5),
        ("::ffff:192.0.2.7", None, "192.0.2.7", 5),
        ("unknown", "none", "203.0.113.9", 5),
        ("192.0.2.7:4711", "65536", "203.0.113.9", 5),
        ("fe80::1%eth0", "-1", "203.0.113.9", 5),
        ("", "²", "203.0.113.9", 5),
        (None, None, "203.0.113.9", 5),
    ],
)
def test_forwarded_address(address: str | None, port: str | None, host_seen: str, port_seen: int) -> None:
    under_test = layer()
    under_test.feed(request(X_Forwarded_For=address, X_Forwarded_Port=port))
    assert under_test.established
    assert (under_test.peer.host, under_test.peer.port) == (host_seen, port_seen)


def test_forwarding_headers_can_be_renamed_or_switched_off() -> None:
    forged = request(X_Forwarded_For="192.0.2.7", X_Real_Ip="192.0.2.8")
    off = layer(WsSettings(address_header="", port_header=""))
    off.feed(forged)
    assert off.peer.host == "203.0.113.9"
    renamed = layer(WsSettings(address_header="X-Real-IP"))
    renamed.feed(forged)
    assert renamed.peer.host == "192.0.2.8"


def test_refused_request_changes_nothing_about_the_peer() -> None:
    under_test = layer()
    under_test.feed(request("/other", X_Forwarded_For="192.0.2.7", Cookie="a=b"))
    assert under_test.peer == Peer("203.0.113.9", 5)


def test_cookie_is_kept() -> None:
    under_test = layer()
    under_test.feed(request(Cookie="session=abc; user=x"))
    assert under_test.peer.ws_cookie == "session=abc; user=x"


def test_proxy_header_without_proxy_protocol() -> None:
    under_test = layer()
    assert under_test.feed(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8083\r\n" + request()) == b""
    assert isinstance(under_test.ended, MalformedPacket)
    assert under_test.ended.name == "proxy_protocol_config_disabled"
    assert under_test.output() == b""


def test_frames_right_behind_the_request() -> None:
    mask = b"\0\0\0\0"
    under_test = layer()
    assert under_test.feed(request() + b"\x82\x82" + mask + PINGREQ) == PINGREQ
    assert under_test.established


# -- frames --------------------------------------------------------------------------------------------------------


def test_one_frame_per_packet_by_default() -> None:
    wire = connected()
    wire.write(PINGREQ + PUBLISH + PINGREQ)
    assert client_of(wire).messages == [PINGREQ, PUBLISH, PINGREQ]


def test_one_frame_for_all_packets_with_single() -> None:
    wire = connected(WsSettings(piggyback_single=True))
    wire.write(PINGREQ + PUBLISH + PINGREQ)
    assert client_of(wire).messages == [PINGREQ + PUBLISH + PINGREQ]


def test_half_a_packet_waits_for_its_rest() -> None:
    wire = connected()
    wire.write(PINGREQ + PUBLISH[:3])
    wire.write(PUBLISH[3:] + PINGREQ)
    assert client_of(wire).messages == [PINGREQ, PUBLISH, PINGREQ]


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("compress", [True, False])
def test_compression_only_when_switched_on(single: bool, compress: bool) -> None:
    offer = Request(host="broker.test", target="/mqtt", subprotocols=["mqtt"], extensions=[PerMessageDeflate()])
    deflate = DeflateSettings() if compress else None
    wire = connected(WsSettings(piggyback_single=single, deflate=deflate), client=WsClient(offer))
    assert bool(client_of(wire).accepted.extensions) is compress
    packet = b"\x30\x82\x08\x00\x01t" + bytes(1023)
    before = len(wire.raw)
    wire.write(packet * 2)
    assert wire.received == packet * 2
    assert (len(wire.raw) - before < 200) is compress
    wire.send(packet)
    assert wire.plain == packet


def test_text_frame_ends_the_connection() -> None:
    wire = connected()
    wire.to_server(client_of(wire).ws.send(TextMessage(data="hello")))
    assert wire.end() == "unexpected_ws_frame"
    assert isinstance(wire.ended, MalformedPacket)
    assert client_of(wire).close_code == wsframes.UNSUPPORTED_DATA


@pytest.mark.parametrize(
    ("data", "code", "name", "reason_code"),
    [
        (b"\x82\x02hi", 1002, "ws_protocol_error", 0x81),
        (b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", 1009, "frame_too_large", 0x95),
        (b"\x88\x82\0\0\0\0\x03\xed", 1002, "ws_protocol_error", 0x81),
    ],
)
def test_abuse_is_answered_with_a_close_frame(data: bytes, code: int, name: str, reason_code: int) -> None:
    wire = connected(cut=1)
    wire.to_server(data)
    assert wire.end() == name
    assert isinstance(wire.ended, MalformedPacket)
    assert wire.ended.code == reason_code
    assert client_of(wire).close_code == code
    assert wire.transport.write(PINGREQ) == b""
    assert wire.transport.close() == b""


def test_frame_limit() -> None:
    wire = connected(attrs.evolve(WsSettings(), max_frame_size=10))
    wire.send(b"x" * 10)
    assert wire.ended is None
    wire.send(b"x" * 11)
    assert wire.end() == "frame_too_large"


def test_close_is_answered() -> None:
    wire = connected()
    wire.to_server(client_of(wire).send(b"\xe0\x00") + client_of(wire).close())
    assert wire.plain == b"\xe0\x00"
    assert wire.end() == "closed"
    assert isinstance(wire.ended, LayerClosed)
    assert client_of(wire).close_code == 1000


def test_ping_is_answered() -> None:
    wire = connected()
    wire.to_server(client_of(wire).ws.send(Ping(payload=b"are you there")))
    assert [event.payload for event in client_of(wire).events if isinstance(event, Pong)] == [b"are you there"]


def test_ping_flood_gets_one_answer_per_read() -> None:
    wire = connected()
    flood = b"".join(client_of(wire).ws.send(Ping(payload=b"%d" % at)) for at in range(5000))
    before = len(wire.raw)
    wire.to_server(flood)
    assert [event.payload for event in client_of(wire).events if isinstance(event, Pong)] == [b"4999"]
    assert len(wire.raw) - before < 10


def test_unread_answers_do_not_pile_up() -> None:
    under_test = layer()
    under_test.feed(request())
    under_test.output()
    for _ in range(1000):
        under_test.feed(b"\x89\xfd\0\0\0\0"[:1] + b"\xfd\0\0\0\0" + bytes(125))
    assert len(under_test.output()) == 127
    assert under_test.output() == b""


def test_idle_connection_is_small() -> None:
    data = request()
    warm = layer()
    warm.feed(data)
    tracemalloc.start()
    try:
        layers = []
        for _ in range(100):
            layers.append(layer())
            layers[-1].feed(data)
            layers[-1].output()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 100 < 1500
