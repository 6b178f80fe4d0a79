"""What a handler may return besides plain data, and the error it raises. Names and codes are those of EMQX's API."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from trioemqx.errors import TrioemqxError

_NAME: Final = frozenset(string.ascii_letters + string.digits + ".-_@")

SUCCESS: Final = 0
RPC_ERROR: Final = 101
UNKNOWN_ERROR: Final = 102
WRONG_CREDENTIALS: Final = 103
EMPTY_CREDENTIALS: Final = 104
NO_SUCH_USER: Final = 105
ADMIN_STAYS: Final = 106
MISSING_PARAMETER: Final = 107
BAD_PARAMETER: Final = 108
NOT_JSON: Final = 109
ALREADY_STARTED: Final = 110
NOT_STARTED: Final = 111
NOT_ONLINE: Final = 112
ALREADY_EXISTS: Final = 113
WRONG_OLD_PASSWORD: Final = 114
BAD_TOPIC: Final = 115
BAD_QOS: Final = 116
FORBIDDEN: Final = 403


class ApiError(TrioemqxError):
    """An answer that is not a success: `code` and `message` of the body, and the HTTP status, 200 where EMQX's is.

    `code` is a number, or a word in the answers about traces. `extra` are further members of the body.
    """

    def __init__(
        self, code: int | str, message: str, status: int = 200, extra: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.extra = extra


def bad_params(message: str = "bad_params") -> ApiError:
    """108: a parameter of the wrong type or value."""
    return ApiError(BAD_PARAMETER, message)


def missing(message: str = "missing_required_params") -> ApiError:
    """107: a required parameter was not sent."""
    return ApiError(MISSING_PARAMETER, message)


def not_found_page() -> ApiError:
    """The answer for a path that leads nowhere: HTTP 404."""
    return ApiError(404, "Not found.", 404)


@attrs.frozen
class Page:
    """A page of a list. `count` is -1 when a filter is set and nobody has counted. `hasnext` None: not told."""

    rows: Sequence[object]
    page: int
    limit: int
    count: int
    hasnext: bool | None = None

    def meta(self) -> dict[str, object]:
        """The member `meta` of the answer."""
        meta: dict[str, object] = {"page": self.page, "limit": self.limit, "count": self.count}
        if self.hasnext is not None:
            meta["hasnext"] = self.hasnext
        return meta


@attrs.frozen
class Bare:
    """A JSON body without `code` and `data` around it."""

    body: object


@attrs.frozen
class PlainText:
    """An answer that is text and not JSON."""

    text: str
    status: int = 200
    content_type: str = "text/plain"


@attrs.frozen
class Download:
    """A file: its bytes, or where it is; a path is sent in pieces. `filename` is what it is called for whoever gets it:
    ASCII letters, digits and `.-_@`, else there is a ValueError."""

    content: bytes | Path
    filename: str = attrs.field()
    content_type: str = "application/octet-stream"

    @filename.validator
    def _check(self, attribute: object, value: str) -> None:
        if not value or not _NAME.issuperset(value):
            raise ValueError(f"not a name for a download: {value[:100]!r}")
