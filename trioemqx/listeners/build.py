"""From a listener's configuration to the transport of its connections."""

from __future__ import annotations

import logging
import platform
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs

from trioemqx.errors import ListenerError
from trioemqx.listeners.proxy import ProxyLayer
from trioemqx.listeners.tls import TlsLayer
from trioemqx.listeners.tlscontext import TlsSettings, build_context, knows_psk
from trioemqx.listeners.transport import Layer, Peer, Transport
from trioemqx.listeners.ws import WsLayer
from trioemqx.listeners.wsdeflate import DeflateSettings
from trioemqx.listeners.wshandshake import WsSettings

if TYPE_CHECKING:
    from trioemqx.config.listener import ListenerConfig

log = logging.getLogger("trioemqx.listeners")

PskLookup = Callable[[str], bytes | None]
_FILE: Final = "file://"
LEAST_MESSAGE: Final = 16 * 1024 * 1024
"""A WebSocket message may always have this size, whatever `max_packet_size` is: clients put many packets into one
[MQTT-6.0.0-3]. Its payload is handed on as it comes, and each packet in it is bounded by itself."""


@attrs.frozen
class TransportPlan:
    """What each connection of one listener gets between its socket and MQTT; made once, used for every accept."""

    proxy: bool = False
    proxy_timeout: float = 3.0
    """Seconds from accept to a complete PROXY header."""
    handshake_timeout: float = 15.0
    """Seconds from there to the end of the TLS handshake."""
    ws_idle: float = 0.0
    """Seconds a WebSocket may be silent; 0 = for ever."""
    tls: TlsSettings | None = None
    context: ssl.SSLContext | None = attrs.field(default=None, repr=False, eq=False)
    ws: WsSettings | None = None

    def transport(self, peer: Peer, now: float = 0.0) -> Transport | None:
        """The stack for one connection accepted `now` (monotonic), or None when its bytes are MQTT as they come."""
        layers: list[Layer] = []
        transport = Transport(layers, peer)
        deadline = now
        if self.proxy:
            layers.append(ProxyLayer(peer))
            deadline += self.proxy_timeout
            transport.limits.append((layers[-1], deadline, "proxy_protocol_timeout"))
        if self.tls is not None and self.context is not None:
            layers.append(TlsLayer(self.context, self.tls, peer))
            deadline += self.handshake_timeout
            transport.limits.append((layers[-1], deadline, "ssl_upgrade_timeout"))
        if self.ws is not None:
            layers.append(WsLayer(self.ws, peer))
            transport.idle = self.ws_idle
        return transport if layers else None

    def renewed(self) -> TransportPlan:
        """The same plan with its certificate files read again, for new connections; those that exist keep theirs.

        Raises ListenerError when a file has become unreadable: go on with the old plan then.
        """
        return self if self.tls is None else attrs.evolve(self, context=build_context(self.tls))


def plan_transport(
    listener: ListenerConfig, max_packet_size: int, psk_lookup: PskLookup | None = None
) -> TransportPlan:
    """Read certificate files and settle all settings of one listener.

    `max_packet_size` (bytes) is that of its zone and bounds a WebSocket message. Raises ListenerError.
    """
    tls = tls_settings(listener, psk_lookup) if listener.tls else None
    return TransportPlan(
        proxy=listener.proxy_protocol,
        proxy_timeout=listener.proxy_protocol_timeout,
        handshake_timeout=listener.handshake_timeout,
        ws_idle=listener.idle_timeout,
        tls=tls,
        context=None if tls is None else _context(tls, listener),
        ws=ws_settings(listener, max_packet_size) if listener.websocket else None,
    )


def _context(tls: TlsSettings, listener: ListenerConfig) -> ssl.SSLContext:
    where = f"listener.{listener.kind}.{listener.name}"
    try:
        context = build_context(tls)
    except ListenerError as error:
        raise ListenerError(f"{where}: {error}") from None
    if tls.psk_ciphers and not knows_psk():  # nobody gets in by that, so nothing else has to stay closed for it
        version = platform.python_version()
        log.warning(
            "%s: psk_ciphers need Python 3.13, this is %s: no client with a pre-shared key gets in", where, version
        )
    return context


def tls_settings(listener: ListenerConfig, psk_lookup: PskLookup | None = None) -> TlsSettings:
    """The TLS part of an ssl or wss listener."""
    return TlsSettings(
        certfile=listener.certfile or "",
        keyfile=listener.keyfile or "",
        key_password=listener.key_password or "",
        cacertfile=listener.cacertfile or "",
        verify=listener.verify == "verify_peer",
        fail_if_no_peer_cert=listener.fail_if_no_peer_cert,
        tls_versions=listener.tls_versions,
        ciphers=listener.ciphers,
        psk_ciphers=listener.psk_ciphers,
        psk_lookup=psk_lookup,
        depth=listener.depth,
        dhfile=listener.dhfile or "",
        honor_cipher_order=listener.honor_cipher_order,
        partial_chain=listener.partial_chain != "false",
        ext_key_usage=listener.verify_peer_ext_key_usage,
        crl_files=_crl_files(listener) if listener.enable_crl_check else (),
        reuse_sessions=listener.reuse_sessions,
    )


def _crl_files(listener: ListenerConfig) -> tuple[str, ...]:
    """Paths of the revocation lists. A list that cannot be had must not turn into "nobody is revoked"."""
    where = f"listener.{listener.kind}.{listener.name}"
    if not listener.crl_cache_urls:
        raise ListenerError(f"{where}: enable_crl_check needs crl_cache_urls")
    for url in listener.crl_cache_urls:
        if "://" in url and not url.startswith(_FILE):
            raise ListenerError(f"{where}: crl_cache_urls {url}: only file:// lists can be read")
    return tuple(url.removeprefix(_FILE) for url in listener.crl_cache_urls)


def ws_settings(listener: ListenerConfig, max_packet_size: int) -> WsSettings:
    """The WebSocket part of a ws or wss listener."""
    return WsSettings(
        path=listener.mqtt_path,
        fail_if_no_subprotocol=listener.fail_if_no_subprotocol,
        subprotocols=listener.supported_subprotocols,
        address_header=listener.proxy_address_header,
        port_header=listener.proxy_port_header,
        deflate=_deflate(listener) if listener.compress else None,
        max_frame_size=listener.max_frame_size,
        max_message_size=max(max_packet_size, LEAST_MESSAGE),
        piggyback_single=listener.mqtt_piggyback == "single",
        check_origin=listener.check_origin_enable,
        origins=listener.check_origins,
        allow_origin_absence=listener.allow_origin_absence,
    )


def _deflate(listener: ListenerConfig) -> DeflateSettings:
    return DeflateSettings(
        level=listener.deflate_level,
        mem_level=listener.deflate_mem_level,
        strategy=listener.deflate_strategy,
        server_takeover=listener.deflate_server_takeover == "takeover",
        client_takeover=listener.deflate_client_takeover == "takeover",
        server_max_window_bits=listener.deflate_server_bits,
        client_max_window_bits=listener.deflate_client_bits,
    )
