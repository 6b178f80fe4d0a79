"""MQTT 5 enhanced authentication with SCRAM-SHA-256 and SCRAM-SHA-1: EMQX's emqx_sasl, after the RFCs.

`scram` and `saslprep` are the protocol, `accounts` the users, `commands` adds `sasl`, `api` the endpoints. Here is what
joins them: settings, hooks, hand-over, and the methods for both.
"""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from functools import partial
from typing import Any, Literal

import attrs
import trio

from trioemqx.plugin import AuthStep, ClientInfo, Credentials, Plugin, Verdict, hookimpl

from . import commands
from .accounts import MAX_SALT, SALT, Account, Accounts
from .api import Api
from .saslprep import NotAllowed, saslprep
from .scram import (
    MAX_MESSAGE,
    MAX_NAME,
    MAX_ROUNDS,
    MIN_ROUNDS,
    ClientFirst,
    ScramError,
    derive,
    read_final,
    read_first,
    server_final,
    server_first,
)

OK = "ok"
NOT_AUTHORIZED = 0x87
BANNED = 0x8A
QUICK_ROUNDS = 10_000
"""Up to here keys are made at once, beyond it in a thread."""
MARK = "emqx_sasl"
SLICE = 1000
"""Users looked at between two turns of the other tasks."""


@attrs.frozen
class Config:
    """`[plugins.emqx_sasl]`"""

    mechanisms: tuple[Literal["SCRAM-SHA-256", "SCRAM-SHA-1"], ...] = attrs.field(
        default=("SCRAM-SHA-256", "SCRAM-SHA-1"), validator=attrs.validators.min_len(1)
    )
    """SCRAM mechanisms that clients may use."""
    max_users: int = attrs.field(default=200_000, validator=attrs.validators.ge(1))
    """Most users that are kept."""


