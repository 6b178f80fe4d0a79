"""`[listener.<type>.<name>]`: where clients come in, and what their sockets may do."""

# ruff: noqa: RUF009 - setting() and its like make an attrs attribute once per class, as attrs.field() does

from __future__ import annotations

from typing import Final

import attrs

from trioemqx.config.fields import bytesize, choice, duration, flag, integer, or_word, path, text, words
from trioemqx.config.schema import setting, unused
from trioemqx.config.values import AccessRule, Address, Rate, access, address, byte_rate

KINDS: Final = ("tcp", "ssl", "ws", "wss")

TLS: Final = ("ssl", "wss")
WS: Final = ("ws", "wss")
STREAM: Final = ("tcp", "ssl")

TLS_VERSIONS: Final = ("tlsv1.3", "tlsv1.2", "tlsv1.1", "tlsv1")
CERT_FIELDS: Final = ("cn", "dn", "crt", "pem", "md5")


@attrs.frozen
class ListenerConfig:
    """One listener. Durations are seconds, sizes bytes, None means "not set".

    Settings that belong to other types (`keyfile` of a tcp listener) keep their defaults and cannot be written.
    """

    kind: str = "tcp"
    name: str = "external"

    # Address and limits
    bind: Address = setting(
        address,
        Address("", 0),
        "Address to listen on: a port, or host:port.",
        apply="listener",
        shorthand=True,
        required=True,
        example="0.0.0.0:1883",
    )
    zone: str = setting(text, "default", "Zone whose settings apply to the clients of this listener.")
    acceptors: int = setting(
        integer(1, 1024), 8, "Concurrent accept loops in EMQX; one is enough here.", used=False, apply="restart"
    )
    max_connections: int = setting(integer(1), 1024, "Beyond it a new socket is closed at once.")
    max_conn_rate: int | None = setting(
        or_word(integer(1), "none"), None, "Accepted sockets per second; beyond it accepting pauses.", example=1000
    )
    active_n: int = setting(
        integer(1, 32767),
        100,
        "Erlang's batch of socket messages; here limits are looked at packet by packet.",
        used=False,
    )
    access: tuple[AccessRule, ...] = setting(
        access,
        (),
        "Ordered rules allow|deny all|CIDR; the first match decides, no match allows.",
        example=["allow 10.0.0.0/8", "deny all"],
    )
    rate_limit: Rate | None = setting(
        byte_rate,
        None,
        "Bytes per period and connection; older spelling of the zone's rate_limit.conn_bytes_in.",
        example="100KB,10s",
    )

    # PROXY protocol
    proxy_protocol: bool = setting(
        flag, False, "Expect a HAProxy PROXY header, version 1 or 2, in front of every connection."
    )
    proxy_protocol_timeout: float = setting(duration, 3.0, "The header must be here by then.")

    # Socket
    backlog: int = setting(integer(1, 65535), 1024, "Connections the kernel keeps for accepting.", apply="listener")
    send_timeout: float = setting(duration, 15.0, "A send without any progress for that long fails.")
    send_timeout_close: bool = setting(flag, True, "Close the socket when a send fails by send_timeout.")
    recbuf: int | None = setting(bytesize, None, "SO_RCVBUF; unset leaves it to the kernel.", example="64KB")
    sndbuf: int | None = setting(bytesize, None, "SO_SNDBUF; unset leaves it to the kernel.", example="64KB")
    buffer: int | None = unused("Erlang's own socket buffer.", example="4KB")
    tune_buffer: bool | None = unused("Tunes Erlang's socket buffer.", example=False)
    high_watermark: int = setting(
        bytesize,
        1024**2,
        "Erlang's mark of a busy socket; here it is only told with the congestion alarm.",
        only=STREAM,
    )
    outbox_high_watermark: int = setting(
        bytesize,
        256 * 1024,
        "Bytes waiting for a socket above which nothing more is taken from its queue and the client is not read.",
        added=True,
    )
    outbox_low_watermark: int = setting(
        bytesize, 64 * 1024, "Reading and sending go on when fewer bytes than this are waiting.", added=True
    )
    nodelay: bool = setting(flag, True, "TCP_NODELAY: send small packets at once.")
    reuseaddr: bool = setting(flag, True, "SO_REUSEADDR on the listening socket.", only=STREAM, apply="listener")

    # Certificates as identity
    peer_cert_as_username: str | None = setting(
        choice(*CERT_FIELDS),
        None,
        "Take the user name from the client certificate; tcp and ws know only cn (PROXY version 2).",
        example="cn",
    )
    peer_cert_as_clientid: str | None = setting(
        choice(*CERT_FIELDS),
        None,
        "Take the client identifier from the client certificate; tcp and ws know only cn.",
        example="cn",
    )

    # TLS
    keyfile: str | None = setting(path, None, "Private key, PEM.", only=TLS, example="etc/certs/key.pem")
    certfile: str | None = setting(
        path, None, "Certificate chain, PEM, own certificate first.", only=TLS, example="etc/certs/cert.pem"
    )
    cacertfile: str | None = setting(
        path,
        None,
        "Authorities that client certificates are checked against.",
        only=TLS,
        example="etc/certs/cacert.pem",
    )
    key_password: str | None = setting(
        text, None, "Password of the private key.", only=TLS, secret=True, example="secret"
    )
    tls_versions: tuple[str, ...] = setting(
        words(*TLS_VERSIONS),
        ("tlsv1.3", "tlsv1.2"),
        "Protocol versions offered. EMQX also offers tlsv1.1 and tlsv1; here they must be asked for.",
        only=TLS,
    )
    ciphers: tuple[str, ...] = setting(
        words(),
        (),
        "Cipher suites of TLS 1.2 and older in OpenSSL's names; unset takes OpenSSL's own choice. Those of TLS 1.3 are "
        "all offered; a list that names only such ones leaves the older versions out.",
        only=TLS,
        example="TLS_AES_256_GCM_SHA384,ECDHE-RSA-AES256-GCM-SHA384",
    )
    psk_ciphers: tuple[str, ...] = setting(
        words(),
        (),
        "Pre-shared-key suites; excludes ciphers and tlsv1.3.",
        only=TLS,
        example="PSK-AES128-CBC-SHA,PSK-AES256-CBC-SHA",
    )
    handshake_timeout: float = setting(duration, 15.0, "A TLS handshake must be over by then.", only=TLS)
    depth: int = setting(integer(0, 255), 10, "Longest certificate chain of a client.", only=TLS)
    dhfile: str | None = setting(path, None, "Diffie-Hellman parameters.", only=TLS, example="etc/certs/dh-params.pem")
    verify: str = setting(
        choice("verify_peer", "verify_none"), "verify_none", "Whether client certificates are asked for.", only=TLS
    )
    fail_if_no_peer_cert: bool = setting(
        flag, False, "With verify_peer: refuse clients without a certificate.", only=TLS
    )
    partial_chain: str = setting(
        choice("false", "true", "cacert_from_cacertfile", "two_cacerts_from_cacertfile"),
        "false",
        "Accept chains that end in an intermediate certificate of cacertfile.",
        only=TLS,
    )
    verify_peer_ext_key_usage: tuple[str, ...] = setting(
        words(), (), "Extended key usages a client certificate must have.", only=TLS, example="clientAuth"
    )
    secure_renegotiate: bool | None = unused("OpenSSL always renegotiates securely.", only=TLS, example=True)
    reuse_sessions: bool = setting(
        flag,
        True,
        "Let clients resume TLS sessions; off holds for tlsv1.3, since Python cannot keep OpenSSL from remembering "
        "those of older versions.",
        only=TLS,
    )
    honor_cipher_order: bool = setting(flag, True, "The server's order of cipher suites decides.", only=TLS)
    log_level: str | None = unused("Log level of Erlang's TLS.", only=TLS, example="notice")
    gc_after_handshake: bool | None = unused(only=TLS, example=False)
    hibernate_after: float | None = unused(only=TLS, example="5s")
    enable_ocsp_stapling: bool = setting(
        flag, False, "Staple OCSP answers; Python's TLS cannot, so a warning says so.", only=TLS, used=False
    )
    ocsp_responder_url: str | None = unused("OCSP responder.", only=TLS, example="http://ocsp.example.com")
    ocsp_issuer_pem: str | None = unused("Issuer of the certificate.", only=TLS, example="etc/certs/issuer.pem")
    ocsp_refresh_interval: float | None = unused("How often the answer is renewed.", only=TLS, example="5m")
    ocsp_refresh_http_timeout: float | None = unused("Deadline of one request.", only=TLS, example="15s")
    enable_crl_check: bool = setting(flag, False, "Check client certificates against revocation lists.", only=TLS)
    crl_cache_urls: tuple[str, ...] = setting(
        words(),
        (),
        "The revocation lists, PEM: file:// URLs or file names.",
        only=TLS,
        example="file:///etc/ssl/ca.crl",
    )

    # WebSocket
    mqtt_path: str = setting(text, "/mqtt", "Only this path becomes a WebSocket.", only=WS)
    fail_if_no_subprotocol: bool = setting(
        flag, True, "Refuse requests without Sec-WebSocket-Protocol with 400.", only=WS
    )
    supported_subprotocols: tuple[str, ...] = setting(
        words(), ("mqtt", "mqtt-v3", "mqtt-v3.1.1", "mqtt-v5"), "The first one in the client's list is taken.", only=WS
    )
    proxy_address_header: str = setting(
        text, "X-Forwarded-For", "Header whose first element replaces the peer address.", only=WS
    )
    proxy_port_header: str = setting(
        text, "X-Forwarded-Port", "Header whose first element replaces the peer port.", only=WS
    )
    compress: bool = setting(flag, False, "Offer permessage-deflate.", only=WS)
    deflate_level: str = setting(
        choice("none", "default", "best_compression", "best_speed"),
        "default",
        "Effort of compression.",
        key="deflate_opts.level",
        only=WS,
    )
    deflate_mem_level: int = setting(
        integer(1, 9), 8, "Memory of one compressor.", key="deflate_opts.mem_level", only=WS
    )
    deflate_strategy: str = setting(
        choice("default", "filtered", "huffman_only", "rle"),
        "default",
        "Strategy of compression.",
        key="deflate_opts.strategy",
        only=WS,
    )
    deflate_server_takeover: str = setting(
        choice("takeover", "no_takeover"),
        "takeover",
        "Whether the server's compressor remembers earlier messages.",
        key="deflate_opts.server_context_takeover",
        only=WS,
    )
    deflate_client_takeover: str = setting(
        choice("takeover", "no_takeover"),
        "takeover",
        "Whether the client's compressor remembers earlier messages.",
        key="deflate_opts.client_context_takeover",
        only=WS,
    )
    deflate_server_bits: int = setting(
        integer(8, 15),
        15,
        "Window of the server's compressor, a power of 2.",
        key="deflate_opts.server_max_window_bits",
        only=WS,
    )
    deflate_client_bits: int = setting(
        integer(8, 15),
        15,
        "Window of the client's compressor, a power of 2.",
        key="deflate_opts.client_max_window_bits",
        only=WS,
    )
    idle_timeout: float = setting(duration, 7200.0, "Close a WebSocket on which nothing came for that long.", only=WS)
    max_frame_size: int = setting(bytesize, 0, "Largest WebSocket frame; 0 leaves it to max_packet_size.", only=WS)
    mqtt_piggyback: str = setting(
        choice("multiple", "single"),
        "multiple",
        "multiple: one outgoing frame per MQTT packet; single: all pending packets in one frame.",
        only=WS,
    )
    check_origin_enable: bool = setting(flag, False, "Refuse other origins than check_origins with 403.", only=WS)
    allow_origin_absence: bool = setting(flag, True, "Requests without Origin pass that check.", only=WS)
    check_origins: tuple[str, ...] = setting(
        words(), (), "Origins that may connect.", only=WS, example="http://localhost:18083, http://127.0.0.1:18083"
    )

    @property
    def host(self) -> str:
        """Where to listen; 0.0.0.0 when only a port was written."""
        return self.bind.host or "0.0.0.0"

    @property
    def port(self) -> int:
        """The port; 0 lets the system choose one."""
        return self.bind.port

    @property
    def id(self) -> str:
        """The identifier of CLI and REST: `mqtt:tcp:external`."""
        return f"mqtt:{self.kind}:{self.name}"

    @property
    def tls(self) -> bool:
        """True for ssl and wss."""
        return self.kind in TLS

    @property
    def websocket(self) -> bool:
        """True for ws and wss."""
        return self.kind in WS
