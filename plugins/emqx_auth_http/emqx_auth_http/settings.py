"""The settings, `[auth.http]` of etc/emqx.toml, and the templates in them."""

from __future__ import annotations

from typing import Final, Literal

import attrs

from trioemqx.plugin import Duration, HttpTls, HttpUrl, Secret, SettingError

FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
PLACEHOLDERS: Final = frozenset("ucaPrpCdAtm")
OWN_HEADERS: Final = frozenset({"host", "content-length", "connection", "transfer-encoding", "upgrade"})
"""What the client itself has to say."""

Template = tuple[str, ...]
"""A text cut at its placeholders: texts at even places, letters of placeholders at odd ones."""


def cut(text: str) -> Template:
    """`"user-%u"` is `("user-", "u", "")`. A `%` before any other letter is a `%`."""
    parts, begin, at = [], 0, text.find("%")
    while at >= 0:
        letter = text[at + 1 : at + 2]
        if letter in PLACEHOLDERS:
            parts += [text[begin:at], letter]
            begin = at + 2
        at = text.find("%", max(begin, at + 1))
    return (*parts, text[begin:])


@attrs.frozen
class Request:
    """`auth_req`, `super_req` or `acl_req`. Without a `url` it is not made."""

    url: str = attrs.field(default="", repr=False)
    """Where it is sent to; empty: this is not asked."""
    method: Literal["post", "get"] = "post"
    """Request method."""
    headers: dict[str, Secret] = attrs.field(factory=dict)
    """Headers of every request; `_` is sent as `-`."""
    params: dict[str, str] | str = ""
    """Parameters of the request; `%c`, `%u`, `%P` and others are filled in."""

    def __attrs_post_init__(self) -> None:
        if not self.url:
            return
        try:
            HttpUrl.parse(self.url)
        except ValueError as error:
            raise SettingError(str(error), "url") from None
        for name, value in self.headers.items():
            if _dashed(name) in OWN_HEADERS:
                raise SettingError("this header cannot be set", "headers", name)
            if not value.isprintable() or not value.isascii():
                raise SettingError("a header has printable ASCII characters only", "headers", name)
        if self.method == "post" and self.content_type not in (FORM, JSON):
            name = next(name for name in self.headers if _dashed(name) == "content-type")
            raise SettingError(f"expected {FORM} or {JSON}", "headers", name)
        if isinstance(self.params, str):
            for number, part in enumerate(self._pairs(self.params), 1):
                if not part.partition("=")[0].strip() or "=" not in part:
                    raise SettingError(f"expected name=value,name=value,...; number {number} is not", "params")

    @staticmethod
    def _pairs(text: str) -> list[str]:
        return [part for part in text.split(",") if part.strip()]

    @property
    def content_type(self) -> str:
        """Without parameters such as a charset, in lower case."""
        return self.sent_headers().get("content-type", FORM).partition(";")[0].strip().lower()

    def sent_headers(self) -> dict[str, str]:
        """EMQX writes `content_type`; on the wire it is `content-type`. Of both the last one counts."""
        headers = {_dashed(name): str(value) for name, value in self.headers.items()}
        if self.method == "get":
            headers.pop("content-type", None)
        else:
            headers.setdefault("content-type", FORM)
        return headers

    def templates(self) -> dict[str, Template]:
        """The params by name, in order."""
        if isinstance(self.params, str):
            pairs = [part.partition("=") for part in self._pairs(self.params)]
            return {name.strip(): cut(value.strip()) for name, _, value in pairs}
        return {name: cut(value) for name, value in self.params.items()}


def _dashed(name: str) -> str:
    return name.strip().replace("_", "-").lower()


@attrs.frozen
class Config:
    """`[auth.http]`"""

    auth_req: Request = Request()
    super_req: Request = Request()
    acl_req: Request = Request()
    timeout: Duration = 5.0
    """How long a request may take, with the wait for a free connection."""
    connect_timeout: Duration = 5.0
    """How long making a connection may take."""
    pool_size: int = 8
    """Connections to the server."""
    enable_pipelining: int | bool = 100
    """Accepted, without effect."""
    ssl: HttpTls = attrs.field(factory=HttpTls)
    acl_on_error: Literal["deny", "ignore"] = "deny"
    """What an access check is answered when the server cannot be asked."""
    hook_timeout: Duration | None = None

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.pool_size <= 1024:
            raise SettingError("expected 1 to 1024", "pool_size")
        for key in ("timeout", "connect_timeout"):
            if getattr(self, key) <= 0:
                raise SettingError("expected more than 0 s", key)
        if not self.auth_req.url and not self.acl_req.url:
            raise SettingError("neither auth_req.url nor acl_req.url is set, so there is nobody to ask", "auth_req")
        if self.super_req.url and not self.auth_req.url:
            raise SettingError("super_req is asked after auth_req, which has no url", "super_req", "url")
