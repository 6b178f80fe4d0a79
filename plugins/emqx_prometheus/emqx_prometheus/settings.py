"""The settings, `[prometheus]` of etc/emqx.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs

from trioemqx.plugin import Duration, HttpUrl, SettingError

SHIPPED_SERVER: Final = "http://127.0.0.1:9091"
SHORTEST: Final = 0.1


@attrs.frozen
class PushGateway:
    """`push.gateway`. Nothing is pushed without a `server`, which is a URL; it may have a user and a password."""

    server: str = attrs.field(default="", repr=False)
    """URL of a push gateway; it may have a user and a password. Empty: nothing is pushed."""
    cacertfile: Path | None = None
    """Authorities that the server's certificate is checked with, PEM."""

    def __attrs_post_init__(self) -> None:
        if self.server:
            try:
                HttpUrl.parse(self.server)
            except ValueError as error:
                raise SettingError(str(error), "server") from None


@attrs.frozen
class Push:
    """`push`"""

    gateway: PushGateway = attrs.field(factory=PushGateway)


@attrs.frozen
class Config:
    """`[prometheus]`"""

    push: Push = attrs.field(factory=Push)
    interval: int | Duration = 5000
    """Time between two pushes: milliseconds as a number, or a duration."""
    collector: tuple[str, ...] = ()
    """Accepted, without effect."""

    def __attrs_post_init__(self) -> None:
        if self.seconds < SHORTEST:
            advice = "; a bare number is milliseconds, as in EMQX" if isinstance(self.interval, int) else ""
            raise SettingError(f'expected "100ms" or more, such as "15s"{advice}', "interval")

    @property
    def seconds(self) -> float:
        """Between two pushes."""
        return self.interval / 1000 if isinstance(self.interval, int) else self.interval
