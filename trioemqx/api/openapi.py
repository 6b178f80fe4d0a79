"""The OpenAPI 3.1 document of the API, made of the endpoints' own declarations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from trioemqx.api.samples import sample
from trioemqx.api.wording import ABOUT, ALSO_TEXT, CODES, LICENSE, MESSAGES, PARTS, USUAL
from trioemqx.services.roles import ROLES
from trioemqx.services.web import Endpoint, Param

OPENAPI: Final = "3.1.0"
BASE: Final = "/api/v4"
JSON: Final = "application/json"
TEXT: Final = "text/plain"
BASIC: Final = "basic"
_TEXT: Final = {"type": "string"}
_WHOLE: Final = {"type": "integer"}


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The document for these endpoints."""
    found = list(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in found:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation(endpoint)
    return {
        "openapi": OPENAPI,
        "info": {"title": "trioemqx HTTP API", "version": version, "description": ABOUT, "license": LICENSE},
        "servers": [{"url": BASE}],
        "security": [{BASIC: []}],
        "tags": [{"name": group} for group in dict.fromkeys(endpoint.group or "other" for endpoint in found)],
        "paths": {**paths, **_outside()},
        "components": {
            "securitySchemes": {
                BASIC: {"type": "http", "scheme": "basic", "description": "AppID and AppSecret, or a dashboard user"}
            },
            "schemas": {"Failure": _FAILURE, "Meta": _META},
            "responses": _RESPONSES,
        },
    }


def operation(endpoint: Endpoint) -> dict[str, Any]:
    """One operation."""
    found: dict[str, Any] = {
        "operationId": operation_id(endpoint),
        "summary": endpoint.descr or endpoint.name,
        "tags": [endpoint.group or "other"],
        "x-app": endpoint.app,
        "x-listeners": list(endpoint.listeners),
        **({} if endpoint.anonymous else {"x-roles": [role for role in ROLES if endpoint.allows(role)]}),
    }
    parameters = [_part(part[1:-1]) for part in endpoint.parts if part[0] == "{"]
    parameters += [_query(param) for param in endpoint.query]
    if parameters:
        found["parameters"] = parameters
    if endpoint.takes:
        binary = {"type": "string", "contentMediaType": endpoint.takes}
        found["requestBody"] = {"required": True, "content": {endpoint.takes: {"schema": binary}}}
    elif endpoint.body:
        found["requestBody"] = request_body(endpoint)
    if endpoint.anonymous:
        found["security"] = []
    if endpoint.codes:
        words = "; ".join(f"`{code}` {CODES.get(code, 'failed')}" for code in endpoint.codes)
        found["description"] = f"Failures by `code`: {words}."
    if endpoint.ours:
        found["x-added"] = True
    found["responses"] = responses(endpoint)
    return found


def operation_id(endpoint: Endpoint) -> str:
    """A name that no other endpoint has: `get_clients_clientid_acl_cache`."""
    words = [part.strip("{}").replace("-", "_").replace("$", "").replace(".", "_") for part in endpoint.parts]
    return "_".join([endpoint.method.lower(), *words])


def param_schema(param: Param) -> dict[str, Any]:
    """A parameter's schema; no type stands for any JSON."""
    found: dict[str, Any] = {"type": param.type} if param.type else {}
    if param.enum:
        found["enum"] = list(param.enum)
    if param.default is not None:
        found["default"] = param.default
    if param.doc:
        found["description"] = param.doc
    return found


def body_schema(endpoint: Endpoint) -> dict[str, Any]:
    """What a body has to be."""
    one: dict[str, Any] = {
        "type": "object",
        "properties": {param.name: param_schema(param) for param in endpoint.body},
    }
    required = [param.name for param in endpoint.body if param.required]
    if required:
        one["required"] = required
    if not endpoint.batch:
        return one
    many = {"type": "array", "items": one}
    return many if endpoint.batch is True else {"anyOf": [one, many]}


def request_body(endpoint: Endpoint) -> dict[str, Any]:
    """The body of a request."""
    schema = body_schema(endpoint)
    needed = any(param.required for param in endpoint.body)
    return {"required": needed, "content": {JSON: {"schema": schema, "example": body_example(endpoint)}}}


def body_example(endpoint: Endpoint) -> Any:
    """A body that means something: what is required, and what one would hardly leave out; or else the first
    parameter."""
    more = USUAL.get(endpoint.path, ())
    wanted = [param for param in endpoint.body if param.required or param.name in more] or list(endpoint.body[:1])
    one = {param.name: sample(param_schema(param), param.name) for param in wanted}
    return [one] if endpoint.batch is True else one


def success_schema(endpoint: Endpoint) -> dict[str, Any]:
    """The JSON body of a success."""
    if endpoint.bare is not None:
        return dict(endpoint.bare)
    members: dict[str, Any] = {"code": {"const": 0}}
    if endpoint.data is not None:
        members["data"] = dict(endpoint.data)
    if endpoint.paged:
        members["meta"] = {"$ref": "#/components/schemas/Meta"}
    needed = [name for name in members if name != "data" or not data_optional(endpoint)]
    return {"type": "object", "properties": members, "required": needed}


def success_example(endpoint: Endpoint) -> Any:
    """An example of it."""
    if endpoint.bare is not None:
        return sample(endpoint.bare)
    found: dict[str, Any] = {"code": 0}
    if endpoint.data is not None and not data_optional(endpoint):
        found["data"] = sample(endpoint.data)
    if endpoint.paged:
        found["meta"] = _PAGE
    return found


def data_optional(endpoint: Endpoint) -> bool:
    """Whether `data` may be absent: when many may be asked for at once it is theirs alone, and what needs no member may
    be absent as a whole."""
    data = endpoint.data or {}
    return endpoint.batch == "either" or (data.get("required") == [] and "properties" in data)


def failure_schema(endpoint: Endpoint) -> dict[str, Any]:
    """The body of a failure that comes with HTTP status 200."""
    return {
        "allOf": [{"$ref": "#/components/schemas/Failure"}],
        "properties": {"code": {"enum": list(endpoint.codes)}},
    }


def responses(endpoint: Endpoint) -> dict[str, Any]:
    """Every answer by HTTP status."""
    content: dict[str, Any] = {}
    if endpoint.media == JSON:
        answers = {"success": {"value": success_example(endpoint)}}
        schema = success_schema(endpoint)
        if endpoint.codes:
            schema = {"anyOf": [schema, failure_schema(endpoint)]}
            answers["failure"] = {"value": _failure_example(endpoint.codes[0])}
        content[JSON] = {"schema": schema, "examples": answers}
    else:
        content[endpoint.media] = {"schema": _TEXT}
        if endpoint.codes:
            content[JSON] = {"schema": failure_schema(endpoint)}
    if endpoint.path in ALSO_TEXT:
        content[TEXT] = {"schema": _TEXT}
    found: dict[str, Any] = {"200": {"description": "Done, or the code says why not", "content": content}}
    found["400"] = _response("BadRequest")
    if not endpoint.anonymous:
        found["401"] = _response("Unauthorized")
        found["403"] = _response("Forbidden")
        found["429"] = _response("TooMany")
    found["404"] = _response("NotFound")
    found["500"] = _response("InternalError")
    found["503"] = _response("Unavailable")
    return found


def _part(name: str) -> dict[str, Any]:
    """A part of the path."""
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": PARTS.get(name, "percent-encoded"),
        "schema": _TEXT,
        "example": sample(_TEXT, name),
    }


