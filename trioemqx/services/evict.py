"""Has those leave who are here already when they are banned.

`Banned` ends the session of a client id by itself. A user name or an address may be that of any client, and a client
may be waiting for an authentication backend: these are looked for among the open connections, a thousand at a time, so
that nobody else waits. Bans that come meanwhile share the next walk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from trioemqx.core.handlers.refuse import refuse_connect
from trioemqx.core.states import AUTHENTICATING
from trioemqx.errors import ReasonCode
from trioemqx.services.banned import CLIENTID, KINDS, PEERHOST, USERNAME, Ban, Banned, one_spelling

if TYPE_CHECKING:
    from trioemqx.core.broker import Broker
    from trioemqx.core.channel import Channel
    from trioemqx.types import ClientInfo

BANNED: Final = ReasonCode.BANNED.value
SLICE: Final = 1000
"""Connections looked at between two checkpoints; one that has to go counts as KICK."""
KICK: Final = 20
REST: Final = 10
"""A walk is followed by a pause of so many times its length: bans without end must not be all that the broker does."""


class Evictor:
    """Ends connections that a new ban concerns, in zones with `enable_ban`. Of a banned user the sessions that wait for
    their client end as well; one whose client was at a banned address may come back from elsewhere and stays."""

    def __init__(self, banned: Banned, broker: Broker) -> None:
        self._banned = banned
        self._broker = broker
        self._new: dict[tuple[str, str], Ban] = {}
        self._wanted = trio.Event()
        self._left = SLICE
        banned.on_ban = self._note

    def _note(self, ban: Ban) -> None:
        self._new[ban.kind, ban.who] = ban
        self._wanted.set()

    async def run(self) -> None:
        """Enforce bans as they come, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            began = trio.current_time()
            await self._walk(self._names())
            await trio.sleep(REST * (trio.current_time() - began))

    def _names(self) -> dict[str, set[str]]:
        """Who is to go, by kind. What was lifted meanwhile is left out."""
        names: dict[str, set[str]] = {kind: set() for kind in KINDS}
        new, self._new = self._new, {}
        for kind, who in new:
            if self._banned.find(kind, who) is not None:
                names[kind].add(who)
        return names

    async def _walk(self, names: dict[str, set[str]]) -> None:
        """Connections first: who connects from here on meets the ban at CONNECT."""
        registry = self._broker.registry
        for channel in list(registry.channels):
            if channel.zone.enable_ban and not channel.closing and _concerned(channel.info, names):
                self._end(channel)
            await self._breathe(1)
        for session in list(registry.sessions.values()) if names[USERNAME] else ():
            away = session.channel is None and registry.sessions.get(session.clientid) is session
            if away and session.zone.enable_ban and session.info.username in names[USERNAME]:
                self._broker.kick(session.clientid)
                await self._breathe(KICK)
            await self._breathe(1)

    def _end(self, channel: Channel) -> None:
        session = channel.session
        if session is not None:
            self._broker.kick(session.clientid)
            self._left -= KICK
        elif channel.state == AUTHENTICATING:
            self._broker.tell_time()
            refuse_connect(channel, BANNED)
            self._broker.wake()

    async def _breathe(self, cost: int) -> None:
        self._left -= cost
        if self._left <= 0:
            self._left = SLICE
            await trio.lowlevel.checkpoint()


def _concerned(client: ClientInfo, names: dict[str, set[str]]) -> bool:
    """Whether one of these names is the client's."""
    if client.clientid in names[CLIENTID] or client.username in names[USERNAME]:
        return True
    hosts = names[PEERHOST]
    if not hosts:
        return False
    host = client.peerhost
    return host in hosts or (":" in host and one_spelling(host) in hosts)
