"""Who may publish and subscribe: the hook of `acl_req`. It is there only where that is set."""

from __future__ import annotations

from typing import Final

import trio

from trioemqx.plugin import ClientInfo, Context, hookimpl

from .server import Server, Unsendable, values_of

ACCESS: Final = {"subscribe": "1", "publish": "2"}
FORGET_EVERY: Final = 5.0
"""Seconds between two times that decisions made without the server are forgotten."""


class AccessRules:
    """Asks `server` within `limit` seconds; `deny` is what holds when there is no answer, else others decide."""

    def __init__(self, server: Server, limit: float, deny: bool, context: Context) -> None:
        self._server = server
        self._limit = limit
        self._deny = deny
        self._context = context
        self._guessed = False
        self._forgotten_at = float("-inf")

    @hookimpl
    async def client_check_acl(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """200 allows, unless the body is `ignore`; any other status denies."""
        if (client.username or "").startswith("$"):
            return None
        values = values_of(client, access=ACCESS[action], topic=topic)
        try:
            answer = await self._server.ask(values, self._limit)
        except Unsendable:
            return False
        if answer is None:
            self._guessed = True
            return False if self._deny else None
        self._forget_guesses()
        if answer.status == 200 and answer.body.strip() == b"ignore":
            return None
        return answer.status == 200

    def _forget_guesses(self) -> None:
        """The server is back: clients shall not live with a cached decision that it did not make."""
        now = trio.current_time()
        if self._guessed and now - self._forgotten_at >= FORGET_EVERY:
            self._guessed = False
            self._forgotten_at = now
            self._context.broker.forget_acl()
