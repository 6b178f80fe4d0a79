"""Requests made of the OpenAPI document, good ones and bad ones: never a crash, always JSON with a code, and the broker
goes on.

Always the same requests, some seconds' worth. For other ones see docs/testing.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from trioemqx.testing import ApiAnswer, TestBroker

PLUGINS = ["emqx_auth_mnesia", "emqx_prometheus", "emqx_retainer", "emqx_sasl", "emqx_telemetry"]
MODULES = [
    "emqx_mod_acl_internal",
    "emqx_mod_delayed",
    "emqx_mod_slow_subs",
    "emqx_mod_topic_metrics",
    "emqx_mod_trace",
]
REQUESTS = 25
"""For each endpoint."""
TAKEN_AWAY = {"/plugins/", "/modules/", "/restart"}
"""Parts of paths of endpoints that would end what the other requests need."""
TEXTS = {"text/plain", "application/octet-stream", "text/html"}
"""The last is the dashboard's page, at the root."""

WORDS = st.sampled_from(
    ["", "c1", "t/1", "a+b", "#", "+", "$share/g/t", "$SYS/#", "\0", "中", "é", "..", "../x", "%", "x" * 300]
)
WHOLES = st.sampled_from([-1, 0, 1, 2, 3, 65536, 2**31, 2**63, 2**64, 10**40])
SCALARS = (
    st.none() | st.booleans() | WHOLES | st.floats(allow_nan=False, allow_infinity=False) | WORDS | st.text(max_size=20)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
RAW = st.binary(max_size=60) | st.sampled_from(
    [b"{", b"[]", b"null", b"5", b'"x"', b"NaN", b"[" * 5000, b'{"a":"\\ud800"}']
)
FITTING = {
    "string": WORDS,
    "integer": WHOLES,
    "number": WHOLES,
    "boolean": st.booleans(),
    "object": st.dictionaries(WORDS, SCALARS, max_size=2),
    "array": st.lists(SCALARS, max_size=2),
}


def value_for(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values for a parameter: such as it should be, and any others."""
    kind = schema.get("type")
    fitting = FITTING[kind] if isinstance(kind, str) else JSON
    if "enum" in schema:
        fitting = st.sampled_from(schema["enum"])
    return st.one_of(fitting, fitting, JSON)


def bodies(operation: dict[str, Any]) -> st.SearchStrategy[bytes | None]:
    """Bodies: none, members of the right names, the example with one member changed, any JSON, any bytes."""
    encoded = JSON.map(lambda value: json.dumps(value).encode())
    anything = st.one_of(st.none(), encoded, RAW)
    media = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if media is None:
        return anything
    schema = media["schema"].get("anyOf", [media["schema"]])[0]
    members = schema.get("items", schema)["properties"]
    one = st.fixed_dictionaries({}, optional={name: value_for(member) for name, member in members.items()})
    example = media["example"][0] if isinstance(media["example"], list) else media["example"]
    changed = one.map(lambda found: {**example, **dict(list(found.items())[:1])})
    good = one | changed
    return st.one_of((good | st.lists(good, max_size=3)).map(lambda value: json.dumps(value).encode()), anything)


def paths(path: str, operation: dict[str, Any], node: str) -> st.SearchStrategy[str]:
    """Paths with their queries."""
    named = {"node": st.sampled_from([node, node, "x@y"]), "filename": st.sampled_from(["x.json", "../x", "emqx.json"])}
    parts = st.fixed_dictionaries(
        {
            parameter["name"]: named.get(parameter["name"], WORDS | st.just(parameter["example"]))
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "path"
        }
    )
    queries = st.fixed_dictionaries(
        {},
        optional={
            parameter["name"]: value_for(parameter["schema"]).map(str)
            for parameter in operation.get("parameters", ())
            if parameter["in"] == "query"
        },
    )
    spoilt = st.sampled_from(["", "", "", "", "?a=%", "?%ff=1", "?&&=&", "%", "%zz", "/"])

    def put_together(found: tuple[dict[str, str], dict[str, str], str]) -> str:
        values, query, spoil = found
        text = path
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", quote(value, safe="@" if name == "node" else "") or "x")
        pairs = "&".join(f"{quote(key)}={quote(value)}" for key, value in query.items())
        return text + (spoil or (f"?{pairs}" if pairs else ""))

    return st.tuples(parts, queries, spoilt).map(put_together)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of everything below `/api/v4`."""
    for path, item in document["paths"].items():
        if "servers" not in item:
            for method, operation in item.items():
                yield method.upper(), path, operation


def examples(strategy: st.SearchStrategy[Any], seed: int) -> list[Any]:
    """Always the same values."""
    found: list[Any] = []

    @settings(
        max_examples=REQUESTS,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def check(answer: ApiAnswer, what: object) -> None:
    """An answer of the contract's form."""
    assert answer.status in (200, 400, 403, 404), (what, answer)
    if answer.status == 400 and not answer.body:
        return  # a path that cannot be read
    if answer.headers["content-type"] != "application/json":
        assert answer.headers["content-type"].split(";")[0] in TEXTS, (what, answer)
        return
    found = answer.json()
    if answer.status == 403:
        assert isinstance(found, str), (what, answer)
    elif "code" in found and found["code"] != 0:
        assert isinstance(found["code"], int | str), (what, answer)
        assert isinstance(found["message"], str), (what, answer)
        assert found["message"], (what, answer)
        assert "Traceback" not in found["message"], (what, answer)
    else:
        assert answer.status == 200, (what, answer)


@pytest.fixture
def broker_config(tmp_path: Path) -> dict[str, object]:
    keep_in = {"file": str(tmp_path / "emqx.lic")}  # where it goes otherwise is the folder that the tests run in
    return {"plugins": {"load": PLUGINS}, "modules": {"load": MODULES}, "license": keep_in}


async def document_of(broker: TestBroker) -> dict[str, Any]:
    """The document of the dashboard's listener."""
    found: dict[str, Any] = (await broker.api("GET", "/openapi.json", listener="dashboard")).json()
    return found


async def test_no_request_makes_an_endpoint_crash(broker: TestBroker) -> None:
    document = await document_of(broker)
    await broker.node.dashboard_users.add("fuzz", "passw0rd")
    await broker.client("c1", subscribe="still/here")
    asked = 0
    for number, (method, path, operation) in enumerate(operations(document)):
        if method == "PUT" and any(part in path for part in TAKEN_AWAY):
            continue
        strategy = st.tuples(paths(path, operation, broker.node.node), bodies(operation))
        for target, body in examples(strategy, number):
            answer = await broker.api(method, target, raw=body or None, listener="dashboard", auth="fuzz:passw0rd")
            if answer.status == 401 or answer.status == 429:  # it has removed itself, or changed its password
                await broker.node.dashboard_users.set_password("fuzz", "passw0rd")
                continue
            check(answer, (method, target, body))
            asked += 1
    assert asked > 1000
    assert broker.metrics.get("api.request_crashed", 0) == 0
    await broker.client("c2")


async def test_the_broker_works_after_it(broker: TestBroker) -> None:
    """A message still goes through, with whatever modules are loaded."""
    watcher = await broker.client("watcher", subscribe="still/here")
    for raw in (b"[" * 9000, b'{"topic":', b"\xff", b'{"topic":["x"],"payload":{},"clientid":{}}'):
        check(await broker.api("POST", "/mqtt/publish", raw=raw), raw)
    body = {"topic": "still/here", "payload": "x", "clientid": "c"}
    assert (await broker.api("POST", "/mqtt/publish", body)).code == 0
    assert await watcher.message() == ("still/here", b"x")


async def test_the_examples_of_the_document_are_taken(broker: TestBroker) -> None:
    """None of them misses a parameter or has a wrong one."""
    document = await document_of(broker)
    await broker.client("c1")
    for method, path, operation in operations(document):
        media = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if media is None or "/restart" in path:
            continue
        body = media["example"]
        target = path
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                value = broker.node.node if parameter["name"] == "node" else str(parameter["example"])
                target = target.replace(f"{{{parameter['name']}}}", quote(value, safe="@:"))
        answer = await broker.api(method, target, body, listener="dashboard")
        assert answer.status == 200, (method, target, body, answer)
        assert answer.code not in (107, 108, 109, 115, 116, "INCORRECT_PARAMS"), (method, target, body, answer)
