"""`/api/v4/openapi.json`: the document is right, complete, and true."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from examples import ANSWERS, BODIES, FAILURES
from openapi_spec_validator import OpenAPIV31SpecValidator

from trioemqx.api.samples import sample
from trioemqx.services.web import Endpoint
from trioemqx.testing import TestBroker

PLUGINS = ["emqx_auth_mnesia", "emqx_prometheus", "emqx_retainer", "emqx_sasl", "emqx_telemetry"]
MODULES = ["emqx_mod_acl_internal", "emqx_mod_slow_subs", "emqx_mod_topic_metrics", "emqx_mod_trace"]
OUTSIDE = {"/status", "/ready"}


@pytest.fixture
def broker_config() -> dict[str, object]:
    return {"plugins": {"load": PLUGINS}, "modules": {"load": MODULES}}


async def fetched(broker: TestBroker, listener: str = "dashboard") -> dict[str, Any]:
    """The document of a listener."""
    answer = await broker.api("GET", "/openapi.json", listener=listener)
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def endpoints(broker: TestBroker) -> list[Endpoint]:
    """Everything that the dashboard's listener serves."""
    assert broker.node.api is not None
    return [*broker.node.api.apps["dashboard"].routes.endpoints, *broker.node.web_routes.endpoints]


def checker(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """Validates a value; references lead into the document."""
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def answer_schema(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The schema of the answers of `GET /path`."""
    method, _, path = key.partition(" ")
    found: dict[str, Any] = document["paths"][path][method.lower()]["responses"]["200"]["content"]
    schema: dict[str, Any] = found["application/json"]["schema"]
    return schema


async def test_it_is_openapi_3_1(broker: TestBroker) -> None:
    """GET /openapi.json"""
    for listener in ("management", "dashboard"):
        document = await fetched(broker, listener)
        assert document["openapi"] == "3.1.0"
        OpenAPIV31SpecValidator(document).validate()


async def test_it_asks_for_credentials(broker: TestBroker) -> None:
    assert (await broker.api("GET", "/openapi.json", auth=None)).status == 401


async def test_every_endpoint_is_in_it(broker: TestBroker) -> None:
    document = await fetched(broker)
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item} - {
        ("SERVERS", path) for path in OUTSIDE
    }
    served = {(endpoint.method, endpoint.path) for endpoint in endpoints(broker)}
    assert len(served) > 120
    assert described == served | {("GET", path) for path in OUTSIDE}
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(ids) == len(set(ids))


def operations(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every operation."""
    return [
        operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete")
    ]


async def test_a_listener_describes_what_it_serves(broker: TestBroker) -> None:
    assert "/users" not in (await fetched(broker, "management"))["paths"]
    assert "/users" in (await fetched(broker, "dashboard"))["paths"]


async def test_it_follows_plugins(broker: TestBroker) -> None:
    assert "/sasl" in (await fetched(broker))["paths"]
    await broker.node.plugins.unload("emqx_sasl")
    assert "/sasl" not in (await fetched(broker))["paths"]
    await broker.node.plugins.load("emqx_sasl")
    assert "/sasl" in (await fetched(broker))["paths"]


async def test_every_operation_says_what_it_is(broker: TestBroker) -> None:
    document = await fetched(broker)
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post", "put", "delete"}:
            operation = item[method]
            assert operation["summary"], (method, path)
            assert operation["tags"] != ["other"], (method, path)
            named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, (method, path)


async def test_its_examples_are_true_to_its_schemas(broker: TestBroker) -> None:
    document = await fetched(broker)
    count = 0
    for operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for content in [*bodies, *operation["responses"].values(), *document["components"]["responses"].values()]:
            for media in content.get("content", {}).values():
                given = [media["example"]] if "example" in media else []
                given += [example["value"] for example in media.get("examples", {}).values()]
                for example in given:
                    count += 1
                    checker(document, media["schema"]).validate(example)
    assert count > 300


async def test_what_emqx_answers_fits(broker: TestBroker) -> None:
    document = await fetched(broker)
    answers = [(key, answer) for key, found in ANSWERS.items() for answer in found] + FAILURES
    wrong = [
        f"{key}: {error.message}"
        for key, answer in answers
        for error in checker(document, answer_schema(document, key)).iter_errors(answer)
    ]
    assert len(answers) > 140
    assert wrong == []


async def test_what_emqx_is_asked_fits(broker: TestBroker) -> None:
    document = await fetched(broker)
    wrong = []
    for key, bodies in BODIES.items():
        method, _, path = key.partition(" ")
        content = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]
        check = checker(document, content["schema"])
        wrong += [f"{key}: {error.message}" for body in bodies for error in check.iter_errors(body)]
    assert wrong == []


async def test_every_endpoint_has_an_example_of_emqx(broker: TestBroker) -> None:
    await fetched(broker)
    missing = [
        f"{endpoint.method} {endpoint.path}"
        for endpoint in endpoints(broker)
        if not endpoint.ours and endpoint.media == "application/json"
    ]
    assert [key for key in missing if key not in ANSWERS] == []


async def test_a_wrong_answer_does_not_fit(broker: TestBroker) -> None:
    """The schemas are no empty words."""
    document = await fetched(broker)
    for key, wrong in (
        ("GET /brokers", {"code": 0}),
        ("GET /brokers", {"code": 0, "data": [{"node": 5}]}),
        ("GET /clients", {"code": 0, "data": []}),
        ("PUT /clients/{clientid}/keepalive", {"code": 113, "message": "x"}),
        ("PUT /clients/{clientid}/keepalive", {"code": 112}),
        ("POST /data/export", {"code": 0, "data": {"filename": "x.json"}}),
    ):
        assert not checker(document, answer_schema(document, key)).is_valid(wrong), (key, wrong)


async def test_what_the_broker_answers_fits(broker: TestBroker) -> None:
    """Every GET that needs no name, with a client and something of everything there."""
    await broker.client("c1", subscribe="t/#")
    await broker.api("POST", "/mqtt/publish", {"topic": "t/1", "payload": "x", "clientid": "c1", "retain": True})
    await broker.api("POST", "/banned", {"who": "x", "as": "username", "reason": "r"})
    await broker.api("POST", "/data/export")
    await broker.api("POST", "/auth_clientid", {"clientid": "c9", "password": "x"})
    await broker.api("POST", "/acl", {"topic": "t", "action": "pubsub", "access": "allow"})
    await broker.api("POST", "/topic-metrics", {"topic": "t/1"})
    document = await fetched(broker)
    asked = 0
    for endpoint in endpoints(broker):
        if endpoint.method != "GET" or endpoint.media != "application/json":
            continue
        path = endpoint.path.replace("{node}", broker.node.node).replace("{clientid}", "c1").replace("{as}", "x")
        path = path.replace("{topic}", "t%2F1").replace("{appid}", "admin").replace("{username}", "x")
        path = path.replace("{plugin}", "emqx_retainer").replace("{module}", "emqx_mod_trace")
        path = path.replace("{filename}", "x.json").replace("{name}", "x")
        path = path.replace("{action}", "inspect").replace("{type}", "web_hook")
        answer = await broker.api("GET", "" if path == "/" else path, listener="dashboard")
        assert answer.status == 200, (path, answer)
        schema = answer_schema(document, f"GET {endpoint.path}")
        try:
            checker(document, schema).validate(answer.json())
        except jsonschema.ValidationError as error:
            pytest.fail(f"{endpoint.path}: {error.message} at {list(error.absolute_path)}: {answer.body[:300]!r}")
        asked += 1
    assert asked > 50


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"const": {}},
        {"enum": [1, 2]},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ],
)
@pytest.mark.parametrize("name", ["clientid", "qos", "status", "payload", "strange"])
def test_a_sample_fits_its_schema(schema: dict[str, Any], name: str) -> None:
    found = sample(schema, name)
    jsonschema.Draft202012Validator(schema).validate(found)
    json.dumps(found)
