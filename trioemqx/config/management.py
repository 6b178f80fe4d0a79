"""`[management]` and `[dashboard]`: the HTTP API, who may use it, and where it listens."""

# ruff: noqa: RUF009 - setting() and its like make an attrs attribute once per class, as attrs.field() does

from __future__ import annotations

from typing import Final

import attrs

from trioemqx.config.fields import bytesize, choice, duration, flag, integer, or_word, path, text, words
from trioemqx.config.listener import TLS_VERSIONS
from trioemqx.config.schema import section, setting
from trioemqx.config.values import Address, address

_ENDPOINT: Final = or_word(address, "none")


@attrs.frozen
class HttpListenerConfig:
    """`[management.listener.http]` and `[dashboard.listener.http]`. `bind` None: closed."""

    bind: Address | None = setting(
        _ENDPOINT,
        None,
        "Address to listen on: a port, or host:port; none: closed.",
        apply="restart",
        shorthand=True,
        example="0.0.0.0:8081",
    )
    acceptors: int = setting(
        integer(1, 1024), 2, "Concurrent accept loops in EMQX; one is enough here.", used=False, apply="restart"
    )
    max_clients: int = setting(
        integer(1, 100_000), 512, "Connections at once; beyond it a new one is closed.", apply="restart"
    )
    backlog: int = setting(integer(1, 65535), 512, "Connections the kernel keeps for accepting.", apply="restart")
    send_timeout: float = setting(
        duration, 15.0, "A client that takes nothing of an answer for that long is cut off.", apply="restart"
    )
    send_timeout_close: bool = setting(flag, True, "EMQX may leave such a connection open.", used=False)
    inet6: bool = setting(
        flag, False, "A bare port is opened for IPv6 addresses as well.", apply="restart", example=True
    )
    ipv6_v6only: bool = setting(flag, False, "With inet6: for IPv6 addresses only.", apply="restart")


@attrs.frozen
class HttpsListenerConfig(HttpListenerConfig):
    """`[management.listener.https]` and `[dashboard.listener.https]`."""

    certfile: str | None = setting(path, None, "Certificate chain, PEM.", apply="restart", example="etc/certs/cert.pem")
    keyfile: str | None = setting(path, None, "Private key, PEM.", apply="restart", example="etc/certs/key.pem")
    key_password: str | None = setting(
        text, None, "Password of the private key.", apply="restart", secret=True, example="secret"
    )
    cacertfile: str | None = setting(
        path, None, "Authorities for client certificates, PEM.", apply="restart", example="etc/certs/cacert.pem"
    )
    verify: str = setting(
        choice("verify_none", "verify_peer"), "verify_none", "Ask clients for a certificate.", apply="restart"
    )
    fail_if_no_peer_cert: bool = setting(flag, False, "Refuse clients without a certificate.", apply="restart")
    tls_versions: tuple[str, ...] = setting(
        words(*TLS_VERSIONS), ("tlsv1.3", "tlsv1.2"), "Protocol versions offered.", apply="restart"
    )
    ciphers: tuple[str, ...] = setting(
        words(),
        (),
        "Cipher names of OpenSSL for TLS 1.2; () is the library's choice. Names of TLS 1.3 alone leave out TLS 1.2.",
        apply="restart",
        example="ECDHE-ECDSA-AES256-GCM-SHA384",
    )


@attrs.frozen
class ManagementConfig:
    """`[management]`"""

    http: HttpListenerConfig = section(HttpListenerConfig, key="listener.http")
    https: HttpsListenerConfig = section(HttpsListenerConfig, key="listener.https")
    max_row_limit: int = setting(integer(1, 1_000_000), 10_000, "Rows of a list when no _limit is asked for.")
    max_body_size: int = setting(
        bytesize, 8 * 1024**2, "Largest body of a request; the import of data takes twice as much.", added=True
    )
    bootstrap_apps_file: str | None = setting(
        path,
        None,
        "Lines `id:secret` or `id:secret:role`: applications that are entered at each start.",
        apply="restart",
        example="etc/bootstrap_apps.txt",
    )
    default_application_id: str = setting(
        text, "admin", "Application that is entered at the start unless it exists.", key="default_application.id"
    )
    default_application_secret: str = setting(
        text, "public", "Its secret.", key="default_application.secret", secret=True
    )
    application_default_secret: str | None = setting(
        text,
        None,
        "Secret of an application that is made without one; without it a random one.",
        key="application.default_secret",
        secret=True,
        example="secret",
    )
    prometheus_needs_login: bool | None = setting(
        flag,
        None,
        "Ask for credentials at /api/v4/emqx_prometheus and /metrics as well. Unset means off (hardened profile: on).",
        added=True,
        example=True,
    )


@attrs.frozen
class DashboardConfig:
    """`[dashboard]`"""

    http: HttpListenerConfig = section(HttpListenerConfig, key="listener.http")
    https: HttpsListenerConfig = section(HttpsListenerConfig, key="listener.https")
    default_user_login: str = setting(
        text, "admin", "User that is entered at the start unless it exists.", key="default_user.login"
    )
    default_user_password: str = setting(
        text, "public", "The password of that user.", key="default_user.password", secret=True
    )
    session_idle_timeout: float = setting(
        duration, 1800.0, "A login ends when no page has been open for that long; 0 = never.", added=True
    )
    session_max_age: float = setting(duration, 43200.0, "A login ends after that in any case; 0 = never.", added=True)
    max_sessions: int = setting(
        integer(1, 100_000), 200, "Logins at once; one more ends the one that was not used for longest.", added=True
    )
    max_viewers: int = setting(
        integer(0, 10_000), 50, "Browsers that are sent live figures at once; 0 = none.", added=True
    )
    behind_proxy: bool = setting(
        flag,
        False,
        "Believe X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto. Only where all requests come from a proxy.",
        added=True,
    )


@attrs.frozen
class LicenseConfig:
    """`[license]`"""

    file: str = setting(path, "etc/emqx.lic", "Where an uploaded license is kept; it has no effect on limits.")
