"""From configuration to layers."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from layer_peers import Authority

from trioemqx.config.listener import ListenerConfig
from trioemqx.errors import ListenerError
from trioemqx.listeners.build import plan_transport
from trioemqx.listeners.proxy import ProxyLayer
from trioemqx.listeners.tls import TlsLayer
from trioemqx.listeners.transport import Peer
from trioemqx.listeners.ws import WsLayer
from trioemqx.listeners.wsdeflate import DeflateSettings

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"), "ca")


@pytest.fixture(scope="module")
def certfile(authority: Authority) -> str:
    return str(authority.issue("broker.test").file)


@pytest.mark.parametrize(
    ("kind", "layers"),
    [("tcp", []), ("ssl", [TlsLayer]), ("ws", [WsLayer]), ("wss", [TlsLayer, WsLayer])],
)
@pytest.mark.parametrize("proxy", [False, True])
def test_layers_of_each_kind(kind: str, layers: list[type], proxy: bool, certfile: str) -> None:
    listener = ListenerConfig(kind=kind, certfile=certfile, proxy_protocol=proxy)
    plan = plan_transport(listener, MEGABYTE)
    transport = plan.transport(Peer("203.0.113.9", 5))
    expected = [ProxyLayer] * proxy + layers
    if not expected:
        assert transport is None
        return
    assert transport is not None
    assert [type(layer) for layer in transport.layers] == expected
    assert plan.transport(Peer("203.0.113.9", 6)) is not transport


def test_tls_settings_are_taken_over(authority: Authority, certfile: str) -> None:
    listener = ListenerConfig(
        kind="ssl",
        certfile=certfile,
        key_password="x",
        cacertfile=authority.file,
        verify="verify_peer",
        fail_if_no_peer_cert=True,
        partial_chain="two_cacerts_from_cacertfile",
        depth=3,
        verify_peer_ext_key_usage=("clientAuth",),
        enable_crl_check=True,
        crl_cache_urls=(f"file://{authority.revoke()}",),
    )
    tls = plan_transport(listener, MEGABYTE).tls
    assert tls is not None
    assert (tls.verify, tls.fail_if_no_peer_cert, tls.partial_chain, tls.depth) == (True, True, True, 3)
    assert tls.ext_key_usage == ("clientAuth",)
    assert tls.tls_versions == ("tlsv1.3", "tlsv1.2")
    assert [Path(path).name for path in tls.crl_files] == ["ca.crl"]


def test_ws_settings_are_taken_over() -> None:
    listener = ListenerConfig(
        kind="ws",
        mqtt_path="/socket",
        mqtt_piggyback="single",
        max_frame_size=5,
        check_origin_enable=True,
        check_origins=("http://a.test",),
        allow_origin_absence=False,
        proxy_address_header="X-Real-IP",
    )
    ws = plan_transport(listener, 20 * MEGABYTE).ws
    assert ws is not None
    assert (ws.path, ws.piggyback_single, ws.max_frame_size, ws.max_message_size) == ("/socket", True, 5, 20 * MEGABYTE)
    assert (ws.check_origin, ws.origins, ws.allow_origin_absence) == (True, ("http://a.test",), False)
    assert ws.address_header == "X-Real-IP"
    assert ws.deflate is None
    compressing = attrs.evolve(
        listener, compress=True, deflate_level="best_speed", deflate_client_takeover="no_takeover"
    )
    ws = plan_transport(compressing, 12345).ws
    assert ws is not None
    assert ws.deflate == DeflateSettings(level="best_speed", client_takeover=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"certfile": None}, r"^listener\.ssl\.external: certfile is not set$"),
        ({"certfile": "missing.pem"}, r"^listener\.ssl\.external: .*missing\.pem: No such file"),
        ({"enable_crl_check": True}, "needs crl_cache_urls"),
        ({"enable_crl_check": True, "crl_cache_urls": ("http://ca.test/list",)}, "only file://"),
    ],
)
def test_errors_name_the_listener(certfile: str, changes: dict[str, object], message: str) -> None:
    listener = attrs.evolve(ListenerConfig(kind="ssl", certfile=certfile), **changes)
    with pytest.raises(ListenerError, match=message):
        plan_transport(listener, MEGABYTE)


def test_plain_listeners_have_nothing_to_renew() -> None:
    plan = plan_transport(ListenerConfig(kind="ws"), MEGABYTE)
    assert plan.renewed() is plan
