"""Which addresses the broker may be talked into connecting to: the rules for web hooks, bridges and their like.

Whoever may make a rule, a resource or a bridge names a server, and the broker stands where that person does not: beside
services that trust the machine or its network. So each address that a name resolves to is looked at here, and the
connection is made to that very address; a name that resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Final

import attrs
import trio

from trioemqx.config.model import Config

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OPEN: Final = "open"
METADATA: Final = "metadata"
PRIVATE: Final = "private"

SECRETS_OF_MACHINES: Final = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"))
)
"""Where clouds keep secrets of their machines, beside the link-local 169.254.169.254."""
_WRAPPING: Final = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96", "::/96")))
"""NAT64, its addresses for one's own network, SIIT, and what is written `::127.0.0.1`: the end is an IPv4 address."""


@attrs.frozen
class Egress:
    """`policy` is `open`, `metadata` (link-local, multicast and metadata addresses are denied) or `private` (what is
    not of the public internet, loopback included, is denied as well). `deny` is stronger than `allow`, `allow` stronger
    than the policy."""

    policy: str = METADATA
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()

    def refusal(self, address: str) -> str:
        """Why nobody may connect to a numeric address, in words that follow "the server's address"; "" when it is all
        right. What is no address is refused."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return f"{address!r:.60} cannot be understood"
        faces = _faces(parsed)
        if any(face in network for face in faces for network in self.deny):
            return f"{address} is denied by security.outbound.deny"
        if all(any(face in network for network in self.allow) for face in faces):
            return ""
        if self.policy != OPEN and any(map(_hidden, faces)):
            return f"{address} is a link-local, multicast or metadata address; security.outbound.allow can name it"
        if self.policy == PRIVATE and not all(map(_of_the_internet, faces)):
            return f"{address} is private; security.outbound.allow can name it"
        return ""

    def refusal_of(self, addresses: list[str]) -> str:
        """The refusal of the first address that has one. A name that leads to one bad address is not tried at all."""
        return next(filter(None, map(self.refusal, addresses)), "")


def _faces(address: Address) -> list[Address]:
    """The address, or the IPv4 address that an IPv6 one only wraps; both, when a gateway may unwrap it."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    bare = ipaddress.IPv6Address(int(address)) if address.scope_id is None else address
    inner = bare.sixtofour
    if inner is None and int(bare) > 1 and any(bare in network for network in _WRAPPING):
        inner = ipaddress.IPv4Address(int(bare) & 0xFFFFFFFF)
    return [bare] if inner is None else [bare, inner]


def _hidden(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return True  # only link-local addresses have one
    return address.is_link_local or address.is_multicast or address in SECRETS_OF_MACHINES


def _of_the_internet(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.is_site_local:
        return False  # given up long ago, and still routed in some networks; Python calls them global
    return address.is_global


def egress_of(config: Config) -> Egress:
    """`[security] outbound`. Without a policy the profile decides: `private` when hardened, else `metadata`."""
    settings = config.security
    policy = settings.outbound_policy or (PRIVATE if settings.profile == "hardened" else METADATA)
    return Egress(policy, settings.outbound_allow, settings.outbound_deny)


_IN_FORCE: Final[trio.lowlevel.RunVar[Egress]] = trio.lowlevel.RunVar("trioemqx.egress", Egress())


def in_force() -> Egress:
    """The rules of the broker in this Trio run; those of the profile emqx44 where there is none."""
    return _IN_FORCE.get()


def enforce(egress: Egress) -> None:
    """Have rules hold for every connection made from now on in this Trio run, whoever makes it: plugins make clients
    where nothing of the node is at hand, and a rule that can be forgotten protects nobody."""
    _IN_FORCE.set(egress)