class Sasl(Plugin[Config]):
    """Checks proofs from memory. A user has one password, and keys of it for each mechanism.

    Between two steps of an exchange the broker keeps plain data for us, so one that a reload comes across goes on, with
    the accounts as they are then.
    """

    async def start(self) -> None:
        """Read the store and add the commands. Raises PluginError."""
        context = self.context
        self.accounts = Accounts(context.table("scram"), context.table("secret"), self.config.max_users)
        self._threads = trio.CapacityLimiter(os.cpu_count() or 1)
        await self.accounts.load()
        commands.register(context, self)
        context.http.serve(*Api(self).endpoints())

    def export_state(self) -> object:
        """At a reload: the accounts, as they are now."""
        return self.accounts.accounts

    def import_state(self, state: Any) -> None:
        """At a reload: what the generation before had, which is the store and what was changed since it was read."""
        self.accounts.adopt(state)

    # -- hooks -------------------------------------------------------------------------------------------------------

    @hookimpl(specname="client_authenticate", priority=-1)
    async def leave_it_to_scram(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        """A client that brings no password and names one of our methods has its proof still before it: the broker
        admits nobody who named a method before that method has. Asked last, so that other backends can refuse.

        (Under a name of its own, since it never keeps anybody out: a broken emqx_sasl must not lock every door.)
        """
        properties = client.properties
        method = properties.authentication_method if properties is not None else None
        return Verdict() if method in self.config.mechanisms and credentials.password is None else None

    @hookimpl
    async def client_enhanced_authenticate(
        self, client: ClientInfo, method: str, data: bytes | None, cache: object
    ) -> AuthStep | None:
        """One step; whatever is wrong ends with 0x87 and says no more."""
        if method not in self.config.mechanisms:
            return None
        try:
            if cache is None and not data:  # [RFC4422 3] the client speaks first, and has not yet
                return AuthStep("continue", None, (MARK, method))
            if cache is None or cache == (MARK, method):
                return self._begin(method, data or b"")
            return self._end(client, method, data or b"", cache)
        except ScramError as error:
            self.log.debug("%s of client %r: %s", method, client.clientid, error)
            return AuthStep("fail", code=NOT_AUTHORIZED)

    def _begin(self, method: str, data: bytes) -> AuthStep:
        first = read_first(data)
        nonce = first.nonce + secrets.token_urlsafe(24)
        salt, rounds, _, _ = self.accounts.challenge(method, first.username)
        challenge = server_first(nonce, salt, rounds)
        state = (MARK, method, first.header, first.bare, first.username, nonce, challenge)
        return AuthStep("continue", challenge.encode(), state)

    def _end(self, client: ClientInfo, method: str, data: bytes, cache: object) -> AuthStep:
        if not (isinstance(cache, tuple) and len(cache) == 7 and cache[:2] == (MARK, method)):
            raise ScramError("in the middle of another exchange")
        first, challenge = ClientFirst(*cache[2:6]), cache[6]
        final = read_final(data)
        _, _, keys, known = self.accounts.challenge(method, first.username)
        answer = server_final(method, keys, first, challenge, final)
        if answer is None or not known:
            raise ScramError("wrong proof, or no such user")
        code = self._name(client, first.username)
        if code:
            return AuthStep("fail", code=code)
        client.anonymous = False
        return AuthStep("ok", answer)

    def _name(self, client: ClientInfo, username: str) -> int:
        """Make the proven name the client's: 0 or a reason code.

        A name in CONNECT that was not proven would go through access rules, bans and mountpoints as if it were, so it
        has to be the same one; without any the client gets the proven one, which then goes through them.
        """
        if client.username is not None:
            return 0 if client.username == username else NOT_AUTHORIZED
        if self.context.bans.check("", username):
            return BANNED
        if "%u" in client.mountpoint.split("/"):
            self.log.warning("client %r needs a user name in CONNECT: its mountpoint has %%u", client.clientid)
            return NOT_AUTHORIZED
        client.username = username
        return 0

    # -- users, for commands and an API ------------------------------------------------------------------------------

    async def add_user(
        self, username: str, password: str, salt: str | None = None, iterations: int = MIN_ROUNDS, mechanism: str = ""
    ) -> str:
        """Add a user: keys of the password for every mechanism. Returns `ok`, `already_existed`, `invalid_username`,
        `invalid_password`, `invalid_salt`, `invalid_iteration_count`, `unsupported_mechanism`, `full, ...`.

        `salt` is text, as in EMQX; None makes a random one, which is better. `mechanism` is only looked at: a name has
        one password, whatever it is used with.
        """
        name, account = await self._account(username, password, salt, iterations, mechanism)
        if account is None:
            return name
        if name in self.accounts.accounts:
            return "already_existed"
        if len(self.accounts.accounts) >= self.accounts.limit:
            return f"full, max_users is {self.accounts.limit}"
        self.accounts.put(name, account)
        return OK

    async def update_user(
        self, username: str, password: str, salt: str | None = None, iterations: int = MIN_ROUNDS, mechanism: str = ""
    ) -> str:
        """Give a user another password; `not_found`, or as `add_user`."""
        name, account = await self._account(username, password, salt, iterations, mechanism)
        if account is None:
            return name
        if name not in self.accounts.accounts:
            return "not_found"
        self.accounts.put(name, account)
        return OK

    def delete_user(self, username: str) -> bool:
        """Remove a user; False when there was none. Who is connected stays so."""
        return self.accounts.delete(_prepared(username) or "")

    async def usernames(self, mechanism: str) -> list[str]:
        """Who has keys for a mechanism, looked for in slices: there may be many."""
        accounts = list(self.accounts.accounts.items())
        names: list[str] = []
        for at in range(0, len(accounts), SLICE):
            names += [name for name, (_, _, keys) in accounts[at : at + SLICE] if mechanism in keys]
            await trio.lowlevel.checkpoint()
        return names

    def lookup_user(self, username: str, mechanism: str) -> dict[str, object] | None:
        """`username`, `stored_key`, `server_key`, `salt` (these in Base64) and `iteration_count`; None when there is no
        such user."""
        name = _prepared(username) or ""
        salt, rounds, keys = self.accounts.accounts.get(name, (b"", 0, {}))
        if mechanism not in keys:
            return None
        stored, server, salted = (b64encode(part).decode() for part in (*keys[mechanism], salt))
        return {
            "username": name,
            "stored_key": stored,
            "server_key": server,
            "salt": salted,
            "iteration_count": rounds,
        }

    async def _account(
        self, username: object, password: object, salt: object, iterations: object, mechanism: str
    ) -> tuple[str, Account | None]:
        """(prepared name, account), or (what is wrong, None)."""
        if mechanism and mechanism not in self.config.mechanisms:
            return "unsupported_mechanism", None
        name, secret = _prepared(username), _prepared(password, MAX_MESSAGE)
        salted = secrets.token_bytes(SALT) if salt is None else _salt(salt)
        if name is None:
            return "invalid_username", None
        if secret is None:
            return "invalid_password", None
        if not salted:
            return "invalid_salt", None
        if isinstance(iterations, bool) or not isinstance(iterations, int):
            return "invalid_iteration_count", None
        if not MIN_ROUNDS <= iterations <= MAX_ROUNDS:
            return "invalid_iteration_count", None
        return name, (salted, iterations, await self._keys(secret, salted, iterations))

    async def _keys(self, password: str, salt: bytes, rounds: int) -> dict[str, tuple[bytes, bytes]]:
        made: dict[str, tuple[bytes, bytes]] = {}
        for mechanism in self.config.mechanisms:
            work = partial(derive, mechanism, password, salt, rounds)
            if rounds > QUICK_ROUNDS:
                keys = await trio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._threads)
            else:
                keys = work()
            made[mechanism] = (keys.stored_key, keys.server_key)
        return made


def _prepared(text: object, longest: int = MAX_NAME) -> str | None:
    """A name or password as it is stored; None when it cannot be."""
    if not isinstance(text, str) or len(text) > longest:
        return None
    try:
        prepared = saslprep(text, stored=True)
        return prepared if len(prepared.encode()) <= longest else None
    except (NotAllowed, UnicodeEncodeError):
        return None


def _salt(text: object) -> bytes:
    """A salt given as text; empty when it is none."""
    try:
        salt = text.encode() if isinstance(text, str) else b""
    except UnicodeEncodeError:
        return b""
    return salt if len(salt) <= MAX_SALT else b""


plugin = Sasl
