"""Endpoints and how a path finds one.

Paths are matched as they were sent, still percent-encoded, so that `%2F` in a topic is no slash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

import attrs

from trioemqx.errors import TrioemqxError
from trioemqx.services.roles import ADMINISTRATOR, ROLES, VIEWER
from trioemqx.services.web.call import Call

Schema = Mapping[str, Any]
"""A JSON Schema, as OpenAPI 3.1 has them."""
Handler = Callable[[Call], object | Awaitable[object]]

METHODS: Final = ("GET", "POST", "PUT", "DELETE")
AS_SENT: Final = frozenset({"node", "plugin", "module", "type", "identifier", "action"})
"""Parts of a path that are compared as they were sent: EMQX knows them by name and decodes nothing."""
DOTS: Final = {"%2E": ".", "%2E%2E": ".."}
"""What a browser cannot send: it takes `..` out of a path, escaped or not. Escaped twice it comes through."""
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class BadPath(TrioemqxError):
    """A path with a broken percent escape, or one that is not UTF-8 when decoded."""


@attrs.frozen
class Param:
    """A parameter of query or body, for the documents. `type` is JSON Schema's."""

    name: str
    type: str = "string"
    doc: str = ""
    required: bool = False
    enum: tuple[object, ...] = ()
    default: object = None


@attrs.frozen
class Endpoint:
    """One endpoint: where it is, who answers, and what there is to say about it.

    `path` is below `/api/v4`, with `{name}` for parts that vary. `name`, `descr` and `listed` are what the index shows
    (EMQX's words); `listed` "" stands for the path as EMQX writes it, None for an endpoint that is not listed. `app` is
    the plugin or application it belongs to. `query` and `body` describe parameters, `data` the member `data` of a
    success, `codes` the failures a caller may meet. `batch`: the body is an array, or `either` that or an object.
    `max_body` 0 stands for the general limit. `anonymous`: no credentials are asked for. `listeners` are those that
    serve it.
    """

    method: str
    path: str
    handle: Handler = attrs.field(eq=False, repr=False)
    name: str = ""
    descr: str = ""
    group: str = ""
    app: str = "emqx_management"
    listed: str | None = ""
    query: tuple[Param, ...] = ()
    body: tuple[Param, ...] = ()
    data: Schema | None = None
    paged: bool = False
    codes: tuple[int | str, ...] = ()
    batch: bool | Literal["either"] = False
    bare: Schema | None = None
    media: str = "application/json"
    max_body: int = 0
    raw: bool = False
    """The body is handed over as bytes, unread, and may be twice as long: what takes long to read is the handler's."""
    takes: str = ""
    """The media type of a raw body that is no JSON."""
    anonymous: bool = False
    listeners: tuple[str, ...] = ("management", "dashboard")
    volatile: bool = False
    """Nothing that it changes is kept in the store, so that its answer does not wait for the disk."""
    ours: bool = False
    """EMQX 4.4 has no such endpoint."""
    roles: tuple[str, ...] | None = attrs.field(default=None)
    """Which applications may ask, besides administrators. None: viewers where the method is GET, nobody elsewhere."""

    @roles.validator
    def _check_roles(self, attribute: object, value: tuple[str, ...] | None) -> None:
        if value is not None and not set(ROLES).issuperset(value):
            raise ValueError(f"{self.method} {self.path}: roles are {', '.join(ROLES)}, not {value!r}")

    def allows(self, role: str) -> bool:
        """Whether an application with this role may ask."""
        if role == ADMINISTRATOR:
            return True
        if self.roles is None:
            return role == VIEWER and self.method == "GET"
        return role in ROLES and role in self.roles

    @property
    def parts(self) -> tuple[str, ...]:
        """The segments of the path."""
        return tuple(part for part in self.path.split("/") if part)


def get(path: str, handle: Handler, **more: Any) -> Endpoint:
    """`GET`"""
    return Endpoint("GET", path, handle, **more)


def post(path: str, handle: Handler, **more: Any) -> Endpoint:
    """`POST`"""
    return Endpoint("POST", path, handle, **more)


def put(path: str, handle: Handler, **more: Any) -> Endpoint:
    """`PUT`"""
    return Endpoint("PUT", path, handle, **more)


def delete(path: str, handle: Handler, **more: Any) -> Endpoint:
    """`DELETE`"""
    return Endpoint("DELETE", path, handle, **more)


class Routes:
    """A table of endpoints. The first that fits wins, in the order in which they were added."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self._by_length: dict[tuple[str, int], list[tuple[tuple[str, ...], Endpoint]]] = {}
        self._plain: dict[tuple[str, tuple[str, ...]], Endpoint] | None = None
        self.endpoints: list[Endpoint] = []
        self.above: Routes | None = None
        """A table that is asked first: what it finds cannot be added here."""
        for endpoint in endpoints:
            self.add(endpoint)

    def add(self, endpoint: Endpoint) -> None:
        """Append one. Raises ValueError when another one has the same method and path."""
        parts = endpoint.parts
        shape = _shape(parts)
        among = self._by_length.setdefault((endpoint.method, len(parts)), [])
        hidden = self.above is not None and self.above._search(endpoint.method, parts) is not None
        if hidden or any(_shape(other) == shape for other, _ in among):
            raise ValueError(f"{endpoint.method} {endpoint.path}: there is such an endpoint already")
        among.append((parts, endpoint))
        self.endpoints.append(endpoint)
        self._plain = None

    def remove(self, endpoint: Endpoint) -> None:
        """Take one out."""
        self.endpoints.remove(endpoint)
        among = self._by_length[endpoint.method, len(endpoint.parts)]
        among[:] = [(parts, other) for parts, other in among if other is not endpoint]
        self._plain = None

    def _index(self) -> dict[tuple[str, tuple[str, ...]], Endpoint]:
        """Paths without variable parts that no earlier endpoint hides; these are found at once."""
        found = {}
        for endpoint in self.endpoints:
            parts = endpoint.parts
            if not any(part[0] == "{" for part in parts) and self._search(endpoint.method, parts) is endpoint:
                found[endpoint.method, parts] = endpoint
        return found

    def find(self, method: str, segments: tuple[str, ...]) -> Endpoint | None:
        """The endpoint for the segments of a raw path, or None."""
        if self._plain is None:
            self._plain = self._index()
        return self._plain.get((method, segments)) or self._search(method, segments)

    def _search(self, method: str, segments: tuple[str, ...]) -> Endpoint | None:
        for parts, endpoint in self._by_length.get((method, len(segments)), ()):
            if all(part == sent or part[0] == "{" for part, sent in zip(parts, segments, strict=True)):
                return endpoint
        return None


def arguments(endpoint: Endpoint, segments: tuple[str, ...]) -> dict[str, str]:
    """The variable parts of a path, decoded where EMQX decodes. Raises BadPath."""
    found = {}
    for part, sent in zip(endpoint.parts, segments, strict=True):
        if part[0] == "{":
            name = part[1:-1]
            text = sent if name in AS_SENT else decoded(sent)
            found[name] = DOTS.get(text.upper(), text)
    return found


def decoded(text: str) -> str:
    """A segment with its percent escapes resolved. Raises BadPath."""
    if "%" not in text:
        return text
    at = text.find("%")
    while at >= 0:
        digits = text[at + 1 : at + 3].encode("utf-8", "replace")
        if len(digits) != 2 or not _HEX.issuperset(digits):
            raise BadPath(text[:100])
        at = text.find("%", at + 1)
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadPath(text[:100]) from None


def _shape(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("{}" if part.startswith("{") else part for part in parts)
