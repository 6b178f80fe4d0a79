"""Who sends a request: HTTP Basic, checked before anything else is looked at.

A hash that is slow to guess is slow to check, so what has been proven is remembered: a keyed digest of the header,
forgotten whenever an application or user changes. Wrong guesses are counted by address.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import ipaddress
import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol

import trio

from trioemqx.services.web import ApiError, Endpoint
from trioemqx.services.web.answers import EMPTY_CREDENTIALS, FORBIDDEN, WRONG_CREDENTIALS

log = logging.getLogger("trioemqx.api")

MAX_HEADER: Final = 4096
MAX_PROVEN: Final = 1000
MAX_ADDRESSES: Final = 10_000
GUESSES: Final = 10
WINDOW: Final = 60.0
DENIALS: Final = 10
DENIAL_WINDOW: Final = 3600.0
CHECKING: Final = 30.0
"""Seconds that proving credentials may take, with others before it: a hash that is slow to guess takes a while."""
FROM_HERE: Final = (
    "the shipped credentials are accepted from loopback addresses only: make an application of your own, or set "
    "security.allow_default_credentials"
)


class Accounts(Protocol):
    """Applications, or users of the dashboard."""

    epoch: int

    async def verify(self, name: str, secret: str, /) -> bool:
        """Whether the secret is right."""

    def usable(self, name: str, /) -> bool:
        """Whether one that has been right may still come in."""

    def role(self, name: str, /) -> str:
        """What one may ask for; "" nothing."""

    def shipped(self, name: str, /) -> bool:
        """Whether the secret is one that everybody knows."""


class Guesses:
    """Different wrong credentials by address. The same wrong ones again are a mistake and no guess."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._by_address: OrderedDict[str, dict[bytes, float]] = OrderedDict()
        self.refused = 0

    def wait(self, address: str) -> float:
        """Seconds until this address may try again; 0.0: it may."""
        tried = self._by_address.get(address)
        if tried is None:
            return 0.0
        oldest = self._now() - WINDOW
        for digest in [digest for digest, at in tried.items() if at <= oldest]:
            del tried[digest]
        if len(tried) < GUESSES:
            return 0.0
        self.refused += 1
        return min(tried.values()) - oldest

    def wrong(self, address: str, digest: bytes) -> None:
        """Remember a wrong guess. When too many addresses are remembered the one that has been quiet longest goes."""
        tried = self._by_address.setdefault(address, {})
        self._by_address.move_to_end(address)
        tried.setdefault(digest, self._now())
        if len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)

    def right(self, address: str, digest: bytes) -> None:
        """What was counted as a guess before it was looked at has turned out to be right."""
        tried = self._by_address.get(address, {})
        tried.pop(digest, None)
        if not tried:
            self._by_address.pop(address, None)


