"""Where a request comes from, as far as a proxy in between lets one know.

What a proxy adds to a request is believed when it was said that there is one (`dashboard.behind_proxy`), because
anybody else can add it as well.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

_FORWARDED: Final = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
THROUGH_PROXY: Final = " through a proxy"


def peer_of(headers: Mapping[bytes, bytes], peer: str, behind_proxy: bool) -> str:
    """The address that a request comes from.

    Behind a proxy the last one that it named, since those before are what it was told itself. Otherwise the socket's,
    marked when somebody says that it stands for another one: a proxy on this machine does not make the whole network
    local.
    """
    if behind_proxy:
        last = headers.get(b"x-forwarded-for", b"").rpartition(b",")[2].strip().decode("ascii", "replace")
        try:
            return str(ipaddress.ip_address(last.removeprefix("[").removesuffix("]")))
        except ValueError:
            return peer
    return peer + THROUGH_PROXY if any(name in headers for name in _FORWARDED) else peer


def host_of(headers: Mapping[bytes, bytes], behind_proxy: bool) -> bytes:
    """`host` or `host:port` that the browser asked for."""
    if behind_proxy and (given := headers.get(b"x-forwarded-host", b"").partition(b",")[0].strip()):
        return given
    return headers.get(b"host", b"")


def is_secure(headers: Mapping[bytes, bytes], scheme: str, behind_proxy: bool) -> bool:
    """Whether the browser speaks TLS."""
    if behind_proxy and b"x-forwarded-proto" in headers:
        return headers[b"x-forwarded-proto"].partition(b",")[0].strip().lower() in (b"https", b"wss")
    return scheme in ("https", "wss")


def from_other_site(headers: Mapping[bytes, bytes], behind_proxy: bool) -> bool:
    """Whether a browser sends this for a page of another site, with the credentials that it keeps."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"cross-site"
    origin = headers.get(b"origin")
    return origin is not None and not same_origin(headers, behind_proxy)


def same_origin(headers: Mapping[bytes, bytes], behind_proxy: bool) -> bool:
    """Whether `Origin` names the host that was asked. False without one: browsers send it with every WebSocket."""
    origin = headers.get(b"origin", b"")
    return origin.partition(b"://")[2].lower() == host_of(headers, behind_proxy).lower() != b""
