"""The settings, `[auth.jwt]` of etc/emqx.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from trioemqx.plugin import ByteSize, Duration, HttpUrl, Secret, SettingError


@attrs.frozen
class Jwks:
    """`jwks` as a table; as a text it is only the URL."""

    url: str = attrs.field(repr=False)
    refresh_interval: Duration = 300.0
    timeout: Duration = 5.0
    cooldown: Duration = 10.0
    max_keys: int = 100
    max_size: ByteSize = 256 * 1024
    cacertfile: Path | None = None
    verify: bool = True

    def __attrs_post_init__(self) -> None:
        try:
            HttpUrl.parse(self.url)
        except ValueError as error:
            raise SettingError(str(error), "url") from None
        for key in ("refresh_interval", "timeout", "cooldown", "max_keys", "max_size"):
            if getattr(self, key) <= 0:
                raise SettingError("expected more than 0", key)


@attrs.frozen
class Config:
    """`[auth.jwt]`. An empty text is as good as no setting."""

    secret: Secret = attrs.field(factory=Secret)
    """Key of HMAC signatures."""
    pubkey: str = ""
    """File with a public key or a certificate, PEM."""
    jwks: str | Jwks = attrs.field(default="", repr=False)
    """URL of a key set, or a table with `url`, `refresh_interval` and more."""
    from_: Literal["password", "username"] = "password"
    """Where the token is: in the password or in the user name."""
    verify_claims: bool | dict[str, str | bool] = False
    """Claims that have to be as they are given here; `%c` and `%u` are filled in."""
    acl_claim_name: str = "acl"
    """Claim with access rules."""
    signature_format: Literal["der", "raw"] = "der"
    """Form of ECDSA signatures."""

    def __attrs_post_init__(self) -> None:
        if isinstance(self.jwks, str) and self.jwks:
            try:
                Jwks(self.jwks)
            except SettingError as error:
                raise SettingError(str(error), "jwks") from None
        if not (self.secret or self.pubkey or self.jwks):
            raise SettingError("set secret, pubkey or jwks: without any of them no token can be checked", "secret")
        if not self.acl_claim_name:
            raise SettingError("expected the name of a claim", "acl_claim_name")
        self.expected_claims()

    def remote(self) -> Jwks | None:
        """`jwks` as a table, None when it is not set."""
        if isinstance(self.jwks, Jwks):
            return self.jwks
        return Jwks(self.jwks) if self.jwks else None

    def expected_claims(self) -> dict[str, str]:
        """The claims to check and their expected texts; none when `verify_claims` or its `enable` is off."""
        if isinstance(self.verify_claims, bool):
            return {}
        claims = dict(self.verify_claims)
        enabled = claims.pop("enable", True)
        if str(enabled).lower() not in ("true", "on", "false", "off"):
            raise SettingError("expected on or off", "verify_claims", "enable")
        texts = {name: str(text).lower() if isinstance(text, bool) else text for name, text in claims.items()}
        return texts if str(enabled).lower() in ("true", "on") else {}