class Denials:
    """Which requests that a role does not include are kept in the audit log: a few of each application, so that none
    of them can push everything else out of it."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._by_name: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """(when its hour began, how many since), the latest hour last."""

    def keep(self, name: str) -> bool:
        """Whether this one is kept."""
        began, count = self._by_name.get(name, (-DENIAL_WINDOW, 0))
        if self._now() - began >= DENIAL_WINDOW:
            began, count = self._now(), 0
            self._by_name.pop(name, None)
        self._by_name[name] = (began, count + 1)
        if len(self._by_name) > MAX_ADDRESSES:
            self._by_name.popitem(last=False)
        return count < DENIALS


class Doorkeeper:
    """Answers whose request it is. `anywhere()` tells whether well-known credentials hold for every address and not
    only for this machine."""

    def __init__(self, accounts: Accounts, now: Callable[[], float], anywhere: Callable[[], bool]) -> None:
        self._accounts = accounts
        self._anywhere = anywhere
        self._key = os.urandom(32)
        self._proven: dict[bytes, str] = {}
        self._epoch = accounts.epoch
        self.guesses = Guesses(now)
        self.denials = Denials(now)

    async def admit(self, header: bytes | None, peer: str) -> str:
        """The application or user. Raises ApiError with HTTP 401, or 429 after too many wrong guesses."""
        self._hold_off(peer)
        if not header:
            raise _refused(EMPTY_CREDENTIALS)
        digest = self._digest(header[:MAX_HEADER])
        if self._epoch != self._accounts.epoch:
            self._proven.clear()
            self._epoch = self._accounts.epoch
        name = self._proven.get(digest)
        if name is None or len(header) > MAX_HEADER:
            with trio.fail_after(CHECKING):
                name = await self._check(header, peer, digest)
        self.check(name, peer)
        return name

    def check(self, name: str, peer: str) -> None:
        """Raise ApiError with HTTP 401 unless somebody who has proven to be `name` may come in from an address."""
        if not self._accounts.usable(name):
            raise _refused(WRONG_CREDENTIALS)
        if self._only_from_here(name, peer):
            raise _refused(WRONG_CREDENTIALS, FROM_HERE)

    def check_role(self, name: str, endpoint: Endpoint) -> None:
        """Raise ApiError with HTTP 403 unless the role of somebody who has come in includes an endpoint."""
        role = self._accounts.role(name)
        if not endpoint.allows(role):
            raise ApiError(FORBIDDEN, "UNAUTHORIZED_ROLE", 403, {"reason": f"not for the role {role}"})

    async def prove(self, name: str, secret: str, peer: str) -> str | None:
        """None when name and secret are right; otherwise why not, "" without a reason that may be told. Raises ApiError
        with HTTP 429 after too many wrong guesses."""
        self._hold_off(peer)
        digest = self._digest(f"{name}:{secret}".encode("utf-8", "surrogatepass"))
        if not await self._verified(name, secret, peer, digest):
            return ""
        return FROM_HERE if self._only_from_here(name, peer) else None

    def _hold_off(self, peer: str) -> None:
        """Raise ApiError 429 after too many wrong guesses from an address."""
        wait = self.guesses.wait(peer)
        if wait > 0.0:
            raise ApiError(
                WRONG_CREDENTIALS, "too many wrong credentials", 429, {"reason": f"try again in {int(wait) + 1} s"}
            )

    def _digest(self, credentials: bytes) -> bytes:
        return hashlib.blake2b(credentials, key=self._key, digest_size=32).digest()

    def _only_from_here(self, name: str, peer: str) -> bool:
        """Whether these credentials are known to everybody, and the address is not this machine's."""
        if not self._accounts.shipped(name) or self._anywhere() or is_loopback(peer):
            return False
        log.warning("%s: credentials that everybody knows are accepted from this machine only", peer)
        return True

    async def _verified(self, name: str, secret: str, peer: str, digest: bytes) -> bool:
        """Look at credentials. They count as a guess meanwhile: looking takes time, in which others could be tried."""
        self.guesses.wrong(peer, digest)
        if not await self._accounts.verify(name, secret):
            return False
        self.guesses.right(peer, digest)
        return True

    async def _check(self, header: bytes, peer: str, digest: bytes) -> str:
        name, secret = _basic(header)
        epoch = self._accounts.epoch
        if not await self._verified(name, secret, peer, digest):
            raise _refused(WRONG_CREDENTIALS)
        if self._accounts.epoch == epoch == self._epoch:
            if len(self._proven) >= MAX_PROVEN:
                self._proven.clear()
            self._proven[digest] = name
        return name


def _basic(header: bytes) -> tuple[str, str]:
    """Name and secret of a header. Raises ApiError 103 or 104 with HTTP 401."""
    scheme, _, rest = header.strip().partition(b" ")
    if scheme.lower() != b"basic" or len(header) > MAX_HEADER:
        raise _refused(EMPTY_CREDENTIALS)
    try:
        text = base64.b64decode(rest.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise _refused(WRONG_CREDENTIALS) from None
    name, _, secret = text.partition(":")
    if not name or not secret:
        raise _refused(EMPTY_CREDENTIALS)
    return name, secret


def _refused(code: int, reason: str = "") -> ApiError:
    return ApiError(code, "UNAUTHORIZED", 401, {"reason": reason} if reason else None)


@lru_cache(maxsize=1024)
def is_loopback(peer: str) -> bool:
    """Whether an address is this machine."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
