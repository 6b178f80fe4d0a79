"""Handshakes that take too long, and WebSockets on which nothing comes."""

from __future__ import annotations

from pathlib import Path

from layer_peers import Authority

from trioemqx.config.listener import ListenerConfig
from trioemqx.listeners.build import plan_transport
from trioemqx.listeners.transport import Peer, Transport

NOW = 1000.0


def transport_of(listener: ListenerConfig) -> Transport:
    found = plan_transport(listener, 1024).transport(Peer("127.0.0.1", 1), NOW)
    assert found is not None
    return found


def test_a_proxy_header_has_its_own_deadline() -> None:
    transport = transport_of(ListenerConfig(proxy_protocol=True, proxy_protocol_timeout=2.0))

    assert transport.late(NOW + 1.9) == ""
    assert transport.late(NOW + 2.0) == "proxy_protocol_timeout"
    transport.feed(b"PROXY UNKNOWN\r\n")
    assert transport.late(NOW + 100) == ""


def test_the_tls_handshake_may_begin_after_the_header(tmp_path: Path) -> None:
    file = str(Authority(tmp_path, "server").issue("broker").file)
    listener = ListenerConfig(
        kind="ssl", keyfile=file, certfile=file, proxy_protocol=True, proxy_protocol_timeout=2.0, handshake_timeout=5.0
    )
    transport = transport_of(listener)
    transport.feed(b"PROXY UNKNOWN\r\n")

    assert transport.late(NOW + 6.9) == ""
    assert transport.late(NOW + 7.0) == "ssl_upgrade_timeout"


def test_a_silent_websocket_ends_after_its_idle_timeout() -> None:
    """Any byte counts, also one that is no MQTT packet."""
    transport = transport_of(ListenerConfig(kind="ws", idle_timeout=10.0))
    assert transport.late(NOW) == ""
    assert transport.late(NOW + 9) == ""
    transport.feed(b"GET /mqtt")

    assert transport.late(NOW + 11) == ""
    assert transport.late(NOW + 20) == ""
    assert transport.late(NOW + 21) == "timeout"
