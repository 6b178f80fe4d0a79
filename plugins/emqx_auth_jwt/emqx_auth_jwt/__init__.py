"""Authentication by JSON Web Tokens, and access rules that the tokens carry.

A token is checked with the keys that the operator gave (a secret, a public key) or, when it names one, with those that
a server publishes. What is no token is left to the next source; what is one and is not right is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from trioemqx.plugin import ClientInfo, Credentials, Plugin, ReasonCode, Verdict, hookimpl

from .claims import allowed, violated
from .jwks import ALARM_AFTER, RemoteKeys
from .keys import JwksError, VerifyKey, public_key, secret_key
from .settings import Config
from .tokens import Token, parse

EXTRA: Final = "jwt_claims"
"""Where `ClientInfo.extra` has the claims."""
SHIPPED_SECRET: Final = "emqxsecret"
SHORT_SECRET: Final = 32


class JwtAuth(Plugin[Config]):
    """Answers `client.authenticate` and `client.check_acl`."""

    prefix = ("auth.jwt",)

    async def start(self) -> None:
        """Read the keys, and fetch those of the server if it is there: a broker does not wait for it."""
        self.remote: RemoteKeys | None = None
        self._expected = self.config.expected_claims()
        self._der = self.config.signature_format == "der"
        self._admitted, self._refused, self._ignored = (
            self.context.metrics.counter(f"plugin.{self.context.name}.{what}")
            for what in ("admitted", "refused", "ignored")
        )
        self.static = self._read_keys()
        self.context.command("jwt keys", self._keys, help="Show the keys that check tokens")
        jwks = self.config.remote()
        if jwks is not None:
            self.remote = RemoteKeys(jwks, self.context)
            await self.remote.refresh()

    def _read_keys(self) -> dict[str, VerifyKey]:
        """The operator's keys by the setting they come from."""
        secret, found = self.config.secret, {}
        others = self.config.pubkey or self.config.jwks
        if secret == SHIPPED_SECRET and others:
            # Everybody knows it, and who has another key did not ask for a second way in.
            self.log.warning("auth.jwt.secret is the one that EMQX ships; it is not used beside pubkey or jwks")
        elif secret:
            if secret == SHIPPED_SECRET:
                self.log.warning("auth.jwt.secret is the one that EMQX ships: anybody can make tokens; set another one")
            elif len(secret.encode()) < SHORT_SECRET:
                self.log.warning("auth.jwt.secret is short and can be guessed; take %d random bytes", SHORT_SECRET)
            found["secret"] = secret_key(secret)
        if self.config.pubkey:
            found["pubkey"] = public_key(Path(self.config.pubkey))
        return found

    async def run(self) -> None:
        """Refresh the server's keys."""
        if self.remote is not None:
            await self.remote.run()

    async def stop(self) -> None:
        """Close the connection to the server."""
        if self.remote is not None:
            await self.remote.aclose()

    def export_state(self) -> object:
        """The server's keys, which cannot be had again while it is away."""
        remote = self.remote
        if remote is None:
            return None
        return {"url": remote.shown, "body": remote.body, "at": remote.loaded_at, "failures": remote.failures}

    def import_state(self, state: object) -> None:
        """Use the old generation's keys when the server, the same one, was not there this time."""
        remote = self.remote
        if remote is None or not isinstance(state, dict) or state["url"] != remote.shown or not remote.failures:
            return
        remote.failures += state["failures"]
        if state["body"]:
            try:
                remote.take(state["body"], state["at"])
            except JwksError as error:  # max_keys, or the rules for keys, may have changed
                self.log.error("%s: the keys from before the reload cannot be used: %s", remote.shown, error)
        if remote.failures >= ALARM_AFTER:
            remote.alarm()

    # -- who may come in ---------------------------------------------------------------------------------------------

    @hookimpl
    async def client_authenticate(self, client: ClientInfo, credentials: Credentials) -> Verdict | None:
        """Nothing is waited for: the keys are here."""
        token = parse(credentials.password if self.config.from_ == "password" else credentials.username)
        keys = self._usable(token) if token is not None else []
        if token is None or not keys:
            self._ignored.inc()
            return None
        problem = self._problem(token, keys, client)
        if problem:
            self._refused.inc()
            self.log.info("%s: the token of %s is refused: %s", client.peername, client.clientid, problem)
            return Verdict(ReasonCode.NOT_AUTHORIZED)
        self._admitted.inc()
        return Verdict(anonymous=False, extra={EXTRA: dict(token.claims)})

    def _usable(self, token: Token) -> list[VerifyKey]:
        """The keys to try. A token that names its key is checked with the server's of that name, when there are any."""
        remote = self.remote
        if token.kid is None or remote is None:
            return list(self.static.values())
        found = remote.by_kid.get(token.kid, ())
        if not found:
            remote.unknown()
        return list(found) if remote.loaded else list(self.static.values())

    def _problem(self, token: Token, keys: list[VerifyKey], client: ClientInfo) -> str:
        """Why a token is not accepted; empty when it is."""
        if token.extended:
            return "its header asks for an extension (crit, b64)"
        if not any(key.verifies(token, self._der) for key in keys):
            return "its signature is not by a key for its algorithm"
        return violated(token.claims, self.context.wall(), self._expected, client)

    # -- who may do what ---------------------------------------------------------------------------------------------

    @hookimpl
    def client_check_acl_now(self, client: ClientInfo, action: str, topic: str) -> bool | None:
        """The access claim of the token that the client came in with."""
        claims: Any = client.extra.get(EXTRA) if client.extra is not None else None
        if not isinstance(claims, Mapping):
            return None
        return allowed(claims, self.config.acl_claim_name, client, action, topic, self.context.wall())

    # -- commands ----------------------------------------------------------------------------------------------------

    def _keys(self) -> Iterator[str]:
        for name, key in self.static.items():
            yield f"{name}: {', '.join(sorted(key.algorithms))}"
        remote = self.remote
        if remote is None:
            return
        state = (
            "not loaded" if not remote.loaded else f"loaded at {datetime.fromtimestamp(remote.loaded_at, UTC):%FT%TZ}"
        )
        yield f"jwks {remote.shown}: {state}, {remote.failures} failures since"
        for kid, keys in sorted(remote.by_kid.items()):
            for key in keys:
                yield f"  kid {kid!r}: {', '.join(sorted(key.algorithms))}"


plugin = JwtAuth
