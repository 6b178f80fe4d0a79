"""A web server of yours decides who may connect, who is a superuser, and who may publish and subscribe.

The server has the say: what is not a clear yes is a no, and so is silence.
"""

from __future__ import annotations

import json
from typing import ClassVar, Final

import trio

from trioemqx.plugin import (
    ClientInfo,
    Context,
    Credentials,
    HttpError,
    Plugin,
    PluginError,
    ReasonCode,
    Verdict,
    hookimpl,
    is_wildcard,
)

from .access import AccessRules
from .server import Server, Unsendable, values_of
from .settings import Config, Request

REFUSALS: Final = {
    400: ReasonCode.BAD_USERNAME_OR_PASSWORD,
    401: ReasonCode.BAD_USERNAME_OR_PASSWORD,
    403: ReasonCode.NOT_AUTHORIZED,
    429: ReasonCode.BANNED,
    503: ReasonCode.SERVER_UNAVAILABLE,
    504: ReasonCode.SERVER_BUSY,
}
"""Any other status, and no answer, is SERVER_UNAVAILABLE."""
MARGIN: Final = 0.25
"""Seconds by which an answer has to be here before the broker's own deadline: passing that one counts as a crash."""


class HttpAuth(Plugin[Config]):
    """Asks for each CONNECT, and for each access that is not in the client's ACL cache."""

    prefix = ("auth.http",)
    hook_timeout: ClassVar[float] = 15.0

    def __init__(self, context: Context, config: Config) -> None:
        super().__init__(context, config)
        self.servers: list[Server] = []
        self._auth: Server | None = None
        self._super: Server | None = None
        self._limit = max(MARGIN, (config.hook_timeout or self.hook_timeout) - MARGIN)

    async def start(self) -> None:
        """Read the certificates. The server itself may come later."""
        config = self.config
        if config.timeout > self._limit:
            self.log.warning("auth.http.timeout is cut to %g s; set auth.http.hook_timeout as well", self._limit)
        self._auth, self._super, acl = map(self._server, (config.auth_req, config.super_req, config.acl_req))
        self.servers = [server for server in (self._auth, self._super, acl) if server is not None]
        if acl is not None:
            self.context.hooks(AccessRules(acl, self._limit, config.acl_on_error == "deny", self.context))

    def _server(self, request: Request) -> Server | None:
        if not request.url:
            return None
        tls = None
        if request.url.startswith("https:"):
            try:
                tls = self.config.ssl.context()
            except ValueError as error:
                raise PluginError(f"{self.context.name}: auth.http.{error}") from None
            if not self.config.ssl.verify:
                self.log.warning("auth.http.ssl.verify is false: the server's certificate is not checked")
        return Server(request, self.config, tls, self.context)

    async def run(self) -> None:
        """See whether the servers are there, so that the log says it before the first client comes."""
        for server in self.servers:
            try:
                await server.client.open()
            except HttpError as error:
                self.log.error("%s cannot be reached: %s; clients are refused until it can", server.url, error)

    async def stop(self) -> None:
        """Close the connections."""
        for server in self.servers:
            await server.client.aclose()

    # -- who may connect ---------------------------------------------------------------------------------------------

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        """200 admits, unless the body is `ignore`; anything else refuses."""
        if self._auth is None:
            return None
        until = trio.current_time() + self._limit
        values = values_of(client, credentials.password)
        try:
            answer = await self._auth.ask(values, self._limit)
        except Unsendable:
            return Verdict(ReasonCode.BAD_USERNAME_OR_PASSWORD)
        if answer is None:
            return Verdict(ReasonCode.SERVER_UNAVAILABLE)
        if answer.status != 200:
            return Verdict(REFUSALS.get(answer.status, ReasonCode.SERVER_UNAVAILABLE))
        if answer.body.strip() == b"ignore":
            return None
        try:
            mountpoint = mountpoint_in(answer.body)
        except ValueError as error:
            self.log.error("%s: %s; %s is refused", self._auth.url, error, client.clientid)
            return Verdict(ReasonCode.SERVER_UNAVAILABLE)
        superuser = False
        if self._super is not None:
            said = await self._super.ask(values, max(0.0, until - trio.current_time()))
            superuser = said is not None and said.status == 200
        return Verdict(is_superuser=superuser, mountpoint=mountpoint)


def mountpoint_in(body: bytes) -> str | None:
    """`mountpoint` of a body that is a JSON object, None when it says nothing of it. Raises ValueError for one that
    cannot be used: to go on without it would put the client into somebody else's topics."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or "mountpoint" not in said:
        return None
    mountpoint = said["mountpoint"]
    if not isinstance(mountpoint, str) or is_wildcard(mountpoint) or "\0" in mountpoint:
        raise ValueError("the mountpoint in the answer is not usable")
    return mountpoint


plugin = HttpAuth
