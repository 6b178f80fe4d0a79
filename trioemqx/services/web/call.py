"""A request as a handler sees it: the parameters of path, query and body, and who asks."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from trioemqx.services.filters import term
from trioemqx.services.web.answers import bad_params, missing

if TYPE_CHECKING:
    from trioemqx.services.web.endpoints import Endpoint

MAX_INT: Final = 2**63 - 1
_DIGITS: Final = 19
_ABSENT: Final = object()


class Params:
    """One set of parameters: those of the query, and behind them the members of a JSON object.

    A query parameter hides a member of the same name; of several the first counts. Values of the query are texts.
    """

    __slots__ = ("body", "query")

    def __init__(self, query: Sequence[tuple[str, str]], body: object) -> None:
        self.query = query
        self.body = body

    def get(self, name: str, default: object = None) -> Any:
        """The value, null included, or `default` when it was not sent."""
        if self.query:
            for key, value in self.query:
                if key == name:
                    return value
        body = self.body
        return body.get(name, default) if isinstance(body, dict) else default

    def has(self, name: str) -> bool:
        """True when it was sent."""
        return self.get(name, _ABSENT) is not _ABSENT

    def need(self, name: str, message: str = "missing_required_params") -> Any:
        """The value. Raises ApiError 107 when it was not sent."""
        value = self.get(name, _ABSENT)
        if value is _ABSENT:
            raise missing(message)
        return value

    def text(self, name: str, default: str | None = None, message: str = "") -> str:
        """A text. Raises ApiError 107 when it was not sent and there is no default, 108 when it is no text."""
        value = self.get(name, _ABSENT)
        if value is _ABSENT:
            if default is None:
                raise missing()
            return default
        if not isinstance(value, str):
            raise bad_params(message or f"bad {name}: must be string")
        return value

    def integer(self, name: str, default: int | None = None, low: int = 0, high: int = MAX_INT) -> int:
        """A whole number, also one written as text. Raises ApiError 107 or 108."""
        value = self.get(name, _ABSENT)
        if value is _ABSENT:
            if default is None:
                raise missing()
            return default
        number = whole(value)
        if number is None or not low <= number <= high:
            raise bad_params(f"bad {name}: must be an integer from {low} to {high}")
        return number

    def flat(self) -> dict[str, object]:
        """Every parameter by name, of several the one that counts."""
        body = self.body
        found: dict[str, object] = {**body} if isinstance(body, dict) else {}
        found.update(reversed(self.query))
        return found

    def flag(self, name: str, default: bool | None = None) -> bool:
        """true or false, also as text. Raises ApiError 107 or 108."""
        value = self.get(name, _ABSENT)
        if value is _ABSENT:
            if default is None:
                raise missing()
            return default
        if value is True or value == "true":
            return True
        if value is False or value == "false":
            return False
        raise bad_params(f"bad {name}: must be true or false")


class Call(Params):
    """One request. `args` are the parts of the path by name, decoded; `host` is the broker (`trioemqx.api.host`);
    `user` is the application or dashboard user, `listener` is `management` or `dashboard`, `peer` an address. `note` is
    what the audit log says besides the path; it is no secret."""

    __slots__ = ("args", "endpoint", "host", "listener", "method", "note", "peer", "user")

    def __init__(
        self,
        endpoint: Endpoint,
        args: dict[str, str],
        query: Sequence[tuple[str, str]] = (),
        body: object = None,
        *,
        host: Any = None,
        user: str = "",
        peer: str = "",
        listener: str = "management",
    ) -> None:
        super().__init__(query, body)
        self.endpoint = endpoint
        self.method = endpoint.method
        self.args = args
        self.host = host
        self.user = user
        self.peer = peer
        self.listener = listener
        self.note = ""

    def items(self) -> list[Params]:
        """The parameter sets of a batch. Raises ApiError 108 when the body is not an array."""
        if self.body is None:
            return []
        if not isinstance(self.body, list):
            raise bad_params()
        return [Params((), item) for item in self.body]

    def paging(self, default_limit: int | None = None) -> tuple[int, int]:
        """(page, limit). Raises ApiError 108 in EMQX's words when they are not whole numbers."""
        limit = default_limit if default_limit is not None else self.host.config.management.max_row_limit
        return self._paged("_page", 1, None), self._paged("_limit", limit, 0)

    def _paged(self, name: str, default: int, low: int | None) -> int:
        value = self.get(name, _ABSENT)
        if value is _ABSENT:
            return default
        number = whole(value)
        if isinstance(value, list | dict) or value is None:
            raise bad_params()
        if number is None or (low is not None and number < low):
            raise bad_params(f"Can't convert {term(value)} to integer type")
        return number


def whole(value: object) -> int | None:
    """A whole number within 64 bits, or the decimal text of one; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -MAX_INT <= value <= MAX_INT else None
    if isinstance(value, str):
        digits = value[1:] if value[:1] in ("-", "+") else value
        if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS:
            return whole(int(value))
    return None


def from_base64(text: object) -> bytes:
    """The bytes of a base64 text; white space is allowed, padding required. Raises ApiError 108."""
    if not isinstance(text, str):
        raise bad_params()
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise bad_params() from None