def _query(param: Param) -> dict[str, Any]:
    found = {"name": param.name, "in": "query", "required": param.required, "schema": param_schema(param)}
    return {**found, "description": param.doc} if param.doc else found


def _response(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _failure_example(code: int | str) -> dict[str, Any]:
    return {"code": code, "message": MESSAGES.get(code, "why not")}


def _failed(description: str, code: int | str, message: str, **more: Any) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Failure"}
    example = {"code": code, "message": message}
    return {"description": description, "content": {JSON: {"schema": schema, "example": example}}, **more}


def _outside() -> dict[str, Any]:
    """What is not below `/api/v4`."""
    return {
        "/status": _plain("get_status", "Whether the broker serves, in two lines", ("200", "503")),
        "/ready": _plain(
            "get_ready", "200 while clients are served, 503 while the broker starts or ends", ("200", "503")
        ),
    }


def _plain(name: str, summary: str, statuses: tuple[str, ...]) -> dict[str, Any]:
    answer = {"description": summary, "content": {TEXT: {"schema": _TEXT}}}
    return {
        "servers": [{"url": "/"}],
        "get": {
            "operationId": name,
            "summary": summary,
            "tags": ["brokers"],
            "security": [],
            "responses": dict.fromkeys(statuses, answer),
        },
    }


_PAGE: Final = {"page": 1, "limit": 10, "count": 1, "hasnext": False}
_META: Final = {
    "type": "object",
    "properties": {
        "page": _WHOLE,
        "limit": _WHOLE,
        "count": {**_WHOLE, "description": "rows of the whole list; -1 when a filter is set"},
        "hasnext": {"type": "boolean", "description": "whether there is a page after this one"},
    },
    "required": ["page", "limit", "count"],
}
_FAILURE: Final = {
    "type": "object",
    "properties": {
        "code": {"type": ["integer", "string"], "description": "not 0; a word in answers about traces"},
        "message": {"type": "string", "description": "EMQX's words"},
        "reason": {"type": "string", "description": "what to do about it"},
    },
    "required": ["code", "message"],
    "not": {"properties": {"code": {"const": 0}}},
}
_CHALLENGE: Final = {"WWW-Authenticate": {"schema": _TEXT, "description": 'Basic Realm="minirest-server"'}}
_RESPONSES: Final = {
    "BadRequest": _failed("Not JSON, too large, or a query or path that cannot be read", 109, "Bad Request"),
    "Unauthorized": _failed("No, or wrong, credentials", 103, "UNAUTHORIZED", headers=_CHALLENGE),
    "Forbidden": _failed(
        "Not for the role of this application, or a browser's request from another site", 403, "UNAUTHORIZED_ROLE"
    ),
    "NotFound": _failed("No such path, node, plugin or module", 404, "Not found."),
    "TooMany": _failed(
        "Too many wrong credentials from this address", 103, "too many wrong credentials",
        headers={"Retry-After": {"schema": _WHOLE, "description": "seconds"}},
    ),
    "InternalError": _failed("A bug; the log has the number that is the answer's id", 500, "Internal Error"),
    "Unavailable": _failed("Too much is being done already, or it took too long", 101, "timeout"),
}  # fmt: skip
